"""CoSENT by sorting against the matrix of all differences and against sentence-transformers; memory at 65 536 pairs."""

from __future__ import annotations

import math
from collections.abc import Callable

from _bench import Benchmark, arguments

options = arguments()

import torch

from gezhi.lab.clock import peak_bytes
from gezhi.losses import CoSENTLoss, cosent_loss

torch.set_num_threads(1)
WIDTH, SCALE = 384, 20.0
MANY, GIGABYTE = 65_536, 1e9
Loss = Callable[..., torch.Tensor]
STEP = f"""
import torch
from gezhi.losses import cosent_loss
torch.set_num_threads(1)
scores, labels = torch.randn({MANY}, requires_grad=True), torch.rand({MANY})
cosent_loss(scores, labels, scale={SCALE}).backward()
"""


def by_matrix(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """All differences at once, hidden where the labels do not order them: quadratic in time and memory."""
    excess = SCALE * (scores - scores[:, None])
    excess = excess.masked_fill(labels >= labels[:, None], -math.inf)
    return torch.cat([scores.new_zeros(1), excess.flatten()]).logsumexp(0)


def by_sorting(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return cosent_loss(scores, labels, scale=SCALE)


def step(loss: Loss, tensors: list[torch.Tensor], labels: torch.Tensor) -> Callable[[], list[torch.Tensor]]:
    """One forward and backward on the same tensors; value and gradients."""

    def call() -> list[torch.Tensor]:
        leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        value = loss(*leaves, labels)
        value.backward()
        return [value.detach(), *(leaf.grad for leaf in leaves)]

    return call


def largest(found: list[torch.Tensor], exact: list[torch.Tensor]) -> float:
    """Largest difference of value and gradients, relative to the largest entry of each."""
    return max(float((f - e).abs().max() / e.abs().max().clamp(min=1e-12)) for f, e in zip(found, exact, strict=True))


def against_matrix(bench: Benchmark, pairs: int) -> None:
    """From scores to their gradient."""
    draw = torch.Generator().manual_seed(1000)
    scores, labels = torch.rand(pairs, generator=draw) * 2 - 1, torch.rand(pairs, generator=draw)
    double, case = scores.double(), f"{pairs} pairs"
    matrix = step(by_matrix, [double], labels)()
    bench.same(f"{case}: matrix, float64", largest(step(by_sorting, [double], labels)(), matrix), 1e-12)
    bench.same(
        f"{case}: matrix in float64, sorted in float32", largest(step(by_sorting, [scores], labels)(), matrix), 1e-6
    )
    calls = {"matrix": step(by_matrix, [scores], labels), "sorted": step(by_sorting, [scores], labels)}
    seconds = bench.time(case, calls, 3 if options.quick else 5)
    bar = {} if options.quick else {"at_least": 100.0}
    bench.ratio(f"{case}: matrix : sorted", seconds["matrix"], seconds["sorted"], **bar)


def against_sentence_transformers(bench: Benchmark, pairs: int) -> None:
    """From embeddings to their gradient."""
    from sentence_transformers.sentence_transformer.losses import CoSENTLoss as Theirs

    theirs, ours, draw = (
        Theirs(torch.nn.Identity(), scale=SCALE),
        CoSENTLoss(SCALE),
        torch.Generator().manual_seed(pairs),
    )

    def peer(a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return theirs.compute_loss_from_embeddings([a, b], labels)

    embeddings, labels = (
        [torch.randn(pairs, WIDTH, generator=draw) for _ in range(2)],
        torch.rand(pairs, generator=draw),
    )
    exact = step(peer, [e.double() for e in embeddings], labels)()
    case = f"{pairs} pairs of width {WIDTH}"
    bench.same(f"{case}: sentence-transformers in float64", largest(step(ours, embeddings, labels)(), exact), 5e-6)
    calls = {"sentence-transformers": step(peer, embeddings, labels), "gezhi": step(ours, embeddings, labels)}
    seconds = bench.time(case, calls, 21 if options.quick else max(21, 100_000 // pairs))
    bar = {} if options.quick else {"at_most": 1.0}
    bench.ratio(f"{case}: gezhi : sentence-transformers", seconds["gezhi"], seconds["sentence-transformers"], **bar)


def memory(bench: Benchmark) -> None:
    """Peak of a fresh process, what torch itself takes included."""
    bench.ratio(f"{MANY} pairs: peak resident memory : 1 GB", [peak_bytes(STEP)], [GIGABYTE], at_most=1.0)
    bench.notes.append(f"the matrix of {MANY} pairs alone would take {4 * MANY**2 / GIGABYTE:.0f} GB")


def main() -> None:
    bench = Benchmark("cosent")
    bench.peer("torch")
    against_matrix(bench, 1024 if options.quick else 4096)
    if bench.peer("sentence-transformers"):
        for pairs in (16, 32, 256) if options.quick else (16, 32, 64, 256, 1024, 4096):
            against_sentence_transformers(bench, pairs)
    memory(bench)
    bench.finish(options.json)


main()
