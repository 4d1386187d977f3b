"""Streams of four games of a point against a linear critic, and the way that one start takes in each.

python docs/guide/games.py --out docs/guide/games.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from gezhi.gan import GradientPenalty, dirac_field, non_saturating, phase_portrait, simulate, wasserstein

START = np.array([1.0, 0.2, -0.3, 1.0])  # the critic's two parameters, then the point
GAMES = {
    "no penalty": dirac_field(non_saturating),
    "one-centred penalty": dirac_field(wasserstein, penalty=GradientPenalty(0.3, at="real")),
    "zero-centred penalty": dirac_field(wasserstein, penalty=GradientPenalty(0.15, center=0.0, at="real")),
    "L2 on the critic": dirac_field(wasserstein, weight_decay=0.3),
}
INK, PAPER, LINE, FIELD = "#1f2328", "#ffffff", "#b4371e", "#b9c2cc"


def draw(path: Path) -> dict[str, float]:
    """One panel a game: the field where the other two parameters are 0, and the way of the start; how far it ends."""
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.4), facecolor=PAPER, layout="constrained")
    left = {}
    for panel, (name, field) in zip(panels, GAMES.items(), strict=True):
        shifted = np.array([1e-3, 1e-3, 1e-3, 1e-3])  # a one-centred penalty has no slope at 0
        x, y, u, v = phase_portrait(field, shifted, axes=(2, 0), radius=1.6, n=21)
        panel.streamplot(x, y, u, v, color=FIELD, density=0.9, linewidth=0.8, arrowsize=0.8)
        states = simulate(field, START, np.linspace(0, 60, 1500), rtol=1e-8).states
        panel.plot(states[:, 2], states[:, 0], color=LINE, linewidth=1.0)
        panel.plot(*START[[2, 0]], "o", color=LINE, markersize=4)
        panel.set(title=name, xlabel="generator θ₁", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), aspect="equal")
        panel.title.set_color(INK)
        left[name] = float(np.linalg.norm(states[-1]))
    panels[0].set_ylabel("critic φ₁")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("games.png"))
    asked = parser.parse_args()
    for name, left in draw(asked.out).items():
        print(f"{name:22} distance from rest at the end: {left:.3f}")


if __name__ == "__main__":
    main()
