"""The entropy-invariant scale against loops, published values, mpmath's Bessel functions, and what the pages derive."""

from __future__ import annotations

import copy
import math
import pickle

import mpmath
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.nn import (
    EntropyInvariantScale,
    Mask,
    attention_entropy,
    dot_product_attention,
    entropy_invariant_scale,
    entropy_invariant_softmax,
    relu2,
    spherical_entropy_shift,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


PADDED = torch.tensor([[False, True, True, True, True], [True, True, True, False, False]])
QKV = (normal(2, 2, 5, 4), normal(2, 2, 5, 4, seed=1), normal(2, 2, 5, 3, seed=2))
SAMPLES = [
    Sample(entropy_invariant_scale, (torch.arange(9),), {"clip": True}, differentiable=False, reason="counts keys"),
    Sample(EntropyInvariantScale(16, learnable=2), (torch.arange(9.0)[:, None],)),
    Sample(EntropyInvariantScale(16, mode="sequence"), (9,), differentiable=False, reason="counts keys"),
    Sample(entropy_invariant_softmax, (normal(2, 5, 5), Mask(causal=True)), {"train_len": 4}),
    Sample(attention_entropy, (normal(2, 5, 5), Mask(causal=True))),
    Sample(dot_product_attention, QKV, {"mask": Mask(causal=True, keys=PADDED), "scale": EntropyInvariantScale(3)}),
    Sample(spherical_entropy_shift, (64, 0.125), compiles=False, differentiable=False, reason="numpy"),
]


def reference_scale(n, train_len=512, clip=False):
    factor = math.log(n) / math.log(train_len) if n else 0.0
    return max(1.0, factor) if clip else factor


def reference_weights(logits, visible, scale):
    """Equation (6) by loops, for a factor that depends on the number of visible keys."""
    rows = []
    for row, seen in zip(logits.tolist(), visible.tolist(), strict=True):
        raised = [math.exp(scale(sum(seen)) * s) if see else 0.0 for s, see in zip(row, seen, strict=True)]
        rows.append([r / sum(raised) if any(seen) else 0.0 for r in raised])
    return torch.tensor(rows, dtype=torch.float64)


def reference_entropy(weights):
    """Equation (2) by loops."""
    rows = [-sum(a * math.log(a) for a in row if a > 0) for row in weights.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def waves(n):
    """Query, key and value of the check values: one head, width 4 and 3."""

    def table(f, width):
        return torch.tensor([[f(i, c) for c in range(width)] for i in range(n)], dtype=torch.float64)[None, None]

    query = table(lambda i, c: 2 * math.sin(0.9 * i + 0.4 * c + 0.1), 4)
    key = table(lambda j, c: 2 * math.cos(0.5 * j - 0.7 * c + 0.2), 4)
    return query, key, table(lambda j, e: math.sin(0.3 * j * j + e + 0.6), 3)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("train_len", [2, 16, 512, 700.5])
def test_scale_is_the_formula_for_ints_and_tensors(train_len, clip):
    n = [0, 1, 2, 15, 16, 17, 512, 10**6]
    expected = [reference_scale(m, train_len, clip) for m in n]
    assert [entropy_invariant_scale(m, train_len=train_len, clip=clip) for m in n] == expected
    for dtype, tolerance in ((torch.float64, 1e-15), (torch.int64, 2e-7), (torch.float32, 2e-7)):
        got = entropy_invariant_scale(torch.tensor(n, dtype=dtype), train_len=train_len, clip=clip)
        assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert got.tolist() == pytest.approx(expected, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("clip", [False, True])
def test_softmax_and_entropy_are_the_formulas(clip):
    logits, visible = 3 * normal(6, 7), normal(6, 7, seed=1) > -0.3
    visible[2], visible[3] = False, torch.arange(7) == 4
    expected = reference_weights(logits, visible, lambda n: reference_scale(n, 5, clip))
    weights = entropy_invariant_softmax(logits, visible, train_len=5, clip=clip)
    torch.testing.assert_close(weights, expected, atol=1e-12, rtol=0)
    plain = reference_entropy(reference_weights(logits, visible, lambda _: 1.0))
    torch.testing.assert_close(attention_entropy(logits, visible, fill=0.0), plain, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "mask", [Mask(), Mask(causal=True), Mask(keys=PADDED), Mask(causal=True, keys=PADDED)], ids=["", "c", "p", "cp"]
)
@pytest.mark.parametrize("clip", [False, True])
def test_the_module_in_attention_is_the_softmax_of_scaled_scores(mask, clip):
    query, key, value = QKV
    scores = query @ key.mT / 2
    visible = torch.ones(2, 2, 5, 5, dtype=torch.bool) if mask.tensor(5, 5) is None else mask.tensor(5, 5)
    rows = [
        reference_weights(s, v, lambda n: reference_scale(n, 3, clip))
        for s, v in zip(scores.flatten(0, 1), visible.expand(2, 2, 5, 5).flatten(0, 1), strict=True)
    ]
    expected = torch.stack(rows).unflatten(0, (2, 2)) @ value
    out = dot_product_attention(query, key, value, mask=mask, scale=EntropyInvariantScale(3, clip))
    torch.testing.assert_close(out, expected, atol=1e-12, rtol=0)
    weights = entropy_invariant_softmax(scores, mask, train_len=3, clip=clip)
    torch.testing.assert_close(weights @ value, expected, atol=1e-12, rtol=0)


def test_check_values_of_the_scale():
    n = {2: 0.013888888889, 64: 0.083333333333, 128: 0.097222222222, 512: 0.125, 1024: 0.138888888889}
    n[4096] = 0.166666666667
    assert [entropy_invariant_scale(m) / 8 for m in n] == pytest.approx(list(n.values()), abs=1e-12)
    kappa = entropy_invariant_scale(3) / math.log(3) * math.sqrt(64)
    assert kappa == pytest.approx(1.2823955919013008, abs=1e-15)
    factors = entropy_invariant_scale(torch.arange(1, 7.0, dtype=torch.float64), train_len=3, clip=True).tolist()
    assert factors == pytest.approx([1, 1, 1, 1.261859507143, 1.464973520718, 1.630929753571], abs=1e-12)


@pytest.mark.parametrize(
    ("n", "plain", "at_512", "at_64"),
    [
        (8, 1.9113856576, 2.0603774187, 2.0362691596),
        (64, 4.0155408708, 4.0916497867, 4.0155408708),
        (512, 6.0954397067, 6.0954397067, 5.9482103069),
        (4096, 8.1751693140, 8.0801885407, 7.8629903854),
    ],
)
def test_check_values_of_entropy(n, plain, at_512, at_64):
    j = torch.arange(n, dtype=torch.float64)
    logits = ((3 * torch.cos(0.7 * j) + torch.sin(1.9 * j)) / 4)[None]
    assert attention_entropy(logits).item() == pytest.approx(plain, abs=1e-10)
    for train_len, expected in ((512, at_512), (64, at_64)):
        weights = entropy_invariant_softmax(logits, train_len=train_len)
        assert attention_entropy(weights.log()).item() == pytest.approx(expected, abs=1e-10)


def test_check_values_of_attention():
    out = dot_product_attention(*waves(6), scale=EntropyInvariantScale())[0, 0, 1].tolist()
    assert out == pytest.approx([0.465707338691, 0.326041210707, -0.113385702785], abs=1e-12)
    out = dot_product_attention(*waves(6), scale=EntropyInvariantScale(6))[0, 0, 1].tolist()
    assert out == pytest.approx([0.680417842627, 0.403575648910, -0.244312135230], abs=1e-11)
    out = dot_product_attention(*waves(6), mask=Mask(causal=True), scale=EntropyInvariantScale(3, clip=True))[0, 0]
    assert out[5].tolist() == pytest.approx([0.934063561182, 0.314413922356, -0.594306426690], abs=1e-12)
    assert out[0].tolist() == pytest.approx([0.564642473395, 0.999573603042, 0.515501371821], abs=1e-12)


def test_check_values_of_the_sphere():
    at_one = {32: -7.774705, 64: -15.473400, 96: -23.172559, 128: -30.871834, 256: -61.669219, 512: -123.264247}
    assert spherical_entropy_shift(list(at_one), 1).tolist() == pytest.approx(list(at_one.values()), abs=1e-6)
    at_64 = {1 / 8: -0.4889942598, 0.25: -1.8388607667, 0.5: -6.0511463711, 2: -30.1548330708}
    assert spherical_entropy_shift(64, list(at_64)).tolist() == pytest.approx(list(at_64.values()), abs=1e-10)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "scale"), [(2, 0.5), (16, 0.25), (64, 0.125), (64, 1.0), (128, 3.0)])
def test_sphere_is_the_bessel_formula_of_the_page(dim, scale):
    with mpmath.workdps(40):
        x, nu = mpmath.mpf(scale) * dim, mpmath.mpf(dim) / 2 - 1
        mean = mpmath.gamma(nu + 1) * (2 / x) ** nu * mpmath.besseli(nu, x)
        expected = mpmath.log(mean) - x * mpmath.besseli(nu + 1, x) / mpmath.besseli(nu, x)
    assert spherical_entropy_shift(dim, scale) == pytest.approx(float(expected), rel=1e-11)


def test_sphere_is_what_sampled_keys_show():
    dim, n = 64, 200_000
    key = torch.nn.functional.normalize(normal(n, dim), dim=-1)
    logits = key[:, 0] * dim / math.sqrt(dim)  # |q| = |k| = √d, λ = 1/√d
    shift = attention_entropy(logits[None]).item() - math.log(n)
    assert shift == pytest.approx(float(spherical_entropy_shift(dim, dim**-0.5)), abs=0.01)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(2, 40), st.booleans())
def test_at_the_training_length_nothing_changes(seed, n, clip):
    query, key, value = (normal(1, 2, n, 4, seed=seed + s, dtype=torch.float32) for s in range(3))
    out = dot_product_attention(query, key, value, scale=EntropyInvariantScale(n, clip))
    assert torch.equal(out, dot_product_attention(query, key, value))


@given(st.integers(2, 10**6), st.sampled_from([torch.float32, torch.float64]))
def test_the_training_length_has_exactly_the_factor_one(train_len, dtype):
    n = torch.tensor([train_len - 1, train_len, train_len + 1, train_len, train_len], dtype=dtype)
    assert (entropy_invariant_scale(n, train_len=train_len)[[1, 3, 4]] == 1).all()
    assert entropy_invariant_scale(train_len, train_len=train_len) == 1
    assert (entropy_invariant_scale(n, train_len=train_len, clip=True)[:2] == 1).all()


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(12, 40))
def test_clipped_changes_nothing_inside_the_training_length(seed, n, train_len):
    query, key, value = (normal(1, 2, n, 4, seed=seed + s, dtype=torch.float32) for s in range(3))
    scale = EntropyInvariantScale(train_len, clip=True)
    out = dot_product_attention(query, key, value, mask=Mask(causal=True), scale=scale)
    assert torch.equal(out, dot_product_attention(query, key, value, mask=Mask(causal=True)))


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_masked_keys_change_nothing(seed, n, left, right):
    query, key, value = (normal(1, 1, n, 4, seed=seed + s) for s in range(3))
    plain = dot_product_attention(query, key, value, scale=EntropyInvariantScale(7))
    key, value = (torch.nn.functional.pad(x, (0, 0, left, right), value=50.0) for x in (key, value))
    keys = torch.tensor([[False] * left + [True] * n + [False] * right])
    out = dot_product_attention(query, key, value, mask=Mask(keys=keys), scale=EntropyInvariantScale(7))
    torch.testing.assert_close(out, plain, atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(0, 4))
def test_rows_do_not_depend_on_cache_padding_or_what_follows(seed, n, pads):
    query, key, value = (normal(1, 1, n, 4, seed=seed + s) for s in range(3))
    scale = EntropyInvariantScale(5)
    whole = dot_product_attention(query, key, value, mask=Mask(causal=True), scale=scale)
    part = dot_product_attention(*(x[:, :, : n - 1] for x in (query, key, value)), mask=Mask(causal=True), scale=scale)
    torch.testing.assert_close(part, whole[:, :, : n - 1], atol=1e-12, rtol=0)
    key, value = (torch.nn.functional.pad(x, (0, 0, pads, 0), value=9.0) for x in (key, value))
    mask = Mask(causal=True, keys=torch.arange(n + pads)[None] >= pads)
    step = dot_product_attention(query[:, :, -2:], key, value, mask=mask, scale=scale)
    torch.testing.assert_close(step, whole[:, :, -2:], atol=1e-12, rtol=0)


@given(st.integers(0, 10**6), st.floats(0, 5), st.floats(0.01, 5))
def test_entropy_decreases_in_the_factor(seed, factor, more):
    logits = normal(3, 20, seed=seed)
    flat, sharp = attention_entropy(factor * logits), attention_entropy((factor + more) * logits)
    assert (sharp < flat).all()
    assert (flat <= math.log(20) + 1e-12).all()


@given(st.integers(0, 10**6), st.floats(0.1, 5))
def test_entropy_splits_as_the_page_says(seed, factor):
    logits = normal(1, 30, seed=seed)
    weights = (factor * logits).softmax(-1)
    parts = math.log(30) + (factor * logits).exp().mean().log() - factor * (weights * logits).sum()
    assert attention_entropy(factor * logits).item() == pytest.approx(parts.item(), abs=1e-12)


def test_over_random_directions_the_entropy_still_grows_as_the_page_says():
    n = 4.0 ** torch.arange(3, 8, dtype=torch.float64)
    entropy = n.log() + torch.as_tensor(spherical_entropy_shift(64, entropy_invariant_scale(n).numpy() / 8))
    slopes = entropy.diff() / n.log().diff()
    middle = (n.log()[1:] + n.log()[:-1]) / 2
    torch.testing.assert_close(slopes, 1 - middle / math.log(512) ** 2, atol=0.025, rtol=0)  # (9)


def test_the_line_through_one_misses_the_scale_in_use_by_a_factor_of_four():
    assert -0.24 * 64 / 8 / spherical_entropy_shift(64, 1 / 8) == pytest.approx(3.926, abs=0.001)


def test_one_key_above_the_rest_keeps_its_entropy_under_the_law():
    def entropy(n, gap):
        logits = torch.zeros(1, n, dtype=torch.float64)
        logits[0, 0] = gap
        weights = entropy_invariant_softmax(logits, train_len=64)
        return attention_entropy(weights.log()).item()

    gap = math.log(64)  # λ·gap = log n: the key weighs as much as all others together, whatever their number
    for n in (64, 1024, 16384):
        assert entropy(n, gap) == pytest.approx(math.log(2) + 0.5 * math.log(n), rel=0.01)
    share = [entropy(n, 2 * gap) for n in (64, 1024, 16384)]
    assert share[0] > share[1] > share[2] > 0  # with a larger gap it tends to 0


def test_subtracting_a_multiple_of_log_n_is_the_plain_softmax_and_not_this_scale():
    logits = 2 * normal(4, 32)
    subtracted = (logits - 0.43 * math.log(32)).softmax(-1)
    torch.testing.assert_close(subtracted, logits.softmax(-1), atol=1e-15, rtol=1e-12)
    weights = entropy_invariant_softmax(logits, train_len=8)
    assert (attention_entropy(weights.log()) < attention_entropy(logits) - 0.1).all()


def test_a_factor_cancels_in_normalised_relu2():
    scores = normal(4, 32)
    plain, scaled = (relu2(c * scores) for c in (1.0, 7.0))
    torch.testing.assert_close(scaled / scaled.sum(-1, keepdim=True), plain / plain.sum(-1, keepdim=True))


def test_sequence_mode_gives_every_row_the_largest_count():
    query, key, value = QKV
    keys = torch.tensor([[True] * 5, [False, False, True, True, True]])
    out = dot_product_attention(
        query, key, value, mask=Mask(causal=True, keys=keys), scale=EntropyInvariantScale(3, mode="sequence")
    )
    for b, n in enumerate((5, 3)):
        expected = dot_product_attention(
            query, key, value, mask=Mask(causal=True, keys=keys), scale=reference_scale(n, 3) / 2
        )
        torch.testing.assert_close(out[b], expected[b], atol=1e-12, rtol=0)


def test_learned_factors_start_at_one_and_belong_to_heads():
    query, key, value = QKV
    scale = EntropyInvariantScale(3, learnable=2).double()
    for mask in (Mask(), Mask(causal=True)):
        plain = dot_product_attention(query, key, value, mask=mask, scale=EntropyInvariantScale(3))
        learned = dot_product_attention(query, key, value, mask=mask, scale=scale)
        torch.testing.assert_close(learned, plain, atol=1e-12, rtol=0)
        (grad,) = torch.autograd.grad(learned[:, 1].square().sum(), scale.gain)
        assert grad[0] == 0
        assert grad[1] != 0
    assert EntropyInvariantScale(learnable=True).gain.shape == (1, 1, 1)
    assert not list(EntropyInvariantScale().parameters())


@pytest.mark.parametrize("clip", [False, True])
def test_the_recipe_for_a_call_of_ones_own_is_the_module(clip):
    query, key, value = QKV
    factor = entropy_invariant_scale(torch.arange(1, 6), train_len=3, clip=clip)[:, None]
    attend = torch.nn.functional.scaled_dot_product_attention
    expected = dot_product_attention(*QKV, mask=Mask(causal=True), scale=EntropyInvariantScale(3, clip=clip))
    torch.testing.assert_close(attend(query * factor, key, value, is_causal=True), expected, atol=1e-6, rtol=1e-6)
    newest = attend(query[:, :, -1:] * factor[-1:], key, value)  # one query with cached keys
    torch.testing.assert_close(newest, expected[:, :, -1:], atol=1e-6, rtol=1e-6)
    visible = PADDED[:, None, None] & torch.ones(5, 5, dtype=torch.bool).tril()
    factor = entropy_invariant_scale(visible.sum(-1, keepdim=True), train_len=3, clip=clip)
    rule = Mask(causal=True, keys=PADDED)
    expected = dot_product_attention(*QKV, mask=rule, scale=EntropyInvariantScale(3, clip=clip))
    found = attend(query * factor, key, value, attn_mask=visible)
    seen = visible.any(-1)[..., None].expand_as(found)
    torch.testing.assert_close(found[seen], expected[seen], atol=1e-6, rtol=1e-6)


# ---- what is stored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_keep_the_settings(copier):
    scale = copier(EntropyInvariantScale(100, clip=True, mode="sequence"))
    assert (scale.train_len, scale.clip, scale.mode) == (100, True, "sequence")


def test_the_training_length_travels_with_the_weights(tmp_path):
    saved = torch.nn.ModuleDict({"scale": EntropyInvariantScale(100, learnable=2), "out": torch.nn.Linear(2, 2)})
    torch.save(saved.state_dict(), tmp_path / "weights.pt")
    other = torch.nn.ModuleDict({"scale": EntropyInvariantScale(512, learnable=2), "out": torch.nn.Linear(2, 2)})
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert other["scale"].train_len == 100
    assert other["scale"](7).flatten().tolist() == pytest.approx([reference_scale(7, 100)] * 2)
    assert "train_len=100" in repr(other)


def test_weights_of_a_model_without_the_scale_do_not_load_silently():
    plain = torch.nn.ModuleDict({"out": torch.nn.Linear(2, 2)})
    scaled = torch.nn.ModuleDict({"scale": EntropyInvariantScale(100), "out": torch.nn.Linear(2, 2)})
    with pytest.raises(RuntimeError, match=r"Missing key.*scale\._extra_state"):
        scaled.load_state_dict(plain.state_dict())


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_gradcheck():
    logits, visible = normal(4, 6).requires_grad_(), normal(4, 6, seed=1) > -0.5
    visible[1] = False
    assert torch.autograd.gradcheck(lambda s: entropy_invariant_softmax(s, visible, train_len=4), logits)
    assert torch.autograd.gradcheck(lambda s: attention_entropy(s, visible, fill=0.0), logits)
    assert torch.autograd.gradgradcheck(lambda s: attention_entropy(s, visible, fill=0.0), logits)


def test_gradcheck_through_attention_and_learned_factors():
    query, key, value = (x.clone().requires_grad_() for x in QKV)
    scale = EntropyInvariantScale(3, learnable=2).double()

    def attend(query, key, value, gain):
        scaled = torch.func.functional_call(scale, {"gain": gain}, (visible,))
        return dot_product_attention(query, key, value, mask=Mask(causal=True), scale=scaled / 2)

    visible = Mask(causal=True).visible(5, 5).double()
    assert torch.autograd.gradcheck(attend, (query, key, value, scale.gain))


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_rows_without_keys_are_zero_and_their_entropy_is_the_fill():
    logits = normal(2, 3, dtype=torch.float32)
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert entropy_invariant_softmax(logits, mask)[1].tolist() == [0, 0, 0]
    entropy = attention_entropy(logits, mask)
    assert entropy.isnan().tolist() == [False, True]
    assert attention_entropy(logits, mask, fill=-1.0)[1] == -1
    assert attention_entropy(torch.zeros(1, 0)).isnan().all()


def test_one_key_gets_everything_and_logits_of_minus_infinity_are_hidden():
    logits = torch.tensor([[5.0, -math.inf, -math.inf], [0.0, 1.0, -math.inf]])
    weights = entropy_invariant_softmax(logits, train_len=4)
    assert weights[0].tolist() == [1, 0, 0]
    assert weights[1].tolist() == pytest.approx([1 / (1 + math.exp(0.5)), 1 / (1 + math.exp(-0.5)), 0])
    assert attention_entropy(logits)[0] == 0
    assert attention_entropy(torch.tensor([[math.nan, 1.0]])).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_computes_the_factor_in_single(dtype):
    query, key, value = (normal(1, 1, 300, 8, seed=s, dtype=dtype) for s in range(3))
    out = dot_product_attention(query, key, value, mask=Mask(causal=True), scale=EntropyInvariantScale(16))
    assert out.dtype == dtype
    wide = dot_product_attention(
        query.float(), key.float(), value.float(), mask=Mask(causal=True), scale=EntropyInvariantScale(16)
    )
    torch.testing.assert_close(out.float(), wide, atol=0.02, rtol=0.02)
    n = torch.tensor([3000.0], dtype=dtype)
    assert entropy_invariant_scale(n).dtype == torch.float32
    logits = normal(2, 3000, dtype=dtype)
    assert entropy_invariant_softmax(logits).dtype == dtype
    assert attention_entropy(logits).dtype == torch.float32
    assert attention_entropy(torch.zeros(1, 5000, dtype=dtype)).item() == pytest.approx(math.log(5000), abs=1e-5)


def test_huge_logits_stay_finite():
    logits = torch.tensor([[1e30, -1e30, 0.0], [3e38, 3e38, 0.0]])
    assert entropy_invariant_softmax(logits, train_len=3).tolist() == [[1, 0, 0], [0.5, 0.5, 0]]
    assert attention_entropy(logits).tolist() == pytest.approx([0, math.log(2)])


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: entropy_invariant_scale(8, train_len=1), ValueError, "train_len must lie strictly between 1 .* got 1"),
        (lambda: EntropyInvariantScale(0.5), ValueError, "Pass the number of keys seen in training"),
        (lambda: entropy_invariant_scale(8, train_len=math.inf), ValueError, "train_len must lie between .* got inf"),
        (lambda: EntropyInvariantScale("512"), TypeError, r"train_len must be a number: got '512' \(str\)"),
        (
            lambda: EntropyInvariantScale(8, mode="head"),
            ValueError,
            "mode must be one of 'row', 'sequence': got 'head'",
        ),
        (lambda: entropy_invariant_scale(-1), ValueError, "n_keys must lie between 0 and inf: got -1"),
        (lambda: entropy_invariant_softmax(torch.zeros(2, 2), train_len=1), ValueError, "train_len must"),
        (lambda: attention_entropy(torch.zeros(2, 2), torch.zeros(2, 2)), TypeError, "mask must be bool"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
