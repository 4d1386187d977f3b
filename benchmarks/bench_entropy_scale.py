"""Cost of the entropy-invariant scale on top of torch's attention, and whether visible keys are counted right."""

from __future__ import annotations

from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F

from gezhi.nn import EntropyInvariantScale, Mask, dot_product_attention, entropy_invariant_scale

torch.set_num_threads(1)
HEADS, WIDTH, AT_MOST = 8, 64, 1.03


def brute_count(keys: torch.Tensor, n_q: int) -> torch.Tensor:
    """Tokens that each newest query sees, one by one: not padding, and not later than itself."""
    n_k = keys.shape[1]
    rows = [[int(row[: n_k - n_q + i + 1].sum()) for i in range(n_q)] for row in keys]
    return torch.tensor(rows)[:, None, :, None]


def counts(bench: Benchmark) -> None:
    """Padding on the left and right, causal, with and without cached keys."""
    n_k, position = 96, torch.arange(96)
    keys = torch.stack([position >= 17, position < 80, position >= 0])
    for n_q in (96, 8, 2):
        counted = Mask(causal=True, keys=keys).visible(n_q, n_k)
        bench.same(
            f"visible keys, causal, padded, {n_k - n_q} cached", (counted - brute_count(keys, n_q)).abs().max(), 0
        )
    by_position = (position[keys[0]] + 1 - keys[0].cumsum(0)[keys[0]]).max()
    bench.notes.append(f"counting by position instead would add up to {by_position} padded keys in this batch")


def overhead(bench: Benchmark, n: int, causal: bool, rounds: int) -> None:
    """One layer in row mode against torch's own call on the same tensors."""
    generator = torch.Generator().manual_seed(1000)
    query, key, value = (torch.randn(1, HEADS, n, WIDTH, generator=generator) for _ in range(3))
    mask, scale = Mask(causal=causal), EntropyInvariantScale(512)
    seen = torch.arange(1, n + 1) if causal else torch.full((n,), n)
    scores = (query.double() @ key.double().mT) * entropy_invariant_scale(seen)[:, None] / WIDTH**0.5
    hidden = torch.arange(n) >= seen[:, None]
    exact = torch.softmax(scores.masked_fill(hidden, -torch.inf), -1) @ value.double()
    case = f"{n} tokens, {'causal' if causal else 'unmasked'}"
    row = partial(dot_product_attention, query, key, value, mask=mask, scale=scale)
    bench.same(f"{case}: dense float64 softmax", (row() - exact).abs().max(), 1e-5)
    plain = partial(F.scaled_dot_product_attention, query, key, value, is_causal=causal)
    seconds = bench.time(case, {"plain SDPA": plain, "row mode": row}, rounds)
    bar = {} if options.quick else {"at_most": AT_MOST}
    bench.ratio(f"{case}: row mode : plain SDPA", seconds["row mode"], seconds["plain SDPA"], **bar)


@torch.no_grad()
def main() -> None:
    bench = Benchmark("entropy_scale")
    bench.peer("torch")
    counts(bench)
    for causal in (False, True):
        for n in (512, 1024, 2048):
            overhead(bench, n, causal, 9 if options.quick else 101)
    bench.finish(options.json)


main()
