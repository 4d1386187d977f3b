"""sentence-transformers: gezhi's losses for its trainers, and contrastive gradients of large batches in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor

from gezhi._checks import invalid
from gezhi.adapters._sentence_losses import CoSENTLoss as CoSENTLoss
from gezhi.adapters._sentence_losses import CrossEncoderCoSENTLoss as CrossEncoderCoSENTLoss
from gezhi.adapters._sentence_losses import FlatNCELoss as FlatNCELoss
from gezhi.adapters._sentence_losses import InfoNCELoss as InfoNCELoss
from gezhi.adapters._sentence_losses import MarginSoftmaxLoss as MarginSoftmaxLoss
from gezhi.adapters._training import HostTrainer, begin_step, cached_step


class ContrastiveCacheTrainerMixin(HostTrainer):
    """`training_step` of SentenceTransformerTrainer by `ContrastiveCache`: memory for a chunk, gradient of the batch.

        class MyTrainer(ContrastiveCacheTrainerMixin, SentenceTransformerTrainer):
            chunk_size = 32

        MyTrainer(model=model, args=args, train_dataset=pairs, loss=MultipleNegativesRankingLoss(model)).train()

    It stands before the trainer among the bases. Any loss works that computes from `sentence_embedding` alone, on
    as many columns as it likes, and dictionaries of losses; the batch size is `per_device_train_batch_size`. Gradient
    accumulation, mixed precision and DDP are the trainer's own; in several processes each has its own batch, as
    with any loss there. Parameters of the loss are trained as well.

    Attributes:
        chunk_size: rows of a column that are encoded at once.
        batch_norm: as in `ContrastiveCache`.

    Errors: ValueError for losses that cache gradients themselves; those of `ContrastiveCache`.
    """

    _embeddings: Sequence[Tensor] | None = None

    def collect_features(self, inputs: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Tensor | None]:
        """The columns of a batch; while a loss is computed, with the embeddings that it is a function of."""
        features, labels = super().collect_features(inputs)  # type: ignore[misc]
        if self._embeddings is None:
            return features, labels
        return [f | {"sentence_embedding": h} for f, h in zip(features, self._embeddings, strict=True)], labels

    def training_step(self, model: Any, inputs: Mapping[str, Any], *_host: Any) -> Tensor:
        """Add the gradient of one batch and return its loss, as the trainer's own does."""
        inputs = begin_step(self, model, inputs)
        for loss in self.loss.values() if isinstance(self.loss, dict) else [self.loss]:
            if getattr(loss, "uses_gradient_cache", False):
                fix = "Take the plain loss of the same name, without Cached."
                raise invalid("loss", "leave the caching of gradients to the trainer", type(loss).__name__, fix)
        features, _ = self.collect_features(inputs)
        columns = [(_rows_alone(rows),) for rows in features]
        loss_fn = partial(self._loss_of, model, inputs)
        return cached_step(self, model, loss_fn, lambda output: output["sentence_embedding"], columns)

    def _loss_of(self, model: Any, inputs: Mapping[str, Any], *embeddings: Tensor) -> Tensor:
        """The trainer's loss as a function of embeddings: the model only hands over what its features hold."""
        self._embeddings = embeddings
        try:
            with _forward_by(model, lambda features, **_: features):
                loss: Tensor = self.compute_loss(model, dict(inputs))
        finally:
            self._embeddings = None
        return loss


def _rows_alone(features: Mapping[str, Any]) -> dict[str, Any]:
    """The length of a prompt is one number for all rows."""
    length = features.get("prompt_length")
    return {**features, "prompt_length": int(length[0])} if isinstance(length, Tensor) and length.ndim else {**features}


@contextmanager
def _forward_by(model: Any, forward: Any) -> Iterator[None]:
    """The model with another `forward` for a while; whoever holds the model calls that."""
    before = model.__dict__.get("forward")
    model.forward = forward
    try:
        yield
    finally:
        if before is None:
            del model.forward
        else:
            model.forward = before
