"""Schedulers step by step against diffusers' own, and whole chains against gezhi's sampler."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from diffusion.beds import LINEAR, NORMAL, normal
from hypothesis import given
from hypothesis import strategies as st

from gezhi.diffusion import (
    AnalyticVariance,
    Denoiser,
    HeadVariance,
    NoiseSchedule,
    Prediction,
    VarianceStats,
    ancestral,
    capped,
    convert_prediction,
    ddim_step,
    estimate_x0_variance,
    first_step_clip,
    fixed_large,
    fixed_small,
    gaussian_chain,
    sample,
)

diffusers = pytest.importorskip("diffusers")
adapter = pytest.importorskip("gezhi.adapters.diffusers")
AncestralScheduler, AnalyticDPMScheduler = adapter.AncestralScheduler, adapter.AnalyticDPMScheduler
ExtendedAnalyticDPMScheduler = adapter.ExtendedAnalyticDPMScheduler

KINDS = ("epsilon", "sample", "v_prediction")
COUNTS = (1, 5, 10, 25, 50, 100)
SHAPE = (1, 2, 2)


def apart(found, expected):
    """The largest difference, relative to the largest entry."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())


def allowed(count):
    """What float32 coefficients of diffusers leave open."""
    return 3e-6 if count <= 50 else 1e-5


def output_for(kind, t):
    """A network's output that stays plausible: a prediction of x₀ about as large as the data."""
    x0 = 0.7 * normal(3, *SHAPE, seed=t, dtype=torch.float32)
    x = normal(3, *SHAPE, seed=t + 1, dtype=torch.float32)
    x = LINEAR.signal(t + 1) * x0 + LINEAR.noise(t + 1) * x
    return x, convert_prediction(x0, x, LINEAR, t + 1, source="sample", target=kind)


def stats_for(timesteps, *, model=None, shape=SHAPE):
    times = sorted(int(t) + 1 for t in timesteps)
    bed = model or Denoiser(lambda x, times: 0.5 * x, LINEAR)
    data = normal(50, *shape, seed=1).clamp(-1, 1)
    return estimate_x0_variance(bed, data, times, num_samples=50, generator=torch.Generator().manual_seed(2))


# ---- oracle: diffusers, step by step --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("kind", KINDS)
def test_each_step_is_that_of_ddim(kind, count):
    for eta, clip in ((0.0, False), (0.0, True), (0.6, False), (0.6, True)):
        theirs = diffusers.DDIMScheduler(prediction_type=kind, clip_sample=clip)
        ours = AncestralScheduler.from_config(theirs.config)
        theirs.set_timesteps(count)
        ours.set_timesteps(count)
        assert ours.timesteps.tolist() == theirs.timesteps.tolist()
        for t in theirs.timesteps:
            x, output = output_for(kind, int(t))
            noise = normal(3, *SHAPE, seed=int(t) + 2, dtype=torch.float32)
            found = ours.step(output, t, x, eta=eta, variance_noise=noise)
            expected = theirs.step(output, t, x, eta=eta, variance_noise=noise)
            assert apart(found.prev_sample, expected.prev_sample) <= allowed(count)
            assert apart(found.pred_original_sample, expected.pred_original_sample) <= 1e-4  # over a signal of 0.006


@pytest.mark.parametrize("count", COUNTS[1:])
@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large"])
def test_each_step_is_that_of_ddpm(variance, spacing, count):
    theirs = diffusers.DDPMScheduler(variance_type=variance, timestep_spacing=spacing)
    ours = AncestralScheduler.from_config(theirs.config, eta=1.0)
    assert ours.variance_type == variance
    theirs.set_timesteps(count)
    ours.set_timesteps(count)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()
    for t in theirs.timesteps:
        x, output = output_for("epsilon", int(t))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(t)))
        found, expected = (
            s.step(output, t, x, generator=torch.Generator().manual_seed(int(t)), return_dict=False)
            for s in (ours, theirs)
        )
        if t == theirs.timesteps[-1] and t > 0:  # diffusers adds noise to what should be clean
            expected = (expected[0] - theirs._get_variance(t) ** 0.5 * noise, expected[1])
        error = (found[0].double() - expected[0].double()).abs().max()
        assert float(error / torch.cat([x, noise]).abs().max()) <= allowed(count)
        assert apart(found[1], expected[1]) <= 1e-4  # over a signal of 0.006


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_same_levels_a_step_is_exactly_that_of_diffusers(kind):
    """What is left between the two is the rounding of diffusers' levels in float32."""
    for name, eta in (("DDIMScheduler", 0.5), ("DDIMScheduler", 0.0), ("DDPMScheduler", 1.0)):
        theirs = getattr(diffusers, name)(prediction_type=kind, clip_sample=False)
        ours = AncestralScheduler.from_config(theirs.config, eta=eta)
        theirs.alphas_cumprod = ours.noise_schedule.signals[1:] ** 2
        one = torch.ones((), dtype=torch.float64)
        theirs.final_alpha_cumprod, theirs.one = one, one
        theirs.set_timesteps(20)
        ours.set_timesteps(20)
        for t in theirs.timesteps:
            x, output = output_for(kind, int(t))
            wide = x.double(), output.double()
            noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(int(t)), dtype=torch.float64)
            drawn = {"generator": torch.Generator().manual_seed(int(t))}
            given = drawn if name == "DDPMScheduler" else {"eta": eta, "variance_noise": noise}
            expected = theirs.step(wide[1], t, wide[0], **given).prev_sample
            found = ours.step(wide[1], t, wide[0], variance_noise=noise).prev_sample
            assert apart(found, expected) < 1e-11
            single = ours.step(output, t, x, variance_noise=noise.float()).prev_sample
            assert single.dtype == torch.float32
            assert apart(single, expected) < 1e-6 / LINEAR.signal(int(t) + 1) ** (kind == "epsilon")


def test_ddim_with_its_corrected_noise():
    theirs = diffusers.DDIMScheduler(clip_sample_range=0.5)
    ours = AncestralScheduler.from_config(theirs.config)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    for t in theirs.timesteps:
        x, output = output_for("epsilon", int(t))
        expected = theirs.step(output, t, x, use_clipped_model_output=True).prev_sample
        found = ours.step(output, t, x, use_clipped_model_output=True).prev_sample
        assert apart(found, expected) < 1e-5  # diffusers subtracts in float32 what is nearly equal


@pytest.mark.parametrize("name", ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"])
def test_what_does_not_depend_on_the_variance_is_diffusers_own(name):
    theirs, ours = diffusers.DDPMScheduler(beta_schedule=name), AncestralScheduler(beta_schedule=name)
    x, noise, t = normal(4, *SHAPE).float(), normal(4, *SHAPE, seed=1).float(), torch.tensor([0, 5, 500, 999])
    assert torch.equal(ours.add_noise(x, noise, t), theirs.add_noise(x, noise, t))
    assert torch.equal(ours.get_velocity(x, noise, t), theirs.get_velocity(x, noise, t))
    assert ours.scale_model_input(x, 5) is x
    assert torch.equal(ours.betas, theirs.betas)
    assert (len(ours), ours.init_noise_sigma, ours.order) == (1000, 1.0, 1)
    assert ours.timesteps.tolist() == theirs.timesteps.tolist()


def test_before_any_choice_all_steps_are_walked():
    theirs, ours = diffusers.DDPMScheduler(), AncestralScheduler(eta=1.0)
    for t in (999, 500, 1, 0):
        x, output = output_for("epsilon", t)
        expected = theirs.step(output, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        found = ours.step(output, t, x, generator=torch.Generator().manual_seed(t)).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        error = (found - expected).abs().max() / torch.cat([x, noise]).abs().max()
        assert error < 5e-5  # what float32 leaves of the coefficients of single steps


@pytest.mark.parametrize("count", [2, 3, 5, 7, 25, 50, 999])
def test_timesteps_are_those_of_diffusers(count):
    for spacing in ("leading", "linspace", "trailing"):
        for offset in (0, 1):
            settings = {"timestep_spacing": spacing, "steps_offset": offset}
            theirs, ours = diffusers.DDIMScheduler(**settings), AncestralScheduler(**settings)
            theirs.set_timesteps(count)
            if spacing == "leading" and int(theirs.timesteps[0]) > 999:
                continue
            ours.set_timesteps(count)
            assert ours.timesteps.tolist() == theirs.timesteps.tolist()


@given(st.integers(1, 300), st.data())
def test_timesteps_descend_within_the_training(steps, data):
    count = data.draw(st.integers(1, steps))
    scheduler = AncestralScheduler(
        steps, timestep_spacing=data.draw(st.sampled_from(["leading", "linspace", "trailing"]))
    )
    scheduler.set_timesteps(count)
    found = scheduler.timesteps.tolist()
    assert len(found) == count == scheduler.num_inference_steps
    assert found == sorted(set(found), reverse=True)
    assert 0 <= found[-1] <= found[0] < steps
    if count == 1:
        assert found == [steps - 1]


# ---- whole chains: gezhi's sampler ----------------------------------------------------------------------------------


def walked(scheduler, network, x, count=None, *, timesteps=None, **given):
    """The loop of a pipeline."""
    scheduler.set_timesteps(count, timesteps=timesteps)
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.expand(len(x))), t, x, **given).prev_sample
    return x


def bent(x, times):
    """A network that is neither linear nor the same at all times."""
    return torch.tanh(x) * (1 + (times.to(x.dtype) / 999)[:, None, None, None])


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing", "quadratic"])
@pytest.mark.parametrize("count", [1, 7, 10, 13])
def test_a_chain_is_that_of_the_sampler(spacing, count):
    scheduler, x = AncestralScheduler(timestep_spacing=spacing, clip_sample=False), normal(4, *SHAPE)
    found = walked(scheduler, bent, x, count)
    times = (scheduler.timesteps.flip(0) + 1).tolist()
    expected = sample(Denoiser(bent, scheduler.noise_schedule), x, times, ddim_step())
    assert apart(found, expected) < 1e-12


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("levels", [None, 2])
def test_the_analytic_chain_is_that_of_the_sampler(eta, levels):
    scheduler = AnalyticDPMScheduler(eta=eta, timestep_spacing="linspace", first_step_levels=levels)
    plain = AncestralScheduler(timestep_spacing="linspace")
    plain.set_timesteps(10)
    scheduler.stats = stats_for(plain.timesteps)
    x, noise = normal(4, *SHAPE), normal(4, *SHAPE, seed=5)
    found = walked(scheduler, bent, x, 10, variance_noise=noise)
    times = (scheduler.timesteps.flip(0) + 1).tolist()
    variance = AnalyticVariance(scheduler.stats)
    if levels:
        variance = capped(variance, times[0], first_step_clip(levels))
    step = ancestral(eta, variance, (-1, 1))
    expected = sample(Denoiser(bent, scheduler.noise_schedule), x, times, step, noise=lambda x: noise)
    assert apart(found, expected) < 1e-12
    usual = sample(Denoiser(bent, LINEAR), x, times, ancestral(eta, fixed_small, (-1, 1)), noise=lambda x: noise)
    assert apart(found, usual) > 1e-3


@pytest.mark.parametrize("kind", ["residual", "second_moment"])
@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("clip", [True, False])
def test_the_extended_chain_is_that_of_the_sampler(kind, source, clip):
    scheduler = ExtendedAnalyticDPMScheduler(
        variance_type=kind, prediction_type=source, clip_sample=clip, clip_sample_range=0.8, eta=1.0
    )
    schedule, x, noise = scheduler.noise_schedule, normal(4, *SHAPE), normal(4, *SHAPE, seed=5)

    def head(x, eps):
        """g, or a second moment that is mostly above ε²."""
        return 0.1 + 0.3 * torch.sigmoid(x) + (eps**2 if kind == "second_moment" else 0)

    def network(x, times):
        t = int(times[0]) + 1
        eps = bent(x, times)
        output = convert_prediction(eps, x, schedule, t, source="epsilon", target=source)
        return torch.cat([output, head(x, eps)], 1)

    class Model:
        """The same, as the sampler calls it."""

        def __init__(self):
            self.schedule = schedule

        def __call__(self, x, t):
            eps = bent(x, torch.tensor([t - 1]))
            signal, noise = schedule.signal(t), schedule.noise(t)
            c = noise**2 / signal**2 * (0.1 + 0.3 * torch.sigmoid(x))
            return Prediction((x - noise * eps) / signal, c.clamp(0, 0.64 if clip else torch.inf))

    found = walked(scheduler, network, x, 8, variance_noise=noise)
    times = (scheduler.timesteps.flip(0) + 1).tolist()
    step = ancestral(1.0, HeadVariance(), (-0.8, 0.8) if clip else None)
    expected = sample(Model(), x, times, step, noise=lambda x: noise)
    assert apart(found, expected) < 1e-9


def test_three_ways_to_predict_the_same_give_the_same_chain():
    found = []
    for kind in KINDS:
        scheduler = AnalyticDPMScheduler(prediction_type=kind, eta=0.5)
        scheduler.stats = stats_for(range(0, 1000, 125))
        schedule = scheduler.noise_schedule

        def network(x, times, kind=kind, schedule=schedule):
            return convert_prediction(bent(x, times), x, schedule, int(times[0]) + 1, source="epsilon", target=kind)

        found.append(walked(scheduler, network, normal(4, *SHAPE), 8, variance_noise=normal(4, *SHAPE, seed=5)))
    assert apart(found[1], found[0]) < 1e-10
    assert apart(found[2], found[0]) < 1e-10


def test_the_exact_network_of_a_normal_target_gives_the_spread_of_the_closed_form():
    means, variances = NORMAL.means[0].view(SHAPE), NORMAL.variances[0].view(SHAPE)

    def network(x, times):
        t = int(times[0]) + 1
        signal, noise = LINEAR.signal(t), LINEAR.noise(t)
        return noise * (x - signal * means) / (signal**2 * variances + noise**2)

    data = NORMAL.sample(4000, torch.Generator().manual_seed(1)).view(-1, *SHAPE)
    scheduler = AncestralScheduler(timestep_spacing="linspace", clip_sample=False)
    stats = adapter.measure_variance(network, data, 10, scheduler=scheduler, num_samples=4000)
    analytic = AnalyticDPMScheduler.from_config(scheduler.config, stats=stats)
    x, spreads = normal(20_000, *SHAPE), {}
    for name, made in (("ddim", scheduler), ("analytic", analytic)):
        out = walked(made, network, x, 10, generator=torch.Generator().manual_seed(3))
        times = (made.timesteps.flip(0) + 1).tolist()
        variance = fixed_small if name == "ddim" else AnalyticVariance(replace(stats, shape=()))  # of rows
        spreads[name] = out.var(0).flatten()
        expected = gaussian_chain(NORMAL, LINEAR, times, 0, variance)[1]
        torch.testing.assert_close(spreads[name], expected, rtol=0.05, atol=0)
    target = NORMAL.variances[0]
    assert (spreads["analytic"] - target).abs().sum() < 0.5 * (spreads["ddim"] - target).abs().sum()


# ---- edges ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    scheduler = AnalyticDPMScheduler(eta=1.0)
    scheduler.stats = stats_for(range(0, 1000, 100))
    scheduler.set_timesteps(10)
    for t in scheduler.timesteps:
        x, output = (value.to(dtype) for value in output_for("epsilon", int(t)))
        found = scheduler.step(output, t, x, generator=torch.Generator().manual_seed(1))
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=dtype).float()
        wide = scheduler.step(output.float(), t, x.float(), variance_noise=noise)
        assert (found.prev_sample.dtype, found.pred_original_sample.dtype) == (dtype, dtype)
        assert torch.equal(found.prev_sample, wide.prev_sample.to(dtype))
        assert torch.equal(found.pred_original_sample, wide.pred_original_sample.to(dtype))


def test_a_generator_a_sample_makes_each_sample_independent_of_the_batch():
    scheduler = AnalyticDPMScheduler(eta=1.0)
    scheduler.stats = stats_for(range(0, 1000, 200))
    x = normal(3, *SHAPE)
    together = walked(scheduler, bent, x, 5, generator=[torch.Generator().manual_seed(i) for i in range(3)])
    for i in range(3):
        alone = walked(scheduler, bent, x[i : i + 1], 5, generator=torch.Generator().manual_seed(i))
        assert apart(together[i : i + 1], alone) < 1e-14


def test_noise_where_it_belongs():
    plain, large, analytic = AncestralScheduler(), AncestralScheduler(eta=1.0), AnalyticDPMScheduler()
    analytic.stats = stats_for(range(0, 1000, 500))
    x, output = output_for("epsilon", 500)
    for scheduler in (plain, large, analytic):
        scheduler.set_timesteps(2)
    runs = {
        name: [s.step(output, 500, x, variance_noise=torch.full_like(x, v)).prev_sample for v in (0.0, 1.0)]
        for name, s in (("plain", plain), ("large", large), ("analytic", analytic))
    }
    assert torch.equal(*runs["plain"])
    assert not torch.equal(*runs["large"])
    assert not torch.equal(*runs["analytic"])  # at η = 0 too
    last = [analytic.step(output, 0, x, variance_noise=torch.full_like(x, v)).prev_sample for v in (0.0, 1.0)]
    assert torch.equal(*last)


def test_the_inputs_and_the_global_generator_are_left_alone():
    scheduler = AnalyticDPMScheduler()
    scheduler.stats = stats_for([0, 500])
    scheduler.set_timesteps(2)
    x, output = output_for("epsilon", 500)
    before, state = (x.clone(), output.clone()), torch.get_rng_state()
    scheduler.step(output, 500, x, generator=torch.Generator().manual_seed(0))
    assert torch.equal(before[0], x)
    assert torch.equal(before[1], output)
    assert torch.equal(state, torch.get_rng_state())


def test_empty_batches_and_copies():
    scheduler = AnalyticDPMScheduler()
    scheduler.stats = stats_for([0, 500])
    twin = copy.deepcopy(scheduler)
    assert walked(twin, bent, torch.zeros(0, *SHAPE), 2).shape == (0, *SHAPE)
    x = normal(2, *SHAPE)
    noise = {"variance_noise": normal(2, *SHAPE, seed=1)}
    assert torch.equal(walked(twin, bent, x, 2, **noise), walked(scheduler, bent, x, 2, **noise))


def test_a_last_step_without_signal_asks_for_another_prediction():
    settings = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "clip_sample": False}
    x, output = output_for("v_prediction", 999)
    ours, theirs = (
        kind(prediction_type="v_prediction", **settings) for kind in (AncestralScheduler, diffusers.DDIMScheduler)
    )
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(10)
    expected = theirs.step(output, 999, x).prev_sample
    assert apart(ours.step(output, 999, x).prev_sample, expected) < 1e-5
    broken = AncestralScheduler(**settings)
    broken.set_timesteps(10)
    with pytest.raises(ValueError, match="source must leave x₀ defined at t=1000, where ᾱ = 0: got 'epsilon'"):
        broken.step(output, 999, x)
    learned = ExtendedAnalyticDPMScheduler(prediction_type="v_prediction", **settings)
    learned.set_timesteps(10)
    with pytest.raises(ValueError, match=r"timestep must leave some signal.*got 999, where ᾱ = 0"):
        learned.step(torch.cat([output, output], 1), 999, x)


def test_ones_own_timesteps():
    scheduler = AncestralScheduler(clip_sample=False)
    found = walked(scheduler, bent, normal(2, *SHAPE), timesteps=[900, 333, 20])
    expected = sample(Denoiser(bent, scheduler.noise_schedule), normal(2, *SHAPE), [21, 334, 901], ddim_step())
    assert apart(found, expected) < 1e-12
    assert scheduler.custom_timesteps
    scheduler.set_timesteps(4)
    assert not scheduler.custom_timesteps


# ---- configs --------------------------------------------------------------------------------------------------------


def test_a_config_goes_there_and_back(caplog):
    theirs = diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_end=0.012, clip_sample=False, steps_offset=1)
    for kind in (AncestralScheduler, AnalyticDPMScheduler, ExtendedAnalyticDPMScheduler):
        ours = kind.from_config(theirs.config, eta=0.3)
        assert (ours.config.beta_schedule, ours.config.steps_offset, ours.config.eta) == ("scaled_linear", 1, 0.3)
        assert torch.equal(ours.betas, theirs.betas)
        assert kind.from_config(ours.config).config == ours.config
        json.loads(ours.to_json_string())
        assert not caplog.records
        again = diffusers.DDIMScheduler.from_config(ours.config)
        assert again.config.beta_end == 0.012
        assert not again.config.clip_sample
        caplog.clear()  # diffusers tells that it knows no eta
    large = diffusers.DDPMScheduler(variance_type="fixed_large", thresholding=False)
    assert AncestralScheduler.from_config(large.config).variance_type == "fixed_large"
    assert AnalyticDPMScheduler.from_config(large.config).variance_type == "analytic"
    assert ExtendedAnalyticDPMScheduler.from_config(large.config).variance_type == "residual"
    assert not caplog.records
    back = diffusers.DDPMScheduler.from_config(AnalyticDPMScheduler.from_config(large.config).config)
    assert back.variance_type == "fixed_small"


def test_betas_of_ones_own():
    scheduler = AncestralScheduler(**NoiseSchedule.cosine(50).to_diffusers_kwargs())
    torch.testing.assert_close(scheduler.noise_schedule.signals, NoiseSchedule.cosine(50).signals, rtol=1e-4, atol=1e-7)


def test_statistics_are_saved_beside_the_config(tmp_path):
    scheduler = AnalyticDPMScheduler(eta=0.2)
    scheduler.stats = stats_for([0, 500])
    scheduler.save_pretrained(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == [
        "scheduler_config.json",
        "variance_stats.safetensors",
    ]
    again = AnalyticDPMScheduler.from_pretrained(tmp_path / "whole")
    torch.testing.assert_close(again.stats.x0_var, scheduler.stats.x0_var, rtol=0, atol=0, equal_nan=True)
    assert again.config.eta == 0.2
    other = stats_for([0, 250, 500, 750])
    assert AnalyticDPMScheduler.from_pretrained(tmp_path, subfolder="whole", stats=other).stats is other
    made, unused = AnalyticDPMScheduler.from_pretrained(tmp_path / "whole", return_unused_kwargs=True, more=1)
    assert (made.stats is not None, unused["more"]) == (True, 1)
    scheduler.stats = None
    scheduler.save_pretrained(tmp_path / "whole")
    assert AnalyticDPMScheduler.from_pretrained(tmp_path / "whole").stats is None
    (tmp_path / "whole" / "variance_stats.safetensors").write_text("nothing")
    with pytest.raises(ValueError, match=r"path must be a file that VarianceStats.save wrote: got .*variance_stats"):
        AnalyticDPMScheduler.from_pretrained(tmp_path / "whole")


@pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument")  # of diffusers' own call
def test_statistics_are_found_in_a_repository_that_was_fetched(tmp_path):
    root = tmp_path / "models--me--sampler"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("f" * 40)
    scheduler = AnalyticDPMScheduler()
    scheduler.stats = stats_for([0, 500])
    scheduler.save_pretrained(root / "snapshots" / ("f" * 40) / "scheduler")
    known = {"cache_dir": tmp_path, "local_files_only": True, "subfolder": "scheduler"}
    assert AnalyticDPMScheduler.from_pretrained("me/sampler", **known).stats.n == 50
    (root / "snapshots" / ("f" * 40) / "scheduler" / "variance_stats.safetensors").unlink()
    assert AnalyticDPMScheduler.from_pretrained("me/sampler", **known).stats is None
    with pytest.raises(OSError, match="me/nothing"):
        AnalyticDPMScheduler.from_pretrained("me/nothing", **known)


# ---- errors ---------------------------------------------------------------------------------------------------------


def ready(kind=AncestralScheduler, count=2, **settings):
    scheduler = kind(**settings)
    scheduler.set_timesteps(count)
    return scheduler


def statistics_of(schedule):
    blank = torch.full((schedule.steps + 1,), torch.nan, dtype=torch.float64)
    return VarianceStats(blank, blank, blank, blank, schedule.signals, 1, "direct")


X = torch.zeros(1, *SHAPE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AncestralScheduler(trained_betas=[0.1, -0.1], num_train_timesteps=2), r"betas must lie in \(0, 1\]: got -0.1 to 0.1"),
        (lambda: AncestralScheduler(trained_betas=[0.1, 0.2]), "trained_betas and num_train_timesteps must agree: got 2 and 1000"),
        (lambda: AncestralScheduler(clip_sample_range=-1.0), "clip_sample_range must lie strictly between 0 and inf: got -1"),
        (lambda: AncestralScheduler(eta=-0.1), "eta must lie between 0 and inf: got -0.1"),
        (lambda: AncestralScheduler(variance_type="learned_range"), "variance_type must be one of 'fixed_small', 'fixed_large'"),
        (lambda: AnalyticDPMScheduler(variance_type="fixed_small"), "variance_type must be one of 'analytic'"),
        (lambda: AncestralScheduler(prediction_type="flow"), "prediction_type must be one of"),
        (lambda: AncestralScheduler(timestep_spacing="even"), "timestep_spacing must be one of"),
        (lambda: AncestralScheduler(steps_offset=-1), "steps_offset must lie between 0 and inf: got -1"),
        (lambda: AncestralScheduler(first_step_levels=-1.0), "first_step_levels must lie between 0 and inf"),
        (lambda: AncestralScheduler.from_config(diffusers.DDPMScheduler(thresholding=True).config), "thresholding must be False"),
        (lambda: ready(count=1001), "num_inference_steps must lie between 1 and 1000: got 1001"),
        (lambda: ready(count=0), "num_inference_steps must lie between 1 and 1000: got 0"),
        (lambda: ready(count=None), "num_inference_steps or timesteps must be given, one of them: got None and None"),
        (lambda: ready(count=40, timestep_spacing="quadratic"), "count must give quadratic times that differ: got 40"),
        (lambda: ready(count=1000, steps_offset=1), "steps_offset must leave the timesteps below 1000: got 1, up to 1000"),
        (lambda: AncestralScheduler().set_timesteps(5, timesteps=[1]), "one of them: got 5 and"),
        (lambda: AncestralScheduler().set_timesteps(timesteps=[]), "timesteps must hold at least one"),
        (lambda: AncestralScheduler().set_timesteps(timesteps=[5, 9]), "timesteps must descend: got 9 after 5"),
        (lambda: AncestralScheduler().set_timesteps(timesteps=[5, 5]), "timesteps must descend: got 5 after 5"),
        (lambda: AncestralScheduler().set_timesteps(timesteps=[1000, 5]), r"timesteps must lie in 0..999: got 1000"),
        (lambda: AncestralScheduler().set_timesteps(timesteps=[5, -1]), r"timesteps must lie in 0..999: got -1"),
        (lambda: ready().step(X, 499, X), "timestep must be one of those that set_timesteps chose: got 499"),
        (lambda: ready().step(X[:, :, :1], 500, X), r"model_output must have the shape of sample, \(1, 1, 2, 2\): got \(1, 1, 1, 2\)"),
        (lambda: ready().step(torch.cat([X, X], 1), 500, X), r"got \(1, 2, 2, 2\). With a variance in the second half.*Extended"),
        (lambda: ready().step(X, 500, X, generator=torch.Generator(), variance_noise=X), "generator or variance_noise must be given, not both"),
        (lambda: ready().step(X, 500, X, eta=-1.0), "eta must lie between 0 and inf"),
        (lambda: ready(ExtendedAnalyticDPMScheduler).step(X, 500, X), r"model_output must have twice the channels of sample, \(1, 2, 2, 2\)"),
        (lambda: ready(AnalyticDPMScheduler), r"stats must be given to AnalyticDPMScheduler: got None. Measure them"),
        (lambda: AnalyticDPMScheduler.from_config(AncestralScheduler().config, stats=statistics_of(NoiseSchedule.cosine())),
         r"stats must come from the scheduler's schedule, T=1000, ᾱ_T=0.00635.*: got T=1000, ᾱ_T=4.9"),
        (lambda: AnalyticDPMScheduler.from_config(AncestralScheduler().config, stats=statistics_of(NoiseSchedule.linear(500))), "got T=500"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_timesteps_that_were_not_measured_are_listed():
    scheduler = AnalyticDPMScheduler()
    scheduler.stats = stats_for([0, 250, 500])
    with pytest.raises(KeyError, match=r"missing \[750\]. Measure them: measure_variance\(pipe, images, 4\)"):
        scheduler.set_timesteps(4)


def test_statistics_of_samples_of_another_shape_are_refused():
    scheduler = AnalyticDPMScheduler()
    scheduler.stats = stats_for([0, 500], shape=(1, 3, 3))
    scheduler.set_timesteps(2)
    with pytest.raises(
        ValueError, match=r"stats must come from samples of the state's shape, \(1, 2, 2\): got \(1, 3, 3\)"
    ):
        scheduler.step(X, 500, X)


def test_the_first_step_that_was_not_finite_is_named():
    scheduler = AncestralScheduler(clip_sample=False)

    def network(x, times):
        return torch.full_like(x, torch.nan) if int(times[0]) == 500 else 0 * x

    with pytest.raises(
        FloatingPointError, match=r"states must stay finite: got the first others after step 2, from t=501 to s=251"
    ):
        walked(scheduler, network, normal(2, *SHAPE), 4)
    assert walked(scheduler, bent, normal(2, *SHAPE), 4).isfinite().all()


def test_many_negative_variances_are_warned_of_once():
    scheduler = ExtendedAnalyticDPMScheduler(variance_type="second_moment")

    def network(x, times):
        return torch.cat([x, x**2 - 1e-3], 1)

    with pytest.warns(UserWarning, match="100% of the head's variances are negative at a step and count as 0"):
        walked(scheduler, network, normal(2, *SHAPE), 4)
    walked(scheduler, network, normal(2, *SHAPE), 4)


def test_large_variances_of_ddpm_are_the_baseline_too():
    scheduler = AncestralScheduler(variance_type="fixed_large", eta=1.0, clip_sample=False)
    noise = normal(2, *SHAPE, seed=1)
    found = walked(scheduler, bent, normal(2, *SHAPE), 4, variance_noise=noise)
    times = (scheduler.timesteps.flip(0) + 1).tolist()
    model = Denoiser(bent, scheduler.noise_schedule)
    expected = sample(model, normal(2, *SHAPE), times, ancestral(1.0, fixed_large), noise=lambda x: noise)
    assert apart(found, expected) < 1e-12
