"""The factor after the softmax against loops, the published check values, and the probe of equal tokens."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.nn import (
    URPE,
    Mask,
    MultiheadAttention,
    alibi,
    dot_product_attention,
    l2,
    position_probe,
    relu2,
    rotary,
    softmax,
    t5_bucket,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def filled(gate, seed=0):
    gate = gate.double()
    gate.table.data = normal(*gate.table.shape, seed=seed)
    return gate


SAMPLES = [
    Sample(
        partial(dot_product_attention, gate=filled(URPE(2, 5))), tuple(normal(1, 2, 5, 4, seed=s) for s in range(3))
    ),
    Sample(filled(URPE(2, 9)), (4, 6), differentiable=False, reason="its arguments are lengths"),
]

GATES = {
    "a factor for each distance": (URPE(2, 8), lambda r: r + 7),
    "clipped": (URPE(2, 8, clip=3), lambda r: max(-3, min(3, r)) + 3),
    "buckets": (
        URPE(2, 64, buckets=8),
        lambda r: t5_bucket(torch.tensor(r), num_buckets=8, max_distance=64).item(),
    ),
}


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gate", "index"), GATES.values(), ids=GATES)
@pytest.mark.parametrize(("n_q", "n_k"), [(8, 8), (3, 8), (1, 5), (1, 1)])
def test_rows_hold_the_factor_of_the_distance(gate, index, n_q, n_k):
    gate = filled(gate)
    found = gate(n_q, n_k)
    for i in range(n_q):
        for j in range(n_k):
            assert torch.equal(found[:, i, j], gate.table[:, index(j - i - (n_k - n_q))])
    for start in range(n_q):
        assert torch.equal(gate(n_q, n_k, start, n_q), found[:, start:])
        assert torch.equal(gate(n_q, n_k, start, start + 1), found[:, start : start + 1])


@pytest.mark.parametrize("held", [2**22, 16])
def test_gradient_of_the_table_is_that_of_the_dense_factor(held, monkeypatch):
    monkeypatch.setattr("gezhi.nn.attention.core._SCORES", held)
    gate = filled(URPE(2, 8))
    tensors = [normal(2, 2, 8, 4, seed=s).requires_grad_() for s in range(3)]
    inputs = [*tensors, gate.table]
    mask = Mask(causal=True)
    out = dot_product_attention(*tensors, mask=mask, gate=gate)
    weights = dot_product_attention(*tensors[:2], torch.eye(8).double().expand(2, 2, 8, 8), mask=mask)
    index = torch.arange(8)[None] - torch.arange(8)[:, None] + 7
    expected = (weights * gate.table[:, index]) @ tensors[2]
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)
    for left, right in zip(
        torch.autograd.grad(out.square().sum(), inputs),
        torch.autograd.grad(expected.square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(left, right, atol=1e-12, rtol=0)


def test_check_values():
    def table(f, width):
        return torch.tensor([[f(i, c) for c in range(width)] for i in range(5)], dtype=torch.float64)[None, None]

    query = table(lambda i, c: math.sin(0.9 * i + 0.4 * c + 0.1), 4)
    key = table(lambda j, c: math.cos(0.5 * j - 0.7 * c + 0.2), 4)
    value = table(lambda j, e: math.sin(0.3 * j * j + e + 0.6), 3)
    r = torch.arange(-4, 5).double()
    gate = URPE(1, 5).double()
    gate.table.data = (1 + 0.5 * torch.sin(0.8 * r))[None]
    bias = 0.3 * torch.cos((torch.arange(5)[None] - torch.arange(5)[:, None]).double())
    out = dot_product_attention(query, key, value, scale=0.5, bias=bias, gate=gate)[0, 0]
    assert out[0].tolist() == pytest.approx([0.499734052898, 0.367830036029, -0.102255219630], abs=1e-11)
    assert out[3].tolist() == pytest.approx([0.090743266652, 0.141773137034, 0.062457439048], abs=1e-11)
    assert out.sum().item() == pytest.approx(2.603224598624, abs=1e-11)


def equal_tokens(n=8):
    """Query, key and value of the check values: n tokens that are all the same."""
    q, k = torch.tensor([[0.5, -1, 0.8, 0.3], [0.2, 0.9, -0.4, 1.1]], dtype=torch.float64)
    return q.expand(1, 1, n, 4), k.expand(1, 1, n, 4), torch.ones(1, 1, n, 1).double()


def test_check_values_of_row_sums():
    sums = dot_product_attention(*equal_tokens(), rotate=rotary, kernel=l2).flatten().tolist()
    expected = [2.636592487743, 2.680285469012, 2.687102541680, 2.678110198534]
    expected += [2.686835922207, 2.657497706083, 2.631802926670, 2.667480159721]
    assert sums == pytest.approx(expected, abs=1e-11)
    query, key, value = equal_tokens()
    distance = -0.5 * (torch.arange(8)[None] - torch.arange(8)[:, None]).abs().double()
    half = dot_product_attention(query * 0, key, value, bias=distance, kernel=l2).flatten().tolist()
    assert half[:4] == pytest.approx([1.983964011834, 2.200283257588, 2.349388511531, 2.422233292723], abs=1e-11)
    assert half[4:] == pytest.approx(half[3::-1], abs=1e-12)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from(["rotary", "alibi"]), st.booleans())
def test_equal_tokens_leave_the_softmax_equal_and_the_gate_different(seed, positions, causal):
    token = normal(1, 1, 1, 4, seed=seed).expand(1, 1, 6, 4)
    settings = {"rotate": rotary} if positions == "rotary" else {"bias": alibi(1, 6, 6).double()}
    out = dot_product_attention(token, token, token, mask=Mask(causal=causal), **settings)
    torch.testing.assert_close(out, token, atol=1e-12, rtol=0)
    gated = dot_product_attention(
        token, token, token, mask=Mask(causal=causal), gate=filled(URPE(1, 6), seed), **settings
    )
    factor = gated[0, 0, :, 0] / token[0, 0, 0, 0]
    assert (factor[:, None] - factor).abs().add(torch.eye(6)).min() > 1e-6


def test_one_layer_can_count():
    gate = URPE(1, 16).double()
    gate.table.data = 1 + torch.arange(-15, 16).double()[None]
    nothing = torch.zeros(1, 1, 16, 4).double()
    rows = dot_product_attention(nothing, nothing, torch.ones(1, 1, 16, 1).double(), gate=gate)
    expected = 1 + 15 / 2 - torch.arange(16).double()
    torch.testing.assert_close(rows.flatten(), expected, atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.floats(-3, 3))
def test_factors_scale_the_output(seed, factor):
    query, key, value = (normal(1, 2, 5, 4, seed=seed + s) for s in range(3))
    plain = dot_product_attention(query, key, value)
    torch.testing.assert_close(dot_product_attention(query, key, value, gate=URPE(2, 5).double()), plain)
    gate = URPE(2, 5, init=factor).double()
    torch.testing.assert_close(
        dot_product_attention(query, key, value, gate=gate), plain * torch.tensor(factor).float().double()
    )


@given(st.integers(0, 10**6))
def test_the_product_is_two_attentions_and_their_normalisers(seed):
    """(A ⊙ C)V by the log-sum-exp of the scores with log C± added, for kernels that return one."""
    query, key, value = (normal(1, 2, 5, 4, seed=seed + s) for s in range(3))
    gate = filled(URPE(2, 5), seed)
    scores, c = query @ key.mT / 2, gate(5)
    parts = []
    for part in (c.clamp(min=0), (-c).clamp(min=0)):
        shifted = scores + part.log()
        parts.append(softmax(shifted) @ value * (shifted.logsumexp(-1) - scores.logsumexp(-1)).exp()[..., None])
    torch.testing.assert_close(
        dot_product_attention(query, key, value, gate=gate), parts[0] - parts[1], atol=1e-12, rtol=0
    )


class Probed(torch.nn.Module):
    """A stack of one kind over equal tokens."""

    def __init__(self, n, depth=2, **attention):
        super().__init__()
        self.embed = torch.nn.Parameter(torch.randn(1, 32))
        self.layers = torch.nn.ModuleList(MultiheadAttention(32, 4, **attention) for _ in range(depth))
        self.feeds = torch.nn.ModuleList(
            torch.nn.Sequential(
                torch.nn.LayerNorm(32), torch.nn.Linear(32, 64), torch.nn.GELU(), torch.nn.Linear(64, 32)
            )
            for _ in range(depth)
        )
        self.head = torch.nn.Linear(32, n)

    def forward(self, ids):
        x = self.embed[ids]
        for attend, feed in zip(self.layers, self.feeds, strict=True):
            x = x + attend(x)
            x = x + feed(x)
        return self.head(x)


PROBES = {
    "rotary": (lambda: Probed(8, rotate=rotary), "nothing"),
    "alibi": (lambda: Probed(8, bias=partial(alibi, 4)), "nothing"),
    "rotary, URPE": (lambda: Probed(8, rotate=rotary, gate=URPE(4, 8)), "all"),
    "rotary, l2": (lambda: Probed(8, rotate=rotary, kernel=l2), "all"),
    "rotary, relu2": (lambda: Probed(8, rotate=rotary, kernel=relu2), "all"),
    "alibi, l2": (lambda: Probed(8, bias=partial(alibi, 4), kernel=l2), "half"),
}


@pytest.mark.parametrize(("factory", "learned"), PROBES.values(), ids=PROBES)
def test_the_probe_tells_who_knows_the_place(factory, learned):
    found = position_probe(factory, 8, steps=250)
    assert found.floor == math.log(8)
    if learned == "nothing":
        assert found.loss > found.floor - 0.01
    elif learned == "half":  # a symmetric term leaves each place and its mirror image alike
        assert math.log(2) - 0.01 < found.loss < found.floor - 0.5
    else:
        assert found.loss < 0.1
        assert found.accuracy == 1.0


def test_the_probe_is_repeatable_and_leaves_the_generator_alone():
    state = torch.get_rng_state()
    factory = PROBES["rotary, URPE"][0]
    assert position_probe(factory, 8, steps=3, seed=1) == position_probe(factory, 8, steps=3, seed=1)
    assert position_probe(factory, 8, steps=3, seed=1) != position_probe(factory, 8, steps=3, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


# ---- edges and errors -----------------------------------------------------------------------------------------------


def test_shared_factors_reach_any_length():
    for gate in (URPE(1, 4, clip=2), URPE(1, 16, buckets=8)):
        assert gate(50).shape == (1, 50, 50)


def test_no_rows_and_no_keys():
    assert URPE(2, 4)(0, 3).shape == (2, 0, 3)
    assert URPE(2, 4)(0, 0).shape == (2, 0, 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: URPE(2, 4)(5), "the input must have at most max_len = 4 tokens: got 5. Pass clip"),
        (lambda: URPE(2, 4)(3, 2), "n_q must be at most n_k = 2, .*: got 3"),
        (lambda: URPE(2, 4, clip=1, buckets=8), "clip and buckets must not both be given: got 1 and 8"),
        (lambda: URPE(0, 4), "num_heads must lie between 1"),
        (lambda: URPE(2, 0), "max_len must lie between 1"),
        (
            lambda: dot_product_attention(*(normal(1, 2, 5, 4) for _ in range(3)), gate=URPE(3, 5)(5)),
            "gate must broadcast",
        ),
        (lambda: position_probe(lambda: Probed(1), 1), "n must lie between 2"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
