"""A factor after the softmax: memory and time of training and inference beside the dense form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from _bench import Benchmark, arguments

options = arguments()

import torch
import torch.nn.functional as F
from torch import Tensor

from gezhi.lab.clock import peak_bytes
from gezhi.nn import URPE, Mask, dot_product_attention

torch.set_num_threads(1)
HEADS, WIDTH, AT_MOST = 2, 64, 0.5
CAUSAL = Mask(causal=True)


def inputs(n: int) -> tuple[list[Tensor], URPE]:
    generator = torch.Generator().manual_seed(1000)
    gate = URPE(HEADS, n)
    gate.table.data = torch.randn(gate.table.shape, generator=generator)  # of both signs
    return [torch.randn(1, HEADS, n, WIDTH, generator=generator).requires_grad_() for _ in range(3)], gate


def dense(query: Tensor, key: Tensor, value: Tensor, gate: URPE) -> Tensor:
    """As the official code does it: the whole matrix of scores, of weights, and of their product."""
    n = query.shape[-2]
    scores = query @ key.mT / WIDTH**0.5
    weights = scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    distance = torch.arange(n)[None] - torch.arange(n)[:, None]
    return (weights * gate.table[:, distance + gate.max_len - 1]) @ value


def ours(query: Tensor, key: Tensor, value: Tensor, gate: URPE) -> Tensor:
    return dot_product_attention(query, key, value, mask=CAUSAL, gate=gate)


def train(attend: Callable[..., Tensor], tensors: list[Tensor], gate: URPE) -> list[Tensor]:
    out = attend(*tensors, gate)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [*tensors, gate.table])]


@torch.no_grad()
def infer(attend: Callable[..., Tensor], tensors: list[Tensor], gate: URPE) -> list[Tensor]:
    return [attend(*tensors, gate)]


@torch.no_grad()
def plain(tensors: list[Tensor]) -> Tensor:
    return F.scaled_dot_product_attention(*tensors, is_causal=True)


def main() -> None:
    bench = Benchmark("urpe")
    bench.peer("torch")
    n, rounds = (1024, 3) if options.quick else (4096, 5)
    tensors, gate = inputs(n)
    for name, run in {"training": train, "inference": infer}.items():
        pairs = zip(run(ours, tensors, gate), run(dense, tensors, gate), strict=True)
        bench.same(f"{name}: the dense form", max(((a - b).norm() / b.norm()).item() for a, b in pairs), 1e-5)
        calls = {way.__name__: partial(run, way, tensors, gate) for way in (dense, ours)}
        calls |= {"no gate, SDPA": partial(plain, tensors)} if run is infer else {}
        seconds = bench.time(f"{name}, {n} tokens", calls, rounds)
        bench.ratio(f"{name}, {n} tokens: ours : dense", seconds["ours"], seconds["dense"])
        before, mine, other = (peak_bytes(probe(n, call)) for call in ("", f"{name}(ours)", f"{name}(dense)"))
        bar = {} if options.quick else {"at_most": AT_MOST}
        bench.ratio(f"{name}, {n} tokens: peak memory, ours : dense", [mine - before], [other - before], **bar)
        bench.notes.append(
            f"{name}: {(mine - before) / 2**20:.0f} and {(other - before) / 2**20:.0f} MiB above the inputs"
        )
    bench.finish(options.json)


def probe(n: int, call: str) -> str:
    """This file's functions in a fresh process, which makes the inputs and then the call."""
    import inspect

    names = ["torch", "inputs", "dense", "ours", "train", "infer"][1:]
    code = "\n".join(inspect.getsource(globals()[name]) for name in names)
    head = "from __future__ import annotations\nimport torch\nfrom gezhi.nn import URPE, Mask, dot_product_attention\n"
    head += f"HEADS, WIDTH, CAUSAL = {HEADS}, {WIDTH}, Mask(causal=True)\ntorch.set_num_threads(1)\n"
    tail = f"\ntensors, gate = inputs({n})\n" + call.replace("training(", "train(").replace(
        "inference(", "infer("
    ).replace(")", ", tensors, gate)")
    return head + code + tail


main()
