"""FlatNCE and InfoNCE against loops, published values, other libraries, and what the page derives."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial

import mpmath
import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st

from gezhi.losses import (
    FlatNCELoss,
    InfoNCELoss,
    NoNegativeWarning,
    flat_nce_loss,
    info_nce_loss,
    negative_ess,
    rank_logsumexp,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


INDEX, ZERO = torch.tensor([0, 4, 2]), torch.tensor([0, 0])
VISIBLE = torch.tensor([[1, 1, 0, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
SAMPLES = [
    Sample(info_nce_loss, (normal(3, 5), INDEX)),
    Sample(info_nce_loss, (normal(3, 5, dtype=torch.float16), INDEX), {"mask": VISIBLE, "reduction": "none"}),
    Sample(flat_nce_loss, (normal(3, 5), INDEX), {"mask": VISIBLE}),
    Sample(flat_nce_loss, (normal(3, 5), INDEX), {"report": "infonce", "reduction": "sum"}),
    Sample(negative_ess, (normal(3, 5), INDEX)),
    Sample(InfoNCELoss(0.5), (normal(4, 3), normal(4, 3, seed=1))),
    Sample(InfoNCELoss(0.5, negatives="keys"), (normal(4, 3), normal(6, 3, seed=1))),
    Sample(FlatNCELoss(0.5), (normal(4, 3), normal(4, 3, seed=1))),
    Sample(FlatNCELoss(report="infonce"), (normal(4, 3), normal(4, 3, seed=1))),
]
SCORES = torch.tensor([[5, 1, -2, 0.5], [0.3, 2, 1.7, -1], [-1, 0, 3, 2.5]], dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 2])
BATCH = torch.tensor([[1, 0, 0.5], [0.2, 1, -0.3], [0.9, 0.1, 0.4], [-0.1, 0.8, 0.2]], dtype=torch.float64)


def reference_excess(scores, index, mask=None):
    """ξ of equation (1), row by row."""
    rows = []
    for i, (row, t) in enumerate(zip(scores.tolist(), index.tolist(), strict=True)):
        seen = [True] * len(row) if mask is None else mask[i].tolist()
        rows.append(sum(math.exp(s - row[t]) for j, s in enumerate(row) if j != t and seen[j]))
    return torch.tensor(rows, dtype=torch.float64)


def reference_views(z1, z2, temperature):
    """log ξ of each anchor of the two-view batch, by loops over pairs of rows."""
    rows = [row.tolist() for row in torch.cat([z1, z2])]
    n, found = len(z1), []

    def score(a, b):
        product = sum(x * y for x, y in zip(a, b, strict=True))
        return product / math.hypot(*a) / math.hypot(*b) / temperature

    for i, anchor in enumerate(rows):
        positive = (i + n) % (2 * n)
        others = [j for j in range(2 * n) if j not in (i, positive)]
        found.append(math.log(sum(math.exp(score(anchor, rows[j]) - score(anchor, rows[positive])) for j in others)))
    return torch.tensor(found, dtype=torch.float64)


def exact(gap, negatives):
    """InfoNCE and its gradients for one positive this far up, with 60 digits."""
    with mpmath.workdps(60):
        xi = mpmath.fsum(mpmath.exp(mpmath.mpf(float(n)) - mpmath.mpf(float(gap))) for n in negatives)
        by_each = [mpmath.exp(mpmath.mpf(float(n)) - mpmath.mpf(float(gap))) / (1 + xi) for n in negatives]
        return float(mpmath.log1p(xi)), float(-xi / (1 + xi)), [float(g) for g in by_each]


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 2), (3, 5), (7, 63)])
@pytest.mark.parametrize("masked", [False, True])
def test_losses_are_the_formulas(shape, masked):
    scores, index = 3 * normal(*shape), torch.arange(shape[0]) % shape[1]
    mask = None
    if masked:
        mask = normal(*shape, seed=1) > -0.5
        mask[torch.arange(shape[0]), (index + 1) % shape[1]] = True
    xi = reference_excess(scores, index, mask)
    flat = flat_nce_loss(scores, index, mask=mask, reduction="none")
    info = info_nce_loss(scores, index, mask=mask, reduction="none")
    torch.testing.assert_close(flat, xi.log(), atol=1e-13, rtol=1e-13)
    torch.testing.assert_close(info, xi.log1p(), atol=1e-13, rtol=1e-13)
    for loss, values in ((flat_nce_loss, flat), (info_nce_loss, info)):
        assert loss(scores, index, mask=mask).item() == pytest.approx(values.mean().item(), rel=1e-14)
        assert loss(scores, index, mask=mask, reduction="sum").item() == pytest.approx(values.sum().item(), rel=1e-14)


def test_gradients_are_the_formulas():
    scores = (2 * normal(4, 6)).requires_grad_()
    index = torch.tensor([5, 0, 3, 3])
    (flat,) = torch.autograd.grad(flat_nce_loss(scores, index, reduction="sum"), scores)
    (info,) = torch.autograd.grad(info_nce_loss(scores, index, reduction="sum"), scores)
    for i, t in enumerate(index.tolist()):
        raised = [math.exp(s) if j != t else 0.0 for j, s in enumerate(scores[i].tolist())]
        expected = [r / sum(raised) if j != t else -1.0 for j, r in enumerate(raised)]
        assert flat[i].tolist() == pytest.approx(expected, abs=1e-14)
        probabilities = scores[i].detach().softmax(-1)
        assert info[i].tolist() == pytest.approx((probabilities - F.one_hot(index[i], 6)).tolist(), abs=1e-14)


@pytest.mark.parametrize("n", [2, 5, 16])
def test_the_two_view_batch_is_the_loop(n):
    z1, z2 = normal(n, 3), normal(n, 3, seed=1)
    log_xi = reference_views(z1, z2, 0.5)
    assert FlatNCELoss(0.5)(z1, z2).item() == pytest.approx(log_xi.mean().item(), abs=1e-13)
    assert InfoNCELoss(0.5)(z1, z2).item() == pytest.approx(log_xi.exp().log1p().mean().item(), abs=1e-13)


def test_queries_against_keys_are_cosines_over_the_temperature():
    query, key = normal(4, 3), normal(7, 3, seed=1)
    scores = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).mT / 0.2
    for module, loss in ((InfoNCELoss, info_nce_loss), (FlatNCELoss, flat_nce_loss)):
        got = module(0.2, negatives="keys")(query, key).item()
        assert got == pytest.approx(loss(scores, torch.arange(4)).item(), abs=1e-13)


def test_check_values_of_three_rows():
    flat = [-3.4954030976577166, -0.0270744133973968, -0.3935858957200442]
    info = [0.029885464796600522, 0.6797015990454229, 0.5155942559266227]
    assert flat_nce_loss(SCORES, TARGETS, reduction="none").tolist() == pytest.approx(flat, abs=1e-14)
    assert info_nce_loss(SCORES, TARGETS, reduction="none").tolist() == pytest.approx(info, abs=1e-14)
    assert flat_nce_loss(SCORES, TARGETS).item() == pytest.approx(-1.3053544689250525, abs=1e-14)
    assert info_nce_loss(SCORES, TARGETS).item() == pytest.approx(0.40839377325621534, abs=1e-14)
    ess = [0.6673166256020976, 0.5400775302597491, 0.40925993066513383]
    assert negative_ess(SCORES, TARGETS).tolist() == pytest.approx(ess, abs=1e-14)


def test_check_values_of_gradients():
    scores = SCORES.clone().requires_grad_()
    flat = torch.autograd.grad(flat_nce_loss(scores, TARGETS, reduction="sum"), scores)[0][0].tolist()
    info = torch.autograd.grad(info_nce_loss(scores, TARGETS, reduction="sum"), scores)[0][0].tolist()
    assert flat == pytest.approx([-1, 0.6037488961486258, 0.030058887569574023, 0.36619221628180026], abs=1e-14)
    expected = [-0.029443309909371607, 0.017776365856745042, 0.0008850331422419277, 0.010781910910384702]
    assert info == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize(
    ("temperature", "info", "flat"),
    [(0.5, 0.32434643414143394, -0.9732941537420396), (0.1, 0.0007921213938110988, -7.5777755911371205)],
)
def test_check_values_of_two_views(temperature, info, flat):
    assert InfoNCELoss(temperature)(BATCH[:2], BATCH[2:]).item() == pytest.approx(info, rel=1e-12)
    assert FlatNCELoss(temperature)(BATCH[:2], BATCH[2:]).item() == pytest.approx(flat, abs=1e-14)


def test_check_values_of_far_gaps():
    scores = torch.tensor([[40.0, -3, -1]], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0])
    assert flat_nce_loss(scores, index).item() == pytest.approx(-40.873071988957028, abs=1e-14)
    loss = info_nce_loss(scores, index)
    assert loss.item() == pytest.approx(1.7743952930940968e-18, rel=1e-8)
    assert torch.autograd.grad(loss, scores)[0][0, 0].item() == pytest.approx(-1.7743952930940968e-18, rel=1e-8)
    assert F.cross_entropy(scores, index).item() == 0
    scores = torch.tensor([[-25.0, 2, 1]], dtype=torch.float64)
    assert info_nce_loss(scores, index).item() == pytest.approx(27.3132616875195969, abs=1e-14)
    assert (info_nce_loss(scores, index) - flat_nce_loss(scores, index)).item() == pytest.approx(1.4e-12, rel=0.05)


def test_check_values_of_single_precision():
    negatives = torch.linspace(-0.5, 0.5, 31)
    worst = {}
    for gap in (4, 10, 15, 18, 22):
        scores = torch.cat([torch.tensor([float(gap)]), negatives])[None].requires_grad_()
        _, positive, others = exact(gap, negatives)
        (grad,) = torch.autograd.grad(F.cross_entropy(scores, torch.tensor([0])), scores)
        worst[gap] = abs(grad[0, 0].item() / positive - 1)
        assert grad[0, 1:].tolist() == pytest.approx(others, rel=2e-6)
    assert worst[4] < 1e-6
    assert worst[10] == pytest.approx(2e-5, rel=5)
    assert worst[15] == pytest.approx(2e-3, rel=5)
    assert 0.01 < worst[18] < 0.5
    assert worst[22] == 1


@pytest.mark.parametrize("gap", [4, 10, 15, 18, 22, 30, 45, 60])
def test_single_precision_keeps_all_digits_at_every_gap(gap):
    negatives = torch.linspace(-0.5, 0.5, 31)
    scores = torch.cat([torch.tensor([float(gap)]), negatives])[None].requires_grad_()
    value, positive, others = exact(gap, negatives)
    loss = info_nce_loss(scores, torch.tensor([0]))
    (grad,) = torch.autograd.grad(loss, scores)
    assert loss.item() == pytest.approx(value, rel=2e-6)
    assert grad[0].tolist() == pytest.approx([positive, *others], rel=2e-6)


# ---- oracle ---------------------------------------------------------------------------------------------------------


def test_infonce_is_cross_entropy():
    scores, index = normal(9, 33), torch.arange(9)
    for reduction in ("mean", "sum", "none"):
        expected = F.cross_entropy(scores, index, reduction=reduction)
        torch.testing.assert_close(info_nce_loss(scores, index, reduction=reduction), expected)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_two_views_are_ntxent_of_pytorch_metric_learning(temperature):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    z1, z2 = (normal(6, 4, seed=s).requires_grad_() for s in range(2))
    rows, ids = torch.cat([z1, z2]), torch.arange(6).repeat(2)
    theirs = losses.NTXentLoss(temperature)(rows, ids)
    ours = InfoNCELoss(temperature)(z1, z2)
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-12)
    for a, b in zip(torch.autograd.grad(ours, (z1, z2)), torch.autograd.grad(theirs, (z1, z2)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_flat_two_views_are_dcl_of_lightly():
    loss = pytest.importorskip("lightly.loss", reason="lightly is not installed")
    z1, z2 = normal(6, 4, dtype=torch.float32), normal(6, 4, seed=1, dtype=torch.float32)
    assert FlatNCELoss(0.1)(z1, z2).item() == pytest.approx(loss.DCLLoss(0.1)(z1, z2).item(), abs=1e-6)


# ---- theorems -------------------------------------------------------------------------------------------------------


@st.composite
def rows_of_scores(draw):
    rows, columns = draw(st.integers(1, 5)), draw(st.integers(2, 9))
    spread = draw(st.sampled_from([0.1, 1.0, 10.0]))
    scores = spread * normal(rows, columns, seed=draw(st.integers(0, 10**6)))
    return scores, torch.tensor([draw(st.integers(0, columns - 1)) for _ in range(rows)])


def gradient(loss, scores, index, **options):
    leaf = scores.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, index, reduction="sum", **options), leaf)[0]


@given(rows_of_scores())
def test_log_form_and_paper_form_have_one_gradient(case):
    scores, index = case
    leaf = scores.clone().requires_grad_()
    xi = flat_nce_loss(leaf, index, reduction="none").exp()
    (paper,) = torch.autograd.grad((xi / xi.detach()).sum(), leaf)
    torch.testing.assert_close(gradient(flat_nce_loss, scores, index), paper, atol=1e-13, rtol=1e-12)


@given(rows_of_scores())
def test_infonce_is_flatnce_times_the_probability_of_being_wrong(case):
    scores, index = case
    xi = flat_nce_loss(scores, index, reduction="none").exp()
    wrong = (xi / (1 + xi))[:, None]
    info, flat = gradient(info_nce_loss, scores, index), gradient(flat_nce_loss, scores, index)
    torch.testing.assert_close(info, wrong * flat, atol=1e-300, rtol=1e-10)
    assert (info[:, 0] != flat[:, 0]).all() or (wrong == 1).any()  # the positive left in the sum would make them equal
    assert (info_nce_loss(scores, index, reduction="none") <= xi).all()


@given(rows_of_scores(), st.floats(-50, 50))
def test_shifts_and_the_order_of_negatives_change_nothing(case, shift):
    scores, index = case
    shuffle = torch.randperm(scores.shape[1], generator=torch.Generator().manual_seed(0))
    moved = torch.argsort(shuffle)[index]
    for loss in (info_nce_loss, flat_nce_loss):
        plain = loss(scores, index, reduction="none")
        torch.testing.assert_close(loss(scores + shift, index, reduction="none"), plain, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(loss(scores[:, shuffle], moved, reduction="none"), plain, rtol=1e-9, atol=1e-13)
        sums = gradient(loss, scores, index).sum(-1)
        torch.testing.assert_close(sums, torch.zeros_like(sums), atol=1e-13, rtol=0)


@given(rows_of_scores())
def test_the_reported_value_is_infonce_and_the_gradient_flatnce(case):
    scores, index = case
    reported = flat_nce_loss(scores, index, reduction="none", report="infonce")
    assert torch.equal(reported, info_nce_loss(scores, index, reduction="none"))
    flat, both = gradient(flat_nce_loss, scores, index), gradient(flat_nce_loss, scores, index, report="infonce")
    torch.testing.assert_close(both, flat, atol=0, rtol=0)


@given(rows_of_scores())
def test_both_are_the_ranking_sum_of_one_better_item(case):
    scores, index = case
    levels = F.one_hot(index, scores.shape[1])
    info, flat = (rank_logsumexp(scores, levels, slack=slack) for slack in (True, False))
    torch.testing.assert_close(info_nce_loss(scores, index, reduction="none"), info, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(flat_nce_loss(scores, index, reduction="none"), flat, rtol=1e-12, atol=1e-13)


@given(rows_of_scores())
def test_effective_share_lies_between_one_and_all(case):
    scores, index = case
    share, negatives = negative_ess(scores, index), scores.shape[1] - 1
    assert (share >= 1 / negatives - 1e-12).all()
    assert (share <= 1 + 1e-12).all()
    alike = negative_ess(torch.zeros_like(scores), index)
    torch.testing.assert_close(alike, torch.ones_like(alike))


@given(rows_of_scores())
def test_masked_candidates_and_minus_infinity_are_as_if_absent(case):
    scores, index = case
    extra = torch.full((len(scores), 2), 7.0, dtype=torch.float64)
    wide = torch.cat([scores, extra], 1)
    mask = torch.arange(wide.shape[1]).expand_as(wide) < scores.shape[1]
    hidden = torch.cat([scores, torch.full_like(extra, -math.inf)], 1)
    for loss in (partial(info_nce_loss, reduction="none"), partial(flat_nce_loss, reduction="none"), negative_ess):
        plain = loss(scores, index)
        torch.testing.assert_close(loss(wide, index, mask=mask), plain)
        torch.testing.assert_close(loss(hidden, index), plain)


# ---- gradient -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, VISIBLE])
def test_gradcheck(mask):
    scores = normal(3, 5).requires_grad_()
    for loss in (info_nce_loss, flat_nce_loss):
        assert torch.autograd.gradcheck(lambda s, loss=loss: loss(s, INDEX, mask=mask, reduction="none"), scores)
        assert torch.autograd.gradgradcheck(lambda s, loss=loss: loss(s, INDEX, mask=mask, reduction="none"), scores)
    assert torch.autograd.gradcheck(lambda s: negative_ess(s, INDEX), scores)


@pytest.mark.parametrize("module", [InfoNCELoss(0.5), FlatNCELoss(0.5), FlatNCELoss(0.5, negatives="keys")])
def test_gradcheck_of_modules(module):
    assert torch.autograd.gradcheck(module, (normal(3, 4).requires_grad_(), normal(3, 4, seed=1).requires_grad_()))


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_without_a_negative_infonce_is_zero_with_zero_gradient():
    scores = torch.tensor([[2.0, 1.0], [0.0, -math.inf]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, True]])
    loss = info_nce_loss(scores, torch.tensor([0, 0]), mask=mask)
    assert loss == 0
    assert torch.autograd.grad(loss, scores)[0].tolist() == [[0, 0], [0, 0]]
    z = normal(1, 3).requires_grad_()
    loss = InfoNCELoss()(z, normal(1, 3, seed=1))
    assert loss == 0
    assert torch.autograd.grad(loss, z)[0].tolist() == [[0, 0, 0]]
    assert negative_ess(scores, torch.tensor([0, 0]), mask=mask).isnan().all()


ALONE = {
    "one candidate": (torch.tensor([[2.0]]), None),
    "the others at -inf": (torch.tensor([[1.0, -math.inf, -math.inf]]), None),
    "the others masked": (torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[True, False, False]])),
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("report", ["log", "infonce"])
def test_without_a_negative_flatnce_is_zero_with_zero_gradient_and_a_warning(name, report):
    scores, mask = ALONE[name]
    scores = scores.clone().requires_grad_()
    with pytest.warns(NoNegativeWarning, match=r"1 of 1 rows have no negative: .* Drop a last batch of one pair"):
        loss = flat_nce_loss(scores, ZERO[:1], mask=mask, report=report)
    assert loss == 0
    assert (torch.autograd.grad(loss, scores)[0] == 0).all()


@pytest.mark.parametrize("negatives", ["views", "keys"])
def test_a_batch_of_one_pair_teaches_flatnce_nothing(negatives):
    z1, z2 = normal(1, 3).requires_grad_(), normal(1, 3, seed=1).requires_grad_()
    for loss in (FlatNCELoss(negatives=negatives), FlatNCELoss(report="infonce", negatives=negatives)):
        with pytest.warns(NoNegativeWarning):
            value = loss(z1, z2)
        assert value == 0
        assert all((g == 0).all() for g in torch.autograd.grad(value, (z1, z2)))


def test_rows_with_negatives_are_as_they_are_beside_one_without():
    scores, mask = normal(3, 5).requires_grad_(), VISIBLE.clone()
    mask[1] = False
    with pytest.warns(NoNegativeWarning, match="1 of 3 rows"):
        found = flat_nce_loss(scores, INDEX, mask=mask, reduction="none")
    expected = flat_nce_loss(scores[[0, 2]], INDEX[[0, 2]], mask=mask[[0, 2]], reduction="none")
    assert torch.equal(found[[0, 2]], expected)
    assert found[1] == 0
    by_found, by_expected = (torch.autograd.grad(x.sum(), scores)[0] for x in (found, expected))
    torch.testing.assert_close(by_found, by_expected)


@pytest.mark.compiles
def test_compiled_a_row_without_a_negative_is_zero_too():
    scores = torch.tensor([[2.0, -math.inf], [0.0, 1.0]], requires_grad=True)
    torch._dynamo.reset()
    compiled = torch.compile(partial(flat_nce_loss, reduction="none"), fullgraph=True, backend="aot_eager")
    value = compiled(scores, ZERO)
    assert value.tolist() == [0, 1]
    assert torch.autograd.grad(value.sum(), scores)[0].tolist() == [[0, 0], [-1, 1]]


def test_no_rows_give_zero_with_a_graph():
    scores = torch.zeros(0, 3, requires_grad=True)
    for loss in (info_nce_loss, flat_nce_loss):
        value = loss(scores, torch.zeros(0, dtype=torch.long))
        assert value == 0
        assert value.requires_grad
        assert loss(scores, torch.zeros(0, dtype=torch.long), reduction="none").shape == (0,)


@pytest.mark.parametrize("loss", [InfoNCELoss(), FlatNCELoss(), InfoNCELoss(negatives="keys")])
def test_zero_embeddings_have_cosine_zero_and_a_moderate_gradient(loss):
    z1, z2 = normal(3, 4), normal(3, 4, seed=1)
    z1[1] = 0
    z1.requires_grad_()
    (grad,) = torch.autograd.grad(loss(z1, z2), z1)
    assert grad.isfinite().all()
    assert grad.abs().max() < 100
    scores, _ = loss.scores(z1, z2)
    assert (scores[1][scores[1].isfinite()] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype):
    scores, index = (4 * normal(5, 300)).to(dtype), torch.arange(5)
    for loss in (info_nce_loss, flat_nce_loss):
        assert loss(scores, index).dtype == torch.float32
        torch.testing.assert_close(loss(scores, index), loss(scores.float(), index))
    far = torch.tensor([[20.0, 0.0, 0.0]], dtype=dtype, requires_grad=True)
    assert info_nce_loss(far, torch.tensor([0])).item() == pytest.approx(2 * math.exp(-20), rel=1e-5)
    z1, z2 = normal(5, 8, dtype=dtype), normal(5, 8, seed=1, dtype=dtype)
    assert InfoNCELoss()(z1, z2).item() == pytest.approx(InfoNCELoss()(z1.float(), z2.float()).item(), rel=1e-6)
    with torch.autocast("cpu", dtype=dtype):
        under = InfoNCELoss(0.05)(z1.float(), z2.float()).item()
    assert under == pytest.approx(InfoNCELoss(0.05)(z1.float(), z2.float()).item(), rel=1e-6)


def test_huge_ties_and_strided_scores():
    scores, index = torch.tensor([[1e30, -1e30, 0.0]]), torch.tensor([0])
    assert flat_nce_loss(scores, index).item() == pytest.approx(-1e30)
    assert info_nce_loss(scores, index) == 0
    assert info_nce_loss(scores, torch.tensor([1])).item() == pytest.approx(2e30)
    assert flat_nce_loss(torch.zeros(1, 5), index).item() == pytest.approx(math.log(4))
    wide = normal(6, 8).mT
    torch.testing.assert_close(
        info_nce_loss(wide, torch.arange(8) % 6), info_nce_loss(wide.clone(), torch.arange(8) % 6)
    )


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_keep_the_settings(copier):
    loss = copier(FlatNCELoss(0.3, "infonce", negatives="keys"))
    assert (loss.temperature, loss.report, loss.negatives) == (0.3, "infonce", "keys")
    assert "temperature=0.3" in repr(loss)
    assert "report='infonce'" in repr(loss)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: info_nce_loss(torch.tensor([[0.0, 1.0], [0.0, math.nan]]), ZERO),
            ValueError,
            r"scores must be finite, or -inf .* got \[0.0, nan\] in row 1",
        ),
        (lambda: info_nce_loss(torch.tensor([[0.0, math.inf]] * 2), ZERO), ValueError, "inf.* in row 0"),
        (lambda: info_nce_loss(torch.tensor([[-math.inf, 0.0]] * 2), ZERO), ValueError, "must be finite"),
        (lambda: flat_nce_loss(torch.tensor([[math.inf, 0.0]] * 2), ZERO), ValueError, "must be finite"),
        (lambda: info_nce_loss(torch.tensor([[math.inf, 0.0]] * 2), ZERO), ValueError, "must be finite"),
        (lambda: flat_nce_loss(torch.tensor([[math.nan], [0.0]]), ZERO), ValueError, r"got \[nan\] in row 0"),
        (lambda: info_nce_loss(torch.zeros(2, 3), torch.tensor([0, 3])), ValueError, "between 0 and 2: got 3 in row 1"),
        (lambda: info_nce_loss(torch.zeros(2, 3), torch.tensor([-1, 0])), ValueError, "got -1 in row 0"),
        (
            lambda: info_nce_loss(torch.zeros(2, 3), torch.tensor([0])),
            ValueError,
            r"positive_index must have shape \(2",
        ),
        (lambda: info_nce_loss(torch.zeros(2, 3), torch.zeros(2)), TypeError, "positive_index must hold integers"),
        (lambda: info_nce_loss(torch.zeros(3), ZERO), ValueError, "scores must be a floating-point matrix"),
        (lambda: info_nce_loss(torch.zeros(2, 3, dtype=torch.long), ZERO), ValueError, "got torch.int64"),
        (lambda: info_nce_loss(torch.zeros(2, 3), ZERO, mask=torch.ones(2, 2).bool()), ValueError, "mask must be bool"),
        (lambda: info_nce_loss(torch.zeros(2, 3), ZERO, reduction="max"), ValueError, "reduction must be one of"),
        (lambda: flat_nce_loss(torch.zeros(2, 3), ZERO, report="xi"), ValueError, "report must be one of"),
        (lambda: InfoNCELoss(0), ValueError, "temperature must lie strictly between 0"),
        (lambda: FlatNCELoss(0.1, "xi"), ValueError, "report must be one of 'log', 'infonce': got 'xi'"),
        (lambda: InfoNCELoss(negatives="all"), ValueError, "negatives must be one of"),
        (lambda: InfoNCELoss()(torch.ones(2, 3), torch.ones(2, 4)), ValueError, "be matrices of one width"),
        (lambda: InfoNCELoss()(torch.ones(2, 3), torch.ones(3, 3)), ValueError, "got 2 and 3. Row i of z2"),
        (lambda: InfoNCELoss(negatives="keys")(torch.ones(3, 3), torch.ones(2, 3)), ValueError, "got 3 and 2"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
