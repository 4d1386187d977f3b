"""What all mixers share: one call, masks as rules, and errors that name the mixer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gezhi._checks import invalid
from gezhi.nn.attention import Mask, as_mask


class TokenMixer(nn.Module):
    """A block (batch, n, dim) -> (batch, n, dim) that lets tokens exchange what they hold.

    Attributes:
        seq_len: the number of tokens that the weights are made for; None where any number will do.
        allow_shorter: whether fewer tokens are taken too, by the leading part of the weights.
        masks: parts of a `Mask` that the mathematics of the mixer can obey.
    """

    seq_len: int | None = None
    allow_shorter: bool = False
    masks: frozenset[str] = frozenset()
    advice: str = ""

    def forward(
        self, x: Float[Tensor, "batch n dim"], mask: Mask | Tensor | None = None
    ) -> Float[Tensor, "batch n dim"]:
        """Mixed tokens; hidden ones have no influence on those that may not see them.

        Args:
            x: tokens.
            mask: True may be seen; a `Mask`, or a bool tensor where the mixer has a matrix over tokens.
        """
        rule, n, name = as_mask(mask), x.shape[1], type(self).__name__
        if self.seq_len is not None and n != self.seq_len and not (self.allow_shorter and n < self.seq_len):
            fix = "Pad the input, or build it for that length."
            raise invalid(f"the input of {name}", f"have {self.seq_len} tokens", n, fix)
        for part, used in (
            ("causal", rule.causal),
            ("prefix", rule.prefix > 0),
            ("keys", rule.keys is not None),
            ("dense", rule.dense is not None),
        ):
            if used and part not in self.masks:
                must = f"do without {part} for {name}, whose every output depends on every token"
                raise invalid("mask", must, part, self.advice)
        rule.check(x.shape[0], 1, n, n)
        return self.mix(x, rule)

    def mix(self, x: Tensor, mask: Mask) -> Tensor:
        """The block itself."""
        raise NotImplementedError


class MLP(nn.Module):
    """Two linear layers around a GELU, over the last axis."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


def token_matrix(weight: Float[Tensor, "most most"], mask: Mask, n: int, hidden: float = 0.0) -> Tensor:
    """The leading n × n part of a matrix over tokens, with `hidden` where the mask forbids."""
    weight, allowed = weight[:n, :n], mask.tensor(n, n, weight.device)
    if allowed is None:
        return weight
    return weight.masked_fill(~(allowed[:, 0] if allowed.ndim == 4 else allowed), hidden)


def matmul(matrix: Tensor, x: Tensor) -> Tensor:
    """A matrix over tokens, times tokens, in the dtype of the tokens."""
    return torch.matmul(matrix.to(x.dtype), x)
