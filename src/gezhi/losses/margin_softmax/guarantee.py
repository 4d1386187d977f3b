"""What the triangle inequality promises of given features: the margin they need, and how often it is reached."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gezhi._checks import invalid
from gezhi.losses._rows import check_index, unit_rows


@torch.no_grad()
def estimate_margin(
    features: Float[Tensor, "rows dim"], weight: Float[Tensor, "classes dim"], labels: Int[Tensor, " rows"]
) -> float:
    r"""The margin that the derivation asks for: the mean diameter of a class, with $d=\sqrt{1-\cos}$.

    $$m=2\,\mathbb E\,d(z,c_z) \tag{4}$$

    It is the mean of $d(z_3,c_1)+d(z_2,c_2)$ over all ordered pairs of rows. The article suggests to train without a
    margin, estimate it, train with it, and repeat.

    Args:
        features, weight: of any length; zero rows have the cosine 0 with everything.
        labels: class of each row.
    Returns: from 0 to 2√2, in units of that distance: for `metric_margin_loss`. 2√2 times as much is a sufficient
        margin between cosines.
    Errors: ValueError without rows, and for labels outside the classes.
    Example:
        >>> estimate_margin(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 0.0]]), torch.tensor([0, 0]))
        1.0

    References: 苏剑林, 从三角不等式到Margin Softmax, 2021.
    """
    return 2 * _from_centres(features, weight, labels).gather(1, labels.long()[:, None]).mean().item()  # (4)


@torch.no_grad()
def retrieval_guarantee(
    features: Float[Tensor, "rows dim"], weight: Float[Tensor, "classes dim"], labels: Int[Tensor, " rows"]
) -> float:
    r"""Share of triples whose order is certain from the distances to class centres alone, with $d=\sqrt{1-\cos}$.

    $$d(z_1,c_1)+d(z_3,c_1)+d(z_2,c_2)<d(z_1,c_2) \tag{3}$$

    A triple is a query z₁, another row z₃ of its class and a row z₂ of another class; where (3) holds, z₃ is nearer to
    z₁ than z₂ is.

    Returns: from 0 to 1, exact.
    Errors: ValueError if there is no triple, and for labels outside the classes.
    Cost: O(B² log B) time for B rows.
    Example:
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> retrieval_guarantee(z, torch.eye(2), torch.tensor([0, 0, 1]))
        1.0

    References: 苏剑林, 从三角不等式到Margin Softmax, 2021.
    """
    distance, labels = _from_centres(features, weight, labels), labels.long()
    own = distance.gather(1, labels[:, None]).squeeze(1)
    held = triples = 0
    for label in labels.bincount().nonzero():
        inside = labels == label
        z1, z2 = inside.nonzero().squeeze(1), (~inside).nonzero().squeeze(1)
        room = distance[z1][:, labels[z2]] - own[z1, None] - own[z2]  # (3): z₃ must be nearer to its centre than this
        nearer = torch.searchsorted(own[z1].sort().values, room)
        held += int((nearer - (own[z1, None] < room).long()).sum())  # z₃ is not z₁
        triples += room.numel() * (len(z1) - 1)
    if not triples:
        raise invalid("labels", "hold two classes, one of them twice", labels.tolist(), "There is no triple to judge.")
    return held / triples


def _from_centres(features: Tensor, weight: Tensor, labels: Tensor) -> Float[Tensor, "rows classes"]:
    """√(1 - cos) of each row from each centre, in float64."""
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1] or not len(features):
        found = f"{tuple(features.shape)} and {tuple(weight.shape)}"
        raise invalid("features and weight", "be matrices of one width with a row at least", found)
    check_index("labels", labels, len(features), len(weight))
    cosine = unit_rows(features.double()) @ unit_rows(weight.double()).mT
    return (1 - cosine).clamp(min=0).sqrt()
