"""The one sum of the wing against loops and against the losses that are this sum over other pairs, by both routes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from gezhi.losses import ranking
from gezhi.losses.ranking import against, against_rest, rank_logsumexp

INF = math.inf


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def some_levels(*shape, seed=0, count=4):
    return torch.randint(count, shape, generator=torch.Generator().manual_seed(seed))


def some_mask(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.7


def reference_rank(scores, levels, margin=0.0, slack=True, mask=None):
    """Equation (1) of one row by loops, in Python's floats."""
    taking = [True] * len(scores) if mask is None else mask.tolist()
    s, y = scores.tolist(), levels.tolist()
    items = [i for i in range(len(s)) if taking[i]]
    terms = [s[b] - s[a] + margin for a in items for b in items if y[b] < y[a]]
    if slack:
        terms.append(0.0)
    top = max(terms, default=-INF)
    return top + math.log(math.fsum(math.exp(t - top) for t in terms)) if terms else -INF


@pytest.fixture(params=["pairwise", "sorted"])
def route(request, monkeypatch):
    """Either way of summing, whatever the size."""
    monkeypatch.setattr(ranking, "FEW", INF if request.param == "pairwise" else 0)
    return request.param


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("margin", [0.0, 0.7, -1.5])
@pytest.mark.parametrize("slack", [True, False])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("n", [1, 2, 7, 63])
def test_rows_are_the_formula(route, n, masked, slack, margin):
    scores, levels = 3 * normal(5, n), some_levels(5, n)
    mask = some_mask(5, n) if masked else None
    expected = [
        reference_rank(scores[i], levels[i], margin, slack, None if mask is None else mask[i]) for i in range(5)
    ]
    got = rank_logsumexp(scores, levels, margin=margin, slack=slack, mask=mask)
    assert got.tolist() == pytest.approx(expected, abs=1e-12, rel=1e-12)


@pytest.mark.parametrize("slack", [True, False])
def test_gradients_are_those_of_the_formula(route, slack):
    scores, levels = (2 * normal(31)).requires_grad_(), some_levels(31)
    rank_logsumexp(scores, levels, slack=slack).backward()
    with torch.no_grad():
        loss = reference_rank(scores, levels, slack=slack)
        expected = torch.zeros(31, dtype=torch.float64)
        for a in range(31):
            for b in range(31):
                if levels[b] < levels[a]:
                    weight = math.exp(scores[b] - scores[a] - loss)
                    expected[b] += weight
                    expected[a] -= weight
    torch.testing.assert_close(scores.grad, expected, atol=1e-13, rtol=1e-11)


@pytest.mark.parametrize("mask", [None, some_mask(3, 17)], ids=["", "masked"])
@pytest.mark.parametrize("slack", [True, False])
def test_one_better_item_against_others_is_the_formula(slack, mask):
    positive, negatives = normal(3), 3 * normal(3, 17, seed=1)
    scores = torch.cat([positive[:, None], negatives], -1)
    first = F.one_hot(torch.zeros(3, dtype=torch.long), 18)
    all_of = None if mask is None else F.pad(mask, (1, 0), value=True)
    expected = [reference_rank(scores[i], first[i], 0.4, slack, None if mask is None else all_of[i]) for i in range(3)]
    assert against(positive, negatives, margin=0.4, slack=slack, mask=mask).tolist() == pytest.approx(expected)


def test_small_rows_take_the_table_and_others_the_sort(monkeypatch):
    taken = []
    for name in ("_pairwise", "_sorted"):
        real = getattr(ranking, name)
        monkeypatch.setattr(ranking, name, lambda *args, name=name, real=real: taken.append(name) or real(*args))
    for shape in ((64,), (65,), (2, 40)):
        rank_logsumexp(normal(*shape), some_levels(*shape))
    assert taken == ["_pairwise", "_sorted", "_sorted"]


# ---- losses that are this sum ---------------------------------------------------------------------------------------


def same_with_gradient(left, right, *tensors):
    """Two scalars are equal, and so are their gradients."""
    torch.testing.assert_close(left, right, atol=1e-12, rtol=1e-12)
    for a, b in zip(*(torch.autograd.grad(side, tensors, retain_graph=True) for side in (left, right)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)


def logits(rows=6, classes=9):
    return (4 * normal(rows, classes)).requires_grad_(), some_levels(rows, count=classes, seed=3)


def split(scores, target):
    """The target's score and the others of each row."""
    hot = F.one_hot(target, scores.shape[1]).bool()
    return scores[hot], scores[~hot].unflatten(0, (len(scores), -1))


def test_cross_entropy_is_one_class_against_the_others(route):
    scores, target = logits()
    expected = F.cross_entropy(scores, target)
    same_with_gradient(rank_logsumexp(scores, F.one_hot(target, 9)).mean(), expected, scores)
    same_with_gradient(against(*split(scores, target)).mean(), expected, scores)


def test_info_nce_is_cross_entropy_of_a_batch_of_similarities(route):
    a, b = normal(8, 5).requires_grad_(), normal(8, 5, seed=1)
    scores = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / 0.1
    expected = F.cross_entropy(scores, torch.arange(8))
    same_with_gradient(rank_logsumexp(scores, torch.eye(8)).mean(), expected, a)


def test_flat_nce_is_the_sum_without_the_one(route):
    scores, target = logits()
    positive, negatives = split(scores, target)
    expected = (negatives.logsumexp(-1) - positive).mean()
    same_with_gradient(rank_logsumexp(scores, F.one_hot(target, 9), slack=False).mean(), expected, scores)
    same_with_gradient(against(positive, negatives, slack=False).mean(), expected, scores)


def test_additive_margin_softmax_has_a_margin(route):
    scores, target = logits()
    expected = F.cross_entropy(scores - 1.4 * F.one_hot(target, 9).double(), target)
    same_with_gradient(rank_logsumexp(scores, F.one_hot(target, 9), margin=1.4).mean(), expected, scores)
    same_with_gradient(against(*split(scores, target), margin=1.4).mean(), expected, scores)


def test_multi_label_cross_entropy_has_three_levels(route):
    scores, on = (2 * normal(5, 7)).requires_grad_(), some_mask(5, 7)
    expected = torch.log1p((scores.exp() * ~on).sum(-1)) + torch.log1p(((-scores).exp() * on).sum(-1))
    # (1 + Σ e^worse)(1 + Σ e^-better) = 1 + all pairs of three levels, the middle one a score of 0
    with_zero, levels = F.pad(scores, (0, 1)), F.pad(2 * on.long(), (0, 1), value=1)
    same_with_gradient(rank_logsumexp(with_zero, levels).mean(), expected.mean(), scores)


def test_two_items_are_the_logistic_loss(route):
    scores = normal(50, 2).requires_grad_()
    expected = -F.logsigmoid(scores[:, 1] - scores[:, 0])
    same_with_gradient(rank_logsumexp(scores, torch.tensor([0, 1]).expand(50, 2)).sum(), expected.sum(), scores)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("block", [1, 8, 2**17])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_against_the_rest_is_against_with_the_better_item_taken_out(dtype, block, masked, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK", block)
    scores, index = (3 * normal(7, 5)).to(dtype).requires_grad_(), torch.arange(7) % 5
    mask = some_mask(7, 5) if masked else None
    rest = ~F.one_hot(index, 5).bool() if mask is None else mask & ~F.one_hot(index, 5).bool()
    own = scores.gather(1, index[:, None]).squeeze(1)
    found, expected = against_rest(scores, index, mask=mask), against(own, scores, slack=False, mask=rest)
    torch.testing.assert_close(found, expected)
    weight = normal(7, seed=3).to(found.dtype) * expected.isfinite()
    by_found, by_expected = (
        torch.autograd.grad(x.masked_fill(expected == -INF, 0) @ weight, scores)[0] for x in (found, expected)
    )
    assert by_found.dtype == dtype
    torch.testing.assert_close(by_found, by_expected)


# ---- theorems -------------------------------------------------------------------------------------------------------

rows = st.integers(0, 10**6)
sizes = st.integers(1, 40)


@given(rows, sizes, st.integers(1, 5), st.booleans(), st.booleans(), st.sampled_from([0.0, 1.3]))
def test_both_routes_agree_in_value_and_gradient(seed, n, count, masked, slack, margin):
    scores, levels = (4 * normal(2, n, seed=seed)).requires_grad_(), some_levels(2, n, seed=seed, count=count)
    mask = some_mask(2, n, seed=seed) if masked else None
    found = []
    for terms in (ranking._pairwise, ranking._sorted):
        value = ranking._total(terms(scores, levels, margin, mask), slack)
        finite = value[value.isfinite()].sum()
        found.append((value, *torch.autograd.grad(finite, scores)))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=1e-11)


@given(rows, sizes)
def test_a_shift_and_an_order_preserving_map_change_nothing(seed, n):
    scores, levels = normal(n, seed=seed), some_levels(n, seed=seed)
    plain = rank_logsumexp(scores, levels)
    torch.testing.assert_close(rank_logsumexp(scores + 7, levels), plain, atol=1e-12, rtol=1e-12)
    assert torch.equal(rank_logsumexp(scores, levels.double().exp() - 3), plain)


@given(rows, sizes, st.booleans())
def test_a_masked_item_is_an_absent_one(seed, n, garbage):
    scores, levels, mask = normal(n, seed=seed), some_levels(n, seed=seed), some_mask(n, seed=seed)
    expected = rank_logsumexp(scores[mask], levels[mask])
    if garbage:
        scores = scores.masked_fill(~mask, math.nan)
    scores = scores.requires_grad_()
    loss = rank_logsumexp(scores, levels, mask=mask)
    torch.testing.assert_close(loss, expected, atol=1e-12, rtol=1e-12)
    loss.backward()
    assert (scores.grad[~mask] == 0).all()
    assert scores.grad.sum().item() == pytest.approx(0, abs=1e-12)


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slack", [True, False])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck_and_gradgradcheck(route, masked, slack):
    scores, levels = normal(2, 7).requires_grad_(), torch.tensor([[0, 1, 1, 2, 0, 3, 2], [2, 2, 1, 0, 0, 1, 2]])
    mask = some_mask(2, 7) if masked else None

    def call(x):
        return rank_logsumexp(x, levels, margin=0.3, slack=slack, mask=mask)

    assert torch.autograd.gradcheck(call, scores)
    assert torch.autograd.gradgradcheck(call, scores)


@pytest.mark.parametrize("slack", [True, False])
def test_gradcheck_and_gradgradcheck_against(slack):
    positive, negatives = normal(3).requires_grad_(), normal(3, 4, seed=1).requires_grad_()
    mask = some_mask(3, 4, seed=2) | torch.tensor([True, False, False, False])

    def call(p, n):
        return against(p, n, margin=0.3, slack=slack, mask=mask)

    assert torch.autograd.gradcheck(call, (positive, negatives))
    assert torch.autograd.gradgradcheck(call, (positive, negatives))


@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck_and_gradgradcheck_against_the_rest(masked, monkeypatch):
    monkeypatch.setattr(ranking, "BLOCK", 8)  # two rows at a time
    scores, index = normal(5, 4).requires_grad_(), torch.tensor([0, 3, 1, 1, 2])
    mask = some_mask(5, 4) | torch.tensor([True, False, False, True]) if masked else None

    def call(x):
        return against_rest(x, index, mask=mask)

    assert torch.autograd.gradcheck(call, scores)
    assert torch.autograd.gradgradcheck(call, scores)


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0), (3, 1), (0, 4)])
def test_no_pair_gives_exactly_0_with_a_graph(route, shape):
    scores = torch.zeros(shape, requires_grad=True)
    loss = rank_logsumexp(scores, torch.zeros(shape))
    assert loss.shape == shape[:-1]
    loss.sum().backward()
    assert torch.equal(loss, torch.zeros(shape[:-1]))
    assert torch.equal(scores.grad, torch.zeros(shape))


def test_without_the_one_and_without_a_pair_there_is_minus_infinity(route):
    assert rank_logsumexp(normal(2, 3), torch.ones(2, 3), slack=False).tolist() == [-INF, -INF]
    assert against(normal(2), normal(2, 0), slack=False).tolist() == [-INF, -INF]


def test_one_row_without_pairs_leaves_the_others_alone(route):
    scores, levels = normal(3, 5).requires_grad_(), torch.tensor([[1] * 5, [0, 1, 2, 1, 0], [2] * 5])
    loss = rank_logsumexp(scores, levels)
    assert loss.tolist() == [0, pytest.approx(reference_rank(scores[1], levels[1])), 0]
    loss.sum().backward()
    assert (scores.grad[[0, 2]] == 0).all()
    assert (scores.grad[1] != 0).any()


def test_negatives_of_minus_infinity_take_no_part():
    positive, negatives = normal(2).requires_grad_(), normal(2, 4, seed=1)
    negatives[0, 1:3], negatives[1] = -INF, -INF
    negatives.requires_grad_()
    loss = against(positive, negatives)
    assert loss.tolist() == [pytest.approx(torch.log1p((negatives[0, [0, 3]] - positive[0]).exp().sum()).item()), 0]
    loss.sum().backward()
    assert torch.isfinite(negatives.grad).all()
    assert torch.isfinite(positive.grad).all()
    assert (negatives.grad[negatives == -INF] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_scores_neither_overflow_nor_lose_the_order(route, dtype):
    scores = torch.tensor([1e3, -1e3], dtype=dtype, requires_grad=True)
    wrong, right = (rank_logsumexp(scores, torch.tensor(levels)) for levels in ([0, 1], [1, 0]))
    assert (wrong.item(), right.item()) == (2000, 0)
    assert torch.autograd.grad(wrong, scores)[0].tolist() == [1, -1]
    assert torch.autograd.grad(right, scores)[0].tolist() == [0, 0]
    assert against(scores[1], scores[:1]).item() == 2000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [20.0, 37.0, 80.0])
def test_a_tiny_loss_keeps_its_digits(route, gap, dtype):
    scores = torch.tensor([gap, 0.0], dtype=dtype, requires_grad=True)
    for loss in (rank_logsumexp(scores, torch.tensor([1, 0])), against(scores[0], scores[1:])):
        assert loss.item() == pytest.approx(math.log1p(math.exp(-gap)), rel=1e-5)
        assert torch.autograd.grad(loss, scores)[0].tolist() == pytest.approx(
            [-math.exp(-gap), math.exp(-gap)], rel=1e-5
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(route, dtype):
    scores, levels = (8 * normal(90)).to(dtype).requires_grad_(), some_levels(90)
    loss = rank_logsumexp(scores, levels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(reference_rank(scores.float(), levels), rel=1e-5)
    loss.backward()
    assert scores.grad.dtype == dtype
    assert torch.isfinite(scores.grad).all()
    assert against(scores[0], scores[1:]).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("masked", [False, True])
def test_levels_of_any_type(route, masked, dtype):
    scores, levels = normal(20), some_levels(20, count=2)
    mask = some_mask(20) if masked else None
    expected = reference_rank(scores, levels, mask=mask)
    assert rank_logsumexp(scores, levels.to(dtype), mask=mask).item() == pytest.approx(expected)


def test_close_integer_levels_stay_apart(route):
    levels = torch.tensor([2**60, 2**60 + 1, 0])
    mask = torch.tensor([True, True, False])
    expected = math.log1p(math.exp(3.0))
    assert rank_logsumexp(torch.tensor([3.0, 0.0, 9.0]), levels, mask=mask).item() == pytest.approx(expected)


def test_rows_need_not_be_contiguous(route):
    scores, levels = normal(7, 5).T, some_levels(7, 5).T
    expected = rank_logsumexp(scores.contiguous(), levels.contiguous())
    assert torch.equal(rank_logsumexp(scores, levels), expected)


@pytest.mark.compiles
@pytest.mark.parametrize("n", [12, 100])
def test_compiled_equals_eager(n):
    scores, levels = normal(n), some_levels(n)
    torch._dynamo.reset()
    compiled = torch.compile(rank_logsumexp, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(scores, levels), rank_logsumexp(scores, levels))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.wrong_types
def test_levels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"scores and levels must have the same shape: got \(4,\) and \(3,\)"):
        rank_logsumexp(torch.zeros(4), torch.zeros(3))
