"""Cached contrastive gradients: equal to one graph, constant memory, and time beside sentence-transformers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gezhi.experiments._contrastive_cache import TextEncoder, full_batch, peak_saved, summed, texts
from gezhi.training import ContrastiveCache

torch.set_num_threads(1)
CHUNK, SCALE = 32, 20.0
GROWTH_AT_MOST, STEP_AT_MOST, PEER_AT_MOST = 1.10, 1.40, 1.05  # "not slower" with room for a noisy machine


def ranking(q: Tensor, k: Tensor) -> Tensor:
    """In-batch negatives over cosines, which is what the peer's loss computes."""
    scores = SCALE * F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    return F.cross_entropy(scores, torch.arange(len(q)))


class Sentences(nn.Sequential):
    """The same encoder as sentence-transformers calls it."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": super().forward(features["input_ids"])}


def clean(encoder: nn.Module, step: Callable[[], object]) -> None:
    encoder.zero_grad()
    step()


def gradient(encoder: nn.Module, step: Callable[[], object]) -> Tensor:
    clean(encoder, step)
    return torch.cat([p.grad.flatten() for p in encoder.parameters()])


def steps(encoder: nn.Module, rows: int, peer: bool) -> dict[str, Callable[[], object]]:
    """Ways to the gradient of `rows` encoded rows, half of them queries."""
    views = texts(rows, 0)
    ways: dict[str, Callable[[], object]] = {
        "full batch": partial(full_batch, encoder, ranking, views, CHUNK),
        "two passes": partial(ContrastiveCache(encoder, ranking, chunk_size=CHUNK), *views),
        "chunk losses": partial(summed, encoder, ranking, views, CHUNK),
    }
    if peer:
        from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

        cached = CachedMultipleNegativesRankingLoss(Sentences(encoder), scale=SCALE, mini_batch_size=CHUNK)
        features = [{"input_ids": view} for view in views]
        ways["sentence-transformers"] = lambda: cached([dict(f) for f in features], None).backward()
    return ways


def memory(bench: Benchmark, sizes: tuple[int, ...]) -> None:
    """Bytes that the encoder keeps for backward at once; what the loss keeps, its score matrix above all, apart."""
    encoder, kept = TextEncoder(), {}
    for rows in sizes:
        run = [partial(ContrastiveCache, encoder, chunk_size=CHUNK), texts(rows, 0)]
        kept[rows] = peak_saved(encoder, ranking, lambda loss, make=run[0], views=run[1]: make(loss)(*views))
    bar = {} if options.quick else {"at_most": GROWTH_AT_MOST}
    for rows in sizes[1:]:
        bench.ratio(f"bytes kept, {rows} : {sizes[0]} rows", [kept[rows][0]], [kept[sizes[0]][0]], **bar)
    largest = sizes[-1]
    bench.notes.append(
        f"{kept[largest][0]:,} bytes are kept by the encoder at any size; not counted: inputs, parameters, the cached "
        f"representations and their gradients, and what the loss keeps ({kept[largest][1]:,} bytes at {largest} rows, "
        f"of which one score matrix is {(largest // 2) ** 2 * 4:,})"
    )


def compare(bench: Benchmark, rows: int, rounds: int, peer: bool) -> None:
    """Equal gradients first, then interleaved seconds."""
    torch.manual_seed(0)
    encoder = TextEncoder()
    ways = steps(encoder, rows, peer)
    exact = gradient(encoder, ways["full batch"])
    for name in ways.keys() - {"full batch", "chunk losses"}:
        error = (gradient(encoder, ways[name]) - exact).norm() / exact.norm()
        bench.same(f"{rows} rows: gradient of {name} against one graph", error, 1e-4)
    seconds = bench.time(f"{rows} rows", {name: partial(clean, encoder, way) for name, way in ways.items()}, rounds)
    two = seconds["two passes"]
    judged = not options.quick
    bar = {"at_most": STEP_AT_MOST} if judged and rows >= 256 else {}
    bench.ratio(f"{rows} rows: two passes : full batch", two, seconds["full batch"], **bar)
    bench.ratio(f"{rows} rows: two passes : chunk losses", two, seconds["chunk losses"])
    if peer:
        bar = {"at_most": PEER_AT_MOST} if judged else {}
        bench.ratio(f"{rows} rows: two passes : sentence-transformers", two, seconds["sentence-transformers"], **bar)


def main() -> None:
    bench = Benchmark("contrastive_cache")
    bench.peer("torch")
    peer = bench.peer("sentence-transformers")
    memory(bench, (64, 256) if options.quick else (64, 256, 1024, 4096))
    for rows, rounds in ((64, 5), (256, 3)) if options.quick else ((64, 61), (256, 31), (1024, 11), (4096, 5)):
        compare(bench, rows, rounds, peer)
    bench.finish(options.json)


main()
