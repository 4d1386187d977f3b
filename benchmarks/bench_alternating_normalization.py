"""The closed form of one iteration against the loop over uncertain rows."""

from __future__ import annotations

import numpy as np
from _bench import Benchmark, arguments

options = arguments()

from gezhi.classification import normalize_alternately, top_k_uncertainty


def loop(probs: np.ndarray, prior: np.ndarray, rows: int) -> np.ndarray:
    """The method as defined: a table of all confident rows for every uncertain one."""
    uncertain = top_k_uncertainty(probs) >= 0.9
    confident, result = probs[~uncertain], []
    for row in probs[uncertain][:rows]:
        table = np.concatenate([confident, row[None]])
        table = table / table.mean(axis=0) * prior
        result.append(table[-1] / table[-1].sum())
    return np.array(result)


def main() -> None:
    bench = Benchmark("alternating_normalization")
    bench.peer("numpy")
    rng = np.random.default_rng(1000)
    n, m, part = (2_000, 20, 8) if options.quick else (100_000, 100, 16)
    logits = rng.normal(size=(n, m)) * rng.choice([0.3, 4.0], size=(n, 1))
    probs, prior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), rng.dirichlet(np.ones(m))
    uncertain = top_k_uncertainty(probs) >= 0.9
    ours = normalize_alternately(probs, prior)[uncertain][:part]
    bench.same(f"{n} × {m}: loop and closed form on {part} rows", abs(ours - loop(probs, prior, part)).max(), 1e-12)
    seconds = bench.time(
        f"{n} × {m}",
        {"closed form, all rows": lambda: normalize_alternately(probs, prior),
         f"loop, {part // 2} rows": lambda: loop(probs, prior, part // 2),
         f"loop, {part} rows": lambda: loop(probs, prior, part)},
        5,
    )  # fmt: skip
    half, whole = seconds[f"loop, {part // 2} rows"], seconds[f"loop, {part} rows"]
    per_row = [(b - a) / (part - part // 2) for a, b in zip(half, whole, strict=True)]
    scaled = [max(cost, 1e-12) * int(uncertain.sum()) for cost in per_row]
    bar = {} if options.quick else {"at_least": 100.0}
    bench.ratio(f"{n} × {m}: loop : closed form", scaled, seconds["closed form, all rows"], **bar)
    bench.notes.append(
        f"the loop was timed on {part // 2} and {part} of {int(uncertain.sum())} uncertain rows and scaled by the "
        "difference, its own cost per row"
    )
    bench.finish(options.json)


main()
