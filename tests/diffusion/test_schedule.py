"""Schedules against products in loops, the published values, diffusers, and what holds for any of them."""

from __future__ import annotations

import math
import pickle
from fractions import Fraction

import pytest
import torch
from diffusion.beds import EXP, LINEAR
from hypothesis import given
from hypothesis import strategies as st

from gezhi.diffusion import NoiseSchedule, timestep_subsequence
from gezhi.diffusion.timesteps import SPACINGS, chain

CONTINUOUS = {
    "su_exp": EXP,
    "vp_sde": NoiseSchedule.vp_sde(),
    "sub_vp": NoiseSchedule.sub_vp(),
    "ve": NoiseSchedule.ve(),
}
EVERY = {
    "linear": LINEAR,
    "su_linear": NoiseSchedule.su_linear(),
    "cosine": NoiseSchedule.cosine(),
    **CONTINUOUS,
}
BY_SCHEDULE = pytest.mark.parametrize("schedule", EVERY.values(), ids=EVERY)
BY_CONTINUOUS = pytest.mark.parametrize("schedule", CONTINUOUS.values(), ids=CONTINUOUS)


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_linear(steps=1000):
    """ᾱ as products of exact fractions."""
    square, found = Fraction(1), [1.0]
    for t in range(steps):
        beta = Fraction(1, 10000) + Fraction(199, 10000) * Fraction(t, steps - 1)
        square = Fraction(round(square * (1 - beta) * 10**60), 10**60)
        found.append(math.sqrt(square))
    return found


def test_linear_is_the_product_of_one_step_signals():
    assert LINEAR.signals.tolist() == pytest.approx(reference_linear(), rel=1e-13)


def test_check_values_of_signal_and_noise():
    times = (1, 10, 100, 500, 999, 1000)
    signals = [0.99994999875, 0.999052153186, 0.947110418945, 0.280334162887, 0.00641731535624, 0.00635281808757]
    noises = [0.01, 0.0435292455042, 0.320907859556, 0.959902472712, 0.99997940882, 0.999979820648]
    assert [LINEAR.signal(t) for t in times] == pytest.approx(signals, abs=1e-12)
    assert [LINEAR.noise(t) for t in times] == pytest.approx(noises, abs=1e-12)
    assert LINEAR.half_log_snr(400) == pytest.approx(-0.708455032667, abs=1e-12)
    assert LINEAR.sigma(400) == pytest.approx(2.03085123484, abs=1e-11)
    su = EVERY["su_linear"]
    assert [su.signal(500), su.signal(1000)] == pytest.approx([0.28459156888, 0.00648203085214], abs=1e-11)
    assert [EXP.signal(500), EXP.signal(1000)] == pytest.approx([0.28650479686, 0.00673794699909], abs=1e-11)
    cosine = [EVERY["cosine"].signal(t) for t in (1, 500, 1000)]
    assert cosine == pytest.approx([0.999979357675, 0.702740058941, 4.92825213137e-05], rel=1e-11)


def test_check_values_in_continuous_time():
    found = {name: (s.signal(370), s.noise(370), s.drift(370), s.diffusion_sq(370)) for name, s in CONTINUOUS.items()}
    assert found["vp_sde"] == pytest.approx((0.49679515541, 0.86786783185, -3.7315, 7.463), abs=1e-11)
    assert found["sub_vp"][1:] == pytest.approx((0.753194573561, -3.7315, 7.00840688909), abs=1e-11)
    assert found["ve"] == pytest.approx((1, 0.233678578234, 0, 0.93017421648), abs=1e-11)
    assert found["su_exp"][2:] == pytest.approx((-3.7, 7.4), abs=1e-12)
    assert EXP.signal(370.25) == pytest.approx(math.exp(-5 * 0.37025**2), rel=1e-15)


@pytest.mark.parametrize(
    ("s", "t", "eta", "kappa", "gamma", "sigma2", "beta2"),
    [
        (399, 400, 1, 0.994008600617, 0.00443515393238, 0.00803221610343, 0.00804804804805),
        (399, 400, 0, 0.999015926703, 0.0022231484636, 0, 0.00804804804805),
        (200, 400, 0.5, 0.575333769453, 0.557655972229, 0.0745477646011, 0.703892196744),
        (900, 1000, 0, 0.999882564558, 0.0102372592259, 0, 0.853352359422),
        (0, 1, 1, 0, 1, 0, 1e-4),
    ],
)
def test_check_values_of_steps(s, t, eta, kappa, gamma, sigma2, beta2):
    c = LINEAR.step(s, t, eta)
    assert (c.kappa, c.gamma, c.sigma2, c.beta2) == pytest.approx((kappa, gamma, sigma2, beta2), abs=1e-12)


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ("linspace", [1, 112, 223, 334, 445, 556, 667, 778, 889, 1000]),
        ("leading", [1, 101, 201, 301, 401, 501, 601, 701, 801, 901]),
        ("trailing", [100, 200, 300, 400, 500, 600, 700, 800, 900, 1000]),
        ("quadratic", [1, 10, 40, 89, 159, 247, 356, 484, 633, 801]),
    ],
)
def test_check_values_of_subsequences(spacing, expected):
    assert timestep_subsequence(1000, 10, spacing).tolist() == expected


# ---- oracle ---------------------------------------------------------------------------------------------------------


def test_diffusers_holds_the_same_schedule():
    diffusers = pytest.importorskip("diffusers")
    for name in ("linear", "squaredcos_cap_v2"):
        theirs = diffusers.DDPMScheduler(beta_schedule=name)
        ours = NoiseSchedule.from_diffusers(theirs)
        own = EVERY["linear" if name == "linear" else "cosine"]
        torch.testing.assert_close(ours.signals, own.signals, rtol=3e-4, atol=1e-7)
        torch.testing.assert_close(ours.signals[1:] ** 2, theirs.alphas_cumprod.double(), rtol=5e-5, atol=1e-7)
        back = diffusers.DDPMScheduler(**own.to_diffusers_kwargs())
        torch.testing.assert_close(back.betas.double(), -torch.expm1(2 * own.log_signals.diff()), rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match="scheduler must keep states at variance 1"):
        NoiseSchedule.from_diffusers(diffusers.EulerDiscreteScheduler())


@pytest.mark.parametrize("count", [10, 50, 100])
def test_diffusers_visits_the_same_times(count):
    diffusers = pytest.importorskip("diffusers")
    for spacing in ("linspace", "leading", "trailing"):
        theirs = diffusers.DDIMScheduler(timestep_spacing=spacing)
        theirs.set_timesteps(count)
        assert (theirs.timesteps.flip(0) + 1).tolist() == timestep_subsequence(1000, count, spacing).tolist()


class Scheduler:
    """What is read of a diffusers scheduler."""

    betas = torch.linspace(1e-4, 0.02, 1000)
    init_noise_sigma = torch.tensor(1.0)


def test_any_scheduler_with_betas_is_read():
    torch.testing.assert_close(NoiseSchedule.from_diffusers(Scheduler()).signals, LINEAR.signals, rtol=1e-5, atol=0)
    again = NoiseSchedule.from_betas(LINEAR.to_diffusers_kwargs()["trained_betas"])
    torch.testing.assert_close(again.signals, LINEAR.signals, rtol=1e-13, atol=0)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(st.sampled_from(list(EVERY)), st.integers(0, 999), st.integers(1, 1000), st.floats(0, 1))
def test_a_step_keeps_the_marginal(name, s, t, eta):
    s, t = min(s, t - 1), t
    schedule = EVERY[name]
    c = schedule.step(s, t, eta)
    assert c.kappa * schedule.signal(t) + c.gamma == pytest.approx(schedule.signal(s), abs=1e-12)
    scale = max(schedule.noise(t) ** 2, 1)
    assert c.kappa**2 * schedule.noise(t) ** 2 + c.sigma2 == pytest.approx(schedule.noise(s) ** 2, abs=1e-12 * scale)
    assert 0 <= c.sigma2 <= c.beta2


@BY_SCHEDULE
def test_at_eta_one_the_step_is_the_posterior(schedule):
    for s, t in ((0, 1), (1, 2), (99, 400), (700, 1000)):
        c = schedule.step(s, t, 1.0)
        ratio = schedule.signal(t) / schedule.signal(s)
        assert c.kappa == pytest.approx(ratio * schedule.noise(s) ** 2 / schedule.noise(t) ** 2, rel=1e-9, abs=1e-14)
        assert c.gamma == pytest.approx(schedule.signal(s) * c.beta2 / schedule.noise(t) ** 2, rel=1e-9)


@BY_CONTINUOUS
def test_rates_are_derivatives_of_the_levels(schedule):
    for t in (1.5, 333.3, 870.0):
        h = 1e-3
        levels = [(math.log(schedule.signal(t + d)), schedule.sigma(t + d) ** 2) for d in (-h, h)]
        drift = (levels[1][0] - levels[0][0]) / (2 * h) * schedule.steps
        growth = schedule.signal(t) ** 2 * (levels[1][1] - levels[0][1]) / (2 * h) * schedule.steps
        assert schedule.drift(t) == pytest.approx(drift, rel=1e-6, abs=1e-9)
        assert schedule.diffusion_sq(t) == pytest.approx(growth, rel=1e-6)


@BY_CONTINUOUS
def test_table_and_function_agree_and_half_log_snr_has_an_inverse(schedule):
    t = torch.tensor([1, 10, 370, 999, 1000])
    for name in ("signal", "noise", "half_log_snr", "sigma"):
        f = getattr(schedule, name)
        torch.testing.assert_close(f(t), f(t.double()), rtol=1e-12, atol=1e-14)
        assert [f(int(i)) for i in t] == pytest.approx(f(t).tolist(), rel=1e-13)
    for time in (0.5, 1.0, 370.0, 999.9, 1000.0):
        assert schedule.time_at(schedule.half_log_snr(time)) == pytest.approx(time, rel=1e-9)


@given(st.integers(1, 400), st.data())
def test_subsequences_ascend_within_the_chain(steps, data):
    count = data.draw(st.integers(1, steps))
    for spacing in SPACINGS[:3]:
        found = timestep_subsequence(steps, count, spacing).tolist()
        assert len(found) == count
        assert sorted(set(found)) == found
        assert 1 <= found[0] <= found[-1] <= steps
    assert timestep_subsequence(steps, 1).tolist() == [steps]
    assert timestep_subsequence(steps, steps).tolist() == list(range(1, steps + 1))


def test_signatures_tell_schedules_apart():
    marks = [s.signature() for s in [*EVERY.values(), NoiseSchedule.linear(500), NoiseSchedule.vp_sde(500)]]
    gaps = [float((a - b).abs().max()) for i, a in enumerate(marks) for b in marks[:i]]
    assert min(gaps) > 1e-4
    assert torch.equal(marks[0], NoiseSchedule.linear().signature())


# ---- edges ----------------------------------------------------------------------------------------------------------


@BY_SCHEDULE
def test_schedules_survive_pickling_and_keep_their_ends(schedule):
    again = pickle.loads(pickle.dumps(schedule))
    assert torch.equal(again.signals, schedule.signals)
    assert (schedule.signal(0), schedule.noise(0), schedule.half_log_snr(0)) == (1.0, 0.0, math.inf)
    assert schedule.prior_std == (50.0 if schedule is EVERY["ve"] else 1.0)


def test_a_chain_without_signal_at_its_end():
    schedule = NoiseSchedule.from_betas([0.1, 0.5, 1.0])
    assert (schedule.signal(3), schedule.noise(3)) == (0.0, 1.0)
    c = schedule.step(2, 3, 1.0)
    assert (c.beta2, c.kappa, c.gamma) == pytest.approx((1.0, 0.0, schedule.signal(2)))
    assert NoiseSchedule.linear(1).steps == 1


def test_exact_fractions_are_rounded_half_to_even():
    assert timestep_subsequence(6, 3).tolist() == [1, 4, 6]  # 3.5
    assert timestep_subsequence(10, 3).tolist() == [1, 6, 10]  # 5.5
    assert timestep_subsequence(10, 4, "trailing").tolist() == [2, 5, 8, 10]  # 2.5, 5, 7.5
    for count in (48, 61):
        found = timestep_subsequence(1000, count, "trailing").tolist()
        assert found == sorted(round(Fraction(1000 * (count - k), count)) for k in range(count))


def test_a_chain_takes_either_direction_and_ends_at_the_data():
    assert chain([1, 5, 9], 10) == chain([9, 5, 1], 10) == chain(torch.tensor([1, 5, 9]), 10) == [9, 5, 1, 0]
    assert chain([10], 10) == [10, 0]


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LINEAR.step(5, 5), "s must be below t: got s=5 and t=5"),
        (lambda: LINEAR.step(0, 5, -0.1), "eta must lie between 0 and inf"),
        (lambda: LINEAR.step(1, 2, 1.9), "eta must leave the direction coefficient real from t=2 to s=1: got 1.9"),
        (lambda: LINEAR.signal(1001), "t must lie between 0 and 1000: got 1001"),
        (lambda: LINEAR.signal(1.5), "schedule must be continuous in time here: got a table of steps"),
        (lambda: LINEAR.drift(5), "schedule must be continuous in time here"),
        (lambda: EXP.time_at(99.0), "half_log_snr must lie within"),
        (lambda: NoiseSchedule.from_betas([0.1, 1.5]), r"betas must lie in \(0, 1\]: got 0.1 to 1.5"),
        (lambda: NoiseSchedule.from_betas([]), "betas must be a sequence"),
        (lambda: NoiseSchedule(torch.tensor([0.0, 0.1])), "must go from data to noise"),
        (lambda: NoiseSchedule(torch.tensor([-0.1, -0.2])), "must begin with the data"),
        (lambda: NoiseSchedule.ve(sigma_min=0), "sigma_min must lie strictly between 0 and 50"),
        (lambda: NoiseSchedule.ve().to_diffusers_kwargs(), "schedule must be variance preserving"),
        (lambda: timestep_subsequence(10, 11), "count must lie between 1 and 10: got 11"),
        (lambda: timestep_subsequence(10, 0), "count must lie between 1 and 10: got 0"),
        (lambda: timestep_subsequence(1000, 31, "quadratic"), "got 31. The largest below that does is 29"),
        (lambda: timestep_subsequence(10, 5, "even"), "spacing must be one of"),
        (lambda: chain([], 10), "times must hold at least one time"),
        (lambda: chain([1, 0], 10), r"times must lie in \(0, 10\]: got 0"),
        (lambda: chain([1, 11], 10), r"times must lie in \(0, 10\]: got 11"),
        (lambda: chain([1, 5, 3], 10), "times must be strictly monotone"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_scheduler_without_betas_is_refused():
    with pytest.raises(TypeError, match="scheduler must have betas: got object"):
        NoiseSchedule.from_diffusers(object())
