"""Forward and backward time, kept memory and tail accuracy of the three forms against torch's and transformers'."""

from __future__ import annotations

from collections.abc import Callable

from _bench import Benchmark, arguments

options = arguments(threads=2)

import torch
from torch import Tensor

from gezhi.lab.clock import saved_bytes
from gezhi.nn import gelu_erf, gelu_sigmoid, gelu_tanh

Form = Callable[[Tensor], Tensor]
OURS: dict[str, Form] = {"gelu_erf": gelu_erf, "gelu_tanh": gelu_tanh, "gelu_sigmoid": gelu_sigmoid}
TORCH: dict[str, Form] = {
    "torch none": torch.nn.functional.gelu,
    "torch tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
}
SAME_FORM = {
    "torch none": "gelu_erf",
    "torch tanh": "gelu_tanh",
    "HF gelu_python": "gelu_erf",
    "HF gelu_new": "gelu_tanh",
    "HF gelu_fast": "gelu_tanh",
    "HF quick_gelu": "gelu_sigmoid",
}


def main() -> None:
    bench = Benchmark("gelu")
    bench.peer("torch")
    peers = TORCH | (hugging_face() if bench.peer("transformers") else {})
    n, rounds = (10**5, 5) if options.quick else (10**7, 9)
    x = torch.randn(n, generator=torch.Generator().manual_seed(1000)).requires_grad_()
    compare(bench, peers, x)
    tail(bench)
    memory(bench, peers, x)
    eager(bench, peers, x, rounds)
    if options.quick:
        bench.notes.append("quick: compiled forms are not timed")
    else:
        compiled(bench, x, rounds)
    bench.finish(options.json)


def hugging_face() -> dict[str, Form]:
    from transformers.activations import ACT2FN

    return {f"HF {name}": ACT2FN[name] for name in ("gelu_python", "gelu_new", "gelu_fast", "quick_gelu")}


def both_ways(form: Form, x: Tensor) -> Tensor:
    return torch.autograd.grad(form(x).sum(), x)[0]


def compare(bench: Benchmark, peers: dict[str, Form], x: Tensor) -> None:
    for name, form in peers.items():
        ours = OURS[SAME_FORM[name]]
        bench.same(f"values of {name} and {SAME_FORM[name]}", (form(x) - ours(x)).abs().max().item(), 2e-6)
        gap = (both_ways(form, x) - both_ways(ours, x)).abs().max().item()
        bench.same(f"gradients of {name} and {SAME_FORM[name]}", gap, 2e-6)


def tail(bench: Benchmark) -> None:
    """Largest relative error in float32 from -10 to 0, against the same form in float64."""
    x = torch.linspace(-10, -1e-3, 100_001)
    exact = gelu_erf(x.double())
    error = {name: ((form(x) - exact) / exact).abs().max().item() for name, form in [*OURS.items(), *TORCH.items()]}
    bench.same("gelu_erf in float32 and float64, relative, from -10 on", error["gelu_erf"], 1e-5)
    bench.notes.append(f"largest relative error of torch none in float32 from -10 on: {error['torch none']:.2g}")


def memory(bench: Benchmark, peers: dict[str, Form], x: Tensor) -> None:
    kept = {}
    for name, form in (OURS | peers).items():
        with saved_bytes() as total:
            form(x)
            kept[name] = total() / x.nelement()
    for name, form in SAME_FORM.items():
        if name in kept:
            bench.ratio(f"bytes kept for backward, {name} : {form}", [kept[name]], [kept[form]], at_least=1.0)


def eager(bench: Benchmark, peers: dict[str, Form], x: Tensor, rounds: int) -> None:
    forms, still = OURS | peers, x.detach()
    bench.time("forward", {name: lambda form=form: form(still) for name, form in forms.items()}, rounds)
    calls = {name: lambda form=form: both_ways(form, x) for name, form in forms.items()}
    seconds = bench.time("forward and backward", calls, rounds)
    bars = {} if options.quick else {"HF gelu_python": {"at_least": 1.0}, "HF gelu_new": {"at_least": 1.0}}
    for name, form in SAME_FORM.items():
        if name in seconds:
            bench.ratio(f"both ways, {name} : {form}", seconds[name], seconds[form], **bars.get(name, {}))
    limit = {} if options.quick else {"at_most": 1.1}
    bench.ratio("both ways, torch none : gelu_sigmoid", seconds["torch none"], seconds["gelu_sigmoid"], **limit)


def compiled(bench: Benchmark, x: Tensor, rounds: int) -> None:
    forms = {name: torch.compile(form, fullgraph=True) for name, form in OURS.items()}
    for name, form in forms.items():
        gap = (both_ways(form, x) - both_ways(OURS[name], x)).abs().max().item()
        bench.same(f"gradients of {name}, compiled and eager", gap, 4e-6)  # the compiler's σ' is σ (1 - σ), rounded
    calls = {name: lambda form=form: both_ways(form, x) for name, form in [*forms.items(), *TORCH.items()]}
    seconds = bench.time("forward and backward, ours compiled", calls, rounds)
    for name in TORCH:
        form = SAME_FORM[name]
        bench.ratio(f"both ways, {name} : {form} compiled", seconds[name], seconds[form])


main()
