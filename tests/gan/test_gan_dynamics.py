"""Dirac-GAN: the game against closed forms, what its flows keep and where they end, eigenvalues of flows and steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from contract import Sample
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from torch import nn

from gezhi.gan import (
    EMA,
    Game,
    GradientPenalty,
    QuadraticDivergence,
    dirac_field,
    dirac_gan,
    hinge,
    invariants,
    least_squares,
    non_saturating,
    phase_portrait,
    saturating,
    simulate,
    stability_report,
    wasserstein,
)

NUMPY = {"compiles": False, "differentiable": False, "reason": "it computes with NumPy"}
START = np.array([0.1, 0.2, 0.2, 0.1])
SAMPLES = [
    Sample(dirac_field(non_saturating), (START,), **NUMPY),
    Sample(invariants, (START,), **NUMPY),
    Sample(simulate, (dirac_field(wasserstein), START, 1.0), **NUMPY),
]


def zero(weight, **choices):
    return GradientPenalty(weight, at="real", center=0, **choices)


# Name: how both forms are built.
FIELDS = {
    "non-saturating": (non_saturating, {}),
    "saturating": (saturating, {}),
    "constrained WGAN": (wasserstein, {"normalize_critic": True}),
    "penalty, c = 0": (wasserstein, {"penalty": zero(0.1)}),
    "penalty, c = 1": (wasserstein, {"penalty": GradientPenalty(0.1, at="real")}),
    "GAN-QP": (QuadraticDivergence(1.0), {}),
    "GAN-QP with L2": (QuadraticDivergence(1.0), {"weight_decay": 0.1}),
    "bilinear": (wasserstein, {}),
    "hinge": (hinge, {}),
    "least squares": (least_squares, {}),
    "constrained, non-saturating": (non_saturating, {"normalize_critic": True, "weight_decay": 0.2}),
    "cubic, one-sided": (saturating, {"penalty": GradientPenalty(0.7, at="real", center=0.1, power=3, one_sided=True)}),
    "WGAN-div": (hinge, {"penalty": zero(2, power=6)}),
}
BY_FIELD = pytest.mark.parametrize(("divergence", "choices"), FIELDS.values(), ids=FIELDS)
STATES = st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 1e-3), min_size=4, max_size=4)


def closed(name):
    divergence, choices = FIELDS[name]
    return dirac_field(divergence, **choices)


def game(name, dim=2):
    divergence, choices = FIELDS[name]
    return dirac_gan(divergence, dim=dim, **choices)


def sigma(x):
    return 1 / (1 + math.exp(-x))


def reference(name, state):
    """The fields of the article, entry by entry."""
    f1, f2, t1, t2 = state
    s, r, q = f1 * t1 + f2 * t2, math.hypot(f1, f2), math.hypot(t1, t2)
    return {
        "non-saturating": [-sigma(s) * t1, -sigma(s) * t2, (1 - sigma(s)) * f1, (1 - sigma(s)) * f2],
        "saturating": [-sigma(s) * t1, -sigma(s) * t2, sigma(s) * f1, sigma(s) * f2],
        "constrained WGAN": [-t1 / r + s * f1 / r**3, -t2 / r + s * f2 / r**3, f1 / r, f2 / r],
        "penalty, c = 0": [-t1 - 0.2 * f1, -t2 - 0.2 * f2, f1, f2],
        "penalty, c = 1": [-t1 - 0.2 * (1 - 1 / r) * f1, -t2 - 0.2 * (1 - 1 / r) * f2, f1, f2],
        "GAN-QP": [-t1 - s * t1 / q, -t2 - s * t2 / q, f1, f2],
        "GAN-QP with L2": [-t1 - s * t1 / q - 0.1 * f1, -t2 - s * t2 / q - 0.1 * f2, f1, f2],
        "bilinear": [-t1, -t2, f1, f2],
    }[name]


# ---- reference ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(FIELDS)[:8])
def test_the_closed_forms_are_the_articles(name):
    for state in (START, np.array([-1.0, 0.3, 0.7, 2.0])):
        np.testing.assert_allclose(closed(name)(state), reference(name, state), rtol=1e-12)


@BY_FIELD
def test_the_game_gives_the_closed_forms(divergence, choices):
    for state in (START, np.array([-1.0, 0.3, 0.7, 2.0]), np.array([1.2, -0.4, 0.5, 0.1, 0.9, -1.5])):
        played = dirac_gan(divergence, dim=len(state) // 2, **choices).field(torch.from_numpy(state))
        np.testing.assert_allclose(played.numpy(), dirac_field(divergence, **choices)(state), atol=1e-12)


AFTER_10 = {
    "non-saturating": [0.213095947855, 0.142047215169, -0.031012732372, -0.161454371210],
    "saturating": [0.219896836229, 0.151579488172, -0.040563301352, -0.164388742819],
    "constrained WGAN": [-0.223451905919, -0.008321402587, -0.071906350879, 0.390100436387],
    "penalty, c = 0": [0.007090887478, -0.041421937140, -0.085904906817, -0.070754309456],
    "penalty, c = 1": [0.180326006191, -0.627716578447, -0.658448943099, -0.362404923438],
    "GAN-QP": [0.062992970393, -0.127290767540, -0.171533765251, -0.129622961281],
    "GAN-QP with L2": [0.030057949999, -0.078045176143, -0.110977891731, -0.079017169403],
}


@pytest.mark.parametrize(("name", "expected"), AFTER_10.items(), ids=AFTER_10)
def test_states_after_10_are_those_of_the_sheet(name, expected):
    flow = simulate(closed(name), START, 10.0, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(flow.states[-1], expected, atol=1e-11)
    assert flow.t[-1] == 10


def test_the_flow_of_a_game_is_that_of_its_closed_form():
    times = [0.0, 0.5, 1.0]
    played = simulate(game("non-saturating").field, START, times)
    np.testing.assert_allclose(played.states, simulate(closed("non-saturating"), START, times).states, atol=1e-9)


# ---- oracle ---------------------------------------------------------------------------------------------------------


def test_the_flow_is_scipys():
    field = closed("constrained WGAN")
    theirs = solve_ivp(lambda _, x: field(x), (0, 5), START, method="DOP853", rtol=1e-10, atol=1e-12, t_eval=[2.0, 5.0])
    np.testing.assert_allclose(simulate(field, START, [2.0, 5.0]).states, theirs.y.T, atol=1e-9)


# ---- what is kept, and where it ends --------------------------------------------------------------------------------


@given(STATES)
def test_momentum_is_kept_where_all_forces_are_along_the_two_points(state):
    momentum = invariants(state).momentum
    for name in ("non-saturating", "saturating", "GAN-QP", "bilinear", "hinge", "least squares"):
        change = closed(name)(state)
        turned = change[2] * state[1] + state[2] * change[1] - change[3] * state[0] - state[3] * change[0]
        assert turned == pytest.approx(0, abs=1e-9 * (1 + abs(momentum)))


@given(STATES)
def test_energy_falls_kept_or_grows_as_proved(state):
    def slope(name):
        return 2 * float(np.dot(closed(name)(state), state))

    s = state[0] * state[2] + state[1] * state[3]
    assert slope("saturating") == pytest.approx(0, abs=1e-9)
    assert slope("bilinear") == pytest.approx(0, abs=1e-9)
    assert slope("non-saturating") == pytest.approx(-2 * s * math.tanh(s / 2), abs=1e-9)
    assert slope("GAN-QP") == pytest.approx(-2 * s * s / math.hypot(state[2], state[3]), abs=1e-9)


def test_the_orbit_of_a_constrained_critic_is_kept():
    flow = simulate(closed("constrained WGAN"), START, np.linspace(0, 40, 4001), rtol=1e-12, atol=1e-14)
    found = [invariants(state) for state in flow.states[::400]]
    assert found[0].orbit == pytest.approx(0.125434588027, abs=1e-11)
    assert max(abs(one.orbit - found[0].orbit) for one in found) < 1e-9
    sizes = np.linalg.norm(flow.states[:, 2:], axis=1)
    assert (sizes.min(), sizes.max()) == pytest.approx((0.0879132896073, 0.3986137806738), abs=1e-4)


@pytest.mark.parametrize("name", ["non-saturating", "GAN-QP"])
def test_the_plane_ends_on_a_circle_of_the_roots_of_the_momentum(name):
    flow = simulate(closed(name), 4 * START, 300.0)
    assert np.linalg.norm(flow.states[-1, 2:]) / math.sqrt(0.48) == pytest.approx(1, abs=1e-4)


def test_a_penalty_off_centre_ends_on_the_circle_of_its_centre():
    flow = simulate(closed("penalty, c = 1"), START, 400.0)
    assert np.linalg.norm(flow.states[-1, :2]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["penalty, c = 0", "GAN-QP with L2"])
def test_a_centred_penalty_and_decay_end_at_the_equilibrium(name):
    assert np.linalg.norm(simulate(closed(name), 4 * START, 300.0).states[-1]) < 1e-3


def test_on_a_line_the_non_saturating_game_converges_as_the_root_of_time():
    flow = simulate(dirac_field(non_saturating), [0.5, 0.5], [1e3, 1e4])
    found = [t * float(state @ state) / 8 for t, state in zip(flow.t, flow.states, strict=True)]
    np.testing.assert_allclose(found, [0.983864, 0.998382], atol=2e-6)


# ---- eigenvalues ----------------------------------------------------------------------------------------------------


def radius(name, h, method):
    return stability_report(game(name), torch.zeros(4).double(), h=h, method=method).spectral_radius


@pytest.mark.parametrize(
    ("name", "h", "method", "expected"),
    [
        ("bilinear", 0.1, "simultaneous", 1.0049875621),
        ("bilinear", 0.1, "alternating", 1.0),
        ("bilinear", 2.1, "alternating", 1.8773280449),
        ("penalty, c = 0", 0.1, "simultaneous", 0.9949874371),
        ("penalty, c = 0", 0.1, "alternating", 0.9899494937),
        ("penalty, c = 0", 0.5, "simultaneous", 1.0723805295),
        ("penalty, c = 0", 0.5, "alternating", 0.9486832981),
    ],
)
def test_spectral_radii_are_those_of_the_sheet(name, h, method, expected):
    assert radius(name, h, method) == pytest.approx(expected, abs=1e-9)


def test_extra_gradients_and_optimism_make_the_bilinear_game_contract():
    at = torch.zeros(4).double()
    extra = stability_report(game("bilinear"), at, h=0.1, method="extragradient")
    optimistic = stability_report(game("bilinear"), torch.zeros(8).double(), h=0.1, method="optimistic")
    assert extra.spectral_radius == pytest.approx(math.sqrt(1 - 0.1**2 + 0.1**4), abs=1e-9)
    assert extra.verdict == optimistic.verdict == "contracts"


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(0.1, [-0.1 + 0.994987437107j, -0.1 - 0.994987437107j]), (2.0, [-0.267949192431, -3.732050807569])],
)
def test_eigenvalues_at_the_equilibrium_are_those_of_the_sheet(weight, expected):
    found = dirac_gan(wasserstein, dim=1, penalty=zero(weight)).eigenvalues(torch.zeros(2).double())
    np.testing.assert_allclose(sorted(found.numpy(), key=lambda z: (-z.real, -z.imag)), expected, atol=1e-10)


def test_the_report_says_what_eigenvalues_do_not_decide():
    vanilla = stability_report(dirac_gan(non_saturating, dim=1), torch.zeros(2).double())
    np.testing.assert_allclose(np.sort(vanilla.eigenvalues.imag), [-0.5, 0.5], atol=1e-12)
    assert vanilla.verdict == "marginal"
    assert str(vanilla).startswith("marginal (the eigenvalues decide nothing: simulate)")
    assert stability_report(game("penalty, c = 0"), torch.zeros(4).double()).verdict == "contracts"
    assert stability_report(game("bilinear"), torch.zeros(4).double(), h=0.1).verdict == "expands"


def test_a_real_game_is_judged_where_it_stands():
    played = Game(nn.Linear(1, 2), nn.Linear(2, 1), non_saturating, zero(1.0)).double()
    played = played.on(torch.randn(16, 2).double(), torch.randn(16, 1).double())
    assert len(stability_report(played).eigenvalues) == 7
    assert len(stability_report(played, h=0.1, method="optimistic").eigenvalues) == 14


# ---- discrete steps -------------------------------------------------------------------------------------------------


def steps(name, h, method, count):
    played, state = game(name), torch.from_numpy(START)
    for _ in range(count):
        state = played.step(state, h, method)
    return state.numpy()


def test_simultaneous_steps_multiply_the_energy_of_the_bilinear_game():
    state = steps("bilinear", 0.1, "simultaneous", 100)
    assert float(state @ state) / float(START @ START) == pytest.approx(2.7048138294215, rel=1e-12)


def test_alternating_steps_keep_a_quadratic_form_of_the_bilinear_game():
    state = steps("bilinear", 0.1, "alternating", 100)
    np.testing.assert_allclose(state, [0.02321992, -0.11802079, -0.21669718, -0.19057891], atol=1e-8)
    assert float(state @ state) - 0.1 * float(state[:2] @ state[2:]) == pytest.approx(0.096, abs=1e-12)


@given(st.floats(0.5, 0.99), st.floats(0.05, 1.0))
def test_the_average_of_a_rotation_shrinks_as_proved(decay, omega):
    point = nn.Linear(1, 2, bias=False).double()
    ema, angle = EMA(point, decay), 0.0
    for _ in range(int(40 / (1 - decay)) + 1):
        angle += omega
        point.weight.data = torch.tensor([[math.cos(angle)], [math.sin(angle)]]).double()
        ema.update_parameters(point)
    expected = (1 - decay) / abs(1 - decay * np.exp(1j * omega))
    assert ema.module.weight.norm().item() == pytest.approx(expected, abs=1e-3)


# ---- pictures, edges, errors ----------------------------------------------------------------------------------------


def test_a_portrait_is_the_field_on_a_plane():
    x, y, u, v = phase_portrait(closed("bilinear"), np.zeros(4), (2, 0), radius=2, n=5)
    assert u.shape == v.shape == (5, 5)
    np.testing.assert_allclose(u, np.repeat(y[:, None], 5, 1))
    np.testing.assert_allclose(v, -np.repeat(x[None], 5, 0))
    tensors = phase_portrait(game("bilinear").field, np.zeros(4), (2, 0), radius=2, n=5)
    np.testing.assert_allclose(tensors[2], u)


@pytest.mark.filterwarnings("error")
def test_large_scores_do_not_overflow():
    for name in ("non-saturating", "saturating"):
        assert np.isfinite(closed(name)(np.array([1e2, 0.0, 1e2, 0.0]))).all()
        assert np.isfinite(closed(name)(np.array([-1e2, 0.0, 1e2, 0.0]))).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: closed("constrained WGAN")(np.array([0, 0, 1, 0])), r"state must have a critic that is not 0"),
        (lambda: closed("penalty, c = 1")(np.array([0, 0, 1, 0])), r"state must have a critic that is not 0"),
        (lambda: closed("GAN-QP")(np.array([1, 0, 0, 0])), "state must have a generator that is not 0"),
        (lambda: closed("bilinear")(np.zeros(3)), "state must be a vector of even length"),
        (lambda: invariants(np.zeros(2)), "state must have length 4"),
        (lambda: dirac_field(print), "divergence must be one of the house"),
        (lambda: dirac_gan(wasserstein, dim=0), "dim must"),
        (lambda: dirac_gan(wasserstein, weight_decay=-1.0), "weight_decay must"),
        (lambda: simulate(closed("bilinear"), START, -1.0), "t must lie strictly between 0"),
        (lambda: stability_report(game("bilinear"), tol=-1), "tol must"),
        (lambda: phase_portrait(closed("bilinear"), START, (1, 1)), "axes must be two different numbers"),
        (
            lambda: game("non-saturating").eigenvalues(torch.full((4,), math.nan).double()),
            "the Jacobian must be finite",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_one_dimension_is_warned_of():
    with pytest.warns(UserWarning, match="Use dim=2"):
        dirac_gan(wasserstein, dim=1, normalize_critic=True)
    with pytest.warns(UserWarning, match="Use dim=2"):
        dirac_gan(QuadraticDivergence(), dim=1)


def test_a_flow_that_cannot_be_followed_says_so():
    with pytest.raises(RuntimeError, match="the flow could not be followed"):
        simulate(lambda x: x**2, [1.0], 2.0)
