r"""Attention by a feature map: sums over the keys so far, bidirectional, causal in chunks, or step by step.

Notation: $S=\sum_j\varphi(k_j)v_j^\top$ = `sums`, $z=\sum_j\varphi(k_j)$ = `norms`, in units of $e^\mu$, μ = `peaks`.

Features with a logarithm are held as such and raised relative to a reference: the highest value that each channel has
had. References cancel in the quotient, so they take no gradient. A rotation mixes the two channels of a pair, so those
share their reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from gezhi.nn.attention.kernels import FeatureMap
from gezhi.nn.attention.rule import Mask

Rotate = Callable[[Tensor, int], Tensor]

BLOCK, CHUNK = 4096, 64  # tokens whose features exist at once; side of the matrices inside a block
_LOG_ZERO, _NO_PEAK = -1e30, -1e20  # finite, so that no gradient is NaN; exp(_LOG_ZERO - _NO_PEAK) is 0
_STEEP = 30.0  # a block has one reference while no channel's maximum rises by more: e^±30 is far inside float32
_EPS = 1e-6  # least normaliser of maps without logarithms


class LinearState(NamedTuple):
    """What the keys so far leave behind: all that decoding needs, of a size that does not grow."""

    sums: Float[Tensor, "batch heads features width"]
    norms: Float[Tensor, "batch heads features"]
    peaks: Float[Tensor, "batch heads features"]
    seen: int


@dataclass(frozen=True)
class LinearAttend:
    """A feature map with its scale and rotation; its methods move a `LinearState` along the tokens."""

    kernel: FeatureMap
    scale: float
    rotate: Rotate | None = None
    chunk: int = CHUNK

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Mask, state: LinearState | None = None
    ) -> tuple[Tensor, LinearState]:
        """Outputs in float32 at least, and the state after the last key. Causal masks start from `state`."""
        n_q, n_k = query.shape[-2], key.shape[-2]
        cached = n_k - n_q
        state = self._start(query, key, value) if state is None else state
        common = min(max(mask.prefix - state.seen, cached), n_k) if mask.causal else n_k  # keys that every query sees
        together, own = _sizes(common - cached if mask.causal else n_q), _sizes(n_k - common)
        shared = _sizes(common)
        keep = None if mask.keys is None else mask.keys[:, None, :, None]
        tokens = [_cut(x, shared + own) for x in (key, value, keep)]
        asked = _cut(query, together + own)
        start = state.seen + cached
        for block in zip(*(x[: len(shared)] for x in tokens), strict=True):
            state = self._absorb(state, *block)
        parts = [self._read(state, x, start + i * BLOCK) for i, x in enumerate(asked[: len(together)])]
        for block in zip(asked[len(together) :], *(x[len(shared) :] for x in tokens), strict=True):
            out, state = self._causal(state, *block)
            parts.append(out)
        return torch.cat(parts, -2) if parts else value.new_zeros(*query.shape[:-1], value.shape[-1]), state

    # ---- features ---------------------------------------------------------------------------------------------------

    def _start(self, query: Tensor, key: Tensor, value: Tensor) -> LinearState:
        features = self._features(key[..., :0, :], 1, None)
        shape = (*query.shape[:2], features.shape[-1])
        zeros = features.new_zeros(*shape, value.shape[-1])
        return LinearState(zeros, features.new_zeros(shape), features.new_full(shape, _NO_PEAK), 0)

    def _features(self, x: Tensor, side: int, keep: Tensor | None) -> Tensor:
        """The (log-)features of a side, 0 for query and 1 for key, in float32 at least; none where `keep` is False."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32)) * self.scale**0.5
        log = self.kernel.log
        mapped = (self.kernel.query, self.kernel.key)[side](wide) if log is None else log[side](wide)
        if log is not None:
            mapped = mapped.clamp(min=_LOG_ZERO)
        return mapped if keep is None else mapped.masked_fill(~keep, 0.0 if log is None else _LOG_ZERO)

    def _raised(self, features: Tensor, shift: Tensor) -> Tensor:
        return features if self.kernel.log is None else (features + shift).exp()

    def _shared(self, logs: Tensor) -> Tensor:
        """Without gradient, and equal in channels that the rotation mixes: in all of them where it does not say."""
        logs = logs.detach()
        if self.rotate is None:
            return logs
        share = getattr(self.rotate, "share_peak", None)
        return logs.amax(-1, keepdim=True).expand_as(logs) if share is None else share(logs)

    def _turned(self, features: Tensor, start: int) -> Tensor:
        return features if self.rotate is None else self.rotate(features, start)

    def _normalised(self, query: Tensor, norms: Tensor, peaks: Tensor) -> Tensor:
        """Raised query features whose products with the sums are averages."""
        if self.kernel.per_channel:
            raised = query if self.kernel.log is None else query.exp()
            return raised / self._positive(norms)
        if self.kernel.log is None:
            raised = query / query.detach().abs().amax(-1, keepdim=True).clamp(min=torch.finfo(query.dtype).tiny)
        else:
            lifted = query + peaks
            raised = (lifted - lifted.detach().amax(-1, keepdim=True)).exp()
        return raised / self._positive((raised * norms).sum(-1, keepdim=True))

    def _positive(self, norms: Tensor) -> Tensor:
        """Where nothing was seen the sums are 0, and so is the quotient."""
        eps, instead = (_EPS, _EPS) if self.kernel.log is None else (0.0, 1.0)
        return norms.masked_fill(norms.abs() <= eps, instead)

    # ---- moves of the state -----------------------------------------------------------------------------------------

    def _absorb(self, state: LinearState, key: Tensor, value: Tensor, keep: Tensor | None) -> LinearState:
        features = self._features(key, 1, keep)
        state = self._lifted(state, features)
        raised = self._raised(features, -state.peaks[..., None, :])
        sums = self._turned(raised, state.seen).mT @ value.to(raised.dtype)
        return LinearState(state.sums + sums, state.norms + raised.sum(-2), state.peaks, state.seen + key.shape[-2])

    def _lifted(self, state: LinearState, features: Tensor) -> LinearState:
        """The state relative to references that the features do not exceed."""
        if self.kernel.log is None or not features.shape[-2]:
            return state
        peaks = torch.maximum(state.peaks, self._shared(features.detach().amax(-2)))
        decay = (state.peaks - peaks).exp()
        return LinearState(state.sums * decay[..., None], state.norms * decay, peaks, state.seen)

    def _read(self, state: LinearState, query: Tensor, start: int) -> Tensor:
        raised = self._normalised(self._features(query, 0, None), state.norms[..., None, :], state.peaks[..., None, :])
        return self._turned(raised, start) @ state.sums

    def _causal(
        self, state: LinearState, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None
    ) -> tuple[Tensor, LinearState]:
        """A block in which query i sees the state and the keys up to i."""
        asked, features = self._features(query, 0, None), self._features(key, 1, keep)
        value = value.to(features.dtype)
        if self.kernel.log is not None and self._steep(state, features, keep):
            return self._by_halves(state, asked, features, value), self._absorb(state, key, value, keep)
        state = self._lifted(state, features)
        raised = self._raised(features, -state.peaks[..., None, :])
        norms = state.norms[..., None, :] + raised.cumsum(-2)
        asked = self._turned(self._normalised(asked, norms, state.peaks[..., None, :]), state.seen)
        out, sums = _chunked(asked, self._turned(raised, state.seen), value, state.sums, self.chunk)
        return out, LinearState(sums, norms[..., -1, :], state.peaks, state.seen + key.shape[-2])

    def _steep(self, state: LinearState, features: Tensor, keep: Tensor | None) -> bool:
        """Whether one reference for the block would be too high for its first queries; a compiler cannot look."""
        if torch.compiler.is_compiling():
            return True
        first = features[..., :1, :]
        if keep is not None:
            at = keep.int().argmax(-2, keepdim=True).expand(*features.shape[:2], 1, features.shape[-1])
            first = features.gather(-2, at)
        lowest = torch.maximum(state.peaks, self._shared(first[..., 0, :]))
        highest = torch.maximum(state.peaks, self._shared(features.detach().amax(-2)))
        return bool(((highest - lowest) > _STEEP).any())

    def _by_halves(self, state: LinearState, query: Tensor, features: Tensor, value: Tensor) -> Tensor:
        """Exact for any rise: in spans of 2, 4, 8, … tokens the right half reads the left half, relative to its peak.

        No exponential here exceeds 1: a query already holds its normaliser, which is at least every peak it has seen.
        """
        n = value.shape[-2]
        seen = state.norms.clamp(min=torch.finfo(value.dtype).tiny).log() + state.peaks
        seen = seen.masked_fill(state.norms == 0, _LOG_ZERO)[..., None, :]
        norms = torch.logaddexp(seen, features.logcumsumexp(-2))
        logs = norms if self.kernel.per_channel else (query + norms).logsumexp(-1, keepdim=True)
        query = (query - logs).masked_fill(logs < _NO_PEAK, _LOG_ZERO)
        asked, answer = self._split(query, state.seen), self._split(features, state.seen)
        out = (asked[0] * (asked[1] + state.peaks[..., None, :]).exp()) @ state.sums
        out = out + (asked[0] * answer[0] * (asked[1] + answer[1]).exp()).sum(-1, keepdim=True) * value
        size = 1 << (n - 1).bit_length()
        pads = [
            F.pad(x, (0, 0, 0, size - n), value=fill) for x, fill in zip((*asked, *answer, value), _FILLS, strict=True)
        ]
        half = 1
        while half < n:
            out = out + _right_reads_left(half, *pads)[..., :n, :]
            half *= 2
        return out

    def _split(self, logs: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """Features as factor times exponential, the rotation in the factor."""
        if self.rotate is None:
            return torch.ones_like(logs), logs
        peaks = self._shared(logs)
        return self.rotate((logs - peaks).exp(), start), peaks


_FILLS = (0.0, _LOG_ZERO, 0.0, _LOG_ZERO, 0.0)


def _sizes(n: int) -> list[int]:
    return [min(BLOCK, n - start) for start in range(0, n, BLOCK)]


def _cut(x: Tensor | None, sizes: list[int]) -> list[Any]:
    """Blocks of tokens, in one operation: slices would cost the backward pass a whole gradient each."""
    return [None] * len(sizes) if x is None or not sizes else list(torch.split(x, sizes, -2))


def _chunked(query: Tensor, key: Tensor, value: Tensor, sums: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
    """Causal sums: inside a chunk by its lower triangle, from earlier chunks by their sums."""
    n = query.shape[-2]
    chunk = min(chunk, n)
    query, key, value = (torch.unflatten(F.pad(x, (0, 0, 0, -n % chunk)), -2, (-1, chunk)) for x in (query, key, value))
    sums = torch.cat([sums[..., None, :, :], key.mT @ value], -3).cumsum(-3)
    out = query @ sums[..., :-1, :, :] + (query @ key.mT).tril() @ value
    return out.flatten(-3, -2)[..., :n, :], sums[..., -1, :, :]


def _right_reads_left(half: int, factor: Tensor, query: Tensor, weight: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """For each span of two halves what its right half gets from the keys of its left half; zeros in the left."""
    factor, query, weight, key, value = (
        torch.unflatten(x, -2, (-1, 2, half)) for x in (factor, query, weight, key, value)
    )
    peak = key[..., 0, :, :].detach().amax(-2, keepdim=True).clamp(min=_NO_PEAK)
    asked = factor[..., 1, :, :] * (query[..., 1, :, :] + peak).exp()
    raised = weight[..., 0, :, :] * (key[..., 0, :, :] - peak).exp()
    seen = value[..., 0, :, :]
    few = half <= raised.shape[-1]
    right = (asked @ raised.mT) @ seen if few else asked @ (raised.mT @ seen)
    return torch.stack([torch.zeros_like(right), right], -3).flatten(-4, -2)
