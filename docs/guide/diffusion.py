"""Fewer steps with a diffusers pipeline that one already has: what each scheduler makes of the same network, on a CPU.

    python docs/guide/diffusion.py --seeds 5 --out docs/results/diffusion.json --picture docs/guide/diffusion.png

A small UNet learns scikit-learn's digits, as a stand-in for a pipeline of one's own. Then its variances are measured
and its scheduler is swapped; the network stays as it is.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel
from sklearn.datasets import load_digits
from torch import Tensor

from gezhi.adapters.diffusers import (
    AnalyticDPMScheduler,
    ExtendedAnalyticDPMScheduler,
    add_variance_head,
    measure_variance,
)
from gezhi.diffusion import frechet_distance
from gezhi.experiments.setups.pictures import save_grid

COUNTS = (5, 10, 25)  # steps
SIZES = {
    "sample_size": 8, "in_channels": 1, "out_channels": 1, "layers_per_block": 1, "block_out_channels": (16, 32),
    "norm_num_groups": 8, "down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2,
}  # fmt: skip


def digits(seed: int) -> tuple[Tensor, Tensor]:
    """Digits from -1 to 1, for the training and for the judgement."""
    x = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return x[order[:1000]], x[order[1000:]]


def pipeline(images: Tensor, updates: int, seed: int) -> DDPMPipeline:
    """A UNet trained to predict the noise, as any tutorial of diffusers does it."""
    torch.manual_seed(seed)
    unet, scheduler = UNet2DModel(**SIZES), DDPMScheduler()
    optimizer = torch.optim.Adam(unet.parameters(), 1e-3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    for _ in range(updates):
        x0 = images[torch.randint(len(images), (64,))]
        noise, t = torch.randn_like(x0), torch.randint(1000, (64,))
        optimizer.zero_grad()
        F.mse_loss(unet(scheduler.add_noise(x0, noise, t), t).sample, noise).backward()
        optimizer.step()
        fall.step()
    pipe = DDPMPipeline(unet.eval(), scheduler)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def schedulers(pipe: DDPMPipeline, images: Tensor, updates: int) -> dict[str, tuple[Any, Any]]:
    """By arm, a network and a scheduler; what is measured and trained sees the training images alone."""
    config, unet = pipe.scheduler.config, pipe.unet
    stats = measure_variance(pipe, images, COUNTS)
    learned = add_variance_head(pipe, images, updates)
    return {
        "DDPM": (unet, DDPMScheduler.from_config(config)),
        "DDIM": (unet, DDIMScheduler.from_config(config)),
        "analytic": (unet, AnalyticDPMScheduler.from_config(config, stats=stats, first_step_levels=1)),
        "analytic, η = 1": (unet, AnalyticDPMScheduler.from_config(config, stats=stats, eta=1.0, first_step_levels=2)),
        "learned": (learned, ExtendedAnalyticDPMScheduler.from_config(config, first_step_levels=1)),
    }


def draw(unet: Any, scheduler: Any, steps: int, count: int, seed: int) -> Tensor:
    """Pictures from -1 to 1, of the same initial noise for all schedulers."""
    pipe = DDPMPipeline(unet, scheduler)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    return pipe(count, generator, num_inference_steps=steps, output_type="pt").images * 2 - 1


def distances(x: Tensor, y: Tensor) -> dict[str, float]:
    """Of two sets of pictures: Fréchet's between their moments, and the energy distance; 0 for the same law."""
    x, y = x.flatten(1).double(), y.flatten(1).double()
    energy = 2 * torch.cdist(x, y).mean()
    for one in (x, y):
        energy -= torch.cdist(one, one).sum() / (len(one) * (len(one) - 1))
    return {"Fréchet": frechet_distance(x.mean(0), x.T.cov(), y.mean(0), y.T.cov()), "energy": float(energy)}


def compare(seed: int, updates: int, head: int, count: int) -> tuple[dict[str, Any], Tensor]:
    """Distances to held-out digits by arm and number of steps; and ten pictures an arm of ten steps."""
    train, held_out = digits(seed)
    arms = schedulers(pipeline(train, updates, seed), train, head)
    found: dict[str, Any] = {"seed": seed, "training images": distances(train, held_out), "arms": {}}
    rows = []
    for name, (unet, scheduler) in arms.items():
        drawn = {steps: draw(unet, scheduler, steps, count, seed) for steps in COUNTS}
        found["arms"][name] = {str(steps): distances(x, held_out) for steps, x in drawn.items()}
        rows.append(drawn[10][:10])
    return found, torch.cat([*rows, held_out[:10]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--head", type=int, default=1000)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    results = [compare(asked.first + i, asked.updates, asked.head, asked.count) for i in range(asked.seeds)]
    record = {
        "updates": asked.updates,
        "head": asked.head,
        "count": asked.count,
        "packages": {name: version(name) for name in ("torch", "diffusers")},
        "runs": [found for found, _ in results],
        "seconds": time.process_time() - start,
    }
    print(json.dumps(record, indent=1, ensure_ascii=False))
    if asked.out:
        asked.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if asked.picture:
        save_grid(asked.picture, F.interpolate(results[0][1], scale_factor=6), columns=10)


if __name__ == "__main__":
    main()
