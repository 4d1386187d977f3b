"""The margin softmax as a function of cosines or distances, and as a module that owns the class centres."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import check_number, invalid
from gezhi.losses._rows import Reduction, at_least_single, check_index, reduce, unit_rows
from gezhi.losses.margin_softmax.classes import class_scores
from gezhi.losses.margin_softmax.margins import Margin, additive_cosine
from gezhi.losses.ranking import against

AM = additive_cosine()


def margin_softmax_loss(
    cosine: Float[Tensor, "rows classes"],
    labels: Int[Tensor, " rows"],
    *,
    margin: Margin = AM,
    scale: float = 30.0,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Float[Tensor, "*rows"]:
    r"""Cross-entropy of scaled cosines in which the target's cosine is first made smaller.

    $$\ell=\log\Big(1+\sum_{j\neq t}e^{s(\cos\theta_j-\psi(\theta_t))}\Big) \tag{8}$$

    Args:
        cosine: of each row with each class centre. Half precision is summed in float32.
        labels: t, the class of each row.
        margin: ψ as a function of the target's cosine: `additive_cosine(m)`, `additive_angle(m)`,
            `quadruple_angle()`, or one's own.
        scale: s > 0. 30 is AM-Softmax's choice, 64 that of CosFace and ArcFace.
        label_smoothing: as in `torch.nn.functional.cross_entropy`, on the logits with margin; from 0 to 1.
        ignore_index: rows with this label count for nothing; if all have it the loss is 0.
        reduction: "mean" over rows that count, "sum" or "none".
    Returns: without smoothing values ≥ 0 that keep their digits however small they are; float32 at least.
    Errors: ValueError for a label outside the classes, naming its row, and for scale ≤ 0.
    Use instead: `MarginSoftmaxLoss` when the classes are many; it never forms `cosine` and a copy of it.
    Example:
        >>> margin_softmax_loss(torch.tensor([[0.8, 0.3, -0.2]]), torch.tensor([0])).item()
        0.01104...

    References: F. Wang, J. Cheng, W. Liu and H. Liu, Additive Margin Softmax for Face Verification, 2018; 苏剑林,
        从三角不等式到Margin Softmax, 2021.
    """
    check_number("scale", scale, above=0)
    check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
    cosine = _matrix("cosine", cosine)
    check_index("labels", labels, cosine.shape[0], cosine.shape[1], ignore_index)
    target, counted = _target(labels, ignore_index)
    own = cosine.gather(1, target[:, None]).squeeze(1)
    positive, negatives = scale * margin(own), scale * cosine
    loss = against(positive, negatives.scatter(1, target[:, None], -torch.inf))  # (8)
    if label_smoothing:
        loss = loss + _smoothing(label_smoothing, positive, negatives.sum(-1) - scale * own, cosine.shape[1])
    return reduce(loss.masked_fill(~counted, 0), reduction, counted)


def metric_margin_loss(
    distance: Float[Tensor, "rows classes"],
    labels: Int[Tensor, " rows"],
    *,
    scale: float = 30.0,
    margin: float = 0.35,
    reduction: Reduction = "mean",
) -> Float[Tensor, "*rows"]:
    r"""The form that the triangle inequality gives: a row must be nearer to its own centre by a margin.

    $$\log\Big(1+\sum_{j\neq t}e^{s(d(z,c_t)+m-d(z,c_j))}\Big) \tag{5}$$

    Args:
        distance: of each row from each class centre, ≥ 0, in a metric: √(1 - cos), an angle, a Euclidean distance; not
            1 - cos, for which the derivation fails.
        labels: t, the class of each row.
        scale: s > 0.
        margin: m ≥ 0, in units of the distance; `estimate_margin` gives the article's choice.
    Errors: ValueError for negative distances and for labels outside the classes, naming the row.
    Example:
        >>> metric_margin_loss(torch.tensor([[0.1, 0.9]]), torch.tensor([0]), scale=10, margin=0.2).item()
        0.0024...

    References: 苏剑林, 从三角不等式到Margin Softmax, 2021.
    """
    check_number("scale", scale, above=0)
    check_number("margin", margin, at_least=0)
    distance = _matrix("distance", distance)
    check_index("labels", labels, *distance.shape)
    if not torch.compiler.is_compiling() and (distance < 0).any():
        row, column = (distance < 0).nonzero()[0].tolist()
        found = f"{distance[row, column].item():g} in row {row}, column {column}"
        raise invalid("distance", "be 0 or more", found, "Pass distances, not similarities.")
    nearness, target = -scale * distance, labels.long()[:, None]
    positive = nearness.gather(1, target).squeeze(1)
    loss = against(positive, nearness.scatter(1, target, -torch.inf), margin=scale * margin)  # (5)
    return reduce(loss, reduction)


class MarginSoftmaxLoss(torch.nn.Embedding):
    r"""`margin_softmax_loss` of features against class centres that it owns, for up to millions of classes.

    Args:
        num_classes, embedding_dim: shape of `weight`, the class centres, drawn from N(0, 0.01²); only their directions
            matter.
        margin, scale, label_smoothing, ignore_index: as in `margin_softmax_loss`.
        recompute: do not keep the (rows, classes) exponentials for backward, at the price of a third matrix product
            more.
    Errors: ValueError for bad labels, features of another width, and scale ≤ 0.
    It is the `torch.nn.Embedding` of the class centres, by which DDP knows when their gradient is sparse.

    Cost: three matrix products rows × classes × dim, two thousand classes at a time. Beside `weight` and its gradient
        one matrix (rows, classes) is held, and none with `recompute`. Half precision and autocast are computed in
        float32. First derivatives only: for higher ones pass cosines to `margin_softmax_loss`.
    Example:
        >>> loss = MarginSoftmaxLoss(3, 2, margin=additive_cosine(0.2), scale=4.0)
        >>> loss.weight.data = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
        >>> loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item()
        0.0406...

    References: J. Deng, J. Guo, N. Xue and S. Zafeiriou, ArcFace: Additive Angular Margin Loss for Deep Face
        Recognition, 2018; 苏剑林, 从三角不等式到Margin Softmax, 2021.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        margin: Margin = AM,
        scale: float = 30.0,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        recompute: bool = False,
    ) -> None:
        check_number("num_classes", num_classes, at_least=1)
        check_number("embedding_dim", embedding_dim, at_least=1)
        check_number("scale", scale, above=0)
        check_number("label_smoothing", label_smoothing, at_least=0, at_most=1)
        super().__init__(num_classes, embedding_dim)
        self.margin, self.scale, self.label_smoothing = margin, float(scale), float(label_smoothing)
        self.ignore_index, self.recompute = ignore_index, recompute

    def reset_parameters(self) -> None:
        torch.nn.init.normal_(self.weight, std=0.01)

    def forward(  # type: ignore[override]
        self, features: Float[Tensor, "rows dim"], labels: Int[Tensor, " rows"]
    ) -> Float[Tensor, ""]:
        """Mean loss of the rows that count."""
        return self._loss(features, self.weight, labels)

    def logits(self, features: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows classes"]:
        """s cos without margin, for inference; in the wider type of `features` and `weight`, float32 at least."""
        return self._cosine(self._unit(features), self.weight) * self.scale

    def _loss(self, features: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        classes = len(weight)
        unit = self._unit(features)
        check_index("labels", labels, len(unit), classes, self.ignore_index)
        target, counted = _target(labels, self.ignore_index)
        if torch.compiler.is_compiling():  # the compiler fuses and recomputes by itself
            return margin_softmax_loss(
                self._cosine(unit, weight),
                labels,
                margin=self.margin,
                scale=self.scale,
                label_smoothing=self.label_smoothing,
                ignore_index=self.ignore_index,
            )
        seen = class_scores(
            unit, weight, target, scale=self.scale, summed=self.label_smoothing > 0, recompute=self.recompute
        )
        positive = self.scale * self.margin(seen.own)
        loss = torch.logaddexp(seen.rest - positive, torch.zeros_like(positive))  # (8)
        if self.label_smoothing:
            loss = loss + _smoothing(self.label_smoothing, positive, seen.total, classes)
        return reduce(loss.masked_fill(~counted, 0), "mean", counted)

    def _cosine(self, unit: Tensor, weight: Tensor) -> Float[Tensor, "rows classes"]:
        return unit @ unit_rows(weight.to(unit.dtype)).mT

    def _unit(self, features: Tensor) -> Tensor:
        if features.ndim != 2 or features.shape[1] != self.weight.shape[1]:
            raise invalid("features", f"have shape (rows, {self.weight.shape[1]})", tuple(features.shape))
        return unit_rows(features.to(torch.promote_types(features.dtype, self.weight.dtype)))

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}, scale={self.scale:g}"


class SampledMarginSoftmaxLoss(MarginSoftmaxLoss):
    r"""`MarginSoftmaxLoss` over the classes in the batch and a random share of the others, drawn anew at each call.

    In evaluation mode it takes all classes. The loss of a sample is smaller than that of all classes, since fewer wrong
    ones stand in its sum; nothing is added to make up for it.

    Args:
        num_classes, embedding_dim, settings: as in `MarginSoftmaxLoss`.
        class_share: share of all classes to take, 0 < share ≤ 1; never fewer than there are rows. 0.1 is the paper's.
        sparse: give `weight` a sparse gradient that holds the taken classes alone, for `torch.optim.SparseAdam` or
            `SGD`. DDP exchanges it sparsely where the backend can (gloo); each process draws classes of its own.
    Cost: that of `MarginSoftmaxLoss` on the share, plus a random number a class and a copy of the taken centres.
    Example:
        >>> loss = SampledMarginSoftmaxLoss(1000, 2, class_share=0.01, sparse=True)
        >>> loss(torch.ones(4, 2), torch.arange(4), generator=torch.Generator().manual_seed(0)).backward()
        >>> loss.weight.grad._nnz()
        10

    References: X. An et al., Partial FC: Training 10 Million Identities on a Single Machine, 2020.
    """

    def __init__(
        self,
        num_classes: int,
        embedding_dim: int,
        *,
        class_share: float = 0.1,
        sparse: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(num_classes, embedding_dim, **settings)
        check_number("class_share", class_share, above=0)
        check_number("class_share", class_share, at_most=1)
        self.class_share, self.sparse = class_share, sparse

    def forward(  # type: ignore[override]
        self,
        features: Float[Tensor, "rows dim"],
        labels: Int[Tensor, " rows"],
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """Mean loss of the rows that count, over the classes that `generator` draws."""
        if not self.training or (self.class_share == 1 and not self.sparse):
            return self._loss(features, self.weight, labels)
        check_index("labels", labels, len(features), len(self.weight), self.ignore_index)
        target, counted = _target(labels, self.ignore_index)
        taken = self.taken(target[counted], generator)
        centres = torch.nn.functional.embedding(taken, self.weight, sparse=self.sparse)
        places = torch.searchsorted(taken, target)
        return self._loss(features, centres, places.masked_fill(~counted, self.ignore_index))

    def taken(self, labels: Int[Tensor, " rows"], generator: torch.Generator | None = None) -> Int[Tensor, " taken"]:
        """The classes of `labels`, and random others, in order."""
        classes, device = len(self.weight), labels.device
        count = min(max(round(self.class_share * classes), len(labels), 1), classes)
        place = device if generator is None else generator.device
        lot = torch.rand(classes, generator=generator, device=place).to(device)
        lot[labels] = 2  # above every draw
        return lot.topk(count).indices.sort().values

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, class_share={self.class_share:g}, sparse={self.sparse}"


def _matrix(argument: str, values: Tensor) -> Tensor:
    if values.ndim != 2 or not values.shape[1]:
        raise invalid(argument, "have shape (rows, classes)", tuple(values.shape))
    return at_least_single(values, argument)


def _target(labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Labels with a class in rows that are ignored, and which rows count."""
    counted = labels != ignore_index
    return labels.long().masked_fill(~counted, 0), counted


def _smoothing(share: float, positive: Tensor, total: Tensor, classes: int) -> Tensor:
    """What smoothed labels add: the share that the target gives away, evenly, to all classes."""
    return share * (positive - (total + positive) / classes)
