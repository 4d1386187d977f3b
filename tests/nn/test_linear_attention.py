"""Linear attention against loops over tokens and channels, the published check values, and itself in pieces."""

from __future__ import annotations

import copy
import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.data import Texts
from gezhi.experiments import linear_attention as experiment
from gezhi.experiments.setups import lm
from gezhi.nn import (
    FeatureMap,
    LinearAttention,
    Mask,
    PositiveRandomFeatures,
    Rotary,
    cosine,
    dot_product_attention,
    double_softmax,
    elu1,
    exp,
    linear_attention_matrix,
    linear_attention_step,
    rotary,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def random_features(dim=4, features=6, **settings):
    return PositiveRandomFeatures(dim, features, generator=torch.Generator().manual_seed(7), **settings)


def plain_elu1(x):
    return F.elu(x) + 1


FAVOR = random_features()
MAPS = {
    "elu1": elu1,
    "exp": exp,
    "double_softmax": double_softmax,
    "cosine": cosine,
    "favor": FAVOR,
    "favor hyperbolic": random_features(hyperbolic=True),
    "a map without logarithms": FeatureMap(plain_elu1, plain_elu1),
    "per channel without logarithms": FeatureMap(double_softmax.query, torch.exp, per_channel=True),
}
LOGS = [name for name, kernel in MAPS.items() if kernel.log]
BY_MAP = pytest.mark.parametrize("kernel", MAPS.values(), ids=MAPS)

SAMPLES = [
    Sample(linear_attention_step, (normal(1, 2, 5, 4), normal(1, 2, 5, 4, seed=1), normal(1, 2, 5, 3, seed=2))),
    Sample(LinearAttention(8, 2).double(), (normal(1, 5, 8),)),
    Sample(linear_attention_matrix, (normal(1, 5, 4), normal(1, 5, 4, seed=1))),
    Sample(FAVOR.log_features, (normal(3, 4),)),
]


def waves(n=5):
    """The input of the check values."""

    def table(f, width):
        return torch.tensor([[f(i, c) for c in range(width)] for i in range(n)], dtype=torch.float64)[None, None]

    query = table(lambda i, c: math.sin(0.9 * i + 0.4 * c + 0.1), 4)
    key = table(lambda j, c: math.cos(0.5 * j - 0.7 * c + 0.2), 4)
    return query, key, table(lambda j, e: math.sin(0.3 * j * j + e + 0.6), 3)


def turned(features, position, interleaved=True):
    """R_i of one token's features, pair by pair."""
    m = len(features)
    out = [0.0] * m
    for t in range(m // 2):
        angle = position * 10000 ** (-2 * t / m)
        a, b = (2 * t, 2 * t + 1) if interleaved else (t, t + m // 2)
        out[a] = features[a] * math.cos(angle) - features[b] * math.sin(angle)
        out[b] = features[a] * math.sin(angle) + features[b] * math.cos(angle)
    return out


def reference_linear(query, key, value, kernel, mask, rotates=False):
    """Sums over the visible keys of one channel after the other."""
    batch, heads, n_q, _ = query.shape
    n_k = key.shape[2]
    left, right = kernel.query(query), kernel.key(key)
    out = torch.zeros(batch, heads, n_q, value.shape[3], dtype=torch.float64)
    for b, h, i in product(range(batch), range(heads), range(n_q)):
        last = i + n_k - n_q
        seen = [j for j in range(n_k) if (not mask.causal or j <= last or j < mask.prefix)]
        seen = [j for j in seen if mask.keys is None or mask.keys[b, j]]
        phi, channels = left[b, h, i].tolist(), range(left.shape[-1])
        keys = {j: right[b, h, j].tolist() for j in seen}
        z = [sum(keys[j][c] for j in seen) for c in channels]
        total = sum(phi[c] * z[c] for c in channels)
        for j in seen:
            if kernel.per_channel:
                weight = sum(phi[c] * keys[j][c] / z[c] for c in channels)
            elif rotates:
                weight = sum(a * b for a, b in zip(turned(phi, last), turned(keys[j], j), strict=True)) / total
            else:
                weight = sum(phi[c] * keys[j][c] for c in channels) / total
            out[b, h, i] += weight * value[b, h, j]
    return out


KEYS = torch.tensor([[False, False, True, True, True, True, True], [True, True, True, True, False, True, False]])
MASKS = {
    "none": Mask(),
    "causal": Mask(causal=True),
    "prefix": Mask(causal=True, prefix=4),
    "padding": Mask(keys=KEYS),
    "prefix, padding": Mask(causal=True, prefix=4, keys=KEYS),
    "causal, padding": Mask(causal=True, keys=KEYS),
}


def inputs(n_q=7, dtype=torch.float64):
    tensors = normal(2, 2, n_q, 4), normal(2, 2, 7, 4, seed=1), normal(2, 2, 7, 3, seed=2)
    return [x.to(dtype) for x in tensors]


@pytest.fixture(params=[False, True], ids=["", "by halves"])
def by_halves(request, monkeypatch):
    """Both ways through a causal block: with one reference, and for features that rise too much for one."""
    if request.param:
        monkeypatch.setattr("gezhi.nn.attention.linear._STEEP", -1.0)
    return request.param


# ---- reference ------------------------------------------------------------------------------------------------------


@BY_MAP
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("n_q", [7, 3])
def test_is_the_formula_under_every_rule(kernel, mask, n_q, by_halves):
    out = dot_product_attention(*inputs(n_q), mask=mask, kernel=kernel, scale=1)
    torch.testing.assert_close(out, reference_linear(*inputs(n_q), kernel, mask), atol=1e-12, rtol=0)


@pytest.mark.parametrize("kernel", [elu1, exp, FAVOR], ids=["elu1", "exp", "favor"])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_rotation_turns_the_features_of_the_numerator(kernel, mask, by_halves):
    out = dot_product_attention(*inputs(3), mask=mask, kernel=kernel, scale=1, rotate=rotary)
    expected = reference_linear(*inputs(3), kernel, mask, rotates=True)
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)
    any_rotation = dot_product_attention(
        *inputs(3), mask=mask, kernel=kernel, scale=1, rotate=lambda x, s: rotary(x, s)
    )
    torch.testing.assert_close(any_rotation, expected, atol=1e-12, rtol=0)


@BY_MAP
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_the_matrix_gives_the_same_outputs(kernel, mask):
    query, key, value = inputs(3)
    weights = linear_attention_matrix(query, key, kernel=kernel, mask=mask)
    torch.testing.assert_close(
        weights @ value, dot_product_attention(query, key, value, mask=mask, kernel=kernel), atol=1e-12, rtol=0
    )


CHECKS = [
    (elu1, False, [0.354531710239, 0.333394969697, 0.005736431545], 3.322526001781),
    (elu1, True, [0.778163544587, 0.756852824295, 0.039695107751], 7.184456764741),
    (exp, False, [0.382043999307, 0.362136352763, 0.009282213567], 3.388485608012),
    (exp, True, [0.773711723920, 0.764863136123, 0.052802908321], 7.259816841278),
    (double_softmax, False, [0.390143884900, 0.377673077439, 0.017971384309], 3.515602391435),
    (double_softmax, True, [0.777189964019, 0.758400110527, 0.042340692958], 7.273054081271),
    (cosine, False, [0.429742900105, 0.404332233875, 0.007180376493], 4.644406846254),
    (cosine, True, [0.766549196136, 0.775647914459, 0.071619517311], 8.432819792086),
]


@pytest.mark.parametrize(("kernel", "causal", "row", "total"), CHECKS)
def test_check_values(kernel, causal, row, total, by_halves):
    out = dot_product_attention(*waves(), kernel=kernel, mask=Mask(causal=causal))[0, 0]
    assert out[2].tolist() == pytest.approx(row, abs=1e-11)
    assert out.sum().item() == pytest.approx(total, abs=1e-11)


@pytest.mark.parametrize(
    ("causal", "row", "total"),
    [
        (False, [0.587425910003, 0.582555388784, 0.042086129709], 4.296033660182),
        (True, [0.756947514250, 0.802491930834, 0.110228967091], 8.054351705964),
    ],
)
def test_check_values_of_softmax(causal, row, total):
    out = dot_product_attention(*waves(), scale=1.0, mask=Mask(causal=causal))[0, 0]
    assert out[2].tolist() == pytest.approx(row, abs=1e-11)
    assert out.sum().item() == pytest.approx(total, abs=1e-11)


@pytest.mark.parametrize(
    ("causal", "row", "total"),
    [
        (False, [0.290996908029, 0.125076725535, -0.155838421595], 0.725269590950),
        (True, [0.533609197398, 0.359551590750, -0.145076090276], 3.574369944839),
    ],
)
def test_check_values_with_rotation(causal, row, total, by_halves):
    out = dot_product_attention(*waves(), kernel=elu1, mask=Mask(causal=causal), rotate=rotary)[0, 0]
    assert out[2].tolist() == pytest.approx(row, abs=1e-11)
    assert out.sum().item() == pytest.approx(total, abs=1e-11)


def test_check_values_of_random_features():
    kernel = PositiveRandomFeatures(4, 6).double()
    omega = [[1.5 * math.sin(1.1 * r + 0.6 * c) for c in range(4)] for r in range(6)]
    kernel.omega.copy_(torch.tensor(omega, dtype=torch.float64))
    query, key, value = waves()
    first = [3.070747559267, 1.325493383378, 0.059669864518, 0.008298051114, 0.030784733924, 0.727164535068]
    assert kernel.query(query)[0, 0, 0].tolist() == pytest.approx(first, abs=1e-11)
    out = dot_product_attention(query, key, value, kernel=kernel, scale=1.0)[0, 0]
    assert out[2].tolist() == pytest.approx([0.577713276605, 0.507242879230, -0.029584282039], abs=1e-11)
    assert out.sum().item() == pytest.approx(4.270214539378, abs=1e-11)
    huge = dot_product_attention(query * 300, key * 300, value, kernel=exp)[0, 0, 2]
    assert huge.tolist() == pytest.approx([0.564642473395, 0.999573603042, 0.515501371821], abs=1e-11)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(list(MAPS)), st.integers(1, 9), st.lists(st.integers(1, 4), max_size=4))
def test_any_cutting_into_steps_is_the_whole(seed, name, chunk_size, cuts):
    n = 1 + sum(cuts)
    query, key, value = (normal(1, 2, n, 4, seed=seed + s) for s in range(3))
    whole = dot_product_attention(query, key, value, kernel=MAPS[name], mask=Mask(causal=True), rotate=None)
    state, parts = None, []
    for tokens in zip(*(x.split([1, *cuts], -2) for x in (query, key, value)), strict=True):
        out, state = linear_attention_step(*tokens, state, kernel=MAPS[name], chunk_size=chunk_size)
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, -2), whole, atol=1e-11, rtol=0)
    assert state.seen == n


def test_steps_know_the_positions():
    query, key, value = (normal(1, 1, 9, 4, seed=s) for s in range(3))
    whole = dot_product_attention(query, key, value, kernel=exp, mask=Mask(causal=True), rotate=rotary)
    first, state = linear_attention_step(query[:, :, :4], key[:, :, :4], value[:, :, :4], kernel=exp, rotate=rotary)
    last, _ = linear_attention_step(query[:, :, 4:], key[:, :, 4:], value[:, :, 4:], state, kernel=exp, rotate=rotary)
    torch.testing.assert_close(torch.cat([first, last], -2), whole, atol=1e-12, rtol=0)


@pytest.mark.parametrize("block", [16, 64])
@BY_MAP
def test_blocks_change_nothing(kernel, block, monkeypatch):
    query, key, value = (normal(1, 2, 100, 4, seed=s) for s in range(3))
    masks = [Mask(), Mask(causal=True), Mask(causal=True, prefix=37)]
    whole = [dot_product_attention(query, key, value, kernel=kernel, mask=mask) for mask in masks]
    monkeypatch.setattr("gezhi.nn.attention.linear.BLOCK", block)
    for mask, expected in zip(masks, whole, strict=True):
        out = dot_product_attention(query, key, value, kernel=kernel, mask=mask)
        torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@BY_MAP
@pytest.mark.parametrize("prefix", [0, 3])
def test_the_future_has_no_influence_on_the_past(kernel, prefix, by_halves):
    tensors = [x.requires_grad_() for x in inputs()]
    out = dot_product_attention(*tensors, kernel=kernel, mask=Mask(causal=True, prefix=prefix))
    for i in range(7):
        hidden = max(i + 1, prefix)
        key, value = torch.autograd.grad(out[:, :, i].sum(), tensors[1:], retain_graph=True)
        assert not key[:, :, hidden:].any()
        assert not value[:, :, hidden:].any()
        assert value[:, :, :hidden].all()


@given(st.integers(0, 10**6), st.sampled_from(list(MAPS)), st.booleans(), st.booleans(), st.integers(1, 4))
def test_padding_counts_on_neither_side(seed, name, causal, left, pads):
    query, key, value = (normal(1, 2, 5, 4, seed=seed + s) for s in range(3))
    plain = dot_product_attention(query, key, value, kernel=MAPS[name], mask=Mask(causal=causal))
    side = (pads, 0) if left else (0, pads)
    keys = F.pad(torch.ones(1, 5, dtype=torch.bool), side)
    padded = [F.pad(x, (0, 0, *side), value=50.0) for x in (query, key, value)]
    out = dot_product_attention(*padded, kernel=MAPS[name], mask=Mask(causal=causal, keys=keys))
    start = pads if left else 0
    torch.testing.assert_close(out[:, :, start : start + 5], plain, atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.sampled_from(list(MAPS)), st.booleans())
def test_rows_are_averages(seed, name, causal):
    query, key = normal(1, 2, 6, 4, seed=seed), normal(1, 2, 6, 4, seed=seed + 1)
    mask = Mask(causal=causal)
    weights = dot_product_attention(query, key, torch.eye(6).double().expand(1, 2, 6, 6), kernel=MAPS[name], mask=mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 2, 6).double(), atol=1e-12, rtol=0)
    assert (weights >= -1e-15).all()
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    if not causal:
        moved = dot_product_attention(
            query, key[:, :, order], torch.eye(6).double()[order].expand(1, 2, 6, 6), kernel=MAPS[name]
        )
        torch.testing.assert_close(moved, weights, atol=1e-12, rtol=0)


def test_a_factor_on_the_query_features_cancels():
    def doubled(x):
        return 2 * plain_elu1(x)

    out = dot_product_attention(*inputs(), kernel=FeatureMap(doubled, plain_elu1))
    torch.testing.assert_close(out, dot_product_attention(*inputs(), kernel=elu1), atol=1e-12, rtol=0)


def test_exp_and_double_softmax_differ_in_the_place_of_the_normaliser():
    query, key, value = inputs()
    z = key.exp().sum(-2, keepdim=True)
    weights = (query.exp() * z) / (query.exp() * z).sum(-1, keepdim=True)
    expected = weights @ ((key.exp() / z).mT @ value)
    torch.testing.assert_close(dot_product_attention(query, key, value, kernel=exp), expected, atol=1e-12, rtol=0)


def test_cutting_the_sum_alone_leaks_through_double_softmax():
    query, key, value = waves()

    def cut(key):
        whole = (query.softmax(-1) @ key.softmax(-2).mT)[0, 0].tril()
        return (whole / whole.sum(-1, keepdim=True)) @ value[0, 0]

    later = key.clone()
    later[0, 0, 4] += 1
    assert (cut(later) - cut(key))[:4].abs().max().item() == pytest.approx(0.0180, abs=5e-5)
    exact = [
        linear_attention_matrix(query, k, kernel=double_softmax, mask=Mask(causal=True))[0, 0, :4] for k in (key, later)
    ]
    assert torch.equal(*exact)


@pytest.mark.parametrize("hyperbolic", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_random_features_are_unbiased(orthogonal, hyperbolic):
    kernel = PositiveRandomFeatures(
        16, 400_000, orthogonal=orthogonal, hyperbolic=hyperbolic, generator=torch.Generator().manual_seed(1)
    )
    q, k = (0.6 * F.normalize(normal(1, 16, seed=s, dtype=torch.float32), dim=-1) for s in (1, 2))
    estimate, truth = (kernel.query(q) @ kernel.key(k).T).item(), (q @ k.T).exp().item()
    spread = math.sqrt((math.exp((q + k).square().sum().item()) - 1) / 400_000)
    assert abs(estimate / truth - 1) < 4 * spread


def test_second_moment_of_the_estimator():
    q, k = torch.tensor([[0.3, -0.5], [0.7, 0.2]], dtype=torch.float64)
    omega = normal(2_000_000, 2, seed=3)
    single = (omega @ (q + k) - q.square().sum() / 2 - k.square().sum() / 2).exp()
    ratio = single.square().mean() / (2 * q @ k).exp()
    assert (q + k).square().sum().exp().item() == pytest.approx(2.974274072563, abs=1e-11)
    assert ratio.item() == pytest.approx(2.974274072563, rel=0.02)


def test_orthogonal_rows_are_perpendicular_in_blocks_and_as_long_as_gaussian_ones():
    omega = random_features(8, 20).omega.double()
    gram = F.normalize(omega, dim=-1)
    for block in gram.split(8):
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)).double(), atol=1e-6, rtol=0)
    lengths = PositiveRandomFeatures(8, 40_000).omega.square().sum(-1)
    assert lengths.mean().item() == pytest.approx(8, rel=0.02)
    assert lengths.var().item() == pytest.approx(16, rel=0.05)


def test_features_are_drawn_from_the_generator_and_anew():
    first, second = random_features(), random_features()
    assert torch.equal(first.omega, second.omega)
    assert not torch.equal(second.redraw_(torch.Generator().manual_seed(8)).omega, first.omega)
    assert "omega" in copy.deepcopy(first).state_dict()
    assert PositiveRandomFeatures(64).omega.shape == (266, 64)


def test_scale_stands_with_its_root_on_both_sides():
    query, key, value = inputs()
    for kernel in MAPS.values():
        scaled = dot_product_attention(query, key, value, kernel=kernel, scale=0.49)
        by_hand = dot_product_attention(query * 0.7, key * 0.7, value, kernel=kernel, scale=1)
        torch.testing.assert_close(scaled, by_hand, atol=1e-12, rtol=0)
    default = dot_product_attention(query, key, value, kernel=FAVOR)
    torch.testing.assert_close(default, dot_product_attention(query, key, value, kernel=FAVOR, scale=0.5))


# ---- gradient -------------------------------------------------------------------------------------------------------


@BY_MAP
@pytest.mark.parametrize("mask", [MASKS["none"], MASKS["causal, padding"]], ids=["none", "causal, padding"])
def test_gradcheck(kernel, mask, by_halves):
    tensors = [x.requires_grad_() for x in inputs(5)]
    rotate = rotary if kernel in (elu1, exp) else None
    assert torch.autograd.gradcheck(
        lambda q, k, v: dot_product_attention(q, k, v, kernel=kernel, mask=mask, rotate=rotate), tensors
    )


def test_gradients_flow_through_the_state():
    tensors = [x.requires_grad_() for x in inputs()]

    def stepped(query, key, value):
        first, state = linear_attention_step(query[:, :, :3], key[:, :, :3], value[:, :, :3], kernel=exp)
        return torch.cat(
            [first, linear_attention_step(query[:, :, 3:], key[:, :, 3:], value[:, :, 3:], state, kernel=exp)[0]], -2
        )

    whole = dot_product_attention(*tensors, kernel=exp, mask=Mask(causal=True))
    for left, right in zip(
        torch.autograd.grad(stepped(*tensors).square().sum(), tensors),
        torch.autograd.grad(whole.square().sum(), tensors),
        strict=True,
    ):
        torch.testing.assert_close(left, right, atol=1e-12, rtol=0)


# ---- edges ----------------------------------------------------------------------------------------------------------


def exact_in_logs(query, key, value, kernel):
    """Causal weights by a log-sum-exp over channels, in float64: right for any size."""
    left, right = kernel.log[0](query.double()), kernel.log[1](key.double())
    seen = Mask(causal=True).tensor(key.shape[-2], key.shape[-2])
    if kernel.per_channel:
        left = left - right.logcumsumexp(-2)
    scores = (left[..., :, None, :] + right[..., None, :, :]).logsumexp(-1).masked_fill(~seen, -math.inf)
    weights = scores.exp() if kernel.per_channel else scores.softmax(-1)
    return weights @ value.double()


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("size", [1.0, 10.0, 100.0])
def test_nothing_overflows_however_large_the_input(name, size):
    query, key, value = (normal(1, 2, 200, 4, seed=s, dtype=torch.float32) for s in range(3))
    tensors = [x.requires_grad_() for x in (query * size, key * size, value)]
    out = dot_product_attention(*tensors, kernel=MAPS[name], mask=Mask(causal=True), scale=1.0)
    expected = exact_in_logs(*(x.detach() for x in tensors), MAPS[name])
    tolerance = 1e-5 * max(1.0, size if "favor" not in name else size**2 / 2)  # an error of ε in a logarithm
    torch.testing.assert_close(out.double(), expected, atol=tolerance, rtol=0)
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(out.square().sum(), tensors))


@BY_MAP
@pytest.mark.parametrize("causal", [False, True])
def test_a_query_that_sees_nothing_returns_zero_with_zero_gradient(kernel, causal, by_halves):
    tensors = [x.requires_grad_() for x in inputs(dtype=torch.float32)]
    keys = torch.tensor([[False] * 7, [False, False, True, True, True, False, True]])
    out = dot_product_attention(*tensors, mask=Mask(causal=causal, keys=keys), kernel=kernel)
    assert not out[0].any()
    assert causal is not out[1, :, :2].any().item()
    assert out[1, :, 2:].any(-1).all()
    for grad in torch.autograd.grad(out.square().sum(), tensors):
        assert not grad[0].any()
        assert grad.isfinite().all()


@BY_MAP
@pytest.mark.parametrize(("n_q", "n_k"), [(0, 3), (2, 0), (1, 1)])
@pytest.mark.parametrize("causal", [False, True])
def test_no_query_no_key_one_key(kernel, n_q, n_k, causal):
    if causal and n_q > n_k:
        return
    value = torch.ones(1, 1, n_k, 3).double()
    out = dot_product_attention(
        normal(1, 1, n_q, 4), normal(1, 1, n_k, 4), value, kernel=kernel, mask=Mask(causal=causal)
    )
    assert out.shape == (1, 1, n_q, 3)
    assert (out == 0).all() if n_k == 0 else torch.allclose(out, torch.ones_like(out))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["elu1", "exp", "double_softmax", "cosine", "favor"])
@pytest.mark.parametrize("causal", [False, True])
def test_half_precision_sums_in_single(dtype, name, causal):
    query, key, _ = (normal(1, 1, 5000, 4, seed=s).to(dtype) for s in range(3))
    value = torch.ones(1, 1, 5000, 1, dtype=dtype)
    out = dot_product_attention(query, key, value, kernel=MAPS[name], mask=Mask(causal=causal))
    assert out.dtype == dtype
    torch.testing.assert_close(out, torch.ones_like(out), atol=1e-2, rtol=0)
    step, state = linear_attention_step(query[:, :, :2], key[:, :, :2], value[:, :, :2], kernel=MAPS[name])
    assert (step.dtype, state.sums.dtype) == (dtype, torch.float32)


def test_a_zero_vector_is_as_near_to_all_as_a_perpendicular_one():
    query = torch.zeros(1, 1, 1, 4).double()
    out = dot_product_attention(query, normal(1, 1, 3, 4), torch.eye(3).double()[None, None], kernel=cosine)
    torch.testing.assert_close(out, torch.full((1, 1, 1, 3), 1 / 3).double())


def test_grouped_key_heads_serve_their_queries(by_halves):
    query, key, value = normal(2, 8, 5, 4), normal(2, 2, 7, 4, seed=1), normal(2, 2, 7, 3, seed=2)
    repeated = key.repeat_interleave(4, 1), value.repeat_interleave(4, 1)
    for mask in MASKS.values():
        out = dot_product_attention(query, key, value, mask=mask, kernel=exp)
        torch.testing.assert_close(out, reference_linear(query, *repeated, exp, mask), atol=1e-12, rtol=0)


def test_other_pairs_share_their_peaks_too(by_halves):
    half = Rotary(interleaved=False)
    order = torch.tensor([0, 2, 1, 3])  # interleaved pairs of the reordered channels are the half-split ones
    query, key, value = inputs()
    out = dot_product_attention(query, key, value, kernel=exp, mask=Mask(causal=True), rotate=half)
    same = dot_product_attention(
        query[..., order], key[..., order], value, kernel=exp, mask=Mask(causal=True), rotate=rotary
    )
    torch.testing.assert_close(out, same, atol=1e-12, rtol=0)


@pytest.mark.compiles
@pytest.mark.parametrize("rule", ["none", "prefix, padding"])
def test_every_rule_traces_into_one_graph(rule):
    mask = MASKS[rule]

    def attend(query, key, value):
        return dot_product_attention(query, key, value, mask=Mask(mask.causal, mask.prefix, mask.keys), kernel=exp)

    torch._dynamo.reset()
    compiled = torch.compile(attend, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*inputs()), attend(*inputs()), atol=1e-12, rtol=0)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, k, v: dot_product_attention(q, k, v, kernel=exp, bias=torch.zeros(7, 7)), "bias must be left out"),
        (lambda q, k, v: dot_product_attention(q, k, v, kernel=exp, gate=torch.ones(7, 7)), "gate must be left out"),
        (lambda q, k, v: dot_product_attention(q, k, v, kernel=exp, dropout=0.1), "dropout must be left out"),
        (
            lambda q, k, v: dot_product_attention(q, k, v, kernel=exp, mask=torch.ones(7, 7).bool()),
            "dense must be left out with a FeatureMap, which never forms the scores: .* Use kernel=softmax",
        ),
        (lambda q, k, v: dot_product_attention(q, k, v, kernel=exp, scale=-1.0), "scale must lie between 0"),
        (lambda q, k, v: dot_product_attention(q, k[..., :3], v, kernel=exp), "query, key, value must have the shapes"),
        (lambda q, k, v: dot_product_attention(q[..., :3], k[..., :3], v, kernel=FAVOR), "head_dim = 4 .*got 3"),
        (lambda q, k, v: linear_attention_step(q, k, v, chunk_size=0), "chunk_size must lie between 1"),
        (lambda q, k, v: linear_attention_step(q, k, v, keys=torch.ones(2, 6).bool()), r"mask.keys .*\(2, 7\): got"),
        (lambda *_: PositiveRandomFeatures(4, 0), "num_features must lie between 1"),
        (lambda *_: LinearAttention(8, 3), "embed_dim must be a multiple of the number of heads, 3: got 8"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*inputs())


@pytest.mark.wrong_types
def test_a_scale_for_each_query_has_no_root_on_the_keys():
    with pytest.raises(TypeError, match=r"(?s)scale must be a number.*root on queries and keys"):
        dot_product_attention(*inputs(), kernel=exp, scale=torch.ones(7, 1))


# ---- what the experiment is made of ---------------------------------------------------------------------------------


def tokens(n=40, seed=3):
    return torch.randint(256, (2, n), generator=torch.Generator().manual_seed(seed))


def test_attention_that_is_cut_nowhere_is_the_whole(monkeypatch):
    torch.manual_seed(0)
    whole = lm.transformer(False, kernel="elu1").eval()
    torch.manual_seed(0)
    cut = experiment.near(False).eval()
    ids = tokens()
    assert (cut(ids) - whole(ids)).abs().max() > 1e-2
    monkeypatch.setattr(experiment.NearAttention, "reach", 40)
    torch.testing.assert_close(cut(ids), whole(ids), atol=1e-5, rtol=0)


def test_attention_that_is_cut_sees_its_neighbours_alone():
    torch.manual_seed(0)
    layer = experiment.near(False).layers[0].attention
    x = normal(1, 40, 64, dtype=torch.float32).requires_grad_()
    (grad,) = torch.autograd.grad(layer(x)[0, 20].sum(), x)
    assert grad[0].any(-1).nonzero().flatten().tolist() == list(range(12, 29))


def test_many_random_features_put_in_are_nearly_softmax(monkeypatch):
    torch.manual_seed(0)
    model = lm.transformer(True).eval()
    ids = tokens()
    with torch.no_grad():
        for layer in model.layers:  # shorter queries and keys, which features can estimate
            layer.attention.query.weight.mul_(0.5)
            layer.attention.key.weight.mul_(0.5)
        before = model(ids)
        monkeypatch.setattr(experiment, "PositiveRandomFeatures", lambda width, **drawn: PositiveRandomFeatures(
            width, 30_000, **drawn))  # fmt: skip
        after = experiment.by_features(model, 0)(ids)
    assert (after - before).norm() / before.norm() < 0.05


@pytest.mark.parametrize("kernel", ["softmax", "elu1", "exp"])
def test_a_language_model_that_sees_the_future_is_refused(kernel):
    lm.refuse_foresight(lm.transformer(True, kernel=kernel))
    with pytest.raises(RuntimeError, match="sees the future"):
        lm.refuse_foresight(lm.transformer(False, kernel=kernel))


def test_texts_for_training_and_for_the_test_are_different_ones():
    texts = Texts(tuple(f"{i:04d}" for i in range(1000)), "numbers")
    train, test = (set(bytes(part.tolist()).decode().split()) for part in lm.split(texts, 5, 2000, 300))
    assert (len(train), len(test)) == (400, 60)
    assert not train & test
    everything = lm.split(texts, 5, 10**6, 10**6)
    assert [len(part) for part in everything] == [4500, 500]


def test_what_a_language_model_is_asked():
    ids = tokens(100)
    given, wanted = lm.example(ids, True, torch.Generator())
    assert torch.equal(given[:, 1:], wanted[:, :-1])
    given, wanted = lm.example(ids, False, torch.Generator().manual_seed(0))
    hidden = given == lm.MASK
    assert torch.equal(hidden, wanted != lm.NOT_ASKED)
    assert torch.equal(torch.where(hidden, wanted, given), ids)
    assert 0.2 < hidden.double().mean() < 0.4


def test_arms_have_as_many_parameters():
    plain, wide = (recipe.make(True) for recipe in experiment.MODELS.arms.values())
    counts = [sum(p.numel() for p in model.parameters()) for model in (plain, wide)]
    assert counts[0] == pytest.approx(counts[1], rel=0.02)


def test_random_features_of_the_study_meet_the_formula():
    squared = experiment.estimates(experiment.FEATURES.arms[experiment.IID], (0.5, 64), 0, 20_000)["squared error"]
    assert squared == pytest.approx((math.exp(0.25 * (2 + 2 * 0.215)) - 1) / 64, rel=0.1)
