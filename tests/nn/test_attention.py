"""The wing's attention against loops, torch's own kernel, and the published check values."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gezhi.nn import Mask, dot_product_attention, l2, relu2, softmax

KERNELS = {"softmax": softmax, "l2": l2, "relu2": relu2}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def waves(n):
    """The input of the check values: query, key and value of one head, n tokens, width 4 and 3."""

    def table(f, width):
        return torch.tensor([[f(i, c) for c in range(width)] for i in range(n)], dtype=torch.float64)[None, None]

    query = table(lambda i, c: math.sin(0.9 * i + 0.4 * c + 0.1), 4)
    key = table(lambda j, c: math.cos(0.5 * j - 0.7 * c + 0.2), 4)
    return query, key, table(lambda j, e: math.sin(0.3 * j * j + e + 0.6), 3)


def rule_by_rule(mask, b, h, i, j, n_q, n_k):
    """Whether query i of batch b and head h may attend to key j, read off the words of the docstring."""
    allowed = not mask.causal or j <= i + n_k - n_q or j < mask.prefix
    if mask.keys is not None:
        allowed = allowed and bool(mask.keys[b, j])
    if mask.dense is not None:
        dense = mask.dense[(None,) * (4 - mask.dense.ndim)]
        allowed = allowed and bool(dense[b % dense.shape[0], h % dense.shape[1], i, j])
    return allowed


def reference_attention(query, key, value, mask, bias=None, scale=None, gate=None, kernel="softmax"):
    batch, heads, n_q, dim = query.shape
    n_k, width = key.shape[2], value.shape[3]
    out = torch.zeros(batch, heads, n_q, width, dtype=torch.float64)
    for b, h, i in product(range(batch), range(heads), range(n_q)):
        seen = [j for j in range(n_k) if rule_by_rule(mask, b, h, i, j, n_q, n_k)]
        scores = {}
        for j in seen:
            dot = sum(query[b, h, i, c].item() * key[b, h, j, c].item() for c in range(dim))
            scores[j] = dot * (dim**-0.5 if scale is None else scale) + (0 if bias is None else bias[h, i, j].item())
        if kernel == "relu2":
            weight = {j: max(s, 0) ** 2 / n_k for j, s in scores.items()}
        else:
            raised = {j: math.exp(s) for j, s in scores.items()}
            norm = sum(raised.values()) if kernel == "softmax" else math.sqrt(sum(e * e for e in raised.values()))
            weight = {j: e / norm for j, e in raised.items()}
        for j, w in weight.items():
            out[b, h, i] += w * (1 if gate is None else gate[h, i, j]) * value[b, h, j]
    return out


KEYS = torch.tensor([[False, False, True, True, True, True, True], [True, True, True, True, False, False, False]])
DENSE = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.5
DENSE[1, 2] = False
MASKS = {
    "none": Mask(),
    "causal with cache": Mask(causal=True),
    "prefix": Mask(causal=True, prefix=4),
    "padding": Mask(keys=KEYS),
    "causal, padding": Mask(causal=True, keys=KEYS),
    "prefix, padding": Mask(causal=True, prefix=4, keys=KEYS),
    "dense": Mask(dense=DENSE[0]),
    "dense by head": Mask(dense=DENSE),
    "all": Mask(causal=True, prefix=2, keys=KEYS, dense=DENSE[None]),
}
BIAS, GATE = normal(2, 5, 7, seed=5), normal(2, 5, 7, seed=6)


def inputs(dtype=torch.float64):
    return (
        normal(2, 2, 5, 4, dtype=dtype),
        normal(2, 2, 7, 4, seed=1, dtype=dtype),
        normal(2, 2, 7, 3, seed=2, dtype=dtype),
    )


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("bias", [None, BIAS], ids=["", "bias"])
def test_softmax_is_the_formula_under_every_mask(mask, bias):
    expected = reference_attention(*inputs(), mask, bias)
    torch.testing.assert_close(dot_product_attention(*inputs(), mask=mask, bias=bias), expected, atol=1e-12, rtol=0)
    plain = torch.ones(1, dtype=torch.float64)  # a gate takes the dense path
    torch.testing.assert_close(
        dot_product_attention(*inputs(), mask=mask, bias=bias, gate=plain), expected, atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mask", [MASKS["none"], MASKS["all"]], ids=["none", "all"])
def test_kernels_with_bias_gate_and_scale_are_the_formula(kernel, mask):
    expected = reference_attention(*inputs(), mask, BIAS, 0.3, GATE, kernel)
    out = dot_product_attention(*inputs(), mask=mask, bias=BIAS, scale=0.3, gate=GATE, kernel=KERNELS[kernel])
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_visible_counts_the_keys_of_each_query(mask):
    brute = [
        [[sum(rule_by_rule(mask, b, h, i, j, 5, 7) for j in range(7)) for i in range(5)] for h in range(2)]
        for b in range(2)
    ]
    counted = torch.as_tensor(mask.visible(5, 7))
    assert counted.broadcast_to(2, 2, 5, 1)[..., 0].tolist() == brute


def test_visible_of_a_broadcast_column_counts_columns():
    assert Mask(dense=torch.tensor([[True], [False]])).visible(2, 5).tolist() == [[5], [0]]


CHECKS = [
    (5, {"scale": 1.0}, {}, 4.296033660182),
    (5, {"scale": 1.0, "mask": Mask(causal=True)}, {}, 8.054351705964),
    (5, {"mask": Mask(causal=True)}, {1: [0.693728578515, 0.968127055123, 0.352433981998]}, 7.563331238678),
    (
        5,
        {"mask": Mask(causal=True, prefix=3)},
        {1: [0.801504443547, 0.724526726645, -0.018577521409], 4: [0.208513222149, 0.354752920608, 0.174834419886]},
        6.415210502255,
    ),
    (6, {"scale": 2.0}, {1: [0.680417842627, 0.403575648910, -0.244312135230]}, None),
    (6, {"mask": Mask(causal=True)}, {0: [0.564642473395, 0.999573603042, 0.515501371821]}, None),
]


@pytest.mark.parametrize(("n", "settings", "rows", "total"), CHECKS)
def test_check_values(n, settings, rows, total):
    out = dot_product_attention(*waves(n), **settings)[0, 0]
    for row, values in rows.items():
        assert out[row].tolist() == pytest.approx(values, abs=1e-11)
    assert total is None or out.sum().item() == pytest.approx(total, abs=1e-11)


@pytest.mark.parametrize(
    ("kernel", "gated", "first", "total"),
    [
        (softmax, True, [0.499734052898, 0.367830036029, -0.102255219630], 2.603224598624),
        (l2, False, [0.737737689974, 0.693718455099, 0.011897671853], 7.687618384591),
        (relu2, False, [0.201148111668, 0.159569014394, -0.028717098823], 2.437211607521),
    ],
)
def test_check_values_of_kernels_and_gate(kernel, gated, first, total):
    r = (torch.arange(5)[None] - torch.arange(5)[:, None]).double()
    gate = 1 + 0.5 * torch.sin(0.8 * r) if gated else None
    out = dot_product_attention(*waves(5), scale=0.5, bias=0.3 * torch.cos(r), kernel=kernel, gate=gate)[0, 0]
    assert out[0].tolist() == pytest.approx(first, abs=1e-11)
    assert out.sum().item() == pytest.approx(total, abs=1e-11)


def test_check_values_of_masks():
    segments = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1, 1, 1]).cumsum(0)
    prefix = Mask(causal=True, prefix=6).tensor(10, 10)
    assert torch.equal(prefix, segments[None] <= segments[:, None])
    assert (prefix.sum().item(), Mask(causal=True).tensor(10, 10).sum().item()) == (70, 55)
    assert Mask(causal=True).tensor(2, 5).long().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert Mask().tensor(2, 5) is None


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("causal", [False, True])
def test_is_torchs_kernel_bit_by_bit_where_that_can_express_it(dtype, causal):
    query, key, value = normal(2, 3, 65, 8), normal(2, 3, 65, 8, seed=1), normal(2, 3, 65, 8, seed=2)
    query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    expected = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    assert torch.equal(dot_product_attention(query, key, value, mask=Mask(causal=causal)), expected)


@pytest.mark.parametrize("n", [1, 63, 100])
def test_gradients_equal_those_of_torchs_kernel(n):
    tensors = [normal(2, 2, n, 8, seed=s, dtype=torch.float32).requires_grad_() for s in range(3)]
    bias = normal(2, n, n, seed=4, dtype=torch.float32).requires_grad_()
    allowed = Mask(causal=True, keys=torch.arange(n)[None] < torch.tensor([[n], [n - n // 3]]))
    out = dot_product_attention(*tensors, mask=allowed, bias=bias, gate=torch.ones(1))
    dense = torch.autograd.grad(out.square().sum(), [*tensors, bias])
    out = F.scaled_dot_product_attention(*tensors, attn_mask=bias.masked_fill(~allowed.tensor(n, n), -math.inf))
    fused = torch.autograd.grad(out.square().sum(), [*tensors, bias])
    for left, right in zip(dense, fused, strict=True):
        torch.testing.assert_close(left, right, atol=2e-5, rtol=1e-4)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(0, 5), st.integers(0, 4), st.booleans())
def test_padded_keys_do_not_count_on_either_side(seed, n_q, extra, pads, left):
    n_k = n_q + extra
    query, key, value = (normal(1, 2, n, 4, seed=seed + s) for s, n in enumerate((n_q, n_k, n_k)))
    plain = dot_product_attention(query, key, value, mask=Mask(causal=True))
    side = (0, 0, pads, 0) if left else (0, 0, 0, pads)
    keys = F.pad(torch.ones(1, n_k, dtype=torch.bool), side[2:])
    query, key, value = (
        F.pad(x, (0, 0, 0, 0) if left and x is query else side, value=100.0) for x in (query, key, value)
    )
    out = dot_product_attention(query, key, value, mask=Mask(causal=True, keys=keys))
    torch.testing.assert_close(out[:, :, :n_q], plain, atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(0, 4))
def test_decoding_with_a_cache_equals_the_whole(seed, n, prefix):
    query, key, value = (normal(1, 2, n, 4, seed=seed + s) for s in range(3))
    whole = dot_product_attention(query, key, value, mask=Mask(causal=True, prefix=min(prefix, n)))
    for i in range(min(prefix, n), n):
        step = dot_product_attention(
            query[:, :, i : i + 1], key[:, :, : i + 1], value[:, :, : i + 1], mask=Mask(causal=True)
        )
        torch.testing.assert_close(step[:, :, 0], whole[:, :, i], atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.sampled_from(list(MASKS)), st.sampled_from(list(KERNELS)))
def test_hidden_keys_have_no_influence(seed, mask, kernel):
    query, key, value = (normal(2, 2, n, 4, seed=seed + s) for s, n in enumerate((5, 7, 7)))
    key.requires_grad_()
    value.requires_grad_()
    out = dot_product_attention(query, key, value, mask=MASKS[mask], bias=BIAS, kernel=KERNELS[kernel])
    i = seed % 5
    grads = torch.autograd.grad(out[:, :, i].sum(), (key, value))
    for b, h, j in product(range(2), range(2), range(7)):
        if not rule_by_rule(MASKS[mask], b, h, i, j, 5, 7):
            assert not grads[0][b, h, j].any()
            assert not grads[1][b, h, j].any()


@pytest.mark.parametrize("prefix", [0, 3])
def test_the_future_has_no_influence_on_the_past(prefix):
    tensors = [normal(1, 1, 6, 4, seed=s).requires_grad_() for s in range(3)]
    out = dot_product_attention(*tensors, mask=Mask(causal=True, prefix=prefix))
    for i in range(6):
        first_hidden = max(i + 1, prefix)
        key, value = torch.autograd.grad(out[:, :, i].sum(), tensors[1:], retain_graph=True)
        assert not key[:, :, first_hidden:].any()
        assert not value[:, :, first_hidden:].any()
        assert value[:, :, :first_hidden].all()


def rotary(x, start):
    angle = (start + torch.arange(x.shape[-2], dtype=x.dtype))[:, None] * torch.tensor([1.0, 0.1], dtype=x.dtype)
    a, b = x[..., ::2], x[..., 1::2]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def test_rotation_is_relative_and_knows_the_cache():
    query, key, value = waves(6)
    whole = dot_product_attention(query, key, value, mask=Mask(causal=True), rotate=rotary)
    last = dot_product_attention(query[:, :, 4:], key, value, mask=Mask(causal=True), rotate=rotary)
    torch.testing.assert_close(last, whole[:, :, 4:], atol=1e-12, rtol=0)
    shifted = dot_product_attention(query, key, value, mask=Mask(causal=True), rotate=lambda x, s: rotary(x, s + 9))
    torch.testing.assert_close(shifted, whole, atol=1e-12, rtol=0)
    assert not torch.allclose(whole, dot_product_attention(query, key, value, mask=Mask(causal=True)))


def test_every_way_to_give_a_scale_is_the_same_number():
    number = dot_product_attention(*inputs(), scale=0.3)
    tensor = dot_product_attention(*inputs(), scale=torch.full((2, 5, 1), 0.3, dtype=torch.float64))
    called = dot_product_attention(*inputs(), scale=lambda n: 0.3 * 4**0.5 * n / 7)
    torch.testing.assert_close(tensor, number, atol=1e-12, rtol=0)
    torch.testing.assert_close(called, number, atol=1e-12, rtol=0)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_a_callable_scale_gets_the_visible_keys(mask):
    def scale(n):
        seen.append(n)
        return n

    seen = []
    out = dot_product_attention(*inputs(torch.float16), mask=mask, scale=scale)
    assert out.dtype == torch.float16
    if mask is MASKS["none"]:
        assert seen == [7]
    else:
        assert seen[0].dtype == torch.float32
        assert torch.equal(seen[0].long(), mask.visible(5, 7))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gate", [None, GATE], ids=["", "gate"])
def test_grouped_key_heads_serve_their_queries(kernel, gate):
    query, key, value = normal(2, 8, 5, 4), normal(2, 2, 7, 4, seed=1), normal(2, 2, 7, 3, seed=2)
    gate = None if gate is None else gate.repeat(4, 1, 1)
    for mask in (MASKS["none"], MASKS["prefix, padding"]):
        out = dot_product_attention(query, key, value, mask=mask, kernel=KERNELS[kernel], gate=gate)
        for head in range(8):
            alone = (query[:, [head]], key[:, [head // 4]], value[:, [head // 4]])
            of_head = None if gate is None else gate[[head]]
            expected = reference_attention(*alone, mask, gate=of_head, kernel=kernel)
            torch.testing.assert_close(out[:, [head]], expected, atol=1e-12, rtol=0)


# ---- groups of queries ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_groups_of_queries_change_nothing(kernel, mask, monkeypatch):
    def everything():
        tensors = [x.requires_grad_() for x in (*inputs(), BIAS.clone(), GATE.clone())]
        query, key, value, bias, gate = tensors
        out = dot_product_attention(query, key, value, bias=bias, gate=gate, mask=mask, kernel=KERNELS[kernel])
        return [out, *torch.autograd.grad(out.square().sum(), tensors)]

    whole = everything()
    for held in (1, 2 * 2 * 7 * 2):  # one query at a time; two
        monkeypatch.setattr("gezhi.nn.attention.core._SCORES", held)
        for left, right in zip(everything(), whole, strict=True):
            torch.testing.assert_close(left, right, atol=1e-12, rtol=0)


def test_a_gate_may_build_its_rows_when_they_are_needed(monkeypatch):
    def gate(n_q, n_k, start, stop):
        asked.append((n_q, n_k, start, stop))
        return GATE[:, start:stop]

    asked = []
    expected = dot_product_attention(*inputs(), gate=GATE)
    assert torch.equal(dot_product_attention(*inputs(), gate=gate), expected)
    monkeypatch.setattr("gezhi.nn.attention.core._SCORES", 2 * 2 * 7 * 2)
    torch.testing.assert_close(dot_product_attention(*inputs(), gate=gate), expected, atol=1e-12, rtol=0)
    assert asked == [(5, 7, 0, 5), (5, 7, 0, 2), (5, 7, 2, 4), (5, 7, 4, 5)]


def test_training_keeps_no_matrix_of_weights(monkeypatch):
    def saved(held):
        monkeypatch.setattr("gezhi.nn.attention.core._SCORES", held)
        sizes = []
        tensors = [normal(1, 1, 64, 4, seed=s).requires_grad_() for s in range(3)]
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            dot_product_attention(*tensors, gate=torch.ones(64, 64).double())
        return sizes

    assert max(saved(64 * 64)) == 64 * 64
    assert max(saved(64)) <= 64 * 4


def test_dropout_comes_after_the_gate_and_is_the_same_when_computed_again(monkeypatch):
    monkeypatch.setattr("gezhi.nn.attention.core._SCORES", 1)
    query, key = normal(1, 1, 6, 4), normal(1, 1, 50, 4, seed=1)
    value = torch.eye(50).double()[None, None].requires_grad_()  # the output is the matrix of weights
    weights = dot_product_attention(query, key, value, gate=torch.full((1,), 3.0).double(), dropout=0.4)
    plain = 3 * dot_product_attention(query, key, value.detach()) / 0.6
    kept = weights != 0
    assert 0.5 < kept.double().mean() < 0.7
    torch.testing.assert_close(weights[kept], plain[kept])
    (grad,) = torch.autograd.grad(weights.sum(), value)
    torch.testing.assert_close(grad[0, 0, :, 0], weights[0, 0].sum(0).detach())


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_gradcheck(kernel):
    tensors = [x.requires_grad_() for x in (*inputs(), BIAS.clone(), GATE.clone())]

    def attend(query, key, value, bias, gate):
        return dot_product_attention(query, key, value, bias=bias, gate=gate, mask=MASKS["all"], kernel=KERNELS[kernel])

    assert torch.autograd.gradcheck(attend, tensors)


def test_gradcheck_of_the_fused_path():
    tensors = [x.requires_grad_() for x in inputs()]
    for mask in (MASKS["causal with cache"], MASKS["all"]):
        assert torch.autograd.gradcheck(lambda q, k, v, mask=mask: dot_product_attention(q, k, v, mask=mask), tensors)


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gate", [None, torch.ones(1)], ids=["", "gate"])
def test_a_query_that_sees_nothing_returns_zero_with_zero_gradient(kernel, gate):
    tensors = [x.requires_grad_() for x in inputs(torch.float32)]
    keys = torch.tensor([[False] * 7, [True] * 7])
    out = dot_product_attention(*tensors, mask=Mask(keys=keys), kernel=KERNELS[kernel], gate=gate)
    assert not out[0].any()
    assert out[1].any()
    for grad in torch.autograd.grad(out.square().sum(), tensors):
        assert not grad[0].any()
        assert grad.isfinite().all()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("n_q", "n_k"), [(0, 3), (2, 0), (1, 1)])
def test_no_query_no_key_one_key(kernel, n_q, n_k):
    out = dot_product_attention(
        normal(1, 1, n_q, 4), normal(1, 1, n_k, 4), torch.ones(1, 1, n_k, 3).double(), kernel=KERNELS[kernel]
    )
    assert out.shape == (1, 1, n_q, 3)
    if n_k == 0:
        assert not out.any()
    elif kernel != "relu2":
        assert (out == 1).all()


@pytest.mark.parametrize("kernel", [softmax, l2])
def test_huge_scores_do_not_overflow_and_nan_is_not_hidden(kernel):
    query, key, value = inputs()
    out = dot_product_attention(query * 1e4, key * 1e4, value, kernel=kernel)
    assert out.isfinite().all()
    query = query.index_fill(2, torch.tensor([1]), math.nan)
    assert dot_product_attention(query, key, value, kernel=kernel).isnan().any(-1).sum(-1).tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernel", [softmax, l2])
def test_half_precision_sums_in_single(dtype, kernel):
    scores = torch.zeros(1, 10_000, dtype=dtype)  # summed in half, the count of ones would stick at 256 or 2048
    assert kernel(scores)[0, 0].item() == pytest.approx(1e-4 if kernel is softmax else 1e-2, rel=5e-3)


def test_non_contiguous_input():
    query, key, value = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in inputs())
    assert not query.is_contiguous()
    torch.testing.assert_close(
        dot_product_attention(query, key, value), dot_product_attention(*inputs()), atol=1e-12, rtol=0
    )


@pytest.mark.compiles
@pytest.mark.parametrize("rule", ["none", "prefix, padding", "all"])
def test_every_rule_traces_into_one_graph(rule):
    mask = MASKS[rule]

    def attend(query, key, value):
        rule = Mask(mask.causal, mask.prefix, mask.keys, mask.dense)
        return dot_product_attention(query, key, value, mask=rule, scale=lambda n: n * 0.1)

    torch._dynamo.reset()
    compiled = torch.compile(attend, fullgraph=True, dynamic=True, backend="eager")
    assert torch.equal(compiled(*inputs()), attend(*inputs()))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda q, k, v: dot_product_attention(q, k[..., :3], v), ValueError, r"got \(2, 2, 5, 4\), \(2, 2, 7, 3\)"),
        (
            lambda q, k, v: dot_product_attention(q[0], k[0], v[0]),
            ValueError,
            r"\(batch, heads, n_q, dim\).*got \(2, 5",
        ),
        (lambda q, k, v: dot_product_attention(q[:1], k, v), ValueError, "same batch size: got 1 and 2"),
        (
            lambda q, k, v: dot_product_attention(q.repeat(1, 2, 1, 1)[:, :3], k, v),
            ValueError,
            "heads of query must be a multiple of the number of heads of key, 2: got 3",
        ),
        (
            lambda q, k, v: dot_product_attention(q, k, v, mask=torch.ones(2, 7).bool()),
            ValueError,
            r"mask must broadcast to .* = \(2, 2, 5, 7\): got \(2, 7\).*Mask\(keys=",
        ),
        (
            lambda q, k, v: dot_product_attention(q[:, :1], k[:, :1], v[:, :1], mask=torch.ones(2, 5, 7).bool()),
            ValueError,
            r"mask must broadcast .*got \(2, 5, 7\). One of \(batch, n_q, n_k\) becomes x\[:, None\]",
        ),
        (
            lambda q, k, v: dot_product_attention(q, k, v, mask=Mask(keys=torch.ones(3, 7).bool())),
            ValueError,
            r"mask.keys must have the shape \(batch, n_k\) = \(2, 7\): got \(3, 7\)",
        ),
        (
            lambda q, k, v: dot_product_attention(q, k, v, bias=BIAS[:, :4]),
            ValueError,
            r"bias must broadcast .*\(2, 4, 7",
        ),
        (lambda q, k, v: dot_product_attention(q, k, v, gate=GATE[..., :6]), ValueError, "gate must broadcast"),
        (lambda *_: Mask(dense=torch.ones(7).bool()), ValueError, r"dense must have 2 to 4 axes.*got \(7,\)"),
        (lambda q, k, v: dot_product_attention(q, k, v[:, :, :5]), ValueError, r"query, key, value must have .*5, 3\)"),
        (lambda q, k, v: dot_product_attention(q, k, v, bias=BIAS > 0), TypeError, "bias must be floating point: got"),
        (lambda q, k, _: dot_product_attention(k, q, q, mask=Mask(causal=True)), ValueError, r"key \(5\) .* got 7"),
        (lambda q, k, v: dot_product_attention(q, k, v, mask=[[True]]), TypeError, "mask must be a Mask.*: got list"),
        (
            lambda q, k, v: dot_product_attention(q, k, v, mask=torch.ones(5, 7)),
            TypeError,
            r"mask must be bool: got torch.float32. Numbers .* 0 and 1 would hide nothing. Pass mask.bool\(\)",
        ),
        (
            lambda *_: Mask(keys=torch.ones(2, 7).long()),
            TypeError,
            r"keys must be bool: got torch.int64.* Pass mask.bool",
        ),
        (
            lambda *_: Mask(keys=torch.ones(7).bool()),
            ValueError,
            r"keys must have the shape \(batch, n_k\): got \(7,\)",
        ),
        (lambda *_: Mask(prefix=2), ValueError, "prefix must come with causal=True: got 2"),
        (lambda *_: Mask(causal=True, prefix=-1), ValueError, "prefix must lie between 0"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*inputs())
