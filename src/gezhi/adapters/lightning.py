"""Lightning: adversarial training as a callback, for modules with automatic optimisation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from gezhi._checks import invalid, require
from gezhi.training.adversarial import FGM


class AdversarialHooks:
    """The hooks themselves, for Lightning's trainer and any that calls them alike.

    After the backward pass of a batch its gradient is put aside (kept with `clean`), and the procedure adds its own, by
    the module's `training_step` and the strategy's `backward`. What the step logs is logged once.

    Args:
        adversary: `FGM`, `PGD`, `FreeLB`, `GradientPenalty`, or any `(module, compute_loss, *, backward, **settings)`.
        clean: add the gradient without perturbation as well.
        settings: of the procedure, such as `epsilon` and `target`.
    Errors: those of the procedure at the first step; ValueError for manual optimisation and for several processes.
    Cost: one plain step more than the procedure.
    """

    def __init__(self, adversary: Callable[..., Any] = FGM, *, clean: bool = False, **settings: Any) -> None:
        super().__init__()
        self.adversary, self.clean, self.settings = adversary, clean, settings
        self._batch: tuple[Any, int] | None = None
        self._before: list[tuple[Any, Tensor | None]] = []
        self._procedure: tuple[Any, Callable[[Any], Tensor]] | None = None
        self._busy = False

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        """Remember the batch."""
        if not getattr(pl_module, "automatic_optimization", True):
            fix = "Call the procedure in training_step instead of manual_backward."
            raise invalid("module", "optimise automatically", "automatic_optimization=False", fix)
        if getattr(trainer, "world_size", 1) > 1:
            fix = "Call the procedure in training_step, with manual optimisation."
            raise invalid("trainer", "have one process", f"world_size={trainer.world_size}", fix)
        self._batch = batch, batch_idx

    def on_before_backward(self, _trainer: Any, pl_module: Any, _loss: Tensor) -> None:
        """Put aside what earlier batches added."""
        if not self._busy and not self.clean:
            self._before = [(p, p.grad) for p in pl_module.parameters()]
            for parameter, _ in self._before:
                parameter.grad = None

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Add the gradient of the procedure in the place of the one that was just computed."""
        if self._busy or self._batch is None:
            return
        for parameter, grad in self._before:
            parameter.grad = grad
        self._before = []
        batch, index = self._batch
        self._busy = True
        try:
            with _silent(pl_module):
                self._made(trainer, pl_module)((batch, index))
        finally:
            self._busy = False

    def _made(self, trainer: Any, module: Any) -> Callable[[Any], Tensor]:
        if self._procedure is None or self._procedure[0] is not module:

            def compute_loss(module: Any, batch: tuple[Any, int]) -> Tensor:
                with trainer.strategy.precision_plugin.train_step_context():
                    return _loss_of(module.training_step(*batch[: _arguments(module)]))

            def backward(loss: Tensor) -> None:
                trainer.strategy.backward(loss / trainer.accumulate_grad_batches, None)

            self._procedure = module, self.adversary(module, compute_loss, backward=backward, **self.settings)
        return self._procedure[1]


def adversarial_callback(adversary: Callable[..., Any] = FGM, *, clean: bool = False, **settings: Any) -> Any:
    """A Lightning `Callback` with the hooks of `AdversarialHooks`, to be passed to `Trainer(callbacks=[…])`.

    Args: as `AdversarialHooks`.
    Errors: ModuleNotFoundError without Lightning.
    Example: `Trainer(callbacks=[adversarial_callback(FGM, epsilon=0.5, target="encoder.embeddings")])`
    """
    try:
        base: Any = require("lightning.pytorch", "lightning").Callback
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("lightning is not installed. Run: pip install lightning", name="lightning") from error
    kind = type("AdversarialCallback", (AdversarialHooks, base), {})
    return kind(adversary, clean=clean, **settings)


def _arguments(module: Any) -> int:
    """How many of (batch, index) the step takes."""
    taken = inspect.signature(module.training_step).parameters.values()
    free = any(p.kind == p.VAR_POSITIONAL for p in taken)
    return 2 if free else min(2, len(taken))


def _loss_of(output: Any) -> Tensor:
    loss: Tensor = output["loss"] if isinstance(output, dict) else output
    return loss


@contextmanager
def _silent(module: Any) -> Iterator[None]:
    """The module logs nothing in here: its numbers of this batch stand already."""
    names = [name for name in ("log", "log_dict") if name not in vars(module)]
    for name in names:
        vars(module)[name] = lambda *_args, **_settings: None
    try:
        yield
    finally:
        for name in names:
            del vars(module)[name]
