"""Mixers against loops, the published check values, and what their masks hide."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.nn import (
    ConvolutionMixer,
    ExternalAttention,
    FeedForwardStack,
    FourierMixer,
    GatedMLP,
    Mask,
    MixerEncoder,
    MLPMixer,
    RandomSynthesizer,
    ResMLP,
    convolve,
    dot_product_attention,
    external_attention,
    fourier_mix,
    mixing_cost,
    token_mixer,
)

DIM, N = 8, 5
NAMES = [
    "mixer",
    "feed_forward_stack",
    "resmlp",
    "gmlp",
    "amlp",
    "synthesizer",
    "external",
    "light",
    "dynamic",
    "dilated",
    "fourier",
]
MATRIX = ["resmlp", "gmlp", "amlp", "synthesizer"]
OWN = {"light": {"heads": 2, "kernel": 3}, "dynamic": {"heads": 2, "kernel": 3}, "dilated": {"heads": 2, "kernel": 3}}
OWN |= {"external": {"memory": 6}, "amlp": {"tiny_attn_dim": 4}}
BY_NAME = pytest.mark.parametrize("name", NAMES)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def mixer(name, n=N, **settings):
    """A mixer whose weights are all of some size."""
    found = token_mixer(name, DIM, n, **{**OWN.get(name, {}), **settings}).double()
    for i, parameter in enumerate(found.parameters()):
        parameter.data = 0.5 * normal(*parameter.shape, seed=i) + (parameter.ndim == 1)
    return found


SAMPLES = [Sample(mixer(name), (normal(2, N, DIM),)) for name in NAMES]
SAMPLES += [
    Sample(external_attention, (normal(5, 4), normal(3, 4, seed=1), normal(3, 4, seed=2))),
    Sample(convolve, (normal(5, 4), normal(2, 3, seed=1))),
    Sample(fourier_mix, (normal(5, 4),)),
    Sample(mixing_cost, ("gmlp", 196, 768), compiles=False, differentiable=False, reason="numbers in, numbers out"),
]


# ---- check values ---------------------------------------------------------------------------------------------------


def w(rows, columns, phase, size=0.5):
    return torch.tensor(
        [[size * math.sin(1.3 * r + 0.7 * c + phase) for c in range(columns)] for r in range(rows)], dtype=torch.float64
    )


X = torch.tensor([[math.cos(0.9 * i + 1.7 * c) for c in range(4)] for i in range(4)], dtype=torch.float64)[None]


def filled(block, **weights):
    """The block with these weights, its biases 0 and its norms without effect."""
    block = block.double()
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            parameter.data.zero_()
    for name, value in weights.items():
        block.get_parameter(name.replace("__", ".")).data = value
    return block


def two_networks(block, tokens, channels):
    """Networks over tokens and over channels whose weights have these phases."""
    return filled(
        block(4, 4, token_dim=3, hidden_dim=8),
        mlp_tokens__fc1__weight=w(3, 4, tokens),
        mlp_tokens__fc2__weight=w(4, 3, tokens + 0.1),
        mlp_channels__fc1__weight=w(8, 4, channels),
        mlp_channels__fc2__weight=w(4, 8, channels + 0.1),
    )


SMALL = {
    "mixer": (
        partial(two_networks, MLPMixer, tokens=0.2, channels=0.4),
        [1.102342458740, -1.126296306982, -0.500924295790, 1.781762449903],
        -0.125137271355,
    ),
    "feed-forward stack": (
        partial(two_networks, FeedForwardStack, tokens=0.4, channels=0.2),
        [1.042994921944, -1.007753163482, -0.631392820148, 1.178638326358],
        -0.569030921260,
    ),
    "resmlp": (
        lambda: filled(
            ResMLP(4, 4, hidden_dim=8),
            ls1=torch.tensor([0.1] * 4, dtype=torch.float64),
            ls2=torch.tensor([0.1] * 4, dtype=torch.float64),
            linear_tokens__weight=w(4, 4, 0.2),
            mlp_channels__fc1__weight=w(8, 4, 0.3),
            mlp_channels__fc2__weight=w(4, 8, 0.4),
        ),
        [0.719528865858, -0.912538270307, -0.492448603230, 1.030656124204],
        0.517763150150,
    ),
    "external": (
        lambda: filled(ExternalAttention(4, memory=3), memory_keys=w(3, 4, 0.2, 2), memory_values=w(3, 4, 0.3)),
        [0.238766632003, 0.154469193193, -0.002477520823, -0.158259018085],
        2.567777312936,
    ),
    "external, row": (
        lambda: filled(
            ExternalAttention(4, memory=3, normalise="row"), memory_keys=w(3, 4, 0.2, 2), memory_values=w(3, 4, 0.3)
        ),
        [0.194857259047, 0.107788824345, -0.029974378692, -0.153640163069],
        2.206174165603,
    ),
    "fourier": (
        lambda: fourier_mix,
        [0.161752066396, 4.118287708051, -0.577977604770, 1.206746209095],
        16 * X[0, 0, 0].item(),
    ),
    "gmlp": (
        lambda: filled(
            GatedMLP(4, 4, hidden_dim=8),
            fc1__weight=w(8, 4, 0.2),
            fc2__weight=w(4, 4, 0.3),
            gate__proj__weight=w(4, 4, 0.4),
            gate__proj__bias=torch.ones(4).double(),
        ),
        [0.881361932708, -1.099721807337, -0.790466251493, 0.994532366026],
        -0.120389001261,
    ),
    "amlp": (
        lambda: filled(
            GatedMLP(4, 4, hidden_dim=8, tiny_attn_dim=2),
            fc1__weight=w(8, 4, 0.2),
            fc2__weight=w(4, 4, 0.3),
            gate__proj__weight=w(4, 4, 0.4),
            gate__proj__bias=torch.ones(4).double(),
            attention__qkv__weight=w(6, 4, 0.5),
            attention__out__weight=w(4, 2, 0.6),
        ),
        [0.868646162677, -1.098388201197, -0.777037005301, 1.000383375136],
        -0.129319835093,
    ),
    "light": (
        lambda: partial(convolve, taps=w(2, 3, 0.2, 1)),
        [0.320453894379, -0.747209351758, -0.469926481940, 0.677162700755],
        0.076070951691,
    ),
    "dynamic": (
        lambda: lambda x: convolve(x, (x @ w(6, 4, 0.2, 1).T).unflatten(-1, (2, 3))),
        [0.409730136824, -0.634202809662, -0.494113252539, 0.675552729455],
        0.531634443490,
    ),
    "synthesizer": (
        lambda: filled(RandomSynthesizer(4, 4), scores=w(4, 4, 0.2, 2), value__weight=w(4, 4, 0.3)),
        [-0.165742454118, -0.044246618901, 0.142070616665, 0.120254065981],
        -0.550908825832,
    ),
}


@pytest.mark.parametrize(("build", "row", "total"), SMALL.values(), ids=SMALL)
def test_check_values(build, row, total):
    out = build()(X)[0]
    assert out[1].tolist() == pytest.approx(row, abs=1e-11)
    assert out.sum().item() == pytest.approx(total, abs=1e-10)


def test_check_values_of_costs():
    costs = {
        "attention": (2359296, 521428992),
        "mixer": (150528, 115605504),
        "feed_forward_stack": (307328, 236027904),
        "resmlp": (38416, 29503488),
        "external": (98304, 19267584),
        "gmlp": (38416, 59006976),
        "tiny_attention": (245760, 53086208),
        "amlp": (284176, 112093184),
        "light": (56, 1053696),
        "dynamic": (43008, 9483264),
    }
    assert {name: mixing_cost(name, 196, 768) for name in costs} == costs
    assert mixing_cost("fourier", 196, 768).parameters == 0


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("n", [1, 7])
def test_convolution_tap_by_tap(causal, dilation, dynamic, n):
    x, heads, kernel = normal(n, 6), 3, 5
    taps = normal(n, heads, kernel, seed=1) if dynamic else normal(heads, kernel, seed=1)
    out = convolve(x, taps, dilation=dilation, causal=causal)
    for i in range(n):
        for c in range(6):
            weights = (taps[i] if dynamic else taps)[c * heads // 6].softmax(-1)
            places = [i + dilation * (j - (kernel - 1 if causal else kernel // 2)) for j in range(kernel)]
            expected = sum(weights[j] * x[p, c] for j, p in enumerate(places) if 0 <= p < n)
            assert out[i, c].item() == pytest.approx(float(expected), abs=1e-12)


def test_convolution_is_torchs_depthwise_one():
    x, taps = normal(2, 9, 4), normal(2, 3, seed=1)
    weight = taps.softmax(-1).repeat_interleave(2, 0)[:, None]
    expected = F.conv1d(x.mT, weight, padding=1, groups=4).mT
    torch.testing.assert_close(convolve(x, taps), expected, atol=1e-12, rtol=0)


def test_fourier_is_its_double_sum():
    x = normal(3, 4)
    for p in range(3):
        for q in range(4):
            terms = (x[i, c] * math.cos(2 * math.pi * (p * i / 3 + q * c / 4)) for i in range(3) for c in range(4))
            assert fourier_mix(x)[p, q].item() == pytest.approx(float(sum(terms)), abs=1e-12)


# ---- theorems -------------------------------------------------------------------------------------------------------


def influence(block, x, mask=None):
    """Which outputs depend on which inputs, (n, n)."""
    x = x.clone().requires_grad_()
    out = block(x, mask)
    rows = [
        torch.autograd.grad((out[0, i] * normal(out.shape[-1], seed=i)).sum(), x, retain_graph=True)[0]
        for i in range(x.shape[1])
    ]
    return torch.stack([(row[0] != 0).any(-1) for row in rows])


@BY_NAME
def test_shape_is_kept_and_tokens_mix(name):
    block, x = mixer(name), normal(2, N, DIM)
    assert block(x).shape == x.shape
    assert influence(block, x[:1]).any(1).all()
    if name not in ("light", "dynamic", "dilated"):
        assert influence(block, x[:1]).all()


@pytest.mark.parametrize("name", [*MATRIX, "external", "light", "dynamic", "dilated"])
def test_causal_mixers_do_not_see_the_future(name):
    seen = influence(mixer(name), normal(1, N, DIM), Mask(causal=True))
    assert not seen.triu(1).any()
    assert seen.diagonal().all()
    assert seen[1:].sum() > N - 1


@pytest.mark.parametrize("name", MATRIX)
def test_matrices_obey_any_mask(name):
    x = normal(1, N, DIM)
    for mask in (Mask(causal=True, prefix=3), Mask(dense=torch.eye(N, dtype=torch.bool) | (torch.arange(N) == 2))):
        allowed = mask.tensor(N, N) | torch.eye(N, dtype=torch.bool)
        assert torch.equal(influence(mixer(name), x, mask) & ~allowed, torch.zeros(N, N, dtype=torch.bool))
        assert influence(mixer(name), x, mask).sum() > N


@pytest.mark.parametrize("name", [*MATRIX, "external", "light", "dynamic", "dilated"])
@given(st.integers(1, N))
def test_padding_changes_nothing(name, length):
    block, x = mixer(name), normal(2, N, DIM)
    keys = torch.arange(N).expand(2, N) < length
    out = block(x, Mask(keys=keys))
    other = torch.where(keys[..., None], x, 1e3)
    assert torch.equal(block(other, Mask(keys=keys))[keys], out[keys])
    if name in ("external", "light", "dynamic", "dilated"):
        torch.testing.assert_close(out[:, :length], block(x[:, :length]), atol=1e-12, rtol=0)
    if name == "external":
        assert not out[~keys].any()


@pytest.mark.parametrize("name", MATRIX)
def test_fewer_tokens_by_the_leading_part_of_the_weights(name):
    block, x = mixer(name, allow_shorter=True), normal(2, N, DIM)
    keys = torch.arange(N).expand(2, N) < 3
    torch.testing.assert_close(block(x[:, :3]), block(x, Mask(keys=keys))[:, :3], atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match=f"must have {N} tokens: got {N + 1}"):
        block(normal(1, N + 1, DIM))


def test_resmlp_is_a_linear_token_operator_and_mixer_is_not():
    def operator(block):
        if isinstance(block, ResMLP):
            return lambda x: F.linear(x.mT, block.linear_tokens.weight).mT
        return lambda x: block.mlp_tokens(x.mT).mT

    a, b = normal(1, N, DIM), normal(1, N, DIM, seed=1)
    defects = {}
    for name in ("resmlp", "mixer", "feed_forward_stack"):
        f = operator(filled(mixer(name)))
        defects[name] = (f(a + b) - f(a) - f(b)).abs().max().item()
    assert defects["resmlp"] < 1e-12
    assert min(defects["mixer"], defects["feed_forward_stack"]) > 0.1


def test_external_attention_mixes_tokens_only_by_the_paper_normalisation():
    x = normal(1, N, DIM)
    assert torch.equal(influence(mixer("external", normalise="row"), x), torch.eye(N, dtype=torch.bool))
    assert influence(mixer("external"), x).all()
    order = torch.tensor([3, 0, 4, 1, 2])
    block = mixer("external")
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order], atol=1e-12, rtol=0)


def test_fourier_keeps_half_of_its_input():
    n, d = 4, 6
    x = normal(n, d)
    back = x[(-torch.arange(n)) % n][:, (-torch.arange(d)) % d]
    torch.testing.assert_close(fourier_mix(back), fourier_mix(x), atol=1e-12, rtol=0)
    torch.testing.assert_close(fourier_mix(fourier_mix(x)), n * d / 2 * (x + back), atol=1e-10, rtol=0)
    matrix = torch.stack([fourier_mix(e.reshape(4, 4)).flatten() for e in torch.eye(16).double()])
    assert torch.linalg.matrix_rank(matrix) == 10


def test_gmlp_starts_as_a_network_per_token():
    torch.manual_seed(0)
    block = GatedMLP(DIM, N).double()
    x = normal(1, N, DIM)
    content = F.gelu(block.fc1(block.norm(x)))[..., : 2 * DIM]
    torch.testing.assert_close(block(x), x + block.fc2(content), atol=1e-5, rtol=0)


def test_the_tiny_head_is_attention():
    block, x = mixer("amlp"), normal(2, N, DIM)
    query, key, value = block.attention.qkv(block.norm(x))[:, None].chunk(3, -1)
    expected = block.attention.out(dot_product_attention(query, key, value, mask=Mask(causal=True))[:, 0])
    torch.testing.assert_close(block.attention(block.norm(x), Mask(causal=True)), expected)


def test_an_encoder_is_a_stack():
    stack = MixerEncoder("external", 3, dim=DIM, memory=4).double()
    x, mask = normal(2, N, DIM), Mask(keys=torch.arange(N).expand(2, N) < 3)
    out = x
    for block in stack.blocks:
        out = block(out, mask)
    assert torch.equal(stack(x, mask), out)
    assert len(MixerEncoder(lambda: FourierMixer(DIM), 2).blocks) == 2
    assert torch.equal(MixerEncoder("external", 0, dim=DIM)(x), x)


# ---- gradient and edges ---------------------------------------------------------------------------------------------


@BY_NAME
def test_gradcheck(name):
    assert torch.autograd.gradcheck(mixer(name, n=3), normal(1, 3, DIM).requires_grad_())


@BY_NAME
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_one_token_and_half_precision(name, dtype):
    block = mixer(name, n=1)
    out = block(normal(2, 1, DIM))
    assert out.isfinite().all()
    half = block.to(dtype)(normal(2, 1, DIM).to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.double(), out, atol=0.2, rtol=0.05)


@pytest.mark.parametrize("name", ["external", "synthesizer"])
def test_tokens_that_see_nothing_get_nothing(name):
    block = mixer(name)
    if name == "synthesizer":
        block.value.bias.data.zero_()
    out = block(normal(1, N, DIM), Mask(keys=torch.zeros(1, N, dtype=torch.bool)))
    assert not out.any()


# ---- errors ---------------------------------------------------------------------------------------------------------

CAUSAL, KEYS = Mask(causal=True), Mask(keys=torch.ones(1, N, dtype=torch.bool))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mixer("mixer")(normal(1, 4, DIM)), "the input of MLPMixer must have 5 tokens: got 4"),
        (lambda: mixer("gmlp")(normal(1, 4, DIM)), "the input of GatedMLP must have 5 tokens: got 4"),
        (lambda: GatedMLP(4, 4, hidden_dim=7), "hidden_dim must be even for GatedMLP: got 7"),
        (lambda: ConvolutionMixer(10, heads=4), "dim must be a multiple of heads = 4 for ConvolutionMixer: got 10"),
        (lambda: ConvolutionMixer(8, kernel=4), "kernel must be odd"),
        (lambda: ConvolutionMixer(8, dilation=2), "dilation must be left out with conv='light': got 2"),
        (lambda: ConvolutionMixer(8, conv="wide"), "conv must be one of 'light', 'dynamic', 'dilated'"),
        (lambda: convolve(normal(3, 4), normal(3, 3)), "channels must be a multiple of the number of heads, 3: got 4"),
        (lambda: convolve(normal(3, 4), normal(2, 4)), "kernel must be odd"),
        (
            lambda: mixer("fourier")(normal(1, N, DIM), KEYS),
            "do without keys for FourierMixer.* Pad to the length of the",
        ),
        (lambda: mixer("fourier")(normal(1, N, DIM), CAUSAL), "mask must do without causal for FourierMixer"),
        (lambda: mixer("mixer")(normal(1, N, DIM), KEYS), "mask must do without keys for MLPMixer"),
        (
            lambda: mixer("light")(normal(1, N, DIM), Mask(causal=True, prefix=1)),
            "do without prefix for ConvolutionMixer",
        ),
        (
            lambda: mixer("resmlp")(normal(2, N, DIM), Mask(keys=torch.ones(3, N).bool())),
            "mask.keys must have the shape",
        ),
        (lambda: token_mixer("gmlp", 8), "seq_len must be given for 'gmlp'"),
        (lambda: token_mixer("attention", 8), "name must be one of 'mixer'"),
        (lambda: ExternalAttention(4, normalise="both"), "normalise must be one of"),
        (lambda: mixing_cost("gmlp", 0, 4), "n must lie between 1"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
