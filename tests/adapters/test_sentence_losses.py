"""Losses in sentence-transformers' form: equal to the library's own, and trained by its trainers."""

from __future__ import annotations

import warnings

import pytest
import torch

from gezhi import losses

pytest.importorskip("datasets")
sentence_transformers = pytest.importorskip("sentence_transformers")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from datasets import Dataset
    from sentence_transformers import (
        CrossEncoder,
        CrossEncoderTrainer,
        CrossEncoderTrainingArguments,
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses as theirs

from gezhi.adapters import sentence_transformers as adapter  # noqa: E402

WORDS = ["cat", "dog", "bird", "fish", "runs", "sleeps", "eats", "swims", "big", "small", "the", "a"]
TEXTS = [f"the {size} {who} {does}" for size in ("big", "small") for who in WORDS[:4] for does in WORDS[4:8]]


@pytest.fixture(scope="module")
def folders(tiny_models):
    return tiny_models(WORDS)


@pytest.fixture
def model(folders):
    return SentenceTransformer(str(folders / "encoder"), device="cpu")


def embeddings(columns: int = 2, rows: int = 12, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(rows, 8, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(columns)]


def equal_with_gradient(ours, other, columns, labels):
    found, expected = (loss.compute_loss_from_embeddings(columns, labels) for loss in (ours, other))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(loss, columns) for loss in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_cosent_is_the_loss_of_that_name(model):
    labels = torch.randint(0, 4, (12,), generator=torch.Generator().manual_seed(1)).double()
    equal_with_gradient(adapter.CoSENTLoss(model), theirs.CoSENTLoss(model), embeddings(), labels)


@pytest.mark.parametrize("columns", [2, 3])
def test_infonce_is_multiple_negatives_ranking(model, columns):
    ours = adapter.InfoNCELoss(model, temperature=0.05)
    equal_with_gradient(ours, theirs.MultipleNegativesRankingLoss(model, scale=20), embeddings(columns), None)


def test_flatnce_reports_infonce_and_pulls_harder(model):
    columns = embeddings()
    flat, plain = (loss.compute_loss_from_embeddings(columns, None) for loss in
                   (adapter.FlatNCELoss(model), adapter.InfoNCELoss(model)))  # fmt: skip
    torch.testing.assert_close(flat, plain)
    (pull, usual) = (torch.autograd.grad(loss, columns[0])[0].norm() for loss in (flat, plain))
    assert pull > usual


def test_margin_softmax_is_the_module(model):
    ours = adapter.MarginSoftmaxLoss(model, 3, margin=losses.additive_angle(0.3), scale=10.0)
    assert ours.loss.weight.shape == (3, 16)
    x, labels = torch.randn(6, 16), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(ours.compute_loss_from_embeddings([x], labels[:, None]), ours.loss(x, labels))
    assert ours.get_config_dict() == {"num_classes": 3, "margin": "additive_angle(margin=0.3)", "scale": 10.0}


@pytest.mark.parametrize("name", ["CoSENTLoss", "InfoNCELoss", "FlatNCELoss"])
def test_configuration_and_citation_go_on_the_model_card(model, name):
    loss = getattr(adapter, name)(model)
    assert type(loss)(model, **loss.get_config_dict()).get_config_dict() == loss.get_config_dict()
    assert loss.citation.startswith("@")
    assert "year={20" in loss.citation


def arguments(kind, folder, **more):
    quiet = {"save_strategy": "no", "report_to": "none", "use_cpu": True, "disable_tqdm": True}
    return kind(output_dir=str(folder), max_steps=3, per_device_train_batch_size=16, **quiet, **more)


LABELS = [i % 4 for i in range(len(TEXTS))]
PAIRS = {"first": TEXTS, "second": TEXTS[::-1]}
ROWS = {
    "CoSENTLoss": PAIRS | {"score": [float(i % 4) for i in range(len(TEXTS))]},
    "InfoNCELoss": PAIRS,
    "FlatNCELoss": PAIRS | {"negative": TEXTS[1:] + TEXTS[:1]},
    "MarginSoftmaxLoss": {"text": TEXTS, "label": LABELS},
}


@pytest.mark.filterwarnings("ignore")  # of the libraries that train
@pytest.mark.parametrize("name", ROWS)
def test_trained_by_their_trainer(model, tmp_path, name):
    options = {"num_classes": 4} if name == "MarginSoftmaxLoss" else {}
    loss = getattr(adapter, name)(model, **options)
    before = {key: value.detach().clone() for key, value in loss.named_parameters()}
    rows = Dataset.from_dict(ROWS[name])
    settings = arguments(SentenceTransformerTrainingArguments, tmp_path, learning_rate=1e-2)
    SentenceTransformerTrainer(model, settings, train_dataset=rows, loss=loss).train()
    moved = [key for key, value in loss.named_parameters() if not torch.equal(value, before[key])]
    assert any("word_embeddings" in key for key in moved)
    if name == "MarginSoftmaxLoss":
        assert "loss.weight" in moved


@pytest.mark.filterwarnings("ignore")
def test_a_cross_encoder_is_trained_on_its_raw_score(folders, tmp_path):
    model = CrossEncoder(str(folders / "scorer"), device="cpu", num_labels=1)
    loss = adapter.CrossEncoderCoSENTLoss(model)
    labels = torch.tensor([1.0, 0.0, 2.0, 1.0])
    scores = model.predict(list(zip(TEXTS[:4], TEXTS[4:8], strict=True)), activation_fn=torch.nn.Identity(),
                           convert_to_tensor=True)  # fmt: skip
    model.eval()
    expected = losses.cosent_loss(scores, labels)
    torch.testing.assert_close(loss([TEXTS[:4], TEXTS[4:8]], labels).detach(), expected.detach(), atol=1e-5, rtol=1e-5)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    rows = Dataset.from_dict(ROWS["CoSENTLoss"])
    settings = arguments(CrossEncoderTrainingArguments, tmp_path, learning_rate=1e-2)
    CrossEncoderTrainer(model, settings, train_dataset=rows, loss=loss).train()
    assert any(not torch.equal(value, before[key]) for key, value in model.named_parameters())
    assert loss.get_config_dict() == {"scale": 1.0}


def test_errors_name_what_is_wrong(model):
    loss = adapter.CoSENTLoss(model)
    with pytest.raises(ValueError, match="columns must be two texts a row: got 3"):
        loss.compute_loss_from_embeddings(embeddings(3), torch.zeros(12))
    with pytest.raises(ValueError, match="labels must come with the columns: got None"):
        loss.compute_loss_from_embeddings(embeddings(), None)
    with pytest.raises(ValueError, match=r"columns must be .anchor, positive. and perhaps negatives: got 1"):
        adapter.InfoNCELoss(model).compute_loss_from_embeddings(embeddings(1))
    with pytest.raises(ValueError, match="columns must be one text a row: got 2"):
        adapter.MarginSoftmaxLoss(model, 2).compute_loss_from_embeddings(embeddings(), torch.zeros(12))
    with pytest.raises(ValueError, match="scale must lie strictly"):
        adapter.CrossEncoderCoSENTLoss(model, scale=0)
    three = type("Three", (), {"num_labels": 3})()
    with pytest.raises(ValueError, match=r"model must have one output: got 3\. Load it with num_labels=1"):
        adapter.CrossEncoderCoSENTLoss(three)
