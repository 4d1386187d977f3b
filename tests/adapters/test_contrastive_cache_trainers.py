"""The trainers' steps by cached gradients against their own steps, in tiny random models."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import small_bert
from torch import nn

from gezhi.adapters import sentence_transformers as for_sentences
from gezhi.adapters import transformers as for_transformers

transformers = pytest.importorskip("transformers")
sentence_transformers = pytest.importorskip("sentence_transformers")
datasets = pytest.importorskip("datasets")

pytestmark = [pytest.mark.filterwarnings("ignore")]  # the hosts' own; what they compute is what counts here

WORDS = [f"w{i}" for i in range(40)]


def arguments(kind, folder, **settings):
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no", "seed": 3}
    sizes = {"per_device_train_batch_size": 6, "max_steps": 3, "learning_rate": 0.05, "optim": "sgd"}
    settings = quiet | sizes | {"use_cpu": True, "lr_scheduler_type": "constant", "max_grad_norm": 0.0} | settings
    return kind(output_dir=str(folder), **settings)


def assert_same_weights(left, right, tolerance):
    moved = 0.0
    for (name, a), b in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}")
        moved += float(a.float().abs().sum())
    assert math.isfinite(moved)


# ---- transformers ---------------------------------------------------------------------------------------------------


class Pooled(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.bert = transformers.BertModel(small_bert(dropout), add_pooling_layer=False)

    def forward(self, input_ids, attention_mask):
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return {"mean": (states * attention_mask[..., None]).sum(1) / attention_mask.sum(1, keepdim=True)}


class Contrastive:
    """A loss that couples a batch and reads a label as well."""

    def contrastive_loss(self, representations, inputs):
        q, k = (nn.functional.normalize(h, dim=-1) for h in representations)
        weight = inputs["weight"]
        return (nn.functional.cross_entropy(5 * q @ k.mT, torch.arange(len(q)), reduction="none") * weight).mean()

    def representation(self, output):
        return output["mean"]


class PlainStep(Contrastive, for_transformers.ContrastiveCacheTrainerMixin, transformers.Trainer):
    """The reference: transformers' own step on the same loss."""

    def training_step(self, *args):
        return transformers.Trainer.training_step(self, *args)


class CachedStep(Contrastive, for_transformers.ContrastiveCacheTrainerMixin, transformers.Trainer):
    chunk_size = 4


def pairs():
    ids = torch.randint(50, (24, 2, 5), generator=torch.Generator().manual_seed(0))
    return [{"query": q, "document": d, "weight": 0.5 + i % 3} for i, (q, d) in enumerate(ids)]


def collate(rows):
    batch = {}
    for side in ("query", "document"):
        ids = torch.stack([row[side] for row in rows])
        batch[side] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    return batch | {"weight": torch.tensor([float(row["weight"]) for row in rows])}


def trained(kind, folder, dropout=0.0, chunk_size=4, **settings):
    torch.manual_seed(0)
    model = Pooled(dropout)
    args = arguments(transformers.TrainingArguments, folder, remove_unused_columns=False, **settings)
    trainer = kind(model=model, args=args, train_dataset=pairs(), data_collator=collate)
    trainer.chunk_size = chunk_size
    return model, trainer.train().training_loss


@pytest.mark.parametrize("accumulated", [1, 2])
def test_transformers_trainer_takes_the_steps_of_the_whole_batch(tmp_path, accumulated):
    settings = {"gradient_accumulation_steps": accumulated}
    plain, cached = (trained(kind, tmp_path, **settings) for kind in (PlainStep, CachedStep))
    assert_same_weights(cached[0], plain[0], 1e-5)
    assert cached[1] == pytest.approx(plain[1], rel=1e-5)
    start = Pooled()
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), cached[0].parameters(), strict=True))


def test_transformers_trainer_with_dropout_and_bfloat16_trains(tmp_path):
    whole, cut = (trained(CachedStep, tmp_path, chunk_size=size, bf16=True) for size in (6, 4))
    assert_same_weights(cut[0], whole[0], 2e-2)
    _, loss = trained(CachedStep, tmp_path, dropout=0.2, bf16=True, max_steps=5)
    assert math.isfinite(loss)


def test_transformers_mixin_says_what_is_missing(tmp_path):
    class NoLoss(for_transformers.ContrastiveCacheTrainerMixin, transformers.Trainer):
        def representation(self, output):
            return output["mean"]

    with pytest.raises(NotImplementedError, match="contrastive_loss must be defined"):
        trained(NoLoss, tmp_path)


def test_transformers_mixin_refuses_hosts_that_step_on_each_backward(tmp_path):
    from accelerate.utils import DistributedType

    class OnDeepSpeed(CachedStep):
        def training_step(self, *args):
            self.accelerator.state.__dict__["distributed_type"] = DistributedType.DEEPSPEED
            try:
                return super().training_step(*args)
            finally:
                self.accelerator.state.__dict__["distributed_type"] = DistributedType.NO

    with pytest.raises(ValueError, match="several backward passes make a step: got DEEPSPEED"):
        trained(OnDeepSpeed, tmp_path)


def evaluating(tmp_path, dataset, **settings):
    torch.manual_seed(0)
    sizes = {"per_device_eval_batch_size": 10, "remove_unused_columns": False}
    args = arguments(transformers.TrainingArguments, tmp_path, **sizes | settings)
    trainer = CachedStep(Pooled(), args, train_dataset=pairs(), eval_dataset=dataset, data_collator=collate)
    trainer.model.eval()
    return trainer


def batch_losses(trainer, dataset, size):
    batches = [collate(dataset[i : i + size]) for i in range(0, len(dataset), size)]
    with torch.no_grad():
        return [(trainer.compute_loss(trainer.model, batch).item(), len(batch["weight"])) for batch in batches]


def test_evaluation_is_the_mean_loss_of_the_batches(tmp_path):
    dataset = pairs()[:23]
    trainer = evaluating(tmp_path, dataset)
    losses = batch_losses(trainer, dataset, 10)
    assert [rows for _, rows in losses] == [10, 10, 3]
    expected = sum(loss * rows for loss, rows in losses) / 23
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, rel=1e-5)
    assert all(p.grad is None for p in trainer.model.parameters())


def test_prediction_returns_representations_and_labels(tmp_path):
    dataset = pairs()[:13]
    trainer = evaluating(tmp_path, dataset, label_names=["weight"])
    found = trainer.predict(dataset)
    batch = collate(dataset)
    with torch.no_grad():
        expected = [trainer.model(**batch[side])["mean"] for side in ("query", "document")]
    for predicted, h in zip(found.predictions, expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(predicted), h, atol=1e-6, rtol=1e-5)
    assert found.label_ids.tolist() == batch["weight"].tolist()
    assert "test_loss" in found.metrics


def test_metrics_of_representations_while_training(tmp_path):
    def hits(prediction):
        q, d = map(torch.from_numpy, prediction.predictions)
        return {"hits": float(((q @ d.mT).argmax(-1) == torch.arange(len(q))).float().mean())}

    trainer = evaluating(tmp_path, pairs()[:8], eval_strategy="steps", eval_steps=1, bf16=True, label_names=["weight"])
    trainer.compute_metrics = hits
    trainer.train()
    logged = [row for row in trainer.state.log_history if "eval_loss" in row]
    assert len(logged) == 3
    assert all(math.isfinite(row["eval_loss"]) and 0 <= row["eval_hits"] <= 1 for row in logged)


def test_evaluation_encodes_a_chunk_at_a_time(tmp_path):
    trainer, seen = evaluating(tmp_path, pairs()), []
    trainer.model.register_forward_pre_hook(
        lambda _, __, inputs: seen.append(len(inputs["input_ids"])), with_kwargs=True
    )
    trainer.evaluate()
    assert max(seen) == trainer.chunk_size == 4


# ---- sentence-transformers ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny BERT with a tokenizer of 40 words, as a model folder."""
    path = tmp_path_factory.mktemp("bert")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (path / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(path)
    torch.manual_seed(0)
    transformers.BertModel(small_bert(0.0)).save_pretrained(path)
    return path


class Cached(for_sentences.ContrastiveCacheTrainerMixin, sentence_transformers.SentenceTransformerTrainer):
    chunk_size = 4


def sentences(columns, labels=False):
    draw = torch.Generator().manual_seed(1)
    rows = {
        name: [" ".join(WORDS[i] for i in torch.randint(40, (3 + r % 4,), generator=draw)) for r in range(24)]
        for name in columns
    }
    if labels:
        rows["label"] = torch.rand(24, generator=draw).tolist()
    return datasets.Dataset.from_dict(rows)


def embedder(folder):
    from sentence_transformers.sentence_transformer import modules

    word = modules.Transformer(str(folder))
    return sentence_transformers.SentenceTransformer(
        modules=[word, modules.Pooling(word.get_word_embedding_dimension())], device="cpu"
    )


def sentence_trained(kind, folder, tmp_path, make_loss, dataset, **settings):
    model = embedder(folder)
    args = arguments(sentence_transformers.SentenceTransformerTrainingArguments, tmp_path, **settings)
    loss = (
        {name: build(model) for name, build in make_loss.items()} if isinstance(make_loss, dict) else make_loss(model)
    )
    trainer = kind(model=model, args=args, train_dataset=dataset, loss=loss)
    found = trainer.train().training_loss
    return model, found, loss


def ranking(model):
    from sentence_transformers.sentence_transformer import losses

    return losses.MultipleNegativesRankingLoss(model)


def cosent(model):
    from sentence_transformers.sentence_transformer import losses

    return losses.CoSENTLoss(model)


def matryoshka(model):
    from sentence_transformers.sentence_transformer import losses

    return losses.MatryoshkaLoss(model, ranking(model), [16, 8])


@pytest.mark.parametrize(
    ("make_loss", "columns", "labels", "accumulated"),
    [
        (ranking, ("anchor", "positive"), False, 1),
        (ranking, ("anchor", "positive", "negative", "other"), False, 2),
        (cosent, ("left", "right"), True, 1),
        (matryoshka, ("anchor", "positive"), False, 1),
    ],
)
def test_sentence_trainer_takes_the_steps_of_the_whole_batch(folder, tmp_path, make_loss, columns, labels, accumulated):
    plain, cached = (
        sentence_trained(
            kind,
            folder,
            tmp_path,
            make_loss,
            sentences(columns, labels),
            gradient_accumulation_steps=accumulated,
        )
        for kind in (sentence_transformers.SentenceTransformerTrainer, Cached)
    )
    assert_same_weights(cached[0], plain[0], 2e-5)
    assert cached[1] == pytest.approx(plain[1], rel=1e-5)
    start = embedder(folder)
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), cached[0].parameters(), strict=True))


def test_sentence_trainer_in_bfloat16_and_with_several_losses(folder, tmp_path):
    data = {"one": sentences(("anchor", "positive")), "two": sentences(("left", "right"), labels=True)}
    losses = {"one": ranking, "two": cosent}
    plain, cached = (
        sentence_trained(kind, folder, tmp_path, losses, datasets.DatasetDict(data), bf16=True)
        for kind in (sentence_transformers.SentenceTransformerTrainer, Cached)
    )
    assert_same_weights(cached[0], plain[0], 2e-2)


def test_parameters_of_the_loss_are_trained(folder, tmp_path):
    class Scaled(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model, self.scale = model, nn.Parameter(torch.tensor(3.0))

        def forward(self, features, _):
            q, k = (nn.functional.normalize(self.model(f)["sentence_embedding"], dim=-1) for f in features)
            return nn.functional.cross_entropy(self.scale * q @ k.mT, torch.arange(len(q)))

    plain, cached = (
        sentence_trained(kind, folder, tmp_path, Scaled, sentences(("anchor", "positive")))
        for kind in (sentence_transformers.SentenceTransformerTrainer, Cached)
    )
    assert cached[2].scale.item() == pytest.approx(plain[2].scale.item(), abs=1e-5)
    assert cached[2].scale.item() != 3.0


def test_losses_that_cache_themselves_are_refused(folder, tmp_path):
    from sentence_transformers.sentence_transformer import losses

    def cached(model):
        return losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)

    with pytest.raises(ValueError, match="leave the caching of gradients to the trainer: got CachedMultiple"):
        sentence_trained(Cached, folder, tmp_path, cached, sentences(("anchor", "positive")))


def test_sentence_trainer_evaluates_with_the_loss_of_the_whole_batch(folder, tmp_path):
    model, data = embedder(folder), sentences(("anchor", "positive"))
    settings = {"per_device_eval_batch_size": 10, "eval_strategy": "steps", "eval_steps": 1}
    args = arguments(sentence_transformers.SentenceTransformerTrainingArguments, tmp_path, **settings)
    found = []
    for kind in (sentence_transformers.SentenceTransformerTrainer, Cached):
        trainer = kind(model=model, args=args, train_dataset=data, eval_dataset=data, loss=ranking(model))
        found.append(trainer.evaluate()["eval_loss"])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    trainer.train()
    assert sum("eval_loss" in row for row in trainer.state.log_history) == 3
    assert math.isfinite(trainer.predict(data).metrics["test_loss"])  # the trainer returns no predictions


@pytest.mark.parametrize("kind", [sentence_transformers.SentenceTransformerTrainer, Cached])
@pytest.mark.parametrize("name", ["FlatNCELoss", "InfoNCELoss", "CoSENTLoss"])
def test_a_last_batch_of_one_pair_does_not_end_the_training(folder, tmp_path, kind, name):
    columns, labelled = ("anchor", "positive"), name == "CoSENTLoss"
    data = sentences(columns, labels=labelled).select(range(7))
    settings = {"max_steps": -1, "num_train_epochs": 2}
    model, loss, _ = sentence_trained(kind, folder, tmp_path, getattr(for_sentences, name), data, **settings)
    assert math.isfinite(loss)
    assert all(p.isfinite().all() for p in model.parameters())
