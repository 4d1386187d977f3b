"""Real pipelines with a small UNet: measured, switched, saved and read again; heads for variances; what is refused."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusion.beds import LINEAR, normal

from gezhi.diffusion import (
    AnalyticVariance,
    Denoiser,
    NoiseSchedule,
    ancestral,
    ddim_step,
    estimate_x0_variance,
    optimal_trajectory,
    sample,
)
from gezhi.diffusion.fingerprint import fingerprint

diffusers = pytest.importorskip("diffusers")
adapter = pytest.importorskip("gezhi.adapters.diffusers")

SIZES = {
    "sample_size": 8,
    "in_channels": 1,
    "out_channels": 1,
    "layers_per_block": 1,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "down_block_types": ("DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D"),
}


def unet(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return diffusers.UNet2DModel(**SIZES).eval()


@pytest.fixture
def pipe():
    made = diffusers.DDPMPipeline(unet(), diffusers.DDPMScheduler())
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def images():
    return normal(40, 1, 8, 8, dtype=torch.float32).clamp(-1, 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(pipe, count=5, seed=0, **settings):
    found = pipe(batch_size=2, num_inference_steps=count, generator=seeded(seed), output_type="pt", **settings)
    return found.images.permute(0, 2, 3, 1).float().numpy()


def reference(network, scheduler, step, count=5, seed=0):
    """What a pipeline does, by gezhi's own sampler."""
    scheduler.set_timesteps(count)
    times, draw = (scheduler.timesteps.flip(0) + 1).tolist(), seeded(seed)
    x = torch.randn(2, 1, 8, 8, generator=draw)
    with torch.no_grad():
        out = sample(Denoiser(network, scheduler.noise_schedule), x, times, step, generator=draw)
    return ((out / 2 + 0.5).clamp(0, 1)).permute(0, 2, 3, 1).numpy()


# ---- measure and switch ---------------------------------------------------------------------------------------------


def test_what_is_measured_is_the_estimate(pipe, images):
    found = adapter.measure_variance(pipe, images, 5, num_samples=30, generator=seeded())
    expected = estimate_x0_variance(
        Denoiser(pipe.unet, NoiseSchedule.from_diffusers(pipe.scheduler)), images, [801, 601, 401, 201, 1],
        num_samples=30, data_range=(-1, 1), generator=seeded(),
    )  # fmt: skip
    for name in ("x0_var", "ms_eps", "residual", "std_error", "signals"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=0, equal_nan=True)
    assert (found.shape, found.model, found.n) == ((1, 8, 8), fingerprint(pipe.unet), 30)


def test_several_numbers_of_steps_and_ones_own(pipe, images):
    several = adapter.measure_variance(pipe, images, (2, 5), num_samples=2)
    assert several.ms_eps.isfinite().nonzero().flatten().tolist() == [1, 201, 401, 501, 601, 801]
    own = adapter.measure_variance(pipe.unet, images, scheduler=pipe.scheduler, timesteps=[3, 7, 5], num_samples=2)
    assert own.ms_eps.isfinite().nonzero().flatten().tolist() == [4, 6, 8]
    spaced = diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
    trailing = adapter.measure_variance(pipe, images, 2, scheduler=spaced, num_samples=2)
    assert trailing.ms_eps.isfinite().nonzero().flatten().tolist() == [500, 1000]
    assert trailing.x0_var[1000] > 1  # nothing is clipped where the scheduler does not clip


def test_the_best_path_of_a_pipeline(pipe, images):
    short = diffusers.DDPMScheduler(num_train_timesteps=30)
    stats = adapter.measure_variance(lambda x, t: 0.9 * x, images, scheduler=short, timesteps=range(30), num_samples=40)
    schedule = NoiseSchedule.from_diffusers(short)
    times, _ = optimal_trajectory(schedule, stats.ms_eps, 4)
    scheduler = adapter.AnalyticDPMScheduler.from_config(short.config, stats=stats)
    scheduler.set_timesteps(timesteps=(times.flip(0) - 1).tolist())
    assert scheduler.timesteps.tolist()[0] == 29
    assert scheduler.timesteps.tolist()[-1] == 0


def test_a_switched_pipeline_takes_the_steps_of_the_sampler(pipe, images):
    stats = adapter.measure_variance(pipe, images, 5, num_samples=30)
    plain = drawn(pipe)
    for eta in (0.0, 1.0):
        assert adapter.use_analytic_dpm(pipe, stats, eta=eta) is pipe
        expected = reference(pipe.unet, pipe.scheduler, ancestral(eta, AnalyticVariance(stats), (-1, 1)))
        np.testing.assert_allclose(drawn(pipe), expected, atol=1e-5)
    assert np.abs(drawn(pipe) - plain).max() > 0.01


def test_ddim_s_pipeline_decides_eta_itself(images):
    pipe = diffusers.DDIMPipeline(unet(), diffusers.DDIMScheduler())
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = adapter.AncestralScheduler.from_config(pipe.scheduler.config, eta=1.0)
    expected = reference(pipe.unet, pipe.scheduler, ddim_step(clip_x0=(-1, 1)))
    np.testing.assert_allclose(drawn(pipe), expected, atol=1e-5)
    stats = adapter.measure_variance(pipe, images, 5, num_samples=30)
    adapter.use_analytic_dpm(pipe, stats, eta=1.0)
    expected = reference(pipe.unet, pipe.scheduler, ancestral(0.3, AnalyticVariance(stats), (-1, 1)))
    np.testing.assert_allclose(drawn(pipe, eta=0.3), expected, atol=1e-5)


def test_a_pipeline_is_saved_with_its_statistics(pipe, images, tmp_path):
    adapter.use_analytic_dpm(pipe, adapter.measure_variance(pipe, images, 5, num_samples=30), first_step_levels=2)
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["scheduler"] == ["gezhi.adapters.diffusers", "AnalyticDPMScheduler"]
    assert (tmp_path / "scheduler" / "variance_stats.safetensors").exists()
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert again.scheduler.config.first_step_levels == 2
    np.testing.assert_array_equal(drawn(again), drawn(pipe))
    adapter.AnalyticDPMScheduler.from_pretrained(tmp_path, subfolder="scheduler", network=again.unet)
    for place in (tmp_path / "scheduler", tmp_path / "scheduler" / "variance_stats.safetensors"):
        assert adapter.use_analytic_dpm(again, place).scheduler.stats.n == 30


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(pipe, images, dtype):
    pipe.to(dtype)
    adapter.use_analytic_dpm(pipe, adapter.measure_variance(pipe, images, 5, num_samples=8))
    assert np.isfinite(drawn(pipe)).all()


def test_the_network_comes_back_as_it_was(pipe, images):
    pipe.unet.train()
    pipe.unet.conv_in.eval()
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    adapter.measure_variance(pipe, images, 2, num_samples=4)
    adapter.add_variance_head(pipe, images, 2, batch_size=4)
    assert pipe.unet.training
    assert not pipe.unet.conv_in.training
    assert all(torch.equal(before[name], value) for name, value in pipe.unet.state_dict().items())
    assert all(p.grad is None for p in pipe.unet.parameters())


def test_a_bar_counts_the_timesteps(pipe, images, capsys):
    pipe.set_progress_bar_config(desc="measuring")
    adapter.measure_variance(pipe, images, 3, num_samples=2)
    shown = capsys.readouterr().err
    assert "measuring" in shown
    assert "3/3" in shown
    adapter.measure_variance(pipe.unet, images, 3, scheduler=pipe.scheduler, num_samples=2)
    assert "3/3" in capsys.readouterr().err
    adapter.add_variance_head(pipe, images, 4, batch_size=2)
    assert "4/4" in capsys.readouterr().err


# ---- heads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "positive"),
    [("residual", "softplus"), ("residual", "exp"), ("residual", "relative"), ("second_moment", "softplus")],
)
def test_a_head_is_trained_switched_on_and_saved(pipe, images, tmp_path, kind, positive):
    short = diffusers.DDPMScheduler(num_train_timesteps=50)
    pipe.scheduler, stats = short, None
    if positive == "relative":
        stats = adapter.measure_variance(pipe, images, timesteps=range(50), num_samples=4)
    made = adapter.add_variance_head(
        pipe, images, 3, kind=kind, positive=positive, stats=stats, batch_size=4, generator=seeded()
    )
    assert made.variance_type == kind
    assert made.unet is pipe.unet
    adapter.use_extended_analytic_dpm(pipe, made, eta=1.0)
    assert (pipe.scheduler.variance_type, pipe.scheduler.config.num_train_timesteps) == (kind, 50)
    pipe.save_pretrained(tmp_path)
    again = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    np.testing.assert_array_equal(drawn(again), drawn(pipe))
    assert type(again.unet.head) is type(made.head)
    again.unet.head.belongs_to(NoiseSchedule.from_diffusers(short))
    assert np.isfinite(drawn(pipe.to(torch.bfloat16))).all()


@pytest.mark.parametrize("name", ["DiffusionPipeline", "logging", "no_such_model", None])
def test_a_folder_cannot_name_anything_but_a_model(pipe, images, tmp_path, name):
    made = adapter.add_variance_head(pipe, images, 1, batch_size=4, generator=seeded())
    made.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "network_class": name}))
    with pytest.raises(ValueError, match=r"config.json must name a model of diffusers as network_class"):
        adapter.UNetWithVariance.from_pretrained(tmp_path)


def test_a_head_that_starts_at_the_direct_estimate_takes_its_steps(pipe, images):
    pipe.scheduler = diffusers.DDPMScheduler(num_train_timesteps=50)
    stats = adapter.measure_variance(pipe, images, timesteps=range(50), num_samples=30)
    made = adapter.add_variance_head(
        pipe, images, 1, positive="relative", stats=stats, batch_size=4, learning_rate=1e-12
    )  # fmt: skip
    plain = copy.copy(pipe)
    adapter.use_analytic_dpm(plain, stats)
    expected = drawn(plain)
    adapter.use_extended_analytic_dpm(pipe, made)
    np.testing.assert_allclose(drawn(pipe), expected, atol=1e-5)


def test_a_head_learns_what_its_network_does_not_know(pipe, images):
    made = adapter.add_variance_head(pipe, images, 150, batch_size=32, learning_rate=3e-3, generator=seeded())
    schedule, x0, noise = NoiseSchedule.from_diffusers(pipe.scheduler), images, normal(40, 1, 8, 8, seed=3).float()
    for t in (100, 500):
        x = schedule.signal(t) * x0 + schedule.noise(t) * noise
        with torch.no_grad():
            eps, g = made(x, torch.tensor(t - 1)).sample.chunk(2, 1)
        missed = (noise - eps) ** 2
        assert g.mean() == pytest.approx(float(missed.mean()), rel=0.15)
        assert ((g - missed) ** 2).mean() < ((1 - missed) ** 2).mean()


def test_measuring_looks_past_the_head(pipe, images):
    made = adapter.add_variance_head(pipe, images, 1, batch_size=2)
    runs = [
        adapter.measure_variance(network, images, 3, scheduler=pipe.scheduler, num_samples=4, generator=seeded())
        for network in (made, pipe.unet)
    ]
    assert runs[0].model == runs[1].model
    torch.testing.assert_close(runs[0].x0_var, runs[1].x0_var, equal_nan=True)


def test_a_tuple_where_it_is_asked_for(pipe, images):
    made = adapter.add_variance_head(pipe, images, 1, batch_size=2)
    (found,) = made(images[:2], 5, return_dict=False)
    assert torch.equal(found, made(images[:2], torch.tensor([5, 5])).sample)
    assert found.shape == (2, 2, 8, 8)


# ---- errors ---------------------------------------------------------------------------------------------------------


def test_statistics_of_another_model_are_refused_by_name(pipe, images, tmp_path):
    stats = adapter.measure_variance(pipe, images, 5, num_samples=4)
    other = diffusers.DDPMPipeline(unet(1), pipe.scheduler)
    mine, theirs = fingerprint(other.unet), stats.model
    with pytest.raises(ValueError, match=rf"stats must belong to the network, {mine} .*: got {theirs}. Estimate them"):
        adapter.use_analytic_dpm(other, stats)
    assert type(other.scheduler) is diffusers.DDPMScheduler
    adapter.use_analytic_dpm(pipe, stats).scheduler.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="stats must belong to the network"):
        adapter.AnalyticDPMScheduler.from_pretrained(tmp_path, network=other.unet)
    with pytest.raises(ValueError, match="in the type in which it samples"):
        adapter.use_analytic_dpm(pipe.to(torch.float16), stats)
    pipe.unet = unet()
    adapter.use_analytic_dpm(pipe, replace(stats, shape=(3, 8, 8)))
    with pytest.raises(
        ValueError, match=r"stats must come from samples of the state's shape, \(1, 8, 8\): got \(3, 8, 8\)"
    ):
        drawn(pipe)


def test_a_network_that_returns_nan_is_named(pipe, images):
    stats = adapter.measure_variance(pipe, images, 5, num_samples=4)
    adapter.use_analytic_dpm(pipe, replace(stats, model=""))
    with torch.no_grad():
        pipe.unet.conv_out.bias.fill_(torch.nan)
    with pytest.raises(
        FloatingPointError, match="states must stay finite: got the first others after step 1, from t=801"
    ):
        drawn(pipe)
    with pytest.raises(FloatingPointError, match="model must predict finite values: got nan at t=801"):
        adapter.measure_variance(pipe, images, 5, num_samples=4)
    with pytest.raises(FloatingPointError, match="the head's loss must stay finite: got nan at update 1"):
        adapter.add_variance_head(pipe, images, 1, batch_size=2)


def test_a_head_of_another_schedule_is_refused(pipe, images):
    made = adapter.add_variance_head(pipe, images, 1, batch_size=2)
    pipe.scheduler = diffusers.DDPMScheduler(num_train_timesteps=500)
    with pytest.raises(ValueError, match="head must be used with the schedule of its training: got T=1000"):
        adapter.use_extended_analytic_dpm(pipe, made)
    assert type(pipe.unet) is diffusers.UNet2DModel
    with pytest.raises(
        TypeError, match=r"unet must be a UNetWithVariance: got UNet2DModel. Make one: add_variance_head"
    ):
        adapter.use_extended_analytic_dpm(pipe, pipe.unet)


def test_any_scheduler_with_betas_can_be_replaced(pipe, images):
    pipe.scheduler = diffusers.EulerDiscreteScheduler(timestep_spacing="trailing")
    stats = adapter.measure_variance(pipe, images, 5, num_samples=4)
    adapter.use_analytic_dpm(pipe, stats)
    assert pipe.scheduler.config.timestep_spacing == "trailing"
    assert not pipe.scheduler.config.clip_sample  # as Euler does not
    pipe.scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    with pytest.raises(ValueError, match="config must be of a scheduler with betas: got one without"):
        adapter.use_analytic_dpm(pipe, stats)
    with pytest.raises(ValueError, match="config must be of a scheduler with betas"):
        adapter.measure_variance(pipe, images, 5)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (TypeError, lambda p, x: adapter.measure_variance(p, (x * 255).byte(), 5), r"data must be a tensor of floating type.*got torch.uint8. Scale grey levels"),
        (TypeError, lambda p, x: adapter.measure_variance(p, x.numpy(), 5), "got ndarray"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x * 127, 5), r"data must lie in ±1, to which the scheduler clips: got -127 to 127"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x[..., :4], 5), r"data must have the shape of what the network makes, \(rows, 1, 8, 8\): got \(40, 1, 8, 4\)"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x[:0], 5), "data must have rows"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x), "num_inference_steps or timesteps must be given, one of them: got None and None"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x, ()), "num_inference_steps must hold at least one number"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x, 1001), "num_inference_steps must lie between 1 and 1000: got 1001"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x, timesteps=[1000]), r"timesteps must lie in 0..999"),
        (ValueError, lambda p, x: adapter.measure_variance(p.unet, x, 5), "scheduler must be given with a network"),
        (ValueError, lambda p, x: adapter.measure_variance(p, x, 5, method="best"), "method must be one of"),
        (ValueError, lambda p, x: adapter.add_variance_head(p, x, 1, kind="third"), "kind must be one of 'residual', 'second_moment'"),
        (ValueError, lambda p, x: adapter.add_variance_head(p, x, 0), "steps must lie between 1 and inf"),
        (ValueError, lambda p, x: adapter.add_variance_head(p, x, 1, positive="relative"), "stats must have a positive residual at every time"),
        (ValueError, lambda p, x: adapter.add_variance_head(p, x, 1, layer="nowhere"), "layer must be a layer of the network: got nowhere"),
        (ValueError, lambda p, x: adapter.add_variance_head(p.to(torch.float16), x, 1), "model must be in float32 while its head is trained"),
        (ValueError, lambda p, x: adapter.UNetWithVariance.from_pretrained("nowhere"), "folder must hold variance_head.safetensors"),
    ],
)  # fmt: skip
def test_bad_input_is_named(pipe, images, error, call, message):
    with pytest.raises(error, match=message):
        call(pipe, images)


def test_a_pipeline_without_a_unet_is_refused(images):
    class Other(diffusers.DiffusionPipeline):
        def __init__(self, scheduler):
            super().__init__()
            self.register_modules(scheduler=scheduler)

    with pytest.raises(ValueError, match="model must be a pipeline with a unet: got Other"):
        adapter.measure_variance(Other(diffusers.DDPMScheduler()), images, 5)


def test_a_function_has_no_fingerprint(images):
    stats = adapter.measure_variance(lambda x, t: x, images, 2, scheduler=diffusers.DDPMScheduler(), num_samples=2)
    assert stats.model == ""
    torch.testing.assert_close(stats.signals, LINEAR.signals, rtol=0, atol=1e-6)
