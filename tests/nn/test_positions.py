"""Rotations and position terms against loops, Hugging Face's, and the published check values."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gezhi.nn import Rotary, alibi, dot_product_attention, rotary, t5_bias, t5_bucket
from gezhi.nn.positions import relative_positions


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("start", [0, 7])
def test_rotation_turns_pair_by_pair(interleaved, start):
    x, out = normal(2, 3, 6), torch.zeros(2, 3, 6).double()
    for i in range(3):
        for t in range(3):
            a, b = (2 * t, 2 * t + 1) if interleaved else (t, t + 3)
            angle = (start + i) * 500 ** (-2 * t / 6)
            out[:, i, a] = x[:, i, a] * math.cos(angle) - x[:, i, b] * math.sin(angle)
            out[:, i, b] = x[:, i, a] * math.sin(angle) + x[:, i, b] * math.cos(angle)
    torch.testing.assert_close(Rotary(500.0, interleaved)(x, start), out, atol=1e-14, rtol=0)


def test_check_values_of_rotated_scores():
    q = torch.tensor([0.5, -1, 0.8, 0.3], dtype=torch.float64).expand(1, 1, 8, 4)
    k = torch.tensor([0.2, 0.9, -0.4, 1.1], dtype=torch.float64).expand(1, 1, 8, 4)
    value = torch.tensor([1, -2, 0.5], dtype=torch.float64).expand(1, 1, 8, 3)
    torch.testing.assert_close(dot_product_attention(q, k, value, rotate=rotary), value, atol=1e-15, rtol=0)
    gate = 1 + 0.1 * relative_positions(8, 8).double()
    rows = dot_product_attention(q, k, value[..., :1], rotate=rotary, gate=gate).flatten().tolist()
    expected = [1.357192319083, 1.273258284379, 1.163085773036, 1.042968672002]
    expected += [0.925174856311, 0.825336355741, 0.749312085579, 0.671389273507]
    assert rows == pytest.approx(expected, abs=1e-11)


def test_check_values_of_buckets():
    table = "10 10 10 10 10 9 9 9 9 8 8 8 8 7 6 5 4 3 2 1 0 17 18 19 20 21 22 23 24 24 24 24 25 25 25 25 26 26 26 26 26"
    assert t5_bucket(torch.arange(-20, 21)).tolist() == [int(x) for x in table.split()]


def test_alibi_is_minus_distance_times_slope():
    bias = alibi(4, 2, 5)
    for h, i, j in ((0, 0, 0), (1, 1, 4), (3, 0, 4), (2, 1, 0)):
        assert bias[h, i, j].item() == pytest.approx(-(2 ** (-2 * (h + 1))) * abs(j - (i + 3)))
    assert (-alibi(6, 1, 2)[:, 0, 0]).tolist() == pytest.approx([2**-2, 2**-4, 2**-6, 2**-8, 2**-1, 2**-3])


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("buckets", "distance"), [(32, 128), (16, 50), (8, 20)])
def test_buckets_are_those_of_t5(bidirectional, buckets, distance):
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5").T5Attention
    relative = torch.arange(-300, 301)
    expected = t5._relative_position_bucket(relative, bidirectional, buckets, distance)
    found = t5_bucket(relative, num_buckets=buckets, max_distance=distance, bidirectional=bidirectional)
    assert torch.equal(found, expected)


@pytest.mark.parametrize("heads", [1, 4, 6, 12, 16])
def test_slopes_are_those_of_bloom(heads):
    bloom = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    expected = bloom.build_alibi_tensor(torch.ones(1, 5), heads, torch.float32)  # grows with the key's position
    torch.testing.assert_close(alibi(heads, 1, 5) + 0, (expected - expected[..., -1:]), atol=1e-6, rtol=0)


def test_the_other_pairing_is_llamas():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    x = normal(1, 2, 9, 8, dtype=torch.float32)
    angle = torch.arange(9)[:, None] * 10000 ** (-torch.arange(0, 8, 2) / 8)
    angle = torch.cat([angle, angle], -1)[None]
    expected, _ = llama.apply_rotary_pos_emb(x, x, angle.cos(), angle.sin())
    torch.testing.assert_close(Rotary(interleaved=False)(x), expected, atol=1e-6, rtol=0)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 500), st.booleans())
def test_products_depend_on_the_distance_alone(start, seed, shift, interleaved):
    turn = Rotary(interleaved=interleaved)
    q, k = normal(1, 8, seed=seed), normal(1, 8, seed=seed + 1)
    near = turn(q, shift) @ turn(k, 0).T
    torch.testing.assert_close(turn(q, start + shift) @ turn(k, start).T, near, atol=1e-8, rtol=0)
    torch.testing.assert_close(turn(q, start).norm(), q.norm(), atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.booleans())
def test_shared_peaks_commute_with_the_rotation(seed, interleaved):
    turn = Rotary(interleaved=interleaved)
    x = normal(3, 8, seed=seed)
    peak = turn.share_peak(x)
    assert (peak >= x).all()
    torch.testing.assert_close(turn(x * peak.exp(), 5), turn(x, 5) * peak.exp(), atol=1e-12, rtol=0)


def test_t5_bias_looks_the_bucket_up():
    table = normal(32, 3).requires_grad_()
    bias = t5_bias(table, 2, 40)
    assert bias.shape == (3, 2, 40)
    assert torch.equal(bias[:, 1, 39], table[0])
    assert torch.equal(bias[:, 0, 39], table[17])
    assert torch.autograd.gradcheck(lambda x: t5_bias(x, 3, 4), table)


# ---- edges and errors -----------------------------------------------------------------------------------------------


def test_far_positions_keep_their_angle_in_single_precision():
    x = torch.tensor([[1.0, 0.0]])
    turned = rotary(x, 1_000_000)
    assert turned[0].tolist() == pytest.approx([math.cos(1e6), math.sin(1e6)], abs=1e-6)
    assert rotary(x.half(), 3).dtype == torch.float16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotary(torch.zeros(2, 3)), "width that rotates must be even: got 3"),
        (lambda: Rotary(base=1.0), "base must lie strictly between 1"),
        (lambda: alibi(0, 1, 1), "num_heads must lie between 1"),
        (lambda: t5_bucket(torch.arange(3), num_buckets=2), "num_buckets must lie between 4"),
        (lambda: t5_bucket(torch.arange(3), max_distance=16), "max_distance must lie strictly between 16"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
