"""One loop of the sampler against bare diffusers schedulers: the same network output, the same noise, no network."""

from __future__ import annotations

from collections.abc import Callable

from _bench import Benchmark, arguments

options = arguments()

import torch
from torch import Tensor

from gezhi.diffusion import Denoiser, NoiseSchedule, ddim_step, ddpm_step, sample, timestep_subsequence
from gezhi.diffusion.sampler import Step

torch.set_num_threads(1)
AT_MOST = 1.0
SHAPE, COUNT = (64, 3, 32, 32), 50
CASES = {"DDIM": ddim_step(), "DDPM": ddpm_step("small"), "DDPM, clipped": ddpm_step("small", clip_x0=(-1, 1))}


def theirs(name: str, eps: Tensor, start: Tensor, noise: Tensor) -> Callable[[], Tensor]:
    """The loop that users of diffusers write."""
    import diffusers.schedulers.scheduling_ddpm as module
    from diffusers import DDIMScheduler, DDPMScheduler

    module.randn_tensor = lambda *_args, **_settings: noise  # drawing it costs the same on both sides
    kind = DDIMScheduler if name == "DDIM" else DDPMScheduler
    kwargs = {"set_alpha_to_one": True} if name == "DDIM" else {"variance_type": "fixed_small"}
    scheduler = kind(timestep_spacing="leading", clip_sample="clipped" in name, **kwargs)
    scheduler.set_timesteps(COUNT)

    def walk() -> Tensor:
        x = start
        for t in scheduler.timesteps:
            x = scheduler.step(eps, t, x).prev_sample
        return x

    return walk


def ours(step: Step, eps: Tensor, start: Tensor, noise: Tensor) -> Callable[[], Tensor]:
    model = Denoiser(lambda _x, _times: eps, NoiseSchedule.linear())
    times = timestep_subsequence(1000, COUNT, "leading").tolist()

    def walk() -> Tensor:
        return sample(model, start, times, step, noise=lambda _x: noise)

    return walk


@torch.inference_mode()
def main() -> None:
    bench = Benchmark("sampler")
    if bench.peer("diffusers"):
        draw = torch.Generator().manual_seed(1000)
        shape = (8, *SHAPE[1:]) if options.quick else SHAPE
        eps, start, noise = (torch.randn(shape, generator=draw) for _ in range(3))
        for name, step in CASES.items():
            calls = {"diffusers": theirs(name, eps, start, noise), "gezhi": ours(step, eps, start, noise)}
            left, right = (call() for call in calls.values())
            bench.same(name, float((left - right).norm() / left.norm()), 5e-5)
            case = f"{name}, {COUNT} steps of {'×'.join(map(str, shape))}"
            seconds = bench.time(case, calls, 3 if options.quick else 25)
            bar = {} if options.quick else {"at_most": AT_MOST}
            bench.ratio(f"{name}: gezhi : diffusers", seconds["gezhi"], seconds["diffusers"], **bar)
    bench.finish(options.json)


main()
