"""Margin softmax against loops, published values, other libraries, and what the page derives."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from processes import in_two_processes

from gezhi.losses import (
    MarginSoftmaxLoss,
    SampledMarginSoftmaxLoss,
    UnreachableMarginWarning,
    additive_angle,
    additive_cosine,
    estimate_margin,
    margin_softmax_loss,
    metric_margin_loss,
    quadruple_angle,
    rank_logsumexp,
    retrieval_guarantee,
)
from gezhi.losses.margin_softmax import classes


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def cosines(rows, count, seed=0):
    return (2 * torch.rand(rows, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1) * 0.99


def head(count, dim, *, kind=MarginSoftmaxLoss, dtype=torch.float64, **settings):
    """A module whose centres have very different lengths."""
    loss = kind(count, dim, **settings).to(dtype)
    loss.weight.data = (normal(count, dim, seed=7) * torch.linspace(0.1, 3, count, dtype=torch.float64)[:, None]).to(
        dtype
    )
    return loss


LABELS = torch.tensor([2, 0, 4, 2])
SOME = torch.tensor([2, -100, 4, 2])
MARGINS = {
    "none": additive_cosine(0),
    "cosine": additive_cosine(0.35),
    "angle": additive_angle(0.5),
    "four": quadruple_angle(),
}
EVERY_MARGIN = pytest.mark.parametrize("margin", MARGINS.values(), ids=MARGINS)
SAMPLES = [
    *(Sample(margin_softmax_loss, (cosines(4, 5), LABELS), {"margin": margin}) for margin in MARGINS.values()),
    Sample(margin_softmax_loss, (cosines(4, 5), SOME), {"label_smoothing": 0.1, "reduction": "none"}),
    Sample(metric_margin_loss, (1 - cosines(4, 5), LABELS), {"scale": 10.0, "margin": 0.2}),
    Sample(head(5, 3), (normal(4, 3), SOME)),
    Sample(head(5, 3, margin=additive_angle(), label_smoothing=0.1, recompute=True), (normal(4, 3), LABELS)),
    Sample(head(5, 3, kind=SampledMarginSoftmaxLoss).eval(), (normal(4, 3), LABELS)),
    *(
        Sample(
            fn, (normal(4, 3), normal(5, 3, seed=1), LABELS), compiles=False, differentiable=False, reason="a number"
        )
        for fn in (estimate_margin, retrieval_guarantee)
    ),
    *(Sample(margin, (cosines(3, 4),)) for margin in MARGINS.values()),
]
COSINE = torch.tensor([[0.8, 0.3, -0.2], [0.1, 0.55, 0.5], [-0.9, 0.2, 0.4]], dtype=torch.float64)
TARGETS = torch.tensor([0, 1, 0])


def reference_margin(name, cosine, m):
    """ψ of the target's cosine, by the angle itself."""
    theta = math.acos(cosine)
    if name == "cosine":
        return math.cos(theta) - m
    if name == "angle":
        return math.cos(theta + m) if theta + m <= math.pi else math.cos(theta) - m * math.sin(m)
    return min(math.cos(4 * theta), math.cos(theta))


def reference_loss(cosine, labels, psi, scale, smoothing=0.0):
    """Equation (1), logit by logit, and cross-entropy against smoothed labels."""
    losses = []
    for row, t in zip(cosine.tolist(), labels.tolist(), strict=True):
        logits = [scale * (psi(c) if j == t else c) for j, c in enumerate(row)]
        peak = max(logits)
        total = peak + math.log(math.fsum(math.exp(x - peak) for x in logits))
        wanted = [smoothing / len(row) + (1 - smoothing) * (j == t) for j in range(len(row))]
        losses.append(math.fsum(w * (total - x) for w, x in zip(wanted, logits, strict=True)))
    return torch.tensor(losses, dtype=torch.float64)


def reference_cosines(features, weight):
    """Cosine of each row with each centre by loops."""
    return torch.tensor(
        [
            [sum(a * b for a, b in zip(z, w, strict=True)) / math.hypot(*z) / math.hypot(*w) for w in weight.tolist()]
            for z in features.tolist()
        ],
        dtype=torch.float64,
    )


def reference_guarantee(features, weight, labels):
    """Equation (3), triple by triple."""
    d = (1 - reference_cosines(features, weight)).clamp(min=0).sqrt().tolist()
    t, n = labels.tolist(), len(labels)
    triples = [(i, k, j) for i in range(n) for k in range(n) for j in range(n) if i != k and t[i] == t[k] != t[j]]
    return sum(d[i][t[i]] + d[k][t[i]] + d[j][t[j]] < d[i][t[j]] for i, k, j in triples) / len(triples)


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "m"), [("cosine", 0.35), ("angle", 0.5), ("angle", 1.3), ("four", 0.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("scale", [1.0, 30.0, 64.0])
def test_loss_is_the_formula(name, m, smoothing, scale):
    cosine, labels = cosines(7, 9), torch.arange(7)
    margin = {"cosine": additive_cosine, "angle": additive_angle}.get(name, lambda _: quadruple_angle())(m)
    expected = reference_loss(cosine, labels, lambda c: reference_margin(name, c, m), scale, smoothing)
    options = {"margin": margin, "scale": scale, "label_smoothing": smoothing}
    losses = margin_softmax_loss(cosine, labels, reduction="none", **options)
    torch.testing.assert_close(losses, expected, atol=1e-11, rtol=1e-12)
    assert margin_softmax_loss(cosine, labels, **options).item() == pytest.approx(expected.mean().item(), rel=1e-12)


@EVERY_MARGIN
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("chunk", [1, 3, 63, 4096])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_module_is_the_function_of_cosines(margin, smoothing, chunk, recompute, monkeypatch):
    monkeypatch.setattr(classes, "CHUNK", chunk)
    loss = head(63, 5, margin=margin, label_smoothing=smoothing, scale=20.0, recompute=recompute)
    features, labels = normal(9, 5).requires_grad_(), torch.arange(9) * 7
    labels[3], labels[5] = -100, labels[4]
    cosine = F.normalize(features, dim=-1) @ F.normalize(loss.weight, dim=-1).mT
    expected = margin_softmax_loss(cosine, labels, margin=margin, label_smoothing=smoothing, scale=20.0)
    got = loss(features, labels)
    assert got.item() == pytest.approx(expected.item(), rel=1e-13)
    for a, b in zip(*(torch.autograd.grad(v, (features, loss.weight)) for v in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-13, rtol=1e-10)
    torch.testing.assert_close(loss.logits(features), 20 * reference_cosines(features.detach(), loss.weight))


@pytest.mark.parametrize("seed", range(5))
def test_guarantee_is_the_count_of_triples(seed):
    labels = torch.tensor([0, 0, 0, 1, 1, 3, 3, 3, 3])
    weight = 2 * normal(4, 3, seed=seed)
    features = weight[labels] + 0.3 * normal(9, 3, seed=seed + 50)
    assert retrieval_guarantee(features, weight, labels) == reference_guarantee(features, weight, labels)


def test_estimated_margin_is_the_mean_over_ordered_pairs():
    features, weight = normal(6, 3), normal(5, 3, seed=1)
    labels = torch.tensor([0, 4, 4, 1, 0, 2])
    own = (1 - reference_cosines(features, weight)).sqrt()[range(6), labels.tolist()].tolist()
    pairs = [a + b for a in own for b in own]
    assert estimate_margin(features, weight, labels) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_check_values_of_the_additive_cosine():
    def losses(scale):
        return margin_softmax_loss(COSINE, TARGETS, scale=scale, reduction="none").tolist()

    assert losses(30.0) == pytest.approx([0.01104774820952592, 9.000129545625041, 49.50247568513773], rel=1e-13)
    assert margin_softmax_loss(COSINE, TARGETS).item() == pytest.approx(19.50455099299077, rel=1e-14)
    assert losses(64.0) == pytest.approx([6.772644300312436e-05, 19.2000000045948, 105.60000276076876], rel=1e-12)
    assert losses(4.0) == pytest.approx([0.48432879134908013, 1.607523474821717, 6.972038844951046], rel=1e-13)


def test_check_values_of_the_additive_angle():
    def losses(scale):
        return margin_softmax_loss(COSINE, TARGETS, margin=additive_angle(0.5), scale=scale, reduction="none").tolist()

    assert losses(64.0) == pytest.approx([0.0006604317828227124, 26.734646734791227, 98.54161999610325], rel=1e-12)
    assert losses(4.0) == pytest.approx([0.5413994229065171, 2.0001985471212222, 6.531409755997202], rel=1e-13)


def test_check_values_of_the_quadruple_angle_and_of_the_metric_form():
    four = margin_softmax_loss(COSINE, TARGETS, margin=quadruple_angle(), reduction="none").tolist()
    assert four == pytest.approx([34.29600030590229, 35.638506144193485, 39.00247568513773], rel=1e-13)
    metric = metric_margin_loss((1 - COSINE).sqrt(), TARGETS, scale=10.0, margin=0.2, reduction="none").tolist()
    assert metric == pytest.approx([0.1498896875701169, 1.8869880918047042, 8.302005132478502], rel=1e-13)


def test_check_values_of_features():
    features = torch.tensor([[1, 2, 2], [-1, 0, 1]], dtype=torch.float64)
    weight = torch.tensor([[1, 0, 0], [0, 3, 4], [2, -2, 1], [0, 0, -5]], dtype=torch.float64)
    labels = torch.tensor([1, 2])
    root = 0.7071067811865475
    cosine = torch.tensor([[1 / 3, 14 / 15, 0, -2 / 3], [-root, 0.565685424949238, -0.2357022603955158, -root]])
    module = MarginSoftmaxLoss(4, 3).double()
    module.weight.data = weight
    torch.testing.assert_close(module.logits(features).float(), 30 * cosine)
    exact = module.logits(features) / 30
    assert exact[1].tolist() == pytest.approx([-root, 0.565685424949238, -0.2357022603955158, -root], abs=1e-15)
    am = [0.0005529565714716966, 34.54163056034261]
    assert margin_softmax_loss(exact, labels, reduction="none").tolist() == pytest.approx(am, rel=1e-12)
    assert module(features, labels).item() == pytest.approx(sum(am) / 2, rel=1e-12)
    arc = margin_softmax_loss(exact, labels, margin=additive_angle(0.5), scale=64.0, reduction="none").tolist()
    assert arc == pytest.approx([1.9180053560571e-09, 79.26089561156616], rel=1e-12, abs=1e-14)


def test_check_values_of_the_triangle():
    at = [
        torch.tensor([math.cos(math.radians(a)), math.sin(math.radians(a))], dtype=torch.float64) for a in (0, 60, 120)
    ]
    plain = [1 - (at[i] @ at[j]).item() for i, j in ((0, 2), (0, 1), (1, 2))]
    assert plain == pytest.approx([1.5, 0.5, 0.5])
    assert plain[0] > plain[1] + plain[2]
    rooted = [math.sqrt(d) for d in plain]
    assert rooted[0] == pytest.approx(1.224744871391589, rel=1e-14)
    assert rooted[1] + rooted[2] == pytest.approx(1.414213562373095, rel=1e-14)
    assert rooted[0] <= rooted[1] + rooted[2]


@pytest.mark.parametrize(("scale", "margin"), [(30.0, 0.35), (64.0, 0.35)])
def test_a_confident_row_keeps_its_tiny_loss_in_single_precision(scale, margin):
    """Taking the target out of a finished log-sum-exp again gives about -0.03 here, and -inf at scale 64."""
    cosine = torch.tensor([[0.95, 0.1, 0.0]])
    exact = math.log1p(sum(math.exp(scale * (c - 0.95 + margin)) for c in (0.1, 0.0)))
    got = margin_softmax_loss(cosine, TARGETS[:1], margin=additive_cosine(margin), scale=scale).item()
    assert got == pytest.approx(exact, rel=1e-5)
    if scale == 30:
        assert got == pytest.approx(3.2e-7, rel=0.02)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_margin_it_is_cross_entropy(smoothing):
    cosine, labels = cosines(9, 33), torch.arange(9)
    labels[4] = -100
    options = {"margin": additive_cosine(0), "label_smoothing": smoothing}
    for reduction in ("mean", "sum", "none"):
        got = margin_softmax_loss(cosine, labels, scale=16.0, reduction=reduction, **options)
        expected = F.cross_entropy(16 * cosine, labels, label_smoothing=smoothing, reduction=reduction)
        torch.testing.assert_close(got, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("scale", [16.0, 64.0])
@pytest.mark.parametrize("kind", ["CosFaceLoss", "ArcFaceLoss"])
def test_module_is_that_of_pytorch_metric_learning(kind, scale):
    losses = pytest.importorskip("pytorch_metric_learning.losses")
    degrees = math.degrees(0.5)
    theirs = getattr(losses, kind)(33, 6, margin=0.35 if kind == "CosFaceLoss" else degrees, scale=scale)
    ours = head(33, 6, margin=additive_cosine(0.35) if kind == "CosFaceLoss" else additive_angle(0.5), scale=scale)
    theirs.W = torch.nn.Parameter(ours.weight.data.mT.clone())
    features, labels = normal(9, 6).requires_grad_(), torch.arange(9) * 3
    left, right = ours(features, labels), theirs(features, labels)
    assert left.item() == pytest.approx(right.item(), rel=1e-12)
    by_z, by_w = torch.autograd.grad(left, (features, ours.weight))
    other_z, other_w = torch.autograd.grad(right, (features, theirs.W))
    torch.testing.assert_close(by_z, other_z, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(by_w, other_w.mT, atol=1e-12, rtol=1e-10)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.floats(0, 1))
def test_it_is_the_ranking_sum_with_a_margin(seed, margin):
    cosine, labels = cosines(4, 5, seed), torch.tensor([0, 1, 2, 4])
    expected = rank_logsumexp(8 * cosine, F.one_hot(labels, 5), margin=8 * margin)
    got = margin_softmax_loss(cosine, labels, margin=additive_cosine(margin), scale=8.0, reduction="none")
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-13)
    metric = metric_margin_loss(1 - cosine, labels, margin=margin, scale=8.0, reduction="none")
    torch.testing.assert_close(metric, expected, rtol=1e-11, atol=1e-13)


@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0.01, 0.9))
def test_loss_grows_with_the_margin(seed, margin, more):
    cosine, labels = cosines(4, 5, seed), torch.tensor([0, 1, 2, 4])
    for kind in (additive_cosine, additive_angle):
        small, large = (
            margin_softmax_loss(cosine, labels, margin=kind(m), scale=4.0, reduction="none")
            for m in (margin, margin + more)
        )
        assert (large > small).all() or kind is additive_angle  # beyond θ + m = π the angle's form is another one
        assert (small >= margin_softmax_loss(cosine, labels, margin=kind(0), scale=4.0, reduction="none") - 1e-12).all()


@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_lengths_and_the_order_of_classes_change_nothing(seed, factor):
    loss = head(6, 3, margin=additive_angle())
    features, labels = normal(4, 3, seed=seed), torch.tensor([5, 0, 1, 1])
    value = loss(features, labels).item()
    assert loss(factor * features, labels).item() == pytest.approx(value, rel=1e-10)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    loss.weight.data = factor * loss.weight.data[order]
    assert loss(features, torch.argsort(order)[labels]).item() == pytest.approx(value, rel=1e-10)


@given(st.integers(0, 10**6))
def test_a_certain_triple_is_ranked_right(seed):
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    weight = normal(3, 4, seed=seed)
    weight = weight - weight.mean(0)
    features = F.normalize(F.normalize(weight, dim=-1)[labels] + 0.05 * normal(6, 4, seed=seed + 1), dim=-1)
    d = (1 - features @ F.normalize(weight, dim=-1).mT).clamp(min=0).sqrt()
    between = (1 - features @ features.mT).clamp(min=0).sqrt()
    certain = 0
    for i in range(6):
        for k in range(6):
            for j in range(6):
                if i != k and labels[i] == labels[k] != labels[j]:
                    own, other = labels[i], labels[j]
                    if d[i, own] + d[k, own] + d[j, other] < d[i, other]:
                        certain += 1
                        assert between[i, k] < between[i, j]
    assert retrieval_guarantee(features, weight, labels) == certain / (6 * 4)


@given(st.integers(0, 10**6))
def test_a_cosine_margin_of_2_root_2_m_is_sufficient(seed):
    d = torch.rand(2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * math.sqrt(2)
    cosine, m = 1 - d.square(), 0.2
    if cosine[0] - cosine[1] > 2 * math.sqrt(2) * m:
        assert d[1] - d[0] > m


@given(st.integers(0, 10**6), st.integers(3, 8))
def test_the_root_is_a_metric(seed, dim):
    x, y, z = F.normalize(normal(3, dim, seed=seed), dim=-1)
    xy, yz, xz = (math.sqrt(max(1 - (a @ b).item(), 0)) for a, b in ((x, y), (y, z), (x, z)))
    assert xz <= xy + yz + 1e-12
    assert xy == pytest.approx((x - y).norm().item() / math.sqrt(2), abs=1e-7)


@EVERY_MARGIN
def test_margins_never_exceed_the_cosine(margin):
    cosine = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    assert (margin(cosine) <= cosine + 1e-6).all()  # the floor under the sine shows at ±1


# ---- sampled classes ------------------------------------------------------------------------------------------------


def test_sampled_classes_are_the_batch_and_random_others():
    loss = head(50, 4, kind=SampledMarginSoftmaxLoss, class_share=0.2)
    labels = torch.tensor([3, 49, 3])
    taken = [loss.taken(labels, torch.Generator().manual_seed(s)) for s in range(200)]
    for classes_ in taken:
        assert len(classes_) == 10
        assert {3, 49} <= set(classes_.tolist())
        assert (classes_.diff() > 0).all()
    frequency = torch.cat(taken).bincount(minlength=50)[4:49].double() / 200
    assert frequency.mean() == pytest.approx(8 / 48, abs=0.01)
    assert frequency.max() < 0.35


@pytest.mark.parametrize("sparse", [False, True])
def test_sampled_loss_is_that_of_the_taken_classes(sparse):
    loss = head(40, 4, kind=SampledMarginSoftmaxLoss, class_share=0.25, sparse=sparse, label_smoothing=0.1)
    features, labels = normal(5, 4).requires_grad_(), torch.tensor([7, 39, 7, -100, 0])
    taken = loss.taken(labels[labels >= 0], torch.Generator().manual_seed(3))
    cosine = F.normalize(features, dim=-1) @ F.normalize(loss.weight[taken], dim=-1).mT
    places = torch.searchsorted(taken, labels.clamp(min=0)).masked_fill(labels < 0, -100)
    expected = margin_softmax_loss(cosine, places, label_smoothing=0.1)
    got = loss(features, labels, generator=torch.Generator().manual_seed(3))
    assert got.item() == pytest.approx(expected.item(), rel=1e-13)
    by_z, by_w = torch.autograd.grad(got, (features, loss.weight))
    other_z, other_w = torch.autograd.grad(expected, (features, loss.weight))
    torch.testing.assert_close(by_z, other_z, atol=1e-13, rtol=1e-10)
    assert by_w.is_sparse == sparse
    torch.testing.assert_close(by_w.to_dense(), other_w, atol=1e-13, rtol=1e-10)
    assert set(by_w.to_dense().abs().sum(-1).nonzero().flatten().tolist()) <= set(taken.tolist())


def test_sampling_stops_in_evaluation_and_at_the_whole_share():
    features, labels = normal(5, 4), torch.arange(5)
    full = head(20, 4)(features, labels)
    sampled = head(20, 4, kind=SampledMarginSoftmaxLoss, class_share=0.3)
    assert torch.equal(sampled.eval()(features, labels), full)
    assert torch.equal(head(20, 4, kind=SampledMarginSoftmaxLoss, class_share=1.0)(features, labels), full)
    few = head(20, 4, kind=SampledMarginSoftmaxLoss, class_share=0.01)
    assert few.taken(labels).tolist() == labels.tolist()  # never fewer than the batch has


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="two processes need gloo")
def test_sparse_gradients_are_exchanged_by_ddp():
    printed = in_two_processes(Path(__file__).with_name("sparse_gradients.py"))
    assert printed.count("equal") == 2 * 2, printed


def test_all_classes_in_training_still_give_a_sparse_gradient_of_the_same_values():
    settings = {"kind": SampledMarginSoftmaxLoss, "class_share": 1.0}
    features, labels = normal(5, 4), torch.arange(5)
    gradients = []
    for sparse in (False, True):
        loss = head(12, 4, sparse=sparse, **settings)
        gradients.append(torch.autograd.grad(loss(features, labels), loss.weight)[0])
    assert [g.is_sparse for g in gradients] == [False, True]
    torch.testing.assert_close(gradients[1].to_dense(), gradients[0])


def test_a_batch_of_one_row_is_as_good_as_any():
    z = normal(1, 4).requires_grad_()
    for loss in (head(6, 4), head(6, 4, kind=SampledMarginSoftmaxLoss, class_share=0.5)):
        (gradient,) = torch.autograd.grad(loss(z, torch.tensor([3])), z)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_a_sparse_gradient_trains_with_sparse_adam():
    loss = head(30, 4, kind=SampledMarginSoftmaxLoss, class_share=0.5, sparse=True, dtype=torch.float32)
    optimiser, draw = torch.optim.SparseAdam(loss.parameters(), 0.05), torch.Generator().manual_seed(0)
    features, labels = normal(30, 4, dtype=torch.float32), torch.arange(30)
    before = loss.eval()(features, labels).item()
    for _ in range(30):
        optimiser.zero_grad()
        loss.train()(features, labels, generator=draw).backward()
        optimiser.step()
    assert loss.eval()(features, labels).item() < before - 1


# ---- gradient -------------------------------------------------------------------------------------------------------


@EVERY_MARGIN
def test_gradcheck_of_cosines(margin):
    cosine = (0.9 * cosines(4, 5)).requires_grad_()

    def loss(c, labels=SOME):
        return margin_softmax_loss(c, labels, margin=margin, scale=4.0, label_smoothing=0.1, reduction="none")

    assert torch.autograd.gradcheck(loss, cosine)
    assert torch.autograd.gradgradcheck(loss, cosine)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("chunk", [2, 100])
def test_gradcheck_of_the_module(recompute, chunk, monkeypatch):
    monkeypatch.setattr(classes, "CHUNK", chunk)
    loss = head(5, 3, margin=additive_angle(), scale=4.0, label_smoothing=0.2, recompute=recompute)

    def call(features, weight):
        return torch.func.functional_call(loss, {"weight": weight}, (features, SOME))

    assert torch.autograd.gradcheck(call, (normal(4, 3).requires_grad_(), loss.weight))


def test_gradcheck_of_the_metric_form():
    distance = (1 - cosines(4, 5)).requires_grad_()
    assert torch.autograd.gradcheck(lambda d: metric_margin_loss(d, LABELS, scale=5.0, margin=0.2), distance)


def test_backward_runs_twice_but_has_no_second_derivative():
    loss, features = head(9, 3), normal(4, 3).requires_grad_()
    value = loss(features, LABELS)
    first, second = (torch.autograd.grad(value, loss.weight, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    (by_features,) = torch.autograd.grad(value, features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        by_features.sum().backward()


def test_frozen_centres_get_no_gradient():
    loss, features = head(9, 3), normal(4, 3).requires_grad_()
    expected = torch.autograd.grad(loss(features, LABELS), features)[0]
    loss.requires_grad_(False)
    loss(features, LABELS).backward()
    assert torch.equal(features.grad, expected)
    assert loss.weight.grad is None


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cosine", [1.0, -1.0, 0.0])
@EVERY_MARGIN
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_are_finite_at_the_ends(margin, cosine, dtype):
    c = torch.tensor([[cosine, 0.3]], dtype=dtype, requires_grad=True)
    (grad,) = torch.autograd.grad(margin_softmax_loss(c, torch.tensor([0]), margin=margin), c)
    assert grad.isfinite().all()


@pytest.mark.parametrize("recompute", [False, True])
def test_one_class_gives_zero(recompute):
    features = normal(3, 2).requires_grad_()
    for smoothing in (0.0, 0.1):
        loss = head(1, 2, label_smoothing=smoothing, recompute=recompute)
        value = loss(features, torch.zeros(3, dtype=torch.long))
        assert value.item() == pytest.approx(0, abs=1e-14)
        for grad in torch.autograd.grad(value, (features, loss.weight)):
            assert grad.abs().max() < 1e-12
    assert margin_softmax_loss(torch.ones(3, 1), torch.zeros(3, dtype=torch.long)) == 0


def test_ignored_rows_count_for_nothing():
    loss, features = head(9, 3), normal(4, 3).requires_grad_()
    kept = loss(features[[0, 2, 3]], LABELS[[0, 2, 3]])
    assert loss(features, SOME).item() == pytest.approx(kept.item(), rel=1e-13)
    value = loss(features, torch.full((4,), -100))
    assert value == 0
    for grad in torch.autograd.grad(value, (features, loss.weight)):
        assert (grad == 0).all()
    assert margin_softmax_loss(cosines(4, 5), torch.full((4,), -100)) == 0
    assert head(9, 3, ignore_index=8)(features, torch.full((4,), 8)) == 0
    empty = loss(torch.zeros(0, 3, dtype=torch.float64, requires_grad=True), torch.zeros(0, dtype=torch.long))
    assert empty == 0
    assert empty.requires_grad


@pytest.mark.parametrize("margin", [additive_cosine(0.35), additive_angle(0.5)])
def test_zero_rows_have_cosine_zero_and_a_finite_gradient(margin):
    loss, features = head(9, 3, margin=margin), normal(4, 3)
    features[1] = 0
    loss.weight.data[4] = 0
    features.requires_grad_()
    assert (loss.logits(features)[1] == 0).all()
    for grad in torch.autograd.grad(loss(features, LABELS), (features, loss.weight)):
        assert grad.isfinite().all()
        assert grad.abs().max() < 1000


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_features_in_double_keep_their_digits_with_centres_of_any_precision(stored):
    loss, features, labels = head(70, 8, dtype=stored), normal(6, 8), torch.arange(6)
    exact = 30 * F.normalize(features) @ F.normalize(loss.weight.double()).mT
    logits = loss.logits(features)
    torch.testing.assert_close(logits, exact, rtol=1e-12, atol=1e-12)
    expected = margin_softmax_loss(exact / 30, labels, margin=additive_cosine(0.35))
    torch.testing.assert_close(loss(features, labels), expected)


def test_check_values_of_features_in_double():
    loss = MarginSoftmaxLoss(2, 2)  # centres in single precision, scale 30, additive cosine margin 0.35
    loss.weight.data = torch.eye(2)
    features = torch.tensor([[3.0, 4.0], [5.0, 12.0]], dtype=torch.float64)
    torch.testing.assert_close(loss.logits(features), torch.tensor([[18, 24], [150 / 13, 360 / 13]]).double())
    rows = [math.log1p(math.exp(18 - 30 * (0.8 - 0.35))), math.log1p(math.exp(360 / 13 - 30 * (5 / 13 - 0.35)))]
    assert loss(features, torch.tensor([1, 0])).item() == pytest.approx(sum(rows) / 2, abs=1e-6)


@pytest.mark.compiles
def test_compiled_with_centres_of_another_precision():
    loss, features, labels = head(7, 8, dtype=torch.float32), normal(6, 8), torch.arange(6)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features, labels), loss(features, labels))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(dtype):
    loss, wide = head(70, 8, dtype=dtype), head(70, 8, dtype=torch.float32)
    wide.weight.data = loss.weight.data.float()
    features, labels = normal(6, 8, dtype=dtype).requires_grad_(), torch.arange(6)
    value, expected = loss(features, labels), wide(features.float(), labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=1e-6)
    by_z, by_w = torch.autograd.grad(value, (features, loss.weight))
    assert (by_z.dtype, by_w.dtype) == (dtype, dtype)
    assert by_w.isfinite().all()
    with torch.autocast("cpu", dtype=dtype):
        assert wide(features.float(), labels).item() == pytest.approx(expected.item(), rel=1e-6)
    assert loss(features.double(), labels).dtype == torch.float64
    assert loss.logits(features).dtype == torch.float32
    cosine = cosines(4, 5).to(dtype)
    assert margin_softmax_loss(cosine, LABELS).dtype == torch.float32
    assert metric_margin_loss(1 - cosine, LABELS).dtype == torch.float32


def test_huge_scale_ties_and_strided_input():
    cosine = cosines(5, 4).mT
    torch.testing.assert_close(margin_softmax_loss(cosine, LABELS), margin_softmax_loss(cosine.clone(), LABELS))
    assert margin_softmax_loss(cosine.float(), LABELS, scale=1e30).isfinite()
    tied = margin_softmax_loss(torch.zeros(1, 5), torch.tensor([0]), margin=additive_cosine(0))
    assert tied.item() == pytest.approx(math.log(5))
    loss, features = head(9, 3), normal(3, 4).mT
    assert loss(features, LABELS).item() == loss(features.clone(), LABELS).item()


def test_far_classes_underflow_in_no_chunk():
    loss = MarginSoftmaxLoss(4, 2, margin=additive_cosine(0), scale=120.0)
    loss.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.1], [-1.0, -0.1]])
    value = loss(torch.tensor([[1.0, 0.4]]), torch.tensor([0]))
    cosine = F.normalize(torch.tensor([[1.0, 0.4]]).double()) @ F.normalize(loss.weight.double()).mT
    exact = margin_softmax_loss(cosine, torch.tensor([0]), margin=additive_cosine(0), scale=120.0).item()
    assert 0 < exact < 1e-80
    assert value.item() == pytest.approx(0, abs=1e-38)  # too small for float32, but no NaN
    assert torch.autograd.grad(value, loss.weight)[0].isfinite().all()


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_keep_the_settings(copier):
    loss = head(9, 3, kind=SampledMarginSoftmaxLoss, margin=additive_angle(0.4), scale=7.0, class_share=0.5)
    other = copier(loss)
    assert torch.equal(other.eval()(normal(4, 3), LABELS), loss.eval()(normal(4, 3), LABELS))
    assert "scale=7" in repr(other)
    assert "class_share=0.5" in repr(other)


def test_centres_start_small_and_in_all_directions():
    weight = MarginSoftmaxLoss(2000, 8).weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert weight.mean().item() == pytest.approx(0, abs=5e-4)


def test_an_unreachable_margin_warns():
    with pytest.warns(UnreachableMarginWarning, match="margin 2: two cosines differ by 2 at most"):
        additive_cosine(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        additive_cosine(1.99)


# ---- errors ---------------------------------------------------------------------------------------------------------

Z, T = torch.ones(2, 3), torch.tensor([0, 1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: margin_softmax_loss(Z, torch.tensor([0, 3])),
            ValueError,
            "labels must lie between 0 and 2: got 3 in row 1",
        ),
        (lambda: margin_softmax_loss(Z, torch.tensor([-1, 0])), ValueError, "got -1 in row 0"),
        (lambda: margin_softmax_loss(Z, torch.tensor([0])), ValueError, r"labels must have shape \(2,\): got \(1,\)"),
        (lambda: margin_softmax_loss(Z, torch.zeros(2)), TypeError, "labels must hold integers: got torch.float32"),
        (lambda: margin_softmax_loss(Z[0], T), ValueError, r"cosine must have shape \(rows, classes\): got \(3,\)"),
        (lambda: margin_softmax_loss(Z.long(), T), TypeError, "cosine must be a floating-point tensor"),
        (lambda: margin_softmax_loss(Z, T, scale=0.0), ValueError, "scale must lie strictly between 0 and inf: got 0"),
        (
            lambda: margin_softmax_loss(Z, T, label_smoothing=1.5),
            ValueError,
            "label_smoothing must lie between 0 and 1",
        ),
        (lambda: margin_softmax_loss(Z, T, reduction="max"), ValueError, "reduction must be one of"),
        (lambda: additive_cosine(-0.1), ValueError, "margin must lie between 0 and inf: got -0.1"),
        (lambda: additive_angle(-0.1), ValueError, "margin must lie between 0"),
        (lambda: additive_angle(28.6), ValueError, "got 28.6. The angle is in radians"),
        (lambda: additive_cosine("0.3"), TypeError, r"margin must be a number: got '0.3' \(str\)"),
        (lambda: metric_margin_loss(-Z, T), ValueError, "distance must be 0 or more: got -1 in row 0, column 0"),
        (lambda: metric_margin_loss(Z, T, scale=-1.0), ValueError, "scale must"),
        (lambda: metric_margin_loss(Z, T, margin=-1.0), ValueError, "margin must"),
        (lambda: metric_margin_loss(Z, torch.tensor([0, 5])), ValueError, "got 5 in row 1"),
        (lambda: MarginSoftmaxLoss(0, 3), ValueError, "num_classes must lie between 1 and inf: got 0"),
        (lambda: MarginSoftmaxLoss(3, 0), ValueError, "embedding_dim must"),
        (lambda: MarginSoftmaxLoss(3, 3, scale=0.0), ValueError, "scale must"),
        (lambda: MarginSoftmaxLoss(4, 3)(Z, torch.tensor([0, 4])), ValueError, "between 0 and 3: got 4 in row 1"),
        (lambda: MarginSoftmaxLoss(4, 3)(Z, torch.tensor([-100, -5])), ValueError, "got -5 in row 1"),
        (lambda: MarginSoftmaxLoss(4, 5)(Z, T), ValueError, r"features must have shape \(rows, 5\): got \(2, 3\)"),
        (lambda: MarginSoftmaxLoss(4, 5).logits(Z), ValueError, r"features must have shape \(rows, 5\)"),
        (lambda: SampledMarginSoftmaxLoss(4, 3, class_share=0.0), ValueError, "class_share must"),
        (lambda: SampledMarginSoftmaxLoss(4, 3, class_share=1.5), ValueError, "class_share must"),
        (lambda: SampledMarginSoftmaxLoss(4, 3)(Z, torch.tensor([0, 4])), ValueError, "got 4 in row 1"),
        (
            lambda: retrieval_guarantee(Z, torch.eye(3), torch.tensor([0, 0])),
            ValueError,
            "labels must hold two classes",
        ),
        (lambda: retrieval_guarantee(Z, torch.eye(3), torch.tensor([0, 1])), ValueError, "no triple to judge"),
        (lambda: estimate_margin(Z, torch.eye(3), torch.tensor([0, 3])), ValueError, "got 3 in row 1"),
        (lambda: estimate_margin(Z, torch.eye(4), T), ValueError, "features and weight must be matrices of one width"),
        (lambda: estimate_margin(Z[:0], torch.eye(3), T[:0]), ValueError, "with a row at least"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
