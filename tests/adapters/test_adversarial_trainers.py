"""Adversarial steps inside trainers against the procedure in a plain loop, in tiny random models."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from tiny import small_bert
from torch import nn

from gezhi.adapters._adversarial import AdversarialTrainerMixin
from gezhi.adapters.lightning import AdversarialHooks, adversarial_callback
from gezhi.training import FGM, PGD, FreeLB, GradientPenalty, VirtualAdversarial, linf

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
IGNORED = pytest.mark.filterwarnings("ignore")  # the hosts' own; what they compute is what counts here


def sentences(count=16):
    draw = torch.Generator().manual_seed(0)
    rows = []
    for i in range(count):
        ids = torch.randint(3, 50, (6,), generator=draw)
        length = 3 + i % 4
        rows.append(
            {
                "input_ids": ids * (torch.arange(6) < length),
                "attention_mask": (torch.arange(6) < length).long(),
                "labels": i % 2,
            }
        )
    return rows


def collate(rows):
    batch = {key: torch.stack([row[key] for row in rows]) for key in ("input_ids", "attention_mask")}
    return batch | {"labels": torch.tensor([row["labels"] for row in rows])}


def classifier(dropout=0.0):
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(small_bert(dropout, num_labels=2))


def trainer(kind, folder, model=None, **settings):
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no", "seed": 3}
    sizes = {"per_device_train_batch_size": 4, "max_steps": 3, "learning_rate": 0.05, "optim": "sgd"}
    plain = {"use_cpu": True, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    args = transformers.TrainingArguments(output_dir=str(folder), **quiet | sizes | plain | settings)
    model = classifier() if model is None else model
    return kind(model=model, args=args, train_dataset=sentences(), data_collator=collate)


class Adversarial(AdversarialTrainerMixin, transformers.Trainer):
    adversary_settings = {"epsilon": 0.5}  # noqa: RUF012


def loop(procedure_of, batches, accumulated, **settings):
    """The reference: the procedure in a plain loop over the trainer's batches."""
    model = classifier().train()
    step = torch.optim.SGD(model.parameters(), 0.05)
    procedure = procedure_of(model, lambda model, batch: model(**batch).loss / accumulated, **settings)
    for i, batch in enumerate(batches):
        procedure(batch)
        if i % accumulated == accumulated - 1:
            step.step()
            step.zero_grad()
    return model


def seen_batches(folder, **settings):
    batches = []

    class Noting(transformers.Trainer):
        def training_step(self, model, inputs, *args):
            batches.append({key: value.clone() for key, value in inputs.items()})
            return super().training_step(model, inputs, *args)

    trainer(Noting, folder, **settings).train()
    return batches


def assert_same_weights(left, right, tolerance=1e-6):
    for (name, a), b in zip(left.state_dict().items(), right.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}")


# ---- transformers ---------------------------------------------------------------------------------------------------


@IGNORED
@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize(
    ("adversary", "settings"),
    [
        (FGM, {"epsilon": 0.5}),
        (FGM, {"epsilon": 0.5, "target": "*word_embeddings.weight", "clean": True}),
        (PGD, {"epsilon": 0.5, "steps": 2, "norm": linf}),
        (GradientPenalty, {"epsilon": 0.5, "power": 1}),
    ],
)
def test_the_trainer_takes_the_steps_of_the_loop(tmp_path, accumulated, adversary, settings):
    mine = trainer(Adversarial, tmp_path, gradient_accumulation_steps=accumulated)
    mine.adversary, mine.adversary_settings = adversary, settings
    mine.loss_is_scaled_for_ga = False  # BERT's loss knows nothing of accumulated batches, whatever it accepts
    mine.train()
    batches = seen_batches(tmp_path, gradient_accumulation_steps=accumulated)
    assert len(batches) == 3 * accumulated
    expected = loop(adversary, batches, accumulated, **settings)
    assert_same_weights(mine.model, expected)
    plain = trainer(transformers.Trainer, tmp_path, gradient_accumulation_steps=accumulated)
    plain.loss_is_scaled_for_ga = False
    plain.train()
    apart = [(a - b).abs().max().item() for a, b in zip(mine.model.parameters(), plain.model.parameters(), strict=True)]
    assert max(apart) > 1e-4


@IGNORED
def test_the_reported_loss_is_the_clean_one(tmp_path):
    losses = []
    for kind in (Adversarial, transformers.Trainer):
        losses.append(trainer(kind, tmp_path, max_steps=1, gradient_accumulation_steps=2).train().training_loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


@IGNORED
def test_a_tiny_perturbation_is_plain_training_with_label_smoothing_too(tmp_path):
    class Barely(Adversarial):
        adversary_settings = {"epsilon": 1e-9}  # noqa: RUF012

    for settings in ({}, {"label_smoothing_factor": 0.2}, {"gradient_accumulation_steps": 2}):
        found = [trainer(kind, tmp_path, **settings) for kind in (Barely, transformers.Trainer)]
        for one in found:
            one.train()
        assert_same_weights(found[0].model, found[1].model, 1e-5)


@IGNORED
def test_bfloat16_dropout_and_other_procedures_train(tmp_path):
    class Virtual(AdversarialTrainerMixin, transformers.Trainer):
        def adversarial(self, model, compute_loss, backward):
            def logits(model, batch):
                return model(**{key: value for key, value in batch.items() if key != "labels"}).logits

            return VirtualAdversarial(model, logits, compute_loss=compute_loss, epsilon=0.5, backward=backward)

    class Free(Adversarial):
        adversary = FreeLB

    for kind in (Virtual, Free, Adversarial):
        one = trainer(kind, tmp_path, classifier(dropout=0.1), bf16=True)
        before = copy.deepcopy(one.model.state_dict())
        assert math.isfinite(one.train().training_loss)
        moved = [not torch.equal(value, before[name]) for name, value in one.model.state_dict().items()]
        assert any(moved)


@IGNORED
def test_evaluation_is_the_trainers_own(tmp_path):
    found = []
    for kind in (Adversarial, transformers.Trainer):
        one = trainer(kind, tmp_path)
        found.append(one.evaluate(sentences(6))["eval_loss"])
    assert found[0] == found[1]


@IGNORED
def test_the_mixin_says_what_is_wrong(tmp_path):
    one = trainer(Adversarial, tmp_path)
    one.adversary_settings = {"target": "word"}
    with pytest.raises(ValueError, match="target must be 'input', or name a module or parameters of model: got 'word'"):
        one.train()
    one = trainer(Adversarial, tmp_path)
    one.args._n_gpu = 2
    with pytest.raises(ValueError, match="have one GPU a process: got DataParallel on 2"):
        one.training_step(one.model, collate(sentences(4)))


# ---- lightning ------------------------------------------------------------------------------------------------------


class Module(nn.Module):
    """What a LightningModule with automatic optimisation shows a callback."""

    automatic_optimization = True

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)
        self.logged = []

    def log(self, name, value):
        self.logged.append((name, float(value)))

    def training_step(self, batch, batch_idx):  # noqa: ARG002
        loss = nn.functional.cross_entropy(self.out(self.embed(batch[0]).mean(1).tanh()), batch[1])
        self.log("loss", loss.detach())
        return {"loss": loss}


class Driver:
    """Calls the hooks in Lightning's order, with its scaling of accumulated losses."""

    def __init__(self, module, callback, accumulated):
        self.module, self.callback, self.accumulate_grad_batches = module, callback, accumulated
        self.strategy = SimpleNamespace(
            backward=self.backward, precision_plugin=SimpleNamespace(train_step_context=self.context)
        )
        self.contexts = 0

    @contextmanager
    def context(self):
        self.contexts += 1
        yield

    def backward(self, loss, _optimizer):
        self.callback.on_before_backward(self, self.module, loss)
        loss.backward()
        self.callback.on_after_backward(self, self.module)

    def fit(self, batches):
        step = torch.optim.SGD(self.module.parameters(), 0.1)
        for i, batch in enumerate(batches):
            self.callback.on_train_batch_start(self, self.module, batch, i)
            with self.context():
                loss = self.module.training_step(batch, i)["loss"]
            self.backward(loss / self.accumulate_grad_batches, step)
            if i % self.accumulate_grad_batches == self.accumulate_grad_batches - 1:
                step.step()
                step.zero_grad()


def batches():
    draw = torch.Generator().manual_seed(1)
    return [(torch.randint(9, (5, 3), generator=draw), torch.randint(2, (5,), generator=draw)) for _ in range(4)]


def by_hand(clean, accumulated):
    module = Module()

    def loss(module, batch):
        return module.training_step(batch, 0)["loss"] / accumulated

    procedure = FGM(module, loss, epsilon=0.5, clean=clean)
    step = torch.optim.SGD(module.parameters(), 0.1)
    for i, batch in enumerate(batches()):
        procedure(batch)
        if i % accumulated == accumulated - 1:
            step.step()
            step.zero_grad()
    return module


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_hooks_take_the_steps_of_the_loop_and_log_once(clean, accumulated):
    module = Module()
    Driver(module, AdversarialHooks(FGM, clean=clean, epsilon=0.5), accumulated).fit(batches())
    assert_same_weights(module, by_hand(clean, accumulated))
    assert len(module.logged) == 4
    assert "log" not in vars(module)


def test_the_hooks_refuse_what_they_cannot_do():
    module, hooks = Module(), AdversarialHooks()
    module.automatic_optimization = False
    with pytest.raises(ValueError, match="module must optimise automatically"):
        hooks.on_train_batch_start(None, module, None, 0)
    module.automatic_optimization = True
    with pytest.raises(ValueError, match="trainer must have one process: got world_size=2"):
        hooks.on_train_batch_start(SimpleNamespace(world_size=2), module, None, 0)


def test_a_failing_step_leaves_the_hooks_ready():
    module = Module()
    hooks = AdversarialHooks(FGM, epsilon=0.5)
    driver = Driver(module, hooks, 1)
    with pytest.raises(IndexError):
        driver.fit([(torch.tensor([[99]]), torch.tensor([0]))])
    assert not hooks._busy
    driver.fit(batches())
    assert "log" not in vars(module)


def test_without_lightning_the_callback_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "lightning.pytorch", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning is not installed\. Run: pip install lightning"):
        adversarial_callback(epsilon=0.5)


@IGNORED
@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_lightning_takes_the_steps_of_the_loop(tmp_path, clean, accumulated):
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Real(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            made = Module()
            self.embed, self.out = made.embed, made.out

        def training_step(self, batch, batch_idx):  # noqa: ARG002
            loss = nn.functional.cross_entropy(self.out(self.embed(batch[0]).mean(1).tanh()), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    host = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        default_root_dir=tmp_path,
        accumulate_grad_batches=accumulated,
        callbacks=[adversarial_callback(FGM, clean=clean, epsilon=0.5)],
        **quiet,
    )
    module = Real()
    host.fit(module, torch.utils.data.DataLoader(batches(), batch_size=None))
    assert_same_weights(module, by_hand(clean, accumulated))
