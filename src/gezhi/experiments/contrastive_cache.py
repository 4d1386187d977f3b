"""Does a contrastive loss allow gradient accumulation, what does the exact way cost, and what is a large batch worth?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from gezhi.data import Images
from gezhi.experiments.setups import views as digit
from gezhi.experiments.setups.train import descend
from gezhi.lab import Dots, Experiment, Lines, Study, at, better, every, exponent, inside, ratio
from gezhi.lab.clock import peak_saved
from gezhi.losses.flatnce import InfoNCELoss
from gezhi.training.contrastive_cache import ContrastiveCache

Procedure = Callable[..., Any]  # (encoder, loss, views, chunk size) -> adds to .grad

# ---- ways to the gradient ---------------------------------------------------------------------------------------------


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


def gradient(procedure: Procedure, encoder: nn.Module, views: tuple[Tensor, ...], chunk: int) -> Tensor:
    """All parameters' gradients in one vector of float64."""
    encoder.zero_grad()
    procedure(encoder, InfoNCELoss(0.1), views, chunk)
    return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None]).double()


# ---- cost -----------------------------------------------------------------------------------------------------------------

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


def step(procedure: Procedure, rows: int, seed: int, _: None) -> Callable[[], Mapping[str, Any]]:
    """A gradient; afterwards, how far it is from that of one graph over the whole batch."""
    encoder, loss, views = text_encoder(seed), InfoNCELoss(0.1), texts(rows, seed)

    def error() -> float:
        found, exact = (gradient(way, encoder, views, CHUNK) for way in (procedure, full_batch))
        return float((found - exact).norm() / exact.norm())

    def call() -> Mapping[str, Any]:
        procedure(encoder, loss, views, CHUNK)
        return {"error": error}

    return call


FULL, SUM, TWO = "full batch", "sum of chunk losses", "two passes"
WAYS = {FULL: full_batch, SUM: summed, TWO: two_passes}
ROWS = {f"n = {n}": n for n in (64, 256, 1024)}
COST = Study(
    "cost",
    step,
    WAYS,
    ROWS,
    {"full": None},
    claims={
        "exact-for-one-pass": (
            inside("error", TWO, high=1e-5),
            ratio("seconds", TWO, over=SUM, at_least=1.15, at_most=1.5),
        ),
        "no-slower": at(tuple(ROWS)[1:], ratio("seconds", TWO, over=FULL, at_most=1.4)),
    },
    timed=True,
    repeats=5,
    resolution={"error": 1e-6},  # of float32; every replicate may have the same error
)


def saved(procedure: Procedure, rows: int, seed: int, _size: None) -> Mapping[str, Any]:
    """Bytes that the encoder keeps for backward at once."""
    encoder, views = text_encoder(seed), texts(rows, seed)
    return {"bytes": peak_saved(encoder, InfoNCELoss(0.1), lambda loss: procedure(encoder, loss, views, CHUNK))[0]}


MEMORY = Study(
    "memory",
    saved,
    WAYS,
    {f"n = {n}": n for n in (64, 128, 256, 512)},
    {"quick": None, "full": None},
    claims={"memory": (exponent("bytes", TWO, -0.1, 0.1), exponent("bytes", FULL, 0.9, 1.1))},
    varies="nothing",
    figures=(Lines("bytes", "memory", log=(True, True)),),
)

# ---- what is exact and what is not ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """A procedure and what it is compared with, and what stands in the encoder."""

    procedure: Procedure
    reference: Procedure = full_batch
    dropout: float = 0.0
    between: Callable[[], nn.Module] = nn.Identity


def distance(way: Way, chunk: int, seed: int, pairs: int) -> Mapping[str, Any]:
    """Of a perceptron's gradient: norm of the difference from the reference's, and its own, over the reference's norm."""
    found, exact = (
        _perceptron_gradient(way, procedure, chunk, seed, pairs) for procedure in (way.procedure, way.reference)
    )
    size = exact.norm()
    return {"error": float((found - exact).norm() / size), "size of the gradient": float(found.norm() / size)}


def _perceptron_gradient(way: Way, procedure: Procedure, chunk: int, seed: int, pairs: int) -> Tensor:
    torch.manual_seed(seed)
    layers = (nn.Dropout(way.dropout), nn.Linear(96, 32), way.between(), nn.ReLU(), nn.Linear(32, 16))
    encoder = nn.Sequential(*layers).double()
    x = torch.randn(pairs, 96, dtype=torch.float64)
    return gradient(procedure, encoder, (x + torch.randn_like(x), x + torch.randn_like(x)), chunk)


BATCH_NORM = partial(nn.BatchNorm1d, 32)
REPLAYED, REDRAWN, NORM = "dropout, masks replayed", "dropout, masks redrawn", "batch normalisation"
EXACT = Study(
    "gradients",
    distance,
    {
        FULL: Way(full_batch),
        SUM: Way(summed),
        REPLAYED: Way(two_passes, one_graph, dropout=0.1),
        REDRAWN: Way(two_passes_redrawn, one_graph, dropout=0.1),
    },
    {f"chunks of {chunk}": chunk for chunk in (1, 7, 16)},
    {"smoke": 16, "quick": 64, "full": 64},
    claims={
        "sum-differs": at(("chunks of 7", "chunks of 16"), inside("error", SUM, low=0.1)),
        "sum-vanishes": at("chunks of 1", inside("size of the gradient", SUM, high=1e-12)),
        "dropout-redrawn": inside("error", REDRAWN, low=0.01),
        "dropout-replayed": inside("error", REPLAYED, high=1e-10),
    },
    resolution={"size of the gradient": 1e-13},  # it is 0 in every replicate, up to rounding
)

NORMALISED = Study(
    "normalisation",
    distance,
    {FULL: Way(full_batch, between=BATCH_NORM), NORM: Way(two_passes, between=BATCH_NORM)},
    {"chunks of 16": 16},
    every(64),
    claims={"batch-norm": inside("error", NORM, low=1e-3)},
)

# ---- quality ---------------------------------------------------------------------------------------------------------------

BATCH, CHUNK_PAIRS = 256, 16


def trained_views(procedure: Procedure, data: Images, seed: int, steps: int) -> Mapping[str, Any]:
    """Recall of the other view by an encoder trained by this gradient."""
    sides, generator = digit.split(data, seed), torch.Generator().manual_seed(seed)
    encoder, loss = digit.encoder(sides.pixels, seed), InfoNCELoss(0.1)

    def add() -> None:
        procedure(encoder, loss, digit.pairs(sides.train, BATCH, generator), CHUNK_PAIRS)

    descend(encoder.parameters(), add, steps, rate=1e-3)
    return digit.recalls(encoder, sides, seed)


ALONE = "one chunk alone"
QUALITY = Study(
    "quality",
    trained_views,
    {SUM: summed, ALONE: first_chunk, TWO: two_passes},
    {"digits": digit.digits},
    {"smoke": 2, "full": 800},
    claims={
        "quality-sum": better("recall", TWO, than=SUM, by=0.01),
        "quality-alone": better("recall", TWO, than=ALONE, by=0.05),
    },
    varies="rows",
    accepts="images",
    seeds={"full": 6},
    figures=(Dots("recall", ("quality-sum", "quality-alone")),),
)

EXPERIMENT = Experiment(
    __doc__,
    (COST, MEMORY, EXACT, NORMALISED, QUALITY),
    units={"bytes": "B", "seconds": "s", "recall": "%", "training recall": "%"},
)
