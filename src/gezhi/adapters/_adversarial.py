"""Adversarial training in transformers' `Trainer` and those that descend from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters._training import HostTrainer, accumulated, begin_step, procedure_step
from gezhi.training.adversarial import FGM


class AdversarialTrainerMixin(HostTrainer):
    """`training_step` of transformers' `Trainer` by `FGM` or another procedure of `gezhi.training`.

    It stands before `Trainer` among the bases, and that is all that FGM on the input embedding takes:

        class MyTrainer(AdversarialTrainerMixin, Trainer):
            adversary_settings = {"epsilon": 0.5}

    Gradient accumulation, mixed precision, label smoothing, `compute_loss_func` and DDP are the trainer's own, and so
    is evaluation, in which nothing is perturbed. What is logged as loss is the loss without perturbation.

    Attributes:
        adversary: `FGM`, `PGD`, `FreeLB`, `GradientPenalty`, or any `(model, compute_loss, *, backward, **settings)`.
        adversary_settings: its settings, such as `epsilon`, `target` and `norm`.

    For a procedure of another signature, such as `VirtualAdversarial`, override `adversarial`.

    Errors: those of the procedure at the first step; ValueError under DeepSpeed, FSDP, Megatron and `DataParallel`.
    Cost: about two plain steps a step with FGM.
    """

    adversary: Callable[..., Any] = FGM
    adversary_settings: ClassVar[Mapping[str, Any]] = {}
    _adversarial: tuple[Any, Callable[[Any], Tensor]] | None = None
    _items: Any = None
    _backward: Callable[[Tensor], Any]

    def adversarial(
        self, model: Any, compute_loss: Callable[[Any, Any], Tensor], backward: Callable[[Tensor], Any]
    ) -> Callable[[Any], Tensor]:
        """The procedure for a model; called once, and kept for all steps.

        Args:
            model: as the trainer has wrapped it.
            compute_loss: the trainer's own loss of a model and a batch.
            backward: the trainer's own way back.
        """
        make = vars(self).get("adversary", type(self).adversary)
        procedure: Callable[[Any], Tensor] = make(model, compute_loss, backward=backward, **self.adversary_settings)
        return procedure

    def training_step(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Add the gradient of one batch and return its loss, as the trainer's own does."""
        if getattr(self.args, "n_gpu", 1) > 1:
            fix = "Launch one process for each GPU (DDP)."
            raise invalid("trainer", "have one GPU a process", f"DataParallel on {self.args.n_gpu}", fix)
        prepared = begin_step(self, model, inputs)
        self._items = num_items_in_batch

        def build(backward: Callable[[Tensor], Any]) -> Callable[[Any], Tensor]:
            self._backward = backward
            if self._adversarial is None or self._adversarial[0] is not model:
                made = self.adversarial(model, self._clean_loss, lambda loss: self._backward(loss))
                self._adversarial = model, made
            return self._adversarial[1]

        return procedure_step(self, build, [prepared], self._share())

    def _clean_loss(self, model: Any, batch: Mapping[str, Any]) -> Tensor:
        """The trainer's loss on a copy of the batch, since the trainer may take the labels out of it."""
        with self.compute_loss_context_manager():
            loss: Tensor = self.compute_loss(model, dict(batch), num_items_in_batch=self._items)
        return loss

    def _share(self) -> int:
        """By what the trainer divides the loss: nothing where it is already a mean over all accumulated tokens."""
        scaled = getattr(self, "loss_is_scaled_for_ga", None)
        if scaled is None:
            counts = getattr(self, "model_accepts_loss_kwargs", False) and self._items is not None
            scaled = counts or getattr(self, "compute_loss_func", None) is not None
        return 1 if scaled else accumulated(self)
