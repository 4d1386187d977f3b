"""Expected accuracy against integrals of 40 digits, orthant probabilities and published figures; its siblings."""

from __future__ import annotations

import copy
import math
from functools import partial

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.metrics import f1_score

from gezhi.losses import (
    ExactLoss,
    NoPositiveWarning,
    ProbitLoss,
    expected_accuracy,
    log_expected_accuracy,
    power_loss,
    probit_predict_proba,
    smooth_max,
    soft_accuracy_loss,
    soft_argmax,
    soft_f1_loss,
)
from gezhi.losses.exact.expected import _golub_welsch
from gezhi.losses.exact.normal import _taylor, log_cdf, mode_and_width


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


LABELS, BITS = torch.tensor([0, 4, 2]), torch.tensor([[1, 0], [0, 0], [1, 1]])
SAMPLES = [
    Sample(log_expected_accuracy, (normal(3, 5), LABELS), {"sigma": 0.7}),
    Sample(expected_accuracy, (normal(3, 2, dtype=torch.float16), torch.tensor([0, 1, 1]))),
    Sample(probit_predict_proba, (normal(2, 4),), {"nodes": 16}),
    Sample(ProbitLoss(), (normal(3, 5), LABELS)),
    Sample(ProbitLoss("learned", reduction="none"), (normal(3, 5), LABELS)),
    Sample(ExactLoss(), (normal(3, 5), LABELS)),
    Sample(ExactLoss(0.5, margin=1.0, standardize=True), (normal(3, 5), LABELS)),
    Sample(soft_accuracy_loss, (normal(3, 5), LABELS)),
    Sample(power_loss, (normal(3, 5), LABELS), {"q": 0.5, "reduction": "sum"}),
    Sample(soft_f1_loss, (normal(6).sigmoid(), torch.tensor([1, 0, 1, 1, 0, 0]))),
    Sample(soft_f1_loss, (normal(3, 2).sigmoid(), BITS), {"average": "macro"}),
    Sample(smooth_max, (normal(3, 4),), {"sharpness": 3.0}),
    Sample(soft_argmax, (normal(3, 4),), {"sharpness": 3.0}),
]


def reference_log_p(logits, label, sigma=1.0):
    """log of (1) with 30 digits, by the trapezoidal rule, which errs by e^{-2π²·32²·width²} on such integrands."""
    with mpmath.workdps(30):
        mu = [mpmath.mpf(float(value)) / sigma for value in logits]
        gaps = [mu[label] - value for k, value in enumerate(mu) if k != label]
        middle = float(mode_and_width(torch.tensor([[float(gap) for gap in gaps]]))[0])
        points = [middle + mpmath.mpf(i) / 32 for i in range(-320, 321)]
        terms = (mpmath.npdf(t) * mpmath.fprod(mpmath.ncdf(gap + t) for gap in gaps) for t in points)
        return float(mpmath.log(mpmath.fsum(terms) / 32))


def gradient(function, logits, *args, **kwargs):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(function(leaf, *args, **kwargs).sum(), leaf)[0]


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("classes", "spread", "sigma"), [(2, 1, 1), (3, 1, 0.5), (7, 4, 1), (12, 15, 2), (5, 30, 1)])
def test_log_p_is_the_integral_into_the_far_tail(classes, spread, sigma):
    logits = spread * normal(4, classes, seed=classes)
    labels = torch.stack([logits[0].argmax(), logits[1].argmin(), torch.tensor(0), torch.tensor(classes - 1)])
    found = log_expected_accuracy(logits, labels, sigma=sigma).tolist()
    for value, row, label in zip(found, logits, labels.tolist(), strict=True):
        expected = reference_log_p(row, label, sigma)
        assert value == pytest.approx(expected, abs=1e-8, rel=1e-10)
    fast = log_expected_accuracy(logits, labels, sigma=sigma, nodes=16)
    assert fast.tolist() == pytest.approx(found, abs=2e-5)


def test_gradient_is_the_integral_of_the_derivative():
    logits, label = torch.tensor([[0.8, 0.1, -1.0, 0.6]], dtype=torch.float64), torch.tensor([0])
    found = gradient(expected_accuracy, logits, label, sigma=0.9)[0].tolist()
    gaps = ((logits[0, 0] - logits[0, 1:]) / 0.9).tolist()
    by_gap = []
    with mpmath.workdps(30):
        for k, gap in enumerate(gaps):
            rest = [other for j, other in enumerate(gaps) if j != k]

            def slope(t, gap=gap, rest=rest):
                return mpmath.npdf(t) * mpmath.npdf(gap + t) * mpmath.fprod(mpmath.ncdf(r + t) for r in rest)

            by_gap.append(float(mpmath.quad(slope, [-12, -2, 0, 2, 12])))
    assert found == pytest.approx([sum(by_gap) / 0.9, *(-slope / 0.9 for slope in by_gap)], abs=1e-8)


def test_losses_are_means_of_the_probability():
    logits = normal(3, 5)
    p = torch.stack([expected_accuracy(logits[i : i + 1], LABELS[i : i + 1])[0] for i in range(3)])
    assert ExactLoss()(logits, LABELS).item() == pytest.approx(1 - p.mean().item(), abs=1e-14)
    assert ExactLoss(1.0, reduction="sum")(logits, LABELS).item() == pytest.approx(3 - p.sum().item(), abs=1e-14)
    assert ProbitLoss()(logits, LABELS).item() == pytest.approx(-p.log().mean().item(), abs=1e-14)
    assert ProbitLoss(2.0, reduction="none")(2 * logits, LABELS).tolist() == pytest.approx((-p.log()).tolist())


def test_official_extras_are_the_loop():
    logits, sigma, margin = 3 * normal(3, 4), 0.5, 1.2
    flat = logits.flatten().tolist()
    mean, spread = np.mean(flat), np.std(flat, ddof=1)
    for standardize in (False, True):
        found = ExactLoss(sigma, margin=margin, standardize=standardize, reduction="none")(logits, LABELS % 4)
        for value, row, y in zip(found.tolist(), logits.tolist(), (LABELS % 4).tolist(), strict=True):
            row = [(v - mean) / spread for v in row] if standardize else row
            cut = [0.0] + [-min(row[y] - v, margin) for k, v in enumerate(row) if k != y]
            assert 1 - value == pytest.approx(math.exp(reference_log_p(cut, 0, sigma)), abs=1e-8)


def test_check_values():
    logits = torch.tensor([[1, 0.2, -0.5]], dtype=torch.float64)
    expected = [0.6559544448672686, 0.2534750914530837, 0.09057046367964787]
    assert probit_predict_proba(logits)[0].tolist() == pytest.approx(expected, abs=1e-9)
    slopes = [0.27900477184177985, -0.19602130071972934, -0.08298347112205051]
    zero = torch.tensor([0])
    assert gradient(expected_accuracy, logits, zero)[0].tolist() == pytest.approx(slopes, abs=1e-9)
    five = torch.tensor([[2, 1, 0.5, -1, 0]], dtype=torch.float64)
    assert expected_accuracy(five, zero, sigma=0.5).item() == pytest.approx(0.9106883460397422, abs=1e-9)
    slopes = [0.23901023324058787, -0.1957707843807238, -0.03873872371067163, -9.218611898146734e-06]
    found = gradient(expected_accuracy, five, zero, sigma=0.5)[0].tolist()
    assert found == pytest.approx([*slopes, -0.004491506537294296], abs=1e-9)
    two = torch.tensor([[0.3, -0.4]], dtype=torch.float64)
    assert expected_accuracy(two, zero, sigma=2).item() == pytest.approx(0.5977344689084383, abs=1e-15)
    assert expected_accuracy(two, zero, sigma=2).item() == pytest.approx(stats.norm.cdf(0.7 / 2 / math.sqrt(2)))
    assert expected_accuracy(torch.zeros(1, 4).double(), zero).item() == pytest.approx(0.25, abs=1e-14)
    tail = torch.tensor([[0.0] + [5.0] * 9], dtype=torch.float64)
    assert log_expected_accuracy(tail, zero).item() == pytest.approx(-19.2596270692, abs=1e-9)


def test_check_values_of_the_siblings():
    p, t = torch.tensor([0.9, 0.2, 0.6, 0.35], dtype=torch.float64), torch.tensor([1, 0, 1, 1])
    assert 1 - soft_f1_loss(p, t).item() == pytest.approx(0.7326732673267327, abs=1e-15)
    logits = torch.stack([(1 - p).log(), p.log()], -1)
    assert 1 - soft_accuracy_loss(logits, t).item() == pytest.approx(0.6625, abs=1e-15)


X, SIDE = np.array([-0.25, 0.0, 0.25]), np.array([-1, -1, 1])


def toy_probit(b, sigma):
    """Mean expected accuracy of f(x) = x - b on the three points, through the library's own function."""
    logits = torch.tensor(np.stack([np.zeros(3), X - b], 1))
    return float(expected_accuracy(logits, torch.tensor([0, 0, 1]), sigma=sigma).mean())


def test_check_values_of_the_papers_toy_example():
    logistic = optimize.minimize_scalar(lambda b: np.log1p(np.exp(-SIDE * (X - b))).mean(), bracket=(0, 1), tol=1e-12)
    assert logistic.x == pytest.approx(0.7000875, abs=1e-6)
    assert logistic.fun == pytest.approx(0.557797133, abs=1e-9)
    hinge = [np.maximum(0, 1 - SIDE * (X - b)).mean() for b in (0.74, 0.75, 0.9, 1.0, 1.01)]
    assert hinge[1:4] == pytest.approx([0.5833333333] * 3, abs=1e-10)
    assert min(hinge[0], hinge[4]) > 0.5834
    for k, expected in ((10, 0.13124), (20, 0.12520)):
        scaled = optimize.minimize_scalar(
            lambda b, k=k: np.log1p(np.exp(-SIDE * k * (X - b))).mean(), bracket=(0, 1), tol=1e-12
        )
        assert scaled.x == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize(
    ("sigma", "b", "high"), [(1, 3.905946, 8), (0.5, 1.019734, 3), (0.25, 0.302258, 1), (0.1, 0.128304, 0.5)]
)
def test_check_values_of_exact_with_a_fixed_scale(sigma, b, high):
    best = optimize.minimize_scalar(
        lambda b: -toy_probit(b, sigma), bounds=(0, high), method="bounded", options={"xatol": 1e-9}
    )
    assert best.x == pytest.approx(b, abs=1e-4)
    if sigma == 1:
        assert -best.fun == pytest.approx(0.6667819, abs=1e-7)
        assert np.mean(SIDE * (X - best.x) > 0) == pytest.approx(2 / 3)


def test_a_learned_scale_solves_the_toy():
    b, loss = torch.zeros((), dtype=torch.float64, requires_grad=True), ExactLoss().double()
    descent = torch.optim.SGD([b, *loss.parameters()], lr=0.05)
    x, labels = torch.from_numpy(X), torch.tensor([0, 0, 1])
    for _ in range(4000):
        descent.zero_grad()
        loss(torch.stack([torch.zeros_like(x), x - b], 1), labels).backward()
        descent.step()
    assert 0 < b.item() < 0.25
    assert loss.sigma.item() < 0.5


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [3, 5])
def test_p_is_the_orthant_probability_of_the_paper(classes):
    logits, label = normal(1, classes, seed=3), 1
    gaps = logits[0, label].item() - np.delete(logits[0].numpy(), label)
    others = classes - 1
    law = stats.multivariate_normal(np.zeros(others), np.eye(others) + 1, abseps=1e-9, releps=1e-9, maxpts=10**6)
    found = expected_accuracy(logits, torch.tensor([label])).item()
    assert found == pytest.approx(law.cdf(gaps), abs=1e-6)


def test_p_is_the_frequency_of_winning():
    logits = normal(1, 6, seed=5)
    draws = logits / 0.8 + torch.randn(400_000, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    share = torch.bincount(draws.argmax(-1), minlength=6) / len(draws)
    torch.testing.assert_close(probit_predict_proba(logits, sigma=0.8)[0], share.double(), atol=3e-3, rtol=0)


def test_the_siblings_are_torch_and_scikit_learn():
    logits, targets = normal(9, 4), torch.arange(9) % 4
    for reduction in ("mean", "sum", "none"):
        expected = F.cross_entropy(logits, targets, reduction=reduction)
        torch.testing.assert_close(power_loss(logits, targets, q=0, reduction=reduction), expected)
    torch.testing.assert_close(smooth_max(logits), logits.logsumexp(-1))
    hard, truth = (normal(20, 3) > 0).double(), normal(20, 3, seed=1) > 0
    found = 1 - soft_f1_loss(hard, truth, average="macro").item()
    assert found == pytest.approx(f1_score(truth.numpy(), hard.numpy(), average="macro"), abs=1e-14)
    found = 1 - soft_f1_loss(hard[:, 0], truth[:, 0]).item()
    assert found == pytest.approx(f1_score(truth[:, 0].numpy(), hard[:, 0].numpy()), abs=1e-14)


@pytest.mark.parametrize("nodes", [1, 2, 16, 33])
def test_the_rule_is_numpys(nodes):
    x, log_weight = _golub_welsch(nodes)
    expected = np.polynomial.hermite_e.hermegauss(nodes)
    assert x.tolist() == pytest.approx(expected[0].tolist(), abs=1e-13)
    weight = (log_weight - x.square() / 2).exp() * math.sqrt(2 * math.pi)
    assert weight.tolist() == pytest.approx(expected[1].tolist(), rel=1e-11)


# ---- theorems -------------------------------------------------------------------------------------------------------


@st.composite
def rows_of_logits(draw):
    rows, classes = draw(st.integers(1, 4)), draw(st.integers(2, 8))
    logits = draw(st.sampled_from([0.1, 1.0, 8.0])) * normal(rows, classes, seed=draw(st.integers(0, 10**6)))
    return logits, torch.tensor([draw(st.integers(0, classes - 1)) for _ in range(rows)])


@given(rows_of_logits())
def test_probabilities_sum_to_one_and_follow_the_logits(case):
    logits, _ = case
    p = probit_predict_proba(logits)
    torch.testing.assert_close(p.sum(-1), torch.ones(len(p), dtype=p.dtype), atol=1e-7, rtol=0)
    assert torch.equal(p.argsort(-1), logits.argsort(-1)) or (p.sort(-1).values.diff(dim=-1) < 1e-12).any()


@given(rows_of_logits(), st.floats(-20, 20), st.floats(0.1, 10))
def test_only_differences_over_sigma_matter(case, shift, factor):
    logits, labels = case
    plain = log_expected_accuracy(logits, labels, sigma=0.7)
    moved = log_expected_accuracy(factor * (logits + shift), labels, sigma=0.7 * factor)
    torch.testing.assert_close(moved, plain, atol=1e-9, rtol=1e-9)


@given(rows_of_logits())
def test_gradients_sum_to_zero_and_push_the_label_up(case):
    logits, labels = case
    slopes = gradient(expected_accuracy, logits, labels)
    torch.testing.assert_close(slopes.sum(-1), torch.zeros(len(logits), dtype=torch.float64), atol=1e-12, rtol=0)
    own = F.one_hot(labels, logits.shape[1]).bool()
    assert (slopes[own] >= 0).all()
    assert (slopes[~own] <= 0).all()


@given(rows_of_logits())
def test_minus_log_p_pulls_one_over_p_as_hard(case):
    logits, labels = case
    p = expected_accuracy(logits, labels)[:, None]
    by_log = gradient(ProbitLoss(reduction="none"), logits, labels)
    by_p = gradient(ExactLoss(1.0, reduction="none"), logits, labels)
    torch.testing.assert_close(p * by_log, by_p, atol=1e-15, rtol=1e-9)
    soft = logits.softmax(-1).gather(1, labels[:, None])
    ce, soft_slope = (gradient(partial(power_loss, q=q, reduction="none"), logits, labels) for q in (0, 1))
    torch.testing.assert_close(soft * ce, soft_slope, atol=1e-15, rtol=1e-9)


@given(rows_of_logits(), st.floats(0.01, 3))
def test_the_power_loss_lies_on_the_bridge(case, q):
    logits, labels = case
    near = power_loss(logits, labels, q=1e-9, reduction="none")
    torch.testing.assert_close(near, F.cross_entropy(logits, labels, reduction="none"), atol=1e-6, rtol=1e-6)
    p = logits.softmax(-1).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(power_loss(logits, labels, q=q, reduction="none"), (1 - p**q) / q, atol=1e-12, rtol=0)


@given(rows_of_logits(), st.floats(0.2, 50))
def test_smooth_max_and_argmax_are_near(case, sharpness):
    logits, _ = case
    over = smooth_max(logits, sharpness=sharpness) - logits.amax(-1)
    assert (over >= -1e-12).all()
    assert (over <= math.log(logits.shape[1]) / sharpness + 1e-12).all()
    clear = torch.zeros(3, logits.shape[1]).scatter(1, torch.full((3, 1), logits.shape[1] - 1), 1000.0)
    assert soft_argmax(clear, sharpness=sharpness).tolist() == [logits.shape[1] - 1] * 3


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_gradcheck():
    logits, sigma = normal(3, 5).requires_grad_(), torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    found = partial(log_expected_accuracy, nodes=48)
    assert torch.autograd.gradcheck(lambda x, s: found(x, LABELS, sigma=s), (logits, sigma))
    assert torch.autograd.gradgradcheck(lambda x, s: found(x, LABELS, sigma=s), (logits, sigma))
    two = normal(3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: log_expected_accuracy(x, LABELS % 2), two)
    assert torch.autograd.gradcheck(lambda x: ExactLoss(0.5, margin=0.4, standardize=True)(x, LABELS), logits)
    for q in (0, 0.5, 1):
        assert torch.autograd.gradcheck(lambda x, q=q: power_loss(x, LABELS, q=q), logits)
    assert torch.autograd.gradcheck(
        lambda x: soft_f1_loss(x.sigmoid(), BITS, average="macro"), normal(3, 2).requires_grad_()
    )
    assert torch.autograd.gradcheck(lambda x: smooth_max(x, sharpness=2.0) + soft_argmax(x), logits)


def test_log_cdf_and_its_slopes_keep_their_digits():
    x = torch.tensor([-3e5, -300, -41, -39.5, -12.5, -11.5, -3, 0, 2, 9], dtype=torch.float64)
    assert torch.autograd.gradcheck(log_cdf, x[2:].clone().requires_grad_(), rtol=1e-6)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        leaf = x.to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(log_cdf(leaf).sum(), leaf, create_graph=True)
        (second,) = torch.autograd.grad(slope.sum(), leaf)
        with mpmath.workdps(40):
            for value, r, bend in zip(leaf.tolist(), slope.tolist(), second.tolist(), strict=True):
                if value > -1000:
                    exact = mpmath.npdf(value) / mpmath.ncdf(value)
                    assert r == pytest.approx(float(exact), rel=tolerance)
                    assert bend == pytest.approx(float(-exact * (value + exact)), rel=100 * tolerance, abs=1e-12)
        assert slope[0].item() == pytest.approx(3e5, rel=1e-6)
        assert second[0].item() == pytest.approx(-1, rel=1e-6)


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_hopeless_and_certain_rows_have_finite_losses_and_gradients():
    for dtype in (torch.float64, torch.float32):
        logits = torch.tensor([[0, 1e4, 0], [1e4, 0, 0]], dtype=dtype).requires_grad_()
        labels = torch.tensor([0, 0])
        probit = ProbitLoss(0.01, reduction="none")(logits, labels)
        assert probit[0].item() == pytest.approx(1e12 / 4, rel=1e-3)  # Φ(-m/√2) with m = 10⁶
        assert probit[1].item() == pytest.approx(0, abs=1e-6)
        assert torch.autograd.grad(probit.sum(), logits)[0].isfinite().all()
        exact = ExactLoss(0.01, reduction="none")(logits, labels)
        assert exact.tolist() == pytest.approx([1, 0], abs=1e-6)
        assert (torch.autograd.grad(exact.sum(), logits)[0][0] == 0).all()  # saturated: nothing is learnt from it


def test_a_class_at_minus_infinity_is_as_if_absent():
    logits = torch.cat([normal(3, 5), torch.full((3, 2), -math.inf)], 1).requires_grad_()
    plain = logits[:, :5].detach().requires_grad_()
    found, expected = log_expected_accuracy(logits, LABELS), log_expected_accuracy(plain, LABELS)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    by_found, by_plain = (torch.autograd.grad(x.sum(), leaf)[0] for x, leaf in ((found, logits), (expected, plain)))
    torch.testing.assert_close(by_found[:, :5], by_plain, atol=1e-8, rtol=0)
    assert (by_found[:, 5:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    logits = normal(3, 5, dtype=dtype)
    for loss in (ExactLoss(), ProbitLoss(), soft_accuracy_loss):
        found = loss(logits, LABELS)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(logits.float(), LABELS), atol=0, rtol=0)


def test_single_precision_is_near_the_exact_value():
    for spread in (1, 10, 30):
        logits, labels = spread * normal(32, 40), torch.arange(32)
        exact = log_expected_accuracy(logits, labels, nodes=64)
        found = log_expected_accuracy(logits.float(), labels).double()
        assert ((found - exact).abs() / exact.abs().clamp(min=1)).max() < 5e-6
        slopes = gradient(log_expected_accuracy, logits, labels)
        single = gradient(log_expected_accuracy, logits.float(), labels).double()
        assert (single - slopes).norm() / slopes.norm() < 3e-4


def test_no_rows_equal_logits_and_odd_strides():
    empty = torch.zeros(0, 3, requires_grad=True)
    for loss in (ExactLoss(), ProbitLoss(), ExactLoss(1.0, standardize=True), soft_accuracy_loss):
        value = loss(empty, torch.zeros(0, dtype=torch.long))
        assert value == 0
        assert value.requires_grad
    for classes in (2, 3, 10, 50):
        p = expected_accuracy(torch.full((1, classes), 7.0).double(), torch.tensor([1]))
        assert p.item() == pytest.approx(1 / classes, rel=1e-7)
    wide = normal(5, 3).mT
    assert torch.equal(ExactLoss()(wide, LABELS), ExactLoss()(wide.contiguous(), LABELS))
    constant = torch.full((3, 5), 2.0, requires_grad=True)
    loss = ExactLoss(1.0, standardize=True)(constant, LABELS)
    assert loss.item() == pytest.approx(0.8)
    assert torch.autograd.grad(loss, constant)[0].isfinite().all()


@pytest.mark.parametrize("average", ["binary", "macro"])
def test_a_class_without_positives_warns_and_counts_as_zero(average):
    p = normal(4, 2).sigmoid().requires_grad_()
    t = torch.tensor([[0, 1], [0, 0], [0, 1], [0, 0]])
    p, t = (p[:, 0], t[:, 0]) if average == "binary" else (p, t)
    with pytest.warns(NoPositiveWarning, match=f"1 of {2 if average == 'macro' else 1} classes have no positive"):
        loss = soft_f1_loss(p, t, average=average)
    assert loss.item() == 1 if average == "binary" else 0.5 < loss.item() < 1
    assert torch.autograd.grad(loss, p)[0].isfinite().all()
    with pytest.warns(NoPositiveWarning):
        assert soft_f1_loss(torch.zeros(3), torch.zeros(3)) == 1


def test_one_class_batches_are_fine():
    logits = normal(4, 3)
    for loss in (ExactLoss(), ProbitLoss(), soft_accuracy_loss):
        assert loss(logits, torch.ones(4, dtype=torch.long)).isfinite()


def test_a_learned_scale_is_a_parameter():
    loss = ExactLoss()
    assert [name for name, _ in loss.named_parameters()] == ["log_sigma"]
    assert loss.sigma.item() == 1
    loss(normal(3, 5), LABELS).backward()
    assert loss.log_sigma.grad.isfinite()
    assert not list(ExactLoss(0.5).parameters())
    assert "learned" in repr(loss)
    assert "margin=1" in repr(ExactLoss(0.5, margin=1.0, standardize=True))
    copy.deepcopy(loss).load_state_dict(loss.state_dict())


@pytest.mark.compiles
def test_gradients_compile():
    torch._dynamo.reset()
    logits = normal(3, 5).requires_grad_()
    compiled = torch.compile(ProbitLoss(), fullgraph=True, backend="aot_eager")
    by_compiled = torch.autograd.grad(compiled(logits, LABELS), logits)[0]
    torch.testing.assert_close(by_compiled, gradient(ProbitLoss(), logits.detach(), LABELS), atol=1e-12, rtol=0)


def test_what_compilers_see_has_the_same_value_slope_and_curvature():
    x = torch.tensor([-500, -41, -13, -2, 0, 3, 9], dtype=torch.float64)
    found = []
    for function in (log_cdf, _taylor):
        leaf = x.clone().requires_grad_()
        value = function(leaf)
        (slope,) = torch.autograd.grad(value.sum(), leaf, create_graph=True)
        found.append([value.detach(), slope.detach(), torch.autograd.grad(slope.sum(), leaf)[0]])
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)
    ends = torch.tensor([-math.inf, math.inf], requires_grad=True)
    value = _taylor(ends)
    assert value[1] == 0
    assert torch.autograd.grad(value.sum(), ends)[0].tolist() == [0, 0]


def test_it_maps_over_rows():
    logits = normal(4, 3, 5)
    found = torch.func.vmap(lambda x: log_cdf(x).sum())(logits)
    torch.testing.assert_close(found, log_cdf(logits).sum((1, 2)))


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: log_expected_accuracy(normal(3, 1), torch.zeros(3).long()), "logits must have shape"),
        (lambda: log_expected_accuracy(normal(3), LABELS), "logits must have shape"),
        (lambda: probit_predict_proba(normal(3, 1)), "logits must have shape"),
        (lambda: log_expected_accuracy(normal(3, 4), LABELS), "labels must lie between 0 and 3: got 4 in row 1"),
        (lambda: log_expected_accuracy(normal(3, 5), LABELS[:2]), r"labels must have shape \(3,\)"),
        (lambda: log_expected_accuracy(normal(3, 5), LABELS, sigma=0), "sigma must lie strictly between 0 and inf"),
        (lambda: log_expected_accuracy(normal(3, 5), LABELS, sigma=math.nan), "sigma must"),
        (lambda: log_expected_accuracy(normal(3, 5), LABELS, nodes=0), "nodes must"),
        (lambda: ExactLoss(-1.0), "sigma must"),
        (lambda: ExactLoss(math.inf), "sigma must"),
        (lambda: ExactLoss(margin=1.0), "margin must come with a fixed sigma: got margin=1 and sigma='learned'"),
        (lambda: ExactLoss(1.0, margin=0.0), "margin must lie strictly between 0"),
        (lambda: ProbitLoss(reduction="median")(normal(3, 5), LABELS), "reduction must be one of"),
        (lambda: power_loss(normal(3, 5), LABELS, q=-0.1), "q must lie between 0"),
        (lambda: power_loss(normal(3), LABELS, q=0.5), "logits must have shape"),
        (lambda: soft_accuracy_loss(normal(3, 5), LABELS + 1), "labels must lie between 0 and 4: got 5 in row 1"),
        (lambda: soft_f1_loss(normal(3), LABELS[:2]), "probs and targets must have the same shape"),
        (lambda: soft_f1_loss(normal(3), LABELS, average="macro"), r"probs must have shape \(rows, classes\)"),
        (lambda: soft_f1_loss(normal(3), LABELS, average="micro"), "average must be one of"),
        (lambda: smooth_max(normal(3), sharpness=0), "sharpness must lie strictly between 0"),
        (lambda: soft_argmax(normal(3), sharpness=-1), "sharpness must lie strictly between 0"),
    ],
)
@pytest.mark.wrong_types
def test_errors_name_the_argument(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@pytest.mark.wrong_types
def test_wrong_dtypes_are_type_errors():
    with pytest.raises(TypeError, match="labels must hold integers"):
        expected_accuracy(normal(3, 5), LABELS.double())
    with pytest.raises(TypeError, match="logits must be a floating-point tensor"):
        expected_accuracy(torch.ones(3, 5).long(), LABELS)
    with pytest.raises(TypeError, match="sigma must be a number"):
        ExactLoss("learnt")
