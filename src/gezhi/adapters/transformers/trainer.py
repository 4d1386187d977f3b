"""Contrastive gradients of large batches in transformers' `Trainer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gezhi.adapters._training import HostTrainer, begin_step, cached_step, encoded


class ContrastiveCacheTrainerMixin(HostTrainer):
    """`training_step` of transformers' `Trainer` by `ContrastiveCache`: memory for a chunk, gradient of the batch.

    It stands before `Trainer` among the bases, and a subclass says what the loss is:

        class MyTrainer(ContrastiveCacheTrainerMixin, Trainer):
            chunk_size = 32

            def contrastive_loss(self, representations, inputs):
                queries, documents = representations
                ...

    A batch is what the data collator returns: a mapping of mappings (`{"query": {"input_ids": …}, "document": …}`) is
    one input of the model for each, any other mapping is one input. Gradient accumulation, mixed precision and DDP are
    the trainer's own; in several processes each has its own batch, and gradients are averaged.

    `evaluate()`, `predict()` and `eval_strategy` work. `eval_loss` is the mean over batches, weighed by their rows, of
    the loss of each batch of `per_device_eval_batch_size` in its own process: batches are not gathered into one, so
    compare it at one size, and a shorter last batch has fewer negatives. The predictions are the representations, one
    array for each input; `label_ids` are what `args.label_names` names in the batch.

    Attributes:
        chunk_size: rows of an input that are encoded at once.
        batch_norm: as in `ContrastiveCache`.

    Errors: NotImplementedError without a loss; ValueError under DeepSpeed, FSDP and Megatron; those of
        `ContrastiveCache`.
    """

    def contrastive_loss(self, representations: Sequence[Tensor], inputs: Mapping[str, Any]) -> Tensor:
        """The loss of a batch, by its representations, one for each input; labels stand in `inputs`."""
        raise NotImplementedError("contrastive_loss must be defined: return a scalar from the representations.")

    def contrastive_inputs(self, inputs: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The model's inputs in a batch."""
        towers = [value for value in inputs.values() if isinstance(value, Mapping)]
        return towers or [inputs]

    def representation(self, output: Any) -> Tensor:
        """The (rows, …) tensor in the model's output: the output itself unless overridden."""
        tensor: Tensor = output
        return tensor

    def compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """The same loss from one graph."""
        outputs = [model(**batch) for batch in self.contrastive_inputs(inputs)]
        loss = self.contrastive_loss([self.representation(output) for output in outputs], inputs)
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: Mapping[str, Any], prediction_loss_only: bool, *_host: Any, **_settings: Any
    ) -> tuple[Tensor, Any, Any]:
        """Loss, representations and labels of one batch."""
        inputs = self._prepare_inputs(inputs)
        batches = self.contrastive_inputs(inputs)
        with torch.no_grad():
            with self.compute_loss_context_manager():
                found = [encoded(model, batch, self.representation, self.chunk_size) for batch in batches]
            loss = self.contrastive_loss(found, inputs).detach()
        if prediction_loss_only:
            return loss, None, None
        labels = tuple(inputs[name] for name in self.label_names or () if inputs.get(name) is not None)
        return (
            loss,
            found[0] if len(found) == 1 else tuple(found),
            (labels if len(labels) > 1 else next(iter(labels), None)),
        )

    def training_step(self, model: Any, inputs: Mapping[str, Any], *_host: Any) -> Tensor:
        """Add the gradient of one batch and return its loss, as the trainer's own does."""
        inputs = begin_step(self, model, inputs)

        def loss_fn(*representations: Tensor) -> Tensor:
            return self.contrastive_loss(representations, inputs)

        return cached_step(self, model, loss_fn, self.representation, self.contrastive_inputs(inputs))
