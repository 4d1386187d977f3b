"""Encoders, gradient procedures and bytes for the experiment on exact contrastive gradients in chunks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from gezhi.data import Images
from gezhi.experiments import _digit_views as digit
from gezhi.lab import best_of
from gezhi.losses.flatnce import InfoNCELoss
from gezhi.training.contrastive_cache import ContrastiveCache

Metrics = Mapping[str, Any]
Procedure = Callable[..., Any]  # (encoder, loss, views, chunk size) -> adds to .grad

# ---- ways to the gradient -------------------------------------------------------------------------------------------


def full_batch(encoder: nn.Module, loss: nn.Module, views: tuple[Tensor, ...], _chunk: int) -> None:
    """One graph over the whole batch."""
    torch.autograd.backward(loss(*map(encoder, views)))


def one_graph(encoder: nn.Module, loss: nn.Module, views: tuple[Tensor, ...], chunk: int) -> None:
    """One graph over the same chunks in the same order: what dropout asks for as a reference."""
    torch.autograd.backward(loss(*(torch.cat([encoder(part) for part in torch.split(view, chunk)]) for view in views)))


def two_passes(encoder: nn.Module, loss: nn.Module, views: tuple[Tensor, ...], chunk: int) -> None:
    ContrastiveCache(encoder, loss, chunk_size=chunk, batch_norm="allow")(*views)


def two_passes_redrawn(encoder: nn.Module, loss: nn.Module, views: tuple[Tensor, ...], chunk: int) -> None:
    """The procedure of the article with dropout left in: the second pass draws other masks."""
    with torch.no_grad():
        cached = [torch.cat([encoder(part) for part in torch.split(view, chunk)]) for view in views]
    for h in cached:
        h.requires_grad_()
    gradients = torch.autograd.grad(loss(*cached), cached)
    for view, gradient in zip(views, gradients, strict=True):
        for part, direction in zip(torch.split(view, chunk), torch.split(gradient, chunk), strict=True):
            torch.autograd.backward((encoder(part) * direction).sum())


def summed(encoder: nn.Module, loss: nn.Module, views: tuple[Tensor, ...], chunk: int) -> None:
    """Ordinary accumulation: each chunk's own loss, weighed by its share of the batch."""
    n = len(views[0])
    for parts in zip(*(torch.split(view, chunk) for view in views), strict=True):
        torch.autograd.backward(loss(*map(encoder, parts)) * (len(parts[0]) / n))


def first_chunk(encoder: nn.Module, loss: nn.Module, views: tuple[Tensor, ...], chunk: int) -> None:
    """What the memory of one chunk allows without further ado: a small batch."""
    torch.autograd.backward(loss(*(encoder(view[:chunk]) for view in views)))


# ---- exactness ------------------------------------------------------------------------------------------------------

WIDTH, STEPS = 12, 8  # width of inputs, length of the GRU's sequences


class GRU(nn.Module):
    """The last state of a one-layer GRU."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.cell = nn.GRU(width, dim, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        last: Tensor = self.cell(x)[1][0]
        return last


def perceptron(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(STEPS * WIDTH, 32), *between, nn.ReLU(), nn.Linear(32, 16))


def flat_perceptron(*between: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Flatten(), perceptron(*between))


ENCODERS: dict[str, Callable[[], nn.Module]] = {"MLP": flat_perceptron, "GRU": lambda: GRU(WIDTH, 16)}


@dataclass(frozen=True)
class Way:
    """A procedure and what it is compared with, in which precision, with which layer in the encoder."""

    procedure: Procedure
    reference: Procedure = full_batch
    dtype: torch.dtype = torch.float64
    dropout: float = 0.0
    between: Callable[[], nn.Module] | None = None
    training: bool = True


@dataclass(frozen=True)
class Cut:
    """An encoder by name and how its batch of pairs is cut."""

    encoder: str
    chunk: int


def gradient_error(way: Way, cut: Cut, seed: int, pairs: int) -> Metrics:
    """Norm of the difference from the reference's gradient, and of the gradient, over the reference's norm."""
    found, exact = (_gradient(way, procedure, cut, seed, pairs) for procedure in (way.procedure, way.reference))
    return {
        "error": float((found - exact).norm() / exact.norm()),
        "size of the gradient": float(found.norm() / exact.norm()),
    }


def _gradient(way: Way, procedure: Procedure, cut: Cut, seed: int, pairs: int) -> Tensor:
    torch.manual_seed(seed)
    between = [] if way.between is None else [way.between()]
    inner = flat_perceptron(*between) if between else ENCODERS[cut.encoder]()
    encoder = nn.Sequential(nn.Dropout(way.dropout), inner).to(way.dtype).train(way.training)
    x = torch.randn(pairs, STEPS, WIDTH, dtype=torch.float64)
    views = tuple((x + torch.randn_like(x)).to(way.dtype) for _ in range(2))
    procedure(encoder, InfoNCELoss(0.1), views, cut.chunk)
    return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]).double()


# ---- cost -----------------------------------------------------------------------------------------------------------

TOKENS, IDS, DIM, CHUNK = 16, 1000, 64, 32


class TextEncoder(nn.Module):
    """Two Transformer layers of width 64 with four heads over 16 tokens, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(IDS, DIM)
        layer = nn.TransformerEncoderLayer(DIM, 4, 4 * DIM, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Tensor) -> Tensor:
        mean: Tensor = self.layers(self.embed(ids)).mean(1)
        return mean


def texts(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    """Two halves of so many rows of tokens: pairs that share 12 of 16 tokens."""
    generator = torch.Generator().manual_seed(seed)
    first, other = (torch.randint(IDS, (rows // 2, TOKENS), generator=generator) for _ in range(2))
    return first, torch.cat([first[:, :12], other[:, 12:]], 1)


@lru_cache(maxsize=1)
def text_encoder(seed: int) -> TextEncoder:
    torch.manual_seed(seed)
    return TextEncoder()


def step_seconds(procedure: Procedure, rows: int, seed: int, repeats: int) -> Metrics:
    """Fastest of some gradient computations; chunks hold 32 of the encoded rows."""
    encoder, loss, views = text_encoder(seed), InfoNCELoss(0.1), texts(rows, seed)
    return {"seconds": best_of(lambda: procedure(encoder, loss, views, CHUNK), repeats)}


class PeakBytes:
    """Most bytes that autograd kept at once. Of a storage counts what lies between the ends of the tensors kept."""

    def __init__(self) -> None:
        self.spans: dict[int, dict[int, tuple[int, int]]] = {}  # storage: who holds which bytes of it
        self.now = self.peak = self.taken = 0

    def hold(self, tensor: Tensor) -> _Held:
        storage, held = tensor.untyped_storage().data_ptr(), _Held(tensor)
        reach = 1 + sum((int(size) - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
        start = int(tensor.storage_offset())
        self.taken += 1
        self._change(storage, self.taken, (start * tensor.itemsize, (start + reach) * tensor.itemsize))
        weakref.finalize(held, self._change, storage, self.taken, None)
        return held

    def _change(self, storage: int, holder: int, span: tuple[int, int] | None) -> None:
        spans = self.spans.setdefault(storage, {})
        self.now -= _extent(spans)
        if span is None:
            del spans[holder]
        else:
            spans[holder] = span
        self.now += _extent(spans)
        self.peak = max(self.peak, self.now)


class _Held:
    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def _extent(spans: dict[int, tuple[int, int]]) -> int:
    return max(stop for _, stop in spans.values()) - min(start for start, _ in spans.values()) if spans else 0


@contextmanager
def counting(kept: PeakBytes, parameters: set[int]) -> Iterator[None]:
    """Inside, `kept` counts what is saved for backward, except the storages in `parameters`."""

    def pack(tensor: Tensor) -> Any:
        alone = not tensor.numel() or tensor.untyped_storage().data_ptr() in parameters
        return tensor if alone else kept.hold(tensor)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor if isinstance(kept, _Held) else kept):
        yield


def peak_saved(
    encoder: nn.Module, loss: Callable[..., Tensor], run: Callable[[Callable[..., Tensor]], Any]
) -> tuple[int, int]:
    """Peak bytes that encoder and loss kept for backward while `run(loss)` computed a gradient, each by itself."""
    parameters = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    of_encoder, of_loss = PeakBytes(), PeakBytes()

    def apart(*representations: Tensor) -> Tensor:
        with counting(of_loss, parameters):
            return loss(*representations)

    with counting(of_encoder, parameters):
        run(apart)
    return of_encoder.peak, of_loss.peak


def saved_bytes(procedure: Procedure, rows: int, seed: int, _size: None) -> Metrics:
    """Bytes kept for backward at once, by encoder and by loss."""
    encoder, views = text_encoder(seed), texts(rows, seed)
    kept = peak_saved(encoder, InfoNCELoss(0.1), lambda loss: procedure(encoder, loss, views, CHUNK))
    return dict(zip(("bytes", "bytes of the loss"), kept, strict=True))


# ---- quality --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainingSize:
    """Steps, pairs of a large batch, pairs of a chunk, and labelled images a class."""

    steps: int
    batch: int = 256
    chunk: int = 16
    labelled: int = 10


def trained_views(procedure: Procedure, data: Images, seed: int, size: TrainingSize) -> Metrics:
    """Recall of the other view, and accuracy with few labels, of an encoder trained by this gradient."""
    sides = digit.split(data, seed)
    generator = torch.Generator().manual_seed(seed)
    encoder, loss = digit.encoder(sides.pixels, seed), InfoNCELoss(0.1)
    optimiser = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    for _ in range(size.steps):
        views = digit.pairs(sides.train, size.batch, generator)
        optimiser.zero_grad()
        procedure(encoder, loss, views, size.chunk)
        optimiser.step()
    found = {"recall": digit.recall(encoder, sides.test, torch.Generator().manual_seed(seed + 10**6))}
    if sides.train_labels is not None and sides.test_labels is not None:
        few = torch.cat(
            [torch.where(sides.train_labels == c)[0][: size.labelled] for c in torch.unique(sides.train_labels)]
        )
        with torch.no_grad():
            X, X_test = (encoder(images.flatten(1)).numpy() for images in (sides.train[few], sides.test))
        head = LogisticRegression(max_iter=1000).fit(X, sides.train_labels[few].numpy())
        found["accuracy, few labels"] = float(head.score(X_test, sides.test_labels.numpy()))
    return found
