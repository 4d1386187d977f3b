"""The flow, its solvers and likelihoods against the exact flow of a mixture, closed forms and published values."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
import torch
from contract import Sample
from diffusion.beds import EXP, LINE, LINEAR, NORMAL, column, digits, normal

from gezhi.diffusion import (
    Denoiser,
    GaussianMixture,
    NoiseSchedule,
    ancestral,
    ddim_step,
    dpm_solver_2,
    dpmpp_2m,
    euler_maruyama,
    fixed_small,
    flow_drift,
    heun,
    integrate_flow,
    log_prob,
    mixture_quantile,
    sample,
    time_grid,
)

MODEL = LINE.denoiser(EXP)
TIGHT = {"rtol": 1e-9, "atol": 1e-9, "method": "DOP853"}
SAMPLES = [
    Sample(flow_drift, (MODEL, normal(3, 1), 300.0), compiles=False, differentiable=False, reason="takes a model"),
    Sample(
        integrate_flow, (MODEL, normal(3, 1), 300, 600), compiles=False, differentiable=False, reason="takes a model"
    ),
    Sample(log_prob, (MODEL, normal(3, 1)), compiles=False, differentiable=False, reason="takes a model"),
]
SOLVERS = {
    "ddim, time": (ddim_step(), "time", 1, ".31179 .21364 .12989 .06292 .03555"),
    "ddim, logsnr": (ddim_step(), "logsnr", 1, ".50596 .35224 .20544 .10243 .05941"),
    "heun, time": (heun, "time", 2, "1.1407 .29025 .06679 .01147 .003256"),
    "heun, logsnr": (heun, "logsnr", 2, "4.3660 .88464 .18026 .04513 .01315"),
    "dpm-solver-2": (dpm_solver_2, "logsnr", 2, "2.2884 .45176 .12577 .02141 .005621"),
    "dpm-solver++(2m)": (dpmpp_2m, "logsnr", 1, ".27313 .12645 .02794 .004812 .001275"),
    "euler, time": (euler_maruyama(0.0), "time", 1, ".16602 .10083 .06615 .03366 .01923"),
}


def quantiles(n):
    """States at T and what the exact flow, the monotone rearrangement, makes of them."""
    level = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    start = mixture_quantile(LINE, level, EXP.signal(1000), EXP.noise(1000))
    return start[:, None], mixture_quantile(LINE, level)[:, None]


def error(step, calls, spacing, per_step, n=4001, model=MODEL):
    start, exact = quantiles(n)
    grid = time_grid(EXP, calls, spacing, calls_per_step=per_step)
    return float((sample(model, start, grid, step) - exact).square().mean().sqrt())


class Counted:
    """A model that counts its calls."""

    schedule = EXP

    def __init__(self):
        self.calls = 0

    def __call__(self, x, t):
        self.calls += 1
        return MODEL(x, t)


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_pair(name, eps, x, t, s):
    """One step of a solver by its published formula, for a number; `eps(x, t)` is the model."""
    a, b, lam = EXP.signal, EXP.noise, EXP.half_log_snr
    if name == "heun":
        first = eps(x, t)
        guess = a(s) * (x / a(t) + (b(s) / a(s) - b(t) / a(t)) * first)
        return a(s) * (x / a(t) + 0.5 * (b(s) / a(s) - b(t) / a(t)) * (first + eps(guess, s)))
    h = lam(s) - lam(t)
    level = (lam(s) + lam(t)) / 2
    m = 1000 * math.sqrt(math.log1p(math.exp(-2 * level)) / 10)
    middle = a(m) / a(t) * x - b(m) * (math.exp(h / 2) - 1) * eps(x, t)
    return a(s) / a(t) * x - b(s) * (math.exp(h) - 1) * eps(middle, m)


@pytest.mark.parametrize(("name", "step"), [("heun", heun), ("dpm_solver_2", dpm_solver_2)])
def test_steps_with_two_calls_are_their_formulas(name, step):
    def eps(x, t):
        return float(LINE.epsilon(column(x), EXP.signal(t), EXP.noise(t)))

    for x, t, s in ((0.3, 800, 650.5), (-1.2, 333.3, 100), (2.0, 50, 49)):
        found, memory = step(MODEL, column(x), t, s, None, None)
        assert found.item() == pytest.approx(reference_pair(name, eps, x, t, s), rel=1e-9)
        assert memory is None


def test_the_multistep_solver_is_its_formula():
    times, x, previous = [900.0, 700.0, 420.0, 300.0], 0.7, None
    state, memory = column(x), None
    for t, s in pairwise(times):
        clean = float(LINE.denoise(column(x), EXP.signal(t), EXP.noise(t))[0])
        h = EXP.half_log_snr(s) - EXP.half_log_snr(t)
        guess = clean
        if previous is not None:
            r = previous[1] / h
            guess = (1 + 1 / (2 * r)) * clean - 1 / (2 * r) * previous[0]
        x = EXP.noise(s) / EXP.noise(t) * x - EXP.signal(s) * (math.exp(-h) - 1) * guess
        previous = (clean, h)
        state, memory = dpmpp_2m(MODEL, state, t, s, memory, None)
        assert state.item() == pytest.approx(x, rel=1e-9)


def test_check_values_of_the_flow():
    found = integrate_flow(MODEL, column(-1, 0.2, 1.5), 1000, 0, **TIGHT)
    assert found[:, 0].tolist() == pytest.approx([-1.5235888062, 0.4080203776, 2.0642146783], abs=3e-8)
    latents = integrate_flow(MODEL, column(-1.4, 0, 1, 2.05), 0, 1000, **TIGHT)
    assert latents[:, 0].tolist() == pytest.approx([-0.699486443, -0.235038769, 0.774411265, 1.447820660], abs=3e-8)


def test_check_values_of_likelihoods():
    x = column(-1.4, 0, 1, 2.05)
    exact = [-0.484321242, -1.320685329, -2.137011859, -0.686796799]
    assert LINE.log_prob(x).tolist() == pytest.approx(exact, abs=1e-9)
    prior = log_prob(MODEL, x, **TIGHT)
    assert prior.tolist() == pytest.approx([-0.484053521, -1.320582508, -2.137292109, -0.687351433], abs=1e-7)
    for divergence in ("exact", "moment", "hutchinson"):  # with one entry the signs make no difference
        found = log_prob(MODEL, x, divergence=divergence, terminal=terminal(LINE), **TIGHT)
        assert found.tolist() == pytest.approx(exact, abs=1e-7)


def terminal(mixture, t=1000):
    return lambda x: mixture.log_prob(x, EXP.signal(t), EXP.noise(t))


@pytest.mark.parametrize("name", SOLVERS)
def test_check_values_of_solvers(name):
    step, spacing, per_step, table = SOLVERS[name]
    for calls, expected in zip((7, 11, 21, 51, 101), table.split(), strict=True):
        assert error(step, calls, spacing, per_step) == pytest.approx(float(expected), rel=6e-4)


def test_check_values_of_stochastic_samplers_at_few_calls():
    start, _ = quantiles(4001)
    draw = torch.Generator().manual_seed(1)
    times = [round(1 + i * 999 / 10) for i in range(11)]
    out = sample(MODEL, start, times, ancestral(1, fixed_small), generator=draw)[:, 0].sort().values
    ideal = mixture_quantile(LINE, (torch.arange(4001, dtype=torch.float64) + 0.5) / 4001)
    assert float((out - ideal).square().mean().sqrt()) == pytest.approx(0.316, abs=0.05)


# ---- oracle ---------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # theirs
def test_diffusers_multistep_solver_takes_the_same_steps():
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DPMSolverMultistepScheduler(timestep_spacing="linspace", lower_order_final=False)
    theirs.set_timesteps(10)
    times = [int(t) + 1 for t in theirs.timesteps]
    model, x, memory = LINE.denoiser(LINEAR), normal(4, 1, 1, 1), None
    y = x
    for index, (t, s) in enumerate(pairwise(times)):
        eps = (x - LINEAR.signal(t) * model(x, t).mean) / LINEAR.noise(t)
        x = theirs.step(eps, theirs.timesteps[index], x).prev_sample
        y, memory = dpmpp_2m(model, y, t, s, memory, None)
        torch.testing.assert_close(y, x.double(), rtol=2e-4, atol=2e-4)


# ---- theorems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixture", [LINE, NORMAL])
def test_the_flow_carries_every_marginal(mixture):
    x0 = mixture.sample(5, torch.Generator().manual_seed(1))
    for t in (250, 1000):
        found = log_prob(mixture.denoiser(EXP), x0, terminal=terminal(mixture, t), stop=t, **TIGHT)
        torch.testing.assert_close(found, mixture.log_prob(x0), rtol=0, atol=1e-6 * mixture.dim)


def test_a_wrong_drift_does_not_carry_them():
    x0 = LINE.sample(5, torch.Generator().manual_seed(1))
    tempered = GaussianMixture(LINE.weights, LINE.means, 1.5 * LINE.variances)
    found = log_prob(tempered.denoiser(EXP), x0, terminal=terminal(LINE), **TIGHT)
    assert (found - LINE.log_prob(x0)).abs().max() > 0.05


def test_densities_obey_the_fokker_planck_equation():
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    u, h, k = 0.3, 1e-4, 1e-3

    def density(v, shift=0.0):
        t = 1000 * v
        return LINE.log_prob((x + shift)[:, None], EXP.signal(t), EXP.noise(t)).exp()

    rate = (density(u + h) - density(u - h)) / (2 * h)
    f, g2 = EXP.drift(300), EXP.diffusion_sq(300)
    pushed = ((x + k) * density(u, k) - (x - k) * density(u, -k)) / (2 * k) * f
    spread = (density(u, k) - 2 * density(u) + density(u, -k)) / k**2 * g2 / 2
    assert rate.abs().max() == pytest.approx(0.513, abs=0.05)
    assert (rate + pushed - spread).abs().max() < 1e-6


def test_on_a_normal_target_the_flow_scales_deviations():
    x0 = NORMAL.sample(6, torch.Generator().manual_seed(2))
    found = integrate_flow(NORMAL.denoiser(EXP), x0, 0, 700, **TIGHT)
    a, b = EXP.signal(700), EXP.noise(700)
    scale = ((a * a * NORMAL.variances + b * b) / NORMAL.variances).sqrt()
    torch.testing.assert_close(found, a * NORMAL.means + scale * (x0 - NORMAL.means), rtol=0, atol=1e-5)


def test_encoding_is_undone_by_decoding():
    x0 = column(-1.6, -0.3, 0.5, 2.1)
    latent = integrate_flow(MODEL, x0, 0, 1000, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(integrate_flow(MODEL, latent, 1000, 0, rtol=1e-8, atol=1e-8), x0, rtol=0, atol=1e-5)


def test_a_ddim_step_is_eulers_step_of_the_flow():
    for t, s in ((1000, 400), (300.5, 200), (1, 0.5)):
        x = normal(5, 1)
        found, _ = ddim_step()(MODEL, x, t, s, None, None)
        a_t, f, g2 = EXP.signal(t), EXP.drift(t), EXP.diffusion_sq(t)
        rho, growth = EXP.sigma(t), g2 / a_t**2 / (2 * EXP.sigma(t))  # dρ/du
        slope = (flow_drift(MODEL, x, t) - f * x) / (a_t * growth)
        torch.testing.assert_close(
            found, EXP.signal(s) * (x / a_t + (EXP.sigma(s) - rho) * slope), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize(
    ("name", "order", "margin"),
    [("ddim, time", 1, 0.2), ("heun, time", 2, 0.3), ("dpm-solver-2", 2, 0.3), ("dpm-solver++(2m)", 2, 0.3)],
)
def test_orders_of_solvers(name, order, margin):
    step, spacing, per_step, _ = SOLVERS[name]
    calls = (51, 101, 201)
    errors = [error(step, n, spacing, per_step, n=401) for n in calls]
    assert np.polyfit(np.log(calls), np.log(errors), 1)[0] == pytest.approx(-order, abs=margin)


def test_eulers_step_of_the_sde_is_ddpms_to_first_order():
    gaps = []
    for steps in (250, 500, 1000, 2000, 4000):
        schedule, t = NoiseSchedule.su_exp(steps), steps // 2
        c = schedule.step(t - 1, t, 1.0)
        f, g2, b = schedule.drift(t), schedule.diffusion_sq(t), schedule.noise(t)
        theirs = (1 - f / steps, -g2 / b / steps, g2 / steps)  # of x, ε and the variance
        ours = (c.kappa + c.gamma / schedule.signal(t), -c.gamma * b / schedule.signal(t), c.beta2)
        gaps.append([abs(x - y) for x, y in zip(ours, theirs, strict=True)])
    assert gaps[0] == pytest.approx([1.2e-4, 1.6e-4, 9.4e-4], rel=0.05)
    assert gaps[2] == pytest.approx([7.5e-6, 1.04e-5, 5.97e-5], rel=0.05)
    for series in zip(*gaps, strict=True):
        assert np.polyfit(np.log([250, 500, 1000, 2000, 4000]), np.log(series), 1)[0] == pytest.approx(-2, abs=0.1)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 1.0])
def test_every_sde_of_the_family_keeps_the_marginals(ratio):
    start, _ = quantiles(20000)
    grid = time_grid(EXP, 101)
    out = sample(MODEL, start, grid, euler_maruyama(ratio), generator=torch.Generator().manual_seed(4))
    ideal = mixture_quantile(LINE, (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000)
    assert float((out[:, 0].sort().values - ideal).square().mean().sqrt()) < 0.077


def test_noise_that_does_not_belong_to_the_drift_breaks_them():
    start, _ = quantiles(4000)
    half = euler_maruyama(1.0)

    def wrong(model, x, t, s, memory, noise):
        return half(model, x, t, s, memory, lambda y: 0.5 * noise(y))

    out = sample(MODEL, start, time_grid(EXP, 101), wrong, generator=torch.Generator().manual_seed(4))
    ideal = mixture_quantile(LINE, (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)
    assert float((out[:, 0].sort().values - ideal).square().mean().sqrt()) > 0.3


def test_hutchinson_is_unbiased():
    x0 = NORMAL.sample(1, torch.Generator().manual_seed(1))
    mixture = GaussianMixture([0.5, 0.5], [[-1.0, 0.3], [1.0, 0.5]], [[[0.3, 0.2], [0.2, 0.4]]] * 2)
    model, x0 = mixture.denoiser(EXP), mixture.sample(1, torch.Generator().manual_seed(2))
    exact = log_prob(model, x0, rtol=1e-5, atol=1e-5).item()
    draw = torch.Generator().manual_seed(3)
    found = log_prob(model, x0.expand(400, 2), divergence="hutchinson", generator=draw, rtol=1e-5, atol=1e-5)
    assert found.std() > 0.01
    assert abs(found.mean() - exact) < 3 * found.std() / math.sqrt(400)


def test_the_trace_of_digits_follows_from_their_variance():
    bed = digits()
    model, x = bed.denoiser(EXP), bed.sample(2, torch.Generator().manual_seed(5))
    moved = EXP.signal(300) * x + EXP.noise(300) * normal(2, 64)
    loose = {"rtol": 1e-2, "atol": 1e-2, "stop": 40, "terminal": lambda y: y.new_zeros(len(y))}
    exact, moment = (log_prob(model, moved, divergence=d, **loose) for d in ("exact", "moment"))
    torch.testing.assert_close(exact, moment, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("per_step", "step"), [(1, dpmpp_2m), (1, euler_maruyama()), (2, heun), (2, dpm_solver_2)])
@pytest.mark.parametrize("calls", [3, 7, 11])
def test_a_grid_spends_its_calls_and_no_more(per_step, step, calls):
    counted = Counted()
    sample(counted, normal(2, 1), time_grid(EXP, calls, "logsnr", calls_per_step=per_step), step)
    assert counted.calls == calls


def test_grids_are_even_in_their_variable():
    for spacing, level in (
        ("time", lambda t: t),
        ("logsnr", EXP.half_log_snr),
        ("edm", lambda t: EXP.sigma(t) ** (1 / 7)),
    ):
        grid = time_grid(EXP, 9, spacing)
        assert (grid[0], grid[-1]) == (1000, 1)
        gaps = np.diff([level(t) for t in grid])
        assert gaps == pytest.approx(np.full(8, gaps.mean()), rel=1e-6)


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_velocity_is_differentiable():
    x = normal(3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: flow_drift(MODEL, y, 300.0), (x,))


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_empty_batches_and_single_precision():
    assert integrate_flow(MODEL, torch.zeros(0, 1), 0, 1000).shape == (0, 1)
    assert log_prob(MODEL, torch.zeros(0, 1)).shape == (0,)
    model = Denoiser(lambda x, times: torch.tanh(x), EXP, "sample", time_input="unit")
    out = log_prob(model, normal(3, 2, dtype=torch.float32), rtol=1e-4, atol=1e-4)
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert torch.equal(integrate_flow(MODEL, column(1.0), 300, 300), column(1.0))


def test_shapes_of_images_are_kept():
    model = Denoiser(lambda x, times: torch.tanh(x), EXP, "sample")
    x = normal(2, 1, 2, 2)
    assert integrate_flow(model, x, 0, 1000).shape == x.shape
    flat = Denoiser(lambda x, times: torch.tanh(x), EXP, "sample")
    torch.testing.assert_close(log_prob(model, x), log_prob(flat, x.reshape(2, 4)), rtol=1e-6, atol=1e-6)


def test_exploding_noise_flows_too():
    schedule = NoiseSchedule.ve()
    start = 50 * normal(3, 4)
    out = sample(NORMAL.denoiser(schedule), start, time_grid(schedule, 40, "edm"), heun)
    scale = (NORMAL.variances / (NORMAL.variances + 2500)).sqrt()
    torch.testing.assert_close(out, NORMAL.means + scale * (start - NORMAL.means), rtol=0.02, atol=0.02)


def test_single_precision_warns_of_tolerances_it_cannot_hold():
    model = Denoiser(lambda x, times: torch.tanh(x), EXP, "sample")
    with pytest.warns(UserWarning, match=r"torch.float32 cannot hold a tolerance of 1e-08"):
        log_prob(model, normal(1, 1, dtype=torch.float32), rtol=1e-8, atol=1e-3, stop=2)


def test_more_noise_than_the_diffusion_has_is_legal_and_warned_of():
    with pytest.warns(UserWarning, match="noise_ratio 1.5 adds more noise"):
        step = euler_maruyama(1.5)
    assert sample(MODEL, normal(2, 1), time_grid(EXP, 20), step).isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        euler_maruyama(1.0)


# ---- errors ---------------------------------------------------------------------------------------------------------


def frozen(x, times):
    return x.detach()


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_grid(EXP, 2, calls_per_step=2), "calls must lie between 3 and inf: got 2"),
        (lambda: time_grid(EXP, 5, "even"), "spacing must be one of"),
        (lambda: time_grid(EXP, 5, end=0), "end must lie strictly between 0 and 1: got 0"),
        (lambda: time_grid(LINEAR, 5, "logsnr"), "schedule must be continuous in time here"),
        (lambda: euler_maruyama(-1), "noise_ratio must lie between 0 and inf: got -1"),
        (lambda: flow_drift(LINE.denoiser(LINEAR), column(0.0), 5), "schedule must be continuous in time here"),
        (lambda: integrate_flow(MODEL, column(0.0), 0, 1001), "t must lie between 0 and 1000"),
        (lambda: integrate_flow(MODEL, column(0.0), 0, 1, method="Euler"), "method must be one of"),
        (lambda: log_prob(MODEL, column(0.0), divergence="none"), "divergence must be one of"),
        (lambda: log_prob(Denoiser(frozen, EXP), column(0.0)), "model must be differentiable in x"),
        (
            lambda: log_prob(Denoiser(lambda x, times: x, EXP), column(0.0), divergence="moment"),
            "model must give a second moment",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_network_that_is_not_finite_is_named():
    def broken(x, times):
        return torch.where(times[:, None] < 600, torch.nan, 0.0).expand_as(x).to(x.dtype) * x

    model = Denoiser(broken, EXP)
    with pytest.raises(FloatingPointError, match=r"model must predict finite values: got others at u=0\.[56]"):
        integrate_flow(model, column(0.3), 1000, 100)
    with pytest.raises(FloatingPointError, match="model must predict finite values: got others at u=1e-05"):
        log_prob(model, column(0.3))
