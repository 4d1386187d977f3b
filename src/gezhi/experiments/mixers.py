"""Is attention needed to mix tokens, or do weights that never look at the input do as well?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gezhi.data import Texts, read
from gezhi.experiments.setups import lm
from gezhi.experiments.setups.mixing import Attention, Mixing
from gezhi.lab import Dots, Experiment, Lines, Study, exponent, inside, itself, ratio, two_thirds
from gezhi.nn import (
    ConvolutionMixer,
    ExternalAttention,
    FeedForwardStack,
    FourierMixer,
    GatedMLP,
    MLPMixer,
    ResMLP,
    external_attention,
    fourier_mix,
)
from gezhi.nn.attention import Mask

Metrics = Mapping[str, Any]

# ---- language models ------------------------------------------------------------------------------------------------

# Step sizes of 2e-3 and 4e-3, and 7 taps rather than 15, by held-out loss on seed 900 after 400 steps.
GMLP, RESMLP, FNET, LIGHT = "gMLP", "ResMLP", "FNet", "lightweight convolution"
FIXED = {
    GMLP: Mixing("gmlp", 464, alone=True),
    RESMLP: Mixing("resmlp", 352, alone=True),
    FNET: Mixing("fourier", 376, alone=True, placed=True),
    LIGHT: Mixing("light", 288),
}
ATTENTION = Mixing("attention", 256)
SELF, MIXER, OVER = "self-attention", "fixed mixer", "loss over self-attention's"


@dataclass(frozen=True)
class Size(lm.Size):
    """And which mixer the case asks about."""

    length: int = 64
    tested: int = 100_000
    mixer: str = GMLP


def masked_bytes(arm: Mixing | None, data: Texts, seed: int, size: Size) -> Metrics:
    """Loss at masked bytes, and over that of self-attention; None stands for the mixer of the case."""
    plain = lm.Size(size.steps, size.batch, size.length, size.trained, size.tested)
    mixing = FIXED[size.mixer] if arm is None else arm
    found = lm.losses(mixing.recipe(size.length), False, data, seed, plain)
    baseline = found if mixing == ATTENTION else lm.losses(ATTENTION.recipe(size.length), False, data, seed, plain)
    return {**found, OVER: found["loss"] / baseline["loss"]}


def answers() -> Texts:
    texts: Texts = read("insuranceqa-en-answers")
    return texts


STEPS = 1500
BYTES = Study(
    "masked bytes",
    masked_bytes,
    {SELF: ATTENTION, MIXER: None},
    dict.fromkeys(FIXED, answers),
    {
        "smoke": {GMLP: Size(1, 2, 16, 5000, 200)},
        "full": {name: Size(STEPS, mixer=name) for name in FIXED},
    },
    claims={"fixed-worse": inside(OVER, MIXER, low=1.05)},
    accepts="texts",
    trains=two_thirds("steps"),
    seeds={"full": 5},
    figures=(Dots(OVER, "fixed-worse"), Dots("loss")),
)
AMLP, DYNAMIC, EXTERNAL, NEAR, NONE = (
    "aMLP",
    "dynamic convolution",
    "external attention",
    "attention within 7",
    "no mixing",
)
OTHERS = Study(
    "other mixers",
    masked_bytes,
    {
        SELF: ATTENTION,
        NEAR: Mixing("near attention", 256),
        GMLP: FIXED[GMLP],
        AMLP: Mixing("amlp", 252, alone=True),
        DYNAMIC: Mixing("dynamic", 260),
        EXTERNAL: Mixing("external", 312, placed=True),
        NONE: Mixing("nothing", 384),
    },
    {"insurance answers": answers},
    {"full": Size(STEPS)},
    claims={
        "tiny-attention": ratio("loss", AMLP, over=GMLP, at_most=1.02),
        "convolution": ratio("loss", DYNAMIC, over=SELF, at_most=1.02),
        "external-useless": ratio("loss", NONE, over=EXTERNAL, at_most=1.02),
    },
    accepts="texts",
    seeds={"full": 5},
    figures=(Dots("loss"),),
)

# ---- what a mixing step is ------------------------------------------------------------------------------------------


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def defect(step: Callable[[Tensor], Tensor]) -> float:
    """How far a map of tokens is from adding up, its own biases taken out."""
    a, b, zero = normal(N, DIM), normal(N, DIM), torch.zeros(N, DIM, dtype=torch.float64)
    with torch.no_grad():
        f = [step(x) - step(zero) for x in (a + b, a, b)]
    return float((f[0] - f[1] - f[2]).norm() / f[0].norm())


N, DIM = 16, 8
STEP: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    RESMLP: lambda block, x: block.linear_tokens(x.T).T,  # type: ignore[operator]
    "MLP-Mixer": lambda block, x: block.mlp_tokens(x.T).T,  # type: ignore[operator]
    "stack of FFN": lambda block, x: block.mlp_tokens(x.T).T,  # type: ignore[operator]
}
BLOCK: dict[str, Callable[[int, int], nn.Module]] = {
    RESMLP: ResMLP,
    "MLP-Mixer": MLPMixer,
    "stack of FFN": FeedForwardStack,
}


def additivity(arm: str, case: str, _seed: int, _size: None) -> Metrics:
    if arm == "matrix":
        weight = normal(N, N)
        return {"error of adding up": defect(lambda x: weight @ x)}
    block = BLOCK[case](DIM, N).double()
    return {"error of adding up": defect(partial(STEP[case], block))}


ADDING = Study(
    "one matrix",
    additivity,
    {"one matrix over tokens": "matrix", "its token step": "block"},
    {name: name for name in BLOCK},
    {"smoke": None, "quick": None, "full": None},
    claims={"synthesizers": inside("error of adding up", "its token step", high=1e-6)},
    resolution={"error of adding up": 1e-9},
    figures=(Dots("error of adding up", "synthesizers"),),
)


def influence(normalise: Any, _case: None, _seed: int, n: int) -> Metrics:
    """Norms of the derivatives of an output by the other tokens, over that by its own, averaged over tokens."""
    x, keys, values = normal(n, 8), normal(16, 8), normal(16, 8)
    slopes = torch.func.jacrev(lambda x: external_attention(x, keys, values, normalise=normalise))(x)
    norms = slopes.square().sum((1, 3)).sqrt()
    own = norms.diagonal()
    return {"influence of others": float((norms.sum(1) - own).mean() / own.mean())}


ROW, DOUBLE = "softmax over the memory", "double normalisation"
ISOLATION = Study(
    "influence",
    influence,
    {ROW: "row", DOUBLE: "double"},
    {"random tokens": None},
    {"smoke": 16, "quick": 128, "full": 128},
    claims={"isolated": inside("influence of others", DOUBLE, high=0.1)},
    figures=(Dots("influence of others", "isolated"),),
)


def padded(arm: type[nn.Module], _case: None, _seed: int, n: int) -> Metrics:
    """Relative change of the outputs of real tokens when a quarter more of padding follows, masked where possible."""
    block, x = arm(DIM).double(), normal(1, n, DIM)
    longer = torch.cat([x, torch.zeros(1, n // 4, DIM, dtype=x.dtype)], 1)
    keys = (torch.arange(longer.shape[1]) < n)[None]
    with torch.no_grad():
        alone, beside = block(x), block(longer, None if arm is FourierMixer else Mask(keys=keys))
    return {"change by padding": float((beside[:, :n] - alone).norm() / alone.norm())}


PADDING = Study(
    "padding",
    padded,
    {LIGHT: ConvolutionMixer, FNET: FourierMixer},
    {"random tokens": None},
    {"smoke": 16, "quick": 48, "full": 48},
    claims={"padding": inside("change by padding", FNET, low=0.1)},
    figures=(Dots("change by padding", "padding"),),
)


def share_kept(n: int) -> Metrics:
    """Rank of the Fourier mix of n tokens of n channels, over the dimensions of its input."""
    basis = torch.eye(n * n, dtype=torch.float64).view(-1, n, n)
    return {"share kept": int(torch.linalg.matrix_rank(fourier_mix(basis).flatten(1))) / n**2}


KEPT = Study(
    "Fourier mix",
    itself,
    {FNET: share_kept},
    {"16 × 16": 16},
    {"smoke": None, "quick": None, "full": None},
    claims={"half": inside("share kept", FNET, 0.5, 0.51)},
    varies="nothing",
)

# ---- time -----------------------------------------------------------------------------------------------------------


def passing(arm: Callable[[int], tuple[nn.Module, Callable[[Tensor], Tensor]]], n: int, _seed: int, _size: None) -> Any:
    """Forward and backward through a mixing step."""
    owner, step = arm(n)
    x = torch.randn(1, n, 64, requires_grad=True)
    wanted = [x, *owner.parameters()]
    return lambda: torch.autograd.grad(step(x).sum(), wanted)


def timed(
    owner: nn.Module, step: Callable[[Tensor], Tensor] | None = None
) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    return owner, owner if step is None else step


def over_tokens(network: nn.Module) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    return timed(network, lambda x: network(x.mT).mT)


def gated(n: int) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    gate = GatedMLP(64, n, hidden_dim=128).gate
    return timed(gate, lambda x: gate(torch.cat([x, x], -1), Mask(), 0.0))


QUADRATIC = {
    RESMLP: lambda n: over_tokens(ResMLP(64, n).linear_tokens),
    "stack of FFN": lambda n: over_tokens(FeedForwardStack(64, n).mlp_tokens),
    GMLP: gated,
}
LINEAR = {
    "MLP-Mixer": lambda n: over_tokens(MLPMixer(64, n).mlp_tokens),
    EXTERNAL: lambda _n: timed(ExternalAttention(64)),
    LIGHT: lambda _n: timed(ConvolutionMixer(64)),
    FNET: lambda _n: timed(nn.Identity(), fourier_mix),
}
COST = Study(
    "cost",
    passing,
    {SELF: lambda _n: timed(Attention(64)), **QUADRATIC, **LINEAR},
    {f"n = {n}": n for n in (512, 1024, 2048)},
    {"full": None},
    claims={
        "quadratic": tuple(exponent("seconds", arm, low=1.6) for arm in QUADRATIC),
        "below-quadratic": tuple(exponent("seconds", arm, high=1.35) for arm in LINEAR),
    },
    timed=True,
    seeds={"full": 5},
    figures=(Lines("seconds", "quadratic", log=(True, True)),),
)

EXPERIMENT = Experiment(
    __doc__,
    (BYTES, OTHERS, ADDING, ISOLATION, PADDING, KEPT, COST),
    units={"loss": "nats", "training loss": "nats", "seconds": "s"},
)
