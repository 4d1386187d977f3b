"""Guided parameter search against its estimator by hand, exact integrals, and the limits that the page derives."""

from __future__ import annotations

import copy
import math

import mpmath
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from gezhi.training import GuidedParameterSearch, NoValidCandidateWarning, ball_expected_step, snis_weights
from gezhi.training.sampling_descent.proposals import FullNoise, SubspaceNoise, plan
from gezhi.training.sampling_descent.weights import bessel_ratio, log_mixture


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bowl(parameters, batch):
    return ((parameters["x"] - batch) ** 2).sum()


def bowl_number(parameters, batch):
    return float(bowl(parameters, batch))


SAMPLES = [
    Sample(snis_weights, (normal(5), normal(5, seed=1)), compiles=False, differentiable=False, reason="returns floats"),
    Sample(
        ball_expected_step,
        (normal(4),),
        {"radius": 0.5, "temperature": 0.1},
        compiles=False,
        differentiable=False,
        reason="a step, computed on the host",
    ),
]  # no search among them: it draws new seeds at each call, from the generator that it is given

STEPS = tensor([[-0.5, 0.2], [0.1, -0.3], [-0.9, -0.4], [0.3, 0.6]])
GUIDE, LOSSES, START = tensor([-0.6, -0.2]), tensor([1.2, 1.9, 0.8, 2.4]), 2.0


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_log_q(step, guide, sigma, mix):
    """log of the mixture density by its formula."""
    dim = len(step)
    sizes = [sum(x * x for x in step), sum((x - g) ** 2 for x, g in zip(step, guide, strict=True))]
    parts = [math.exp(-size / 2 / sigma**2) / (2 * math.pi * sigma**2) ** (dim / 2) for size in sizes]
    return math.log(mix * parts[0] + (1 - mix) * parts[1])


def update(sigma, temperature, mix, corrected=True):
    target = -(LOSSES - START) / temperature
    sizes = (STEPS.square().sum(-1) / sigma**2, (STEPS - GUIDE).square().sum(-1) / sigma**2)
    log_q = log_mixture(*sizes, mix=mix, dim=2, sigma=sigma)
    weights, ess = snis_weights(target, log_q if corrected else None)
    return log_q.tolist(), weights.tolist(), (weights @ STEPS).tolist(), ess


def test_check_values_of_the_estimator():
    log_q, weights, step, ess = update(0.5, 1.0, 0.5)
    expected = [-0.9043999192229744, -0.9736292199016223, -1.2338283094815294, -1.9178018748064274]
    assert log_q == pytest.approx(expected, abs=1e-14)
    by_hand = [reference_log_q(row, GUIDE.tolist(), 0.5, 0.5) for row in STEPS.tolist()]
    assert log_q == pytest.approx(by_hand, abs=1e-14)
    expected = [0.2254357586512901, 0.11997273816385778, 0.46753004992823766, 0.1870614532566144]
    assert weights == pytest.approx(expected, abs=1e-14)
    assert step == pytest.approx([-0.4653792144676888, -0.06567981773622575], abs=1e-14)
    assert ess == pytest.approx(3.1368506880051203, abs=1e-13)


@pytest.mark.parametrize(
    ("sigma", "temperature", "mix", "expected"),
    [
        (0.5, 0.2, 0.5, [-0.861051496194412, -0.34606568103549507]),
        (0.5, 1.0, 0.0, [-0.06558899716862573, 0.23480814156162552]),
        (0.5, 1.0, 1.0, [-0.7364787716288199, -0.26140240656466135]),
        (1.0, 0.5, 0.3, [-0.6794581538149097, -0.1977438046208949]),
    ],
)
def test_check_values_of_other_proposals(sigma, temperature, mix, expected):
    assert update(sigma, temperature, mix)[2] == pytest.approx(expected, abs=1e-14)


def test_check_values_without_correction():
    _, weights, step, _ = update(0.5, 1.0, 0.5, corrected=False)
    expected = [0.3039879374981698, 0.15095594229145268, 0.4534967129448005, 0.091559407265577]
    assert weights == pytest.approx(expected, abs=1e-14)
    assert step == pytest.approx([-0.517577593990587, -0.11095223600637584], abs=1e-14)


@pytest.mark.parametrize(
    ("dim", "kappa", "value"),
    [
        (1, 1, 0.31303528549933124),
        (2, 1, 0.2401937238700899),
        (3, 5, 0.6498581348804919),
        (10, 0.1, 0.008332837353251103),
        (10, 50, 0.8950388608904889),
        (100, 3, 0.029386852743491704),
    ],
)
def test_check_values_of_the_ball(dim, kappa, value):
    assert bessel_ratio(dim / 2, kappa) == pytest.approx(value, rel=1e-13)
    g = normal(dim)
    step = ball_expected_step(g, radius=0.7, temperature=0.7 * g.norm().item() / kappa)
    torch.testing.assert_close(step, -0.7 * value * g / g.norm(), rtol=1e-12, atol=0)
    with mpmath.workdps(30):  # the article's integral over the ball, in the direction of the gradient
        u = [
            mpmath.quad(
                lambda u, k=k: u**k * (1 - u * u) ** ((dim - 1) / mpmath.mpf(2)) * mpmath.exp(kappa * u), [-1, 0, 1]
            )
            for k in (0, 1)
        ]
    assert float(u[1] / u[0]) == pytest.approx(value, rel=1e-11)


def test_check_values_of_newtons_step():
    """The mean and covariance of e^{-l/α} for a quadratic loss, by the same weights on a grid."""
    g, h, alpha = tensor([0.5, -1]), tensor([[2, 0.3], [0.3, 1]]), 0.1
    axis = torch.linspace(-4, 4, 801, dtype=torch.float64)
    steps = torch.cartesian_prod(axis, axis + 1)
    losses = steps @ g + (steps @ h * steps).sum(-1) / 2
    weights, _ = snis_weights(-losses / alpha)
    mean = weights @ steps
    assert mean.tolist() == pytest.approx([-0.418848167539267, 1.12565445026178], abs=1e-10)
    torch.testing.assert_close(mean, -torch.linalg.solve(h, g), atol=1e-10, rtol=0)
    centred = steps - mean
    covariance = (weights[:, None] * centred).mT @ centred
    expected = [[0.05235602094240838, -0.015706806282722512], [-0.015706806282722512, 0.10471204188481675]]
    torch.testing.assert_close(covariance, tensor(expected), atol=1e-10, rtol=0)


def test_check_value_of_a_loss_without_gradient():
    cells = 4000
    steps = (torch.arange(cells, dtype=torch.float64) + 0.5) * 4 / cells - 2
    weights, _ = snis_weights(-(steps < 1).double() / 0.5)
    assert (weights @ steps).item() == pytest.approx(0.9224691884551878, abs=1e-12)


def replay(search, theta, batch, guide):
    """The estimator by hand, from the seeds that the search draws."""
    candidates = plan(search.candidates, round(search.mix * search.candidates), search.antithetic, seeded(7))
    found = []
    for candidate in candidates:
        z = torch.randn(theta.shape, generator=seeded(candidate.seed), dtype=theta.dtype) * candidate.sign
        delta = search.sigma * z + (guide if candidate.guided else 0)
        loss = bowl_number({"x": theta + delta}, batch)
        log_q = 0.0
        if search.correction == "exact":
            log_q = reference_log_q(delta.tolist(), guide.tolist(), search.sigma, search.mix)
        found.append((delta, -loss / search.temperature - log_q))
    top = max(score for _, score in found)
    weights = [math.exp(score - top) for _, score in found]
    return sum(w * delta for w, (delta, _) in zip(weights, found, strict=True)) / sum(weights)


@pytest.mark.parametrize("correction", ["none", "exact"])
@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("evaluate", ["loop", "vmap"])
def test_the_gradient_is_minus_the_weighted_mean_of_the_candidates(correction, mix, antithetic, evaluate):
    theta, batch = nn.Parameter(normal(3)), normal(3, seed=1)
    before = theta.detach().clone()
    loss = bowl if evaluate == "vmap" else bowl_number
    search = GuidedParameterSearch(
        {"x": theta},
        bowl,
        loss,
        candidates=5,
        sigma=0.3,
        temperature=0.5,
        mix=mix,
        eta=0.2,
        correction=correction,
        antithetic=antithetic,
        evaluate=evaluate,
        generator=seeded(7),
    )
    value = search(batch)
    guide = -0.2 * 2 * (before - batch)
    expected = replay(search, before, batch, guide)
    torch.testing.assert_close(theta.grad, -expected, atol=1e-12, rtol=1e-12)
    assert torch.equal(theta.detach(), before)
    assert value.item() == pytest.approx(bowl_number({"x": before}, batch), rel=1e-6)
    assert search.last.weights.sum().item() == pytest.approx(1)
    assert 1 <= search.last.ess <= 5 + 1e-12
    descent = 2 * (batch - before)
    cosine = (expected @ descent / expected.norm() / descent.norm()).item()
    assert search.last.cosine == pytest.approx(cosine, abs=1e-12)
    search(batch)
    assert not torch.equal(theta.grad, -2 * expected)  # new candidates, added to what was there


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 50, 10_000])
@pytest.mark.parametrize("kappa", [1e-6, 0.3, 20.0, 3e4, 1e10])
def test_the_bessel_ratio_is_mpmaths(dim, kappa):
    with mpmath.workdps(40):
        nu, x = mpmath.mpf(dim) / 2, mpmath.mpf(kappa)
        if kappa > 1e8:
            expected = 1 - (2 * nu + 1) / (2 * x)  # the next term is below 1e-11
        else:
            ratio = mpmath.mpf(0)
            for order in range(4000, 0, -1):
                ratio = 1 / (2 * (nu + order) / x + ratio)
            expected = ratio
    assert bessel_ratio(dim / 2, kappa) == pytest.approx(float(expected), rel=1e-10)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 8), st.floats(-1e3, 1e3), st.integers(0, 10**6), st.floats(0.01, 100))
def test_weights_know_no_constant_and_no_order(count, shift, seed, temperature):
    losses, log_q = normal(count, seed=seed), normal(count, seed=seed + 1)
    weights, ess = snis_weights(-losses / temperature, log_q)
    moved, _ = snis_weights(-(losses + shift) / temperature, log_q + shift)
    torch.testing.assert_close(moved, weights, atol=1e-9, rtol=1e-9)
    order = torch.randperm(count, generator=seeded(seed))
    shuffled, again = snis_weights(-losses[order] / temperature, log_q[order])
    torch.testing.assert_close(shuffled, weights[order])
    assert weights.sum().item() == pytest.approx(1)
    assert again == pytest.approx(ess)
    assert 1 - 1e-9 <= ess <= count + 1e-9


@given(st.integers(1, 40), st.floats(1e-3, 1e3))
def test_the_ball_lies_between_its_limits(dim, kappa):
    ratio = bessel_ratio(dim / 2, kappa)
    assert 0 < ratio < min(1, kappa / (dim + 2) * (1 + 1e-12))
    if dim == 1:
        assert ratio == pytest.approx(1 / math.tanh(kappa) - 1 / kappa, abs=1e-12)
    g = normal(dim)
    hot = ball_expected_step(g, radius=0.1, temperature=1e6)
    torch.testing.assert_close(hot, -(0.1**2) / (1e6 * (dim + 2)) * g, rtol=1e-9, atol=0)
    cold = ball_expected_step(g, radius=0.1, temperature=1e-12)
    torch.testing.assert_close(cold, -0.1 * g / g.norm(), rtol=1e-8, atol=0)


@pytest.mark.parametrize(
    ("temperature", "limit"), [(1e-300, "best"), (1e-6, "best"), (1e9, "mean"), (math.inf, "mean")]
)
def test_temperatures_from_the_best_candidate_to_the_plain_mean(temperature, limit):
    theta, seen = nn.Parameter(normal(3)), []

    def noting(parameters, batch):
        seen.append(parameters["x"].clone())
        return bowl_number(parameters, batch)

    search = GuidedParameterSearch(
        {"x": theta}, bowl, noting, candidates=6, sigma=0.3, temperature=temperature, eta=0.1, generator=seeded()
    )
    search(torch.zeros(3).double())
    steps = torch.stack(seen[1:]) - theta.detach()
    best = steps[torch.tensor(search.last.losses).argmin()]
    expected = best if limit == "best" else steps.mean(0)
    torch.testing.assert_close(theta.grad, -expected, atol=1e-8, rtol=1e-6)


def test_many_candidates_on_a_linear_loss_find_the_direction_of_the_gradient():
    g, theta = normal(5), nn.Parameter(torch.zeros(5, dtype=torch.float64))
    search = GuidedParameterSearch(
        {"x": theta},
        None,
        lambda p, _: float(p["x"] @ g),
        candidates=4000,
        sigma=0.5,
        temperature=1.0,
        generator=seeded(),
    )
    search(None)
    assert F.cosine_similarity(theta.grad, g, dim=0) > 0.99
    torch.testing.assert_close(theta.grad, 0.25 * g, atol=0.06, rtol=0)  # the mean of a tilted normal law: σ²g/α


def test_exact_weights_are_worth_one_candidate_in_many_dimensions_and_a_subspace_is_not():
    worth = {}
    for correction, settings in {"exact": {}, "none": {}, "subspace": {"rank": 8}}.items():
        theta, draw = nn.Parameter(torch.zeros(10_000)), seeded()
        slope = torch.ones(10_000) / 100
        search = GuidedParameterSearch(
            {"x": theta},
            lambda p, _, s=slope: p["x"] @ s,
            lambda *_: 1.0,
            sigma=1.0,
            temperature=1.0,
            correction=correction,
            generator=draw,
            **settings,
        )
        found = []
        for _ in range(40):
            search(None)
            found.append(search.last.ess)
        worth[correction] = np.mean(found)
    assert worth["exact"] < 1.2
    assert worth["subspace"] > 1.4
    assert worth["none"] == pytest.approx(4)


def test_the_subspace_is_orthonormal_and_begins_with_the_guide():
    like = {"a": torch.zeros(4, 3), "b": torch.zeros(5)}
    guide = {"a": normal(4, 3, dtype=torch.float32), "b": normal(5, seed=1, dtype=torch.float32)}
    noise = SubspaceNoise(like, guide, 0.3, 4, seed=0)
    torch.testing.assert_close(noise.basis.mT @ noise.basis, torch.eye(4), atol=1e-6, rtol=0)
    flat = torch.cat([guide["a"].flatten(), guide["b"]])
    torch.testing.assert_close(noise.basis @ noise.centre, flat, atol=1e-6, rtol=1e-5)
    for candidate in plan(4, 2, False, seeded()):
        step = noise.step(candidate)
        whole = torch.cat([step["a"].flatten(), step["b"]])
        sizes = (whole.square().sum() / 0.09, (whole - flat).square().sum() / 0.09)
        assert noise.distances(candidate) == pytest.approx([float(size) for size in sizes], rel=1e-3)


def test_relative_noise_is_scaled_by_each_gradient_and_still_tensors_stay():
    like = {"a": torch.zeros(2000), "b": torch.zeros(2000), "c": torch.zeros(3)}
    guide = {"a": -torch.ones(2000), "b": torch.full((2000,), 0.1), "c": torch.zeros(3)}
    noise = FullNoise(like, guide, 0.5, relative=True)
    unguided = next(c for c in plan(2, 1, False, seeded()) if not c.guided)
    step = noise.step(unguided)
    assert step["a"].std().item() == pytest.approx(0.5, rel=0.1)
    assert step["b"].std().item() == pytest.approx(0.05, rel=0.1)
    assert (step["c"] == 0).all()
    assert all(math.isfinite(size) for size in noise.distances(unguided))


def test_antithetic_candidates_are_mirrored_in_pairs_of_one_kind():
    drawn = plan(8, 4, True, seeded())
    for guided in (True, False):
        seeds = [(c.seed, c.sign) for c in drawn if c.guided == guided]
        assert sorted(seeds) == sorted((seed, -sign) for seed, sign in seeds)
    assert [c.guided for c in drawn] == [True, False] * 4
    assert [c.guided for c in plan(4, 1, False, seeded())] == [True, False, True, True]
    assert len({c.seed for c in plan(9, 4, True, seeded())}) == 5


# ---- models ---------------------------------------------------------------------------------------------------------


def task(dtype=torch.float64, dropout=0.0):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    x = normal(90, 4, dtype=dtype)
    return model, (x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long())


def searching(model, **settings):
    def surrogate(parameters, batch):
        return F.cross_entropy(functional_call(model, parameters, (batch[0],)), batch[1])

    def errors(parameters, batch):
        wrong = functional_call(model, parameters, (batch[0],)).argmax(-1) != batch[1]
        return wrong.double().mean()

    settings = {"sigma": 0.05, "temperature": 0.01, "eta": 0.5} | settings
    return GuidedParameterSearch(model, settings.pop("surrogate", surrogate), errors, **settings)


def test_any_optimiser_lowers_a_metric_without_gradient():
    for optimiser, settings in ((torch.optim.SGD, {"lr": 1.0}), (torch.optim.Adam, {"lr": 0.03})):
        model, batch = task()
        search = searching(model, generator=seeded())
        step = optimiser(model.parameters(), **settings)
        first = search(batch).item()
        for _ in range(60):
            step.zero_grad()
            search(batch)
            step.step()
        assert search(batch).item() < first - 0.2


@pytest.mark.parametrize("correction", ["none", "exact", "subspace"])
def test_vmap_is_the_loop(correction):
    found = []
    for evaluate in ("loop", "vmap"):
        model, batch = task()
        settings = {"rank": 5} if correction == "subspace" else {}
        search = searching(
            model, correction=correction, evaluate=evaluate, generator=seeded(), candidates=6, **settings
        )
        search(batch)
        found.append((search.last.losses, [p.grad for p in model.parameters()]))
    assert found[0][0] == found[1][0]
    for a, b in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(a, b, atol=1e-14, rtol=1e-12)


def test_vmap_is_the_loop_for_scalars_types_that_differ_and_noise_by_tensor():
    found = []
    for evaluate in ("loop", "vmap"):
        theta = {
            "scalar": nn.Parameter(tensor(0.5)),
            "single": nn.Parameter(normal(2, 3, dtype=torch.float32)),
            "wide": nn.Parameter(normal(4)),
        }

        def loss(p, _):
            return p["scalar"].square() + (p["single"] ** 2).sum().double() + 3 * p["wide"].abs().sum()

        search = GuidedParameterSearch(
            theta, loss, loss, sigma=0.3, temperature=0.5, eta=0.1, noise="relative", evaluate=evaluate,
            generator=seeded(), candidates=5,
        )  # fmt: skip
        search(None)
        found.append((search.last, [p.grad for p in theta.values()]))
    assert found[0][0].losses == pytest.approx(found[1][0].losses, rel=1e-6)
    assert found[0][0].cosine == pytest.approx(found[1][0].cosine, abs=1e-6)
    for a, b, p in zip(found[0][1], found[1][1], theta.values(), strict=True):
        assert b.shape == p.shape
        assert b.dtype == p.dtype
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_all_candidates_see_the_same_random_numbers():
    model, batch = task(dropout=0.5)

    def noisy(parameters, batch):
        return functional_call(model, parameters, (batch[0],)).square().mean()

    search = GuidedParameterSearch(model, None, noisy, sigma=1e-12, temperature=1.0, generator=seeded())
    search(batch)
    assert search.last.losses == pytest.approx([search.last.task_loss] * 4, rel=1e-9)


def test_the_generator_decides_and_parameters_stay_bit_equal():
    found = []
    for _ in range(2):
        model, batch = task(torch.float32)
        before = copy.deepcopy(model.state_dict())
        search = searching(model, generator=seeded(3))
        torch.rand(1)  # the global generator has no part in it
        search(batch)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        found.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_an_exception_leaves_the_parameters_alone():
    model, batch = task()
    before = copy.deepcopy(model.state_dict())
    calls = []

    def breaks(parameters, batch):
        calls.append(functional_call(model, parameters, (batch[0],)))
        if len(calls) == 3:
            raise KeyError("elsewhere")
        return 1.0

    with pytest.raises(KeyError, match="elsewhere"):
        GuidedParameterSearch(model, None, breaks, sigma=0.1, temperature=1.0)(batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_frozen_parameters_are_passed_on_and_backward_is_the_hosts():
    model, batch = task()
    model[0].requires_grad_(False)
    search = searching(model, generator=seeded())
    search(batch)
    plain = [p.grad for p in model[3].parameters()]
    assert all(p.grad is None for p in model[0].parameters())
    model.zero_grad()
    searching(model, generator=seeded(), backward=lambda loss: (loss * 8).backward())(batch)
    for a, b in zip(plain, [p.grad for p in model[3].parameters()], strict=True):
        torch.testing.assert_close(b, 8 * a)


def test_clipping_cuts_the_guide_and_not_the_noise():
    theta = nn.Parameter(tensor([30.0, 40.0]))
    search = GuidedParameterSearch(
        {"x": theta},
        lambda p, _: p["x"].square().sum() / 2,
        bowl_number,
        sigma=1e-9,
        temperature=1.0,
        mix=0.0,
        clip=1.0,
        eta=0.5,
        candidates=1,
        generator=seeded(),
    )
    search(torch.zeros(2).double())
    assert theta.grad.tolist() == pytest.approx([0.3, 0.4], abs=1e-7)


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_candidates_without_a_finite_loss_weigh_nothing():
    theta = nn.Parameter(normal(2))
    losses = iter([1.0, math.nan, 0.5, math.inf, -math.inf])
    search = GuidedParameterSearch(
        {"x": theta}, None, lambda *_: next(losses), sigma=0.1, temperature=0.1, generator=seeded()
    )
    search(None)
    assert search.last.weights.tolist() == [0, 1, 0, 0]
    assert search.last.invalid == 3
    assert search.last.ess == 1
    assert theta.grad.isfinite().all()


@pytest.mark.parametrize("correction", ["none", "exact"])
def test_no_valid_candidate_warns_and_adds_nothing(correction):
    theta = nn.Parameter(normal(2))
    search = GuidedParameterSearch(
        {"x": theta}, None, lambda *_: math.nan, sigma=0.1, temperature=0.1, correction=correction
    )
    with pytest.warns(NoValidCandidateWarning, match="None of the 4 candidates has a finite task loss"):
        assert search(None).isnan()
    assert theta.grad is None
    assert search.last.ess == 0
    assert search.last.invalid == 4


def test_zero_gradients():
    assert (ball_expected_step(torch.zeros(3), radius=1.0, temperature=1.0) == 0).all()
    theta = nn.Parameter(torch.zeros(3))
    for settings in ({"correction": "exact"}, {"correction": "subspace", "rank": 2}, {"noise": "relative"}):
        search = GuidedParameterSearch(
            {"x": theta},
            lambda p, _: (0 * p["x"]).sum(),
            lambda *_: 0.5,
            sigma=0.1,
            temperature=0.1,
            generator=seeded(),
            **settings,
        )
        search(None)
        assert theta.grad.isfinite().all()
        assert math.isnan(search.last.cosine)


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_one_component_gives_no_logarithm_of_zero(mix):
    sizes = tensor([4.0, 1e6]), tensor([1.0, 2e6])
    assert log_mixture(*sizes, mix=mix).tolist() == (-sizes[0 if mix else 1] / 2).tolist()


def test_half_precision_parameters():
    model, batch = task(torch.bfloat16)
    search = searching(model, generator=seeded(), sigma=0.1)
    search(batch)
    assert all(p.grad.dtype == torch.bfloat16 and p.grad.isfinite().all() for p in model.parameters())


# ---- errors ---------------------------------------------------------------------------------------------------------


def made(**settings):
    surrogate = settings.pop("surrogate", bowl)
    settings = {"sigma": 0.1, "temperature": 0.1} | settings
    return lambda: GuidedParameterSearch({"x": nn.Parameter(normal(3))}, surrogate, bowl_number, **settings)


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (made(candidates=0), ValueError, "candidates must lie"),
        (made(candidates=2.5), TypeError, "candidates must be an integer"),
        (made(sigma=0), ValueError, "sigma must lie strictly between 0"),
        (made(temperature=0), ValueError, "temperature must lie strictly between 0"),
        (made(temperature=math.nan), ValueError, "temperature must lie"),
        (made(mix=1.5), ValueError, "mix must lie between 0 and 1: got 1.5"),
        (made(eta=-1), ValueError, "eta must lie"),
        (made(clip=0), ValueError, "clip must lie"),
        (made(correction="some"), ValueError, "correction must be one of"),
        (made(noise="some"), ValueError, "noise must be one of"),
        (made(evaluate="some"), ValueError, "evaluate must be one of"),
        (made(correction="subspace"), ValueError, "rank must be given with correction='subspace'"),
        (made(rank=2), ValueError, "rank must be given with correction='subspace', and only then: got 2 with 'none'"),
        (made(correction="subspace", rank=4), ValueError, "rank must lie between 1 and 3"),
        (made(noise="relative", surrogate=None), ValueError, "noise must be constant without a surrogate"),
        (
            lambda: GuidedParameterSearch({"x": normal(3)}, bowl, bowl_number, sigma=1, temperature=1),
            ValueError,
            "parameters must hold a tensor that requires a gradient: got x",
        ),
        (
            lambda: snis_weights(normal(3), normal(2)),
            ValueError,
            "log_target and log_proposal must have the same length",
        ),
        (lambda: ball_expected_step(normal(3), radius=0, temperature=1), ValueError, "radius must lie"),
        (lambda: ball_expected_step(normal(3), radius=1, temperature=0), ValueError, "temperature must lie"),
        (lambda: ball_expected_step(tensor([math.nan]), radius=1, temperature=1), ValueError, "grad must be finite"),
    ],
)
@pytest.mark.wrong_types
def test_bad_arguments_are_named(call, kind, match):
    with pytest.raises(kind, match=match):
        call()


@pytest.mark.parametrize(
    ("loss", "kind", "match"),
    [
        (lambda *_: 3, TypeError, r"task_loss must return a float: got 3 \(int\)"),
        (lambda *_: True, TypeError, "task_loss must return a float"),
        (lambda *_: "0.1", TypeError, "task_loss must return a float"),
        (lambda *_: torch.tensor(3), TypeError, "task_loss must return a float: got torch.int64"),
        (lambda *_: torch.ones(2), ValueError, r"task_loss must return a scalar: got shape \(2,\)"),
    ],
)
def test_bad_task_losses_are_named(loss, kind, match):
    search = GuidedParameterSearch({"x": nn.Parameter(normal(3))}, bowl, loss, sigma=0.1, temperature=0.1)
    with pytest.raises(kind, match=match):
        search(normal(3))


def test_bad_surrogates_are_named():
    theta = nn.Parameter(normal(3))
    for surrogate in (lambda p, _: p["x"], lambda p, _: p["x"].detach().sum(), lambda *_: 1.0):
        search = GuidedParameterSearch({"x": theta}, surrogate, bowl_number, sigma=0.1, temperature=0.1)
        with pytest.raises(ValueError, match="surrogate must return a differentiable scalar"):
            search(normal(3))
    search = GuidedParameterSearch(
        {"x": theta}, lambda p, _: (p["x"] * math.nan).sum(), bowl_number, sigma=0.1, temperature=0.1
    )
    with pytest.raises(FloatingPointError, match="surrogate must have a finite gradient: got nan"):
        search(normal(3))
    assert theta.grad is None


def test_numpy_floats_are_floats():
    theta = nn.Parameter(normal(3))
    GuidedParameterSearch({"x": theta}, None, lambda *_: np.float32(0.5), sigma=0.1, temperature=0.1)(None)
    assert theta.grad.isfinite().all()
