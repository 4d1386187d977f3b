"""Causal linear attention: time and memory beside performer-pytorch, growth with length, and a million tokens."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi.lab.clock import interleaved, peak_bytes
from gezhi.nn import Mask, dot_product_attention, double_softmax, elu1, exp, linear_attention_matrix

torch.set_num_threads(1)
WIDTH, HEADS = 64, 2
CAUSAL = Mask(causal=True)
FASTER, LEANER, STREAM = 5.0, 0.25, 1.05
LOW, HIGH = 0.85, 1.15

SETUP = """
import torch, torch.nn.functional as F, warnings
warnings.simplefilter("ignore")
from gezhi.nn import Mask, dot_product_attention, elu1, linear_attention_step
{peer}
torch.set_num_threads(1)
tensors = [torch.randn(1, {heads}, {n}, {width}, requires_grad=True) for _ in range(3)]
"""
PEER = "from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda as theirs"
OURS_ONCE = "dot_product_attention(*tensors, mask=Mask(causal=True), kernel=elu1).sum().backward()"
THEIRS_ONCE = "theirs(F.elu(tensors[0]) + 1, F.elu(tensors[1]) + 1, tensors[2]).sum().backward()"
STREAMED = """
with torch.no_grad():
    state = None
    for _ in range({blocks}):
        tokens = [torch.randn(1, 1, 4096, {width}) for _ in range(3)]
        out, state = linear_attention_step(*tokens, state, kernel=elu1)
"""


def inputs(n: int, heads: int = HEADS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1000)
    return [torch.randn(1, heads, n, WIDTH, generator=generator).requires_grad_() for _ in range(3)]


def step(attend: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
    """Output and gradients of one forward and backward pass."""
    out = attend(*tensors)
    return [out.detach(), *torch.autograd.grad(out.sum(), tensors)]


def ours(query: Tensor, key: Tensor, value: Tensor, kernel=elu1) -> Tensor:
    return dot_product_attention(query, key, value, mask=CAUSAL, kernel=kernel)


def dense(query: Tensor, key: Tensor, value: Tensor, kernel=elu1) -> Tensor:
    return linear_attention_matrix(query, key, kernel=kernel, mask=CAUSAL) @ value


def performer(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda

    return causal_linear_attention_noncuda(F.elu(query) + 1, F.elu(key) + 1, value)


def softmax(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True)


def far(left: list[Tensor], right: list[Tensor]) -> float:
    return max(((a - b).norm() / b.norm()).item() for a, b in zip(left, right, strict=True))


def equal(bench: Benchmark, peer: bool) -> None:
    """Outputs and gradients against the dense matrix in float64, at a length that no chunk divides."""
    tensors = inputs(1000)
    for name, kernel in {"elu1": elu1, "exp": exp, "double softmax": double_softmax}.items():
        exact = step(partial(dense, kernel=kernel), [x.detach().double().requires_grad_() for x in tensors])
        bench.same(
            f"{name} against the dense float64 matrix", far(step(partial(ours, kernel=kernel), tensors), exact), 1e-5
        )
        if peer and name == "elu1":
            bench.same("performer-pytorch against it", far(step(performer, tensors), exact), 1e-4)


def speed(bench: Benchmark, n: int, rounds: int, peer: bool) -> None:
    """Forward and backward in interleaved rounds."""
    tensors = inputs(n)
    ways = {"elu1": ours, "exp": partial(ours, kernel=exp), "double softmax": partial(ours, kernel=double_softmax)}
    ways |= {"softmax, SDPA": softmax} | ({"performer-pytorch": performer} if peer else {})
    case = f"{n} tokens, forward and backward"
    seconds = bench.time(case, {name: partial(step, way, tensors) for name, way in ways.items()}, rounds)
    if peer:
        bar = {} if options.quick else {"at_least": FASTER}
        bench.ratio(f"{case}: performer-pytorch : elu1", seconds["performer-pytorch"], seconds["elu1"], **bar)
    bench.ratio(f"{case}: SDPA : elu1", seconds["softmax, SDPA"], seconds["elu1"])
    bench.ratio(f"{case}: exp : elu1", seconds["exp"], seconds["elu1"])


def memory(bench: Benchmark, n: int) -> None:
    """Peak of a fresh process above one that holds the inputs alone."""
    setup = SETUP.format(peer=PEER, heads=HEADS, n=n, width=WIDTH)
    before = peak_bytes(setup)
    mine, other = (peak_bytes(setup + once) - before for once in (OURS_ONCE, THEIRS_ONCE))
    bar = {} if options.quick else {"at_most": LEANER}
    bench.ratio(f"{n} tokens: peak memory, elu1 : performer-pytorch", [mine], [other], **bar)
    bench.notes.append(f"peak above the inputs at {n} tokens: {mine / 2**20:.0f} MiB and {other / 2**20:.0f} MiB")


def growth(bench: Benchmark, sizes: list[int], rounds: int) -> None:
    """Log-log slope of the fastest of interleaved rounds."""
    ways = {str(n): partial(step, ours, inputs(n, 1)) for n in sizes}
    fastest = [min(seconds) for seconds in interleaved(ways, rounds).values()]
    x, y = [math.log(n) for n in sizes], [math.log(seconds) for seconds in fastest]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    name = f"exponent of time in n, {sizes[0]} to {sizes[-1]}"
    bench.ratio(name, [slope], [1.0], **({} if options.quick else {"at_least": LOW, "at_most": HIGH}))
    bench.seconds |= {f"elu1, one head, {n} tokens": seconds for n, seconds in zip(sizes, fastest, strict=True)}


def stream(bench: Benchmark, few: int, many: int) -> None:
    """Peak memory of decoding in blocks, which keeps the state alone."""
    setup = SETUP.format(peer="", heads=1, n=1, width=WIDTH)
    short, long = (peak_bytes(setup + STREAMED.format(blocks=n // 4096, width=WIDTH)) for n in (few, many))
    bar = {} if options.quick else {"at_most": STREAM}
    bench.ratio(f"peak memory of a stream, {many} : {few} tokens", [long], [short], **bar)


def leak(bench: Benchmark) -> None:
    """How far the last key changes earlier outputs: the peer's features share one maximum over the sequence."""
    from performer_pytorch.performer_pytorch import causal_linear_attention_noncuda, softmax_kernel

    from gezhi.nn import PositiveRandomFeatures

    kernel = PositiveRandomFeatures(WIDTH, generator=torch.Generator().manual_seed(0))
    query, key, value = (x.detach() * 1.5 for x in inputs(256))

    def theirs(key: Tensor) -> Tensor:
        left, right = (
            softmax_kernel(x, projection_matrix=kernel.omega, is_query=q) for x, q in ((query, True), (key, False))
        )
        return causal_linear_attention_noncuda(left, right, value)

    later = key.clone()
    later[..., -1, :] *= 8
    changes = []
    for way in (theirs, lambda key: dot_product_attention(query, key, value, mask=CAUSAL, kernel=kernel)):
        changes.append((way(later) - way(key))[..., :-1, :].abs().max().item())
    bench.notes.append(
        f"a larger last key changes earlier outputs by up to {changes[0]:.2g} in performer-pytorch, "
        f"here by {changes[1]:.2g}"
    )


def main() -> None:
    warnings.simplefilter("ignore")  # of the peer's imports
    bench = Benchmark("linear_attention")
    bench.peer("torch")
    peer = bench.peer("performer-pytorch")
    equal(bench, peer)
    quick = options.quick
    speed(bench, 1024 if quick else 4096, 3 if quick else 9, peer)
    if peer:
        memory(bench, 1024 if quick else 4096)
        leak(bench)
    growth(bench, [1024, 2048, 4096] if quick else [4096, 8192, 16384, 32768, 65536], 3 if quick else 7)
    stream(bench, 1 << 14 if quick else 1 << 16, 1 << 16 if quick else 1 << 20)
    bench.finish(options.json)


main()
