"""The denoiser and the sampler against the formulas in loops, diffusers, and what every step must keep."""

from __future__ import annotations

import itertools
import math
import pickle
from types import SimpleNamespace

import pytest
import torch
from diffusion.beds import EXP, LINE, LINEAR, NORMAL, normal
from hypothesis import given
from hypothesis import strategies as st

from gezhi.diffusion import (
    Denoiser,
    NoiseSchedule,
    Prediction,
    ancestral,
    convert_prediction,
    ddim_step,
    ddpm_step,
    fixed_large,
    fixed_small,
    sample,
    timestep_subsequence,
    zero,
)

TYPES = ("epsilon", "sample", "v_prediction", "score")
X = torch.tensor([[0.3, -1.2, 2.0]], dtype=torch.float64)
EPS = torch.tensor([[0.5, -0.7, 1.1]], dtype=torch.float64)


def constant(value, schedule=LINEAR, **kwargs):
    return Denoiser(lambda x, times: value.expand_as(x).to(x.dtype), schedule, **kwargs)


def network(seed=0, width=3, dtype=torch.float32):
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(width + 1, 16), torch.nn.SiLU(), torch.nn.Linear(16, width)).to(dtype)

    def call(x, times):
        return net(torch.cat([x, times[:, None].to(x.dtype) / 1000], 1))

    return call


# ---- reference ------------------------------------------------------------------------------------------------------


def reference_step(x, eps, s, t, eta, variance, clip, z):
    """One step by the article's formulas, entry by entry, from the tables of the schedule."""
    a_t, b_t, a_s, b_s = LINEAR.signal(t), LINEAR.noise(t), LINEAR.signal(s), LINEAR.noise(s)
    beta2 = 1 - (a_t / a_s) ** 2
    sigma2 = eta**2 * b_s**2 * beta2 / b_t**2
    found = []
    for value, e, draw in zip(x, eps, z, strict=True):
        clean = (value - b_t * e) / a_t
        clean_c = clean if clip is None else min(max(clean, clip[0]), clip[1])
        if eta == 1:
            mean = a_t / a_s * b_s**2 / b_t**2 * value + a_s * beta2 / b_t**2 * clean_c
        else:
            mean = a_s * clean_c + math.sqrt(b_s**2 - sigma2) * e
        added = {fixed_small: sigma2, fixed_large: beta2, zero: 0.0}[variance]
        found.append(mean + (math.sqrt(added) * draw if s > 0 else 0.0))
    return found


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("variance", [fixed_small, fixed_large, zero])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_is_the_formula(eta, variance, clip):
    z = normal(1, 3, seed=4)
    for s, t in ((399, 400), (200, 400), (0, 1), (0, 700)):
        found, memory = ancestral(eta, variance, clip)(constant(EPS), X, t, s, None, lambda x: z)
        expected = reference_step(X[0].tolist(), EPS[0].tolist(), s, t, eta, variance, clip, z[0].tolist())
        assert found[0].tolist() == pytest.approx(expected, abs=1e-11)
        assert memory is None


def test_check_values_of_conversions():
    x = torch.tensor([[-0.857049520451]], dtype=torch.float64)
    wanted = {"epsilon": -1.3, "sample": 0.7, "v_prediction": -1.20227539253, "score": 1.44905516415}
    assert (LINEAR.signal(400) * 0.7 - 1.3 * LINEAR.noise(400)) == pytest.approx(x.item(), abs=1e-12)
    for source, target in itertools.product(TYPES, TYPES):
        given_ = torch.tensor([[wanted[source]]], dtype=torch.float64)
        found = convert_prediction(given_, x, LINEAR, 400, source=source, target=target)
        assert found.item() == pytest.approx(wanted[target], abs=1e-10)


# ---- oracle ---------------------------------------------------------------------------------------------------------

TOLERANCE = {1000: 1e-4, 100: 2e-5, 50: 1e-5, 10: 1e-5}  # their tables are float32


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("eta", [0.0, 0.4])
@pytest.mark.parametrize("count", [10, 50, 100, 1000])
def test_diffusers_ddim_takes_the_same_steps(count, eta, clip):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(clip_sample=clip is not None, timestep_spacing="leading", set_alpha_to_one=True)
    theirs.set_timesteps(count)
    model = Denoiser(network(dtype=torch.float64), LINEAR)
    step, x = ddim_step(eta, clip_x0=clip), normal(4, 3)
    draws = iter([normal(4, 3, seed=i) for i in range(20)])
    with torch.no_grad():
        for index in theirs.timesteps[:12].tolist() + theirs.timesteps[-2:].tolist():
            t, s = index + 1, max(index + 1 - 1000 // count, 0)
            z = next(draws)
            eps = model.predict(x, t, "epsilon")
            expected = theirs.step(eps, index, x, eta=eta, variance_noise=z if eta else None).prev_sample
            ours = step(model, x, t, s, None, lambda x, z=z: z)[0]
            if s == 0 and eta:  # they add noise of the size of the first step at the end
                continue
            torch.testing.assert_close(ours, expected.double(), rtol=TOLERANCE[count], atol=TOLERANCE[count])
            x = ours


@pytest.mark.parametrize("clip", [None, (-1.0, 1.0)])
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("count", [10, 50, 100, 1000])
def test_diffusers_ddpm_takes_the_same_steps(count, size, clip):
    diffusers = pytest.importorskip("diffusers")
    kwargs = {"clip_sample": clip is not None, "timestep_spacing": "leading", "variance_type": f"fixed_{size}"}
    theirs = diffusers.DDPMScheduler(**kwargs)
    theirs.set_timesteps(count)
    model = Denoiser(network(dtype=torch.float64), LINEAR)
    step, x = ddpm_step(size, clip_x0=clip), normal(4, 3)
    with torch.no_grad():
        for i, index in enumerate(theirs.timesteps[:12].tolist() + theirs.timesteps[-2:].tolist()):
            t, s = index + 1, max(index + 1 - 1000 // count, 0)
            eps = model.predict(x, t, "epsilon")
            generator = torch.Generator().manual_seed(i)
            expected = theirs.step(eps, index, x, generator=generator).prev_sample
            again = torch.Generator().manual_seed(i)
            noise = lambda x, again=again: torch.randn(x.shape, generator=again, dtype=x.dtype)  # noqa: E731
            ours = step(model, x, t, s, None, noise)[0]
            if index == 0:  # neither adds noise at the end
                assert s == 0
            torch.testing.assert_close(ours, expected.double(), rtol=TOLERANCE[count], atol=TOLERANCE[count])
            x = ours


def test_diffusers_models_are_read():
    wrapped = Denoiser(lambda x, times: SimpleNamespace(sample=EPS.expand_as(x)), LINEAR)
    assert torch.equal(wrapped(X, 400).mean, constant(EPS)(X, 400).mean)


# ---- theorems -------------------------------------------------------------------------------------------------------


@given(
    st.sampled_from(TYPES), st.sampled_from(TYPES), st.integers(1, 1000), st.sampled_from(["linear", "sub_vp", "ve"])
)
def test_conversions_there_and_back_change_nothing(source, target, t, name):
    schedule = getattr(NoiseSchedule, name)()
    x, pred = normal(2, 3), normal(2, 3, seed=1)
    there = convert_prediction(pred, x, schedule, t, source=source, target=target)
    back = convert_prediction(there, x, schedule, t, source=target, target=source)
    torch.testing.assert_close(back, pred, rtol=1e-7, atol=1e-7)
    rows = convert_prediction(pred, x, schedule, torch.tensor([t, t]), source=source, target=target)
    torch.testing.assert_close(rows, there, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("prediction_type", TYPES)
def test_samples_do_not_depend_on_what_the_network_predicts(prediction_type):
    def call(x, times):
        return convert_prediction(
            network(dtype=torch.float64)(x, times), x, LINEAR, times + 1, source="epsilon", target=prediction_type
        )

    times = timestep_subsequence(1000, 5)
    expected = sample(Denoiser(network(dtype=torch.float64), LINEAR), normal(2, 3), times, ddim_step())
    found = sample(Denoiser(call, LINEAR, prediction_type), normal(2, 3), times, ddim_step())
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_a_clip_that_binds_nowhere_changes_nothing(eta):
    times = timestep_subsequence(1000, 7)
    free, bound = (
        sample(LINE.denoiser(LINEAR), normal(5, 1), times, ancestral(eta, zero, clip)) for clip in (None, (-99.0, 99.0))
    )
    torch.testing.assert_close(free, bound, rtol=1e-10, atol=1e-10)


def test_one_step_from_the_top_is_the_mean():
    model = LINE.denoiser(LINEAR)
    for step in (ddim_step(), ddpm_step(), ddpm_step("large")):
        torch.testing.assert_close(sample(model, normal(4, 1), [1000], step), model(normal(4, 1), 1000).mean)


@pytest.mark.parametrize("count", [1, 3, 10, 60])
def test_one_point_of_data_is_found_exactly(count):
    point = torch.tensor([0.3, -0.7], dtype=torch.float64)
    model = Denoiser(lambda x, times: point.expand_as(x), LINEAR, "sample")
    for step in (ddim_step(), ddim_step(0.5), ddpm_step()):
        out = sample(model, normal(3, 2), timestep_subsequence(1000, count), step)
        torch.testing.assert_close(out, point.expand(3, 2), rtol=0, atol=1e-11)


def test_times_reach_the_network_as_asked():
    seen = []

    def spy(x, times):
        seen.append(times)
        return torch.zeros_like(x)

    for kind in ("index", "step", "unit"):
        Denoiser(spy, LINEAR, time_input=kind)(X.expand(2, 3), 400)
    Denoiser(spy, EXP, time_input="index")(X.expand(2, 3), 400.5)
    Denoiser(spy, LINEAR)(X.expand(2, 3), torch.tensor([1, 1000]))
    assert [times.tolist() for times in seen[:3]] == [[399, 399], [400, 400], [pytest.approx(0.4)] * 2]
    assert seen[3].tolist() == [399.5, 399.5]
    assert seen[4].tolist() == [0, 999]


def test_a_trajectory_begins_at_the_noise_and_ends_at_the_sample():
    model, times = LINE.denoiser(LINEAR), timestep_subsequence(1000, 4)
    path = sample(model, normal(5, 1), times, ddim_step(), return_trajectory=True)
    assert path.shape == (5, 5, 1)
    assert torch.equal(path[0], normal(5, 1))
    assert torch.equal(path[-1], sample(model, normal(5, 1), times.flip(0), ddim_step()))


def test_noise_comes_from_the_generator_or_the_function():
    model, times = LINE.denoiser(LINEAR), [1, 500, 1000]
    draw = lambda seed: torch.Generator().manual_seed(seed)  # noqa: E731
    state = torch.get_rng_state()
    one, again, other = (sample(model, normal(5, 1), times, ddpm_step(), generator=draw(i)) for i in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    still = sample(model, normal(5, 1), times, ddpm_step(), noise=torch.zeros_like)
    assert torch.equal(still, sample(model, normal(5, 1), times, ancestral(1.0, zero), generator=draw(3)))
    free = [sample(model, normal(5, 1), times, ddim_step(), generator=draw(i)) for i in (1, 2)]
    assert torch.equal(*free)


# ---- gradient -------------------------------------------------------------------------------------------------------


def test_samples_are_differentiable_in_their_noise():
    model = NORMAL.denoiser(LINEAR)
    x = normal(2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sample(model, z, [1, 300, 1000], ddim_step()), (x,))


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.bfloat16, 0.06), (torch.float16, 8e-3)])
def test_lower_precision_stays_near(dtype, tolerance):
    times = timestep_subsequence(1000, 10)
    call = network(dtype=torch.float64)
    model = Denoiser(lambda x, times: call(x.double(), times).to(x.dtype), LINEAR)
    exact = sample(model, normal(4, 3), times, ddim_step())
    found = sample(model, normal(4, 3, dtype=dtype), times, ddim_step())
    assert found.dtype == dtype
    scale = exact.abs().max()
    assert ((found.double() - exact).abs().max() / scale).item() < tolerance
    assert model(normal(1, 3, dtype=dtype), 5).mean.dtype == torch.float32


def test_an_empty_batch_gives_an_empty_sample():
    out = sample(LINE.denoiser(LINEAR), torch.zeros(0, 1), [1, 1000], ddpm_step())
    assert out.shape == (0, 1)


def test_a_network_without_signal_at_the_end():
    schedule = NoiseSchedule.from_betas([0.1, 0.5, 1.0])
    for kind in ("sample", "v_prediction"):
        out = sample(
            Denoiser(lambda x, times: 0 * x, schedule, kind), X, [1, 2, 3], ddpm_step(), noise=torch.zeros_like
        )
        assert out.isfinite().all()


def test_steps_and_denoisers_survive_pickling():
    step = pickle.loads(pickle.dumps(ancestral(0.5, fixed_large, (-1.0, 1.0))))
    model = Denoiser(torch.nn.Identity(), LINEAR)
    model.network.forward = None
    assert step.keywords == {"eta": 0.5, "variance": fixed_large, "clip_x0": (-1.0, 1.0)}
    assert pickle.loads(pickle.dumps(Denoiser(torch.nn.Identity(), LINEAR))).schedule.signal(5) == LINEAR.signal(5)


# ---- errors ---------------------------------------------------------------------------------------------------------


def broken(x, times):
    return torch.where(times[:, None] < 600, torch.nan, 0.0).expand_as(x).to(x.dtype)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ValueError, lambda: ancestral(-0.1, zero), "eta must lie between 0 and inf"),
        (ValueError, lambda: ancestral(0, zero, (1.0, 1.0)), "clip_x0 must be a range"),
        (ValueError, lambda: Denoiser(broken, LINEAR, "noise"), "prediction_type must be one of"),
        (ValueError, lambda: Denoiser(broken, LINEAR, time_input="u"), "time_input must be one of"),
        (ValueError, lambda: constant(EPS)(X, 0), "t must be above 0: got 0"),
        (
            ValueError,
            lambda: constant(EPS, NoiseSchedule.from_betas([0.5, 1.0]))(X, 2),
            "source must leave x₀ defined at t=2, where ᾱ = 0: got 'epsilon'. Train the network for v_prediction",
        ),
        (
            ValueError,
            lambda: Denoiser(lambda x, times: x[:, :2], LINEAR)(X, 5),
            r"output of network must have the shape of x, \(1, 3\): got \(1, 2\)",
        ),
        (
            ValueError,
            lambda: Denoiser(lambda x, times: torch.cat([x, x], 1), LINEAR)(X, 5),
            r"got \(1, 6\). Which half of the channels is the mean\?",
        ),
        (TypeError, lambda: Denoiser(lambda x, times: 3, LINEAR)(X, 5), "network must return a tensor"),
        (
            TypeError,
            lambda: Denoiser(lambda x, times: x, LINEAR, head=torch.nn.Identity())(X, 5),
            r"network must return a tensor and features.*Wrap it: with_features\(network, layer\)",
        ),
        (
            ValueError,
            lambda: convert_prediction(EPS, X[:, :2], LINEAR, 5, source="epsilon", target="sample"),
            r"pred must have the shape of x, \(1, 2\): got \(1, 3\)",
        ),
        (
            FloatingPointError,
            lambda: sample(Denoiser(broken, LINEAR), X, [100, 500, 700, 1000], ddim_step()),
            r"states must stay finite: got the first others after step 3, from t=500 to s=100",
        ),
        (ValueError, lambda: sample(constant(EPS), X, [], ddim_step()), "times must hold at least one time"),
    ],
)
def test_bad_input_is_named(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_a_prediction_has_no_second_moment_by_itself():
    assert Prediction(X).second_moment is None
    assert constant(EPS)(X, 400).second_moment is None
