"""`gezhi sample`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from gezhi.cli.commands import TOOLS, Command, Json, Lang, Language


class Method(StrEnum):
    ddim = "ddim"
    ddpm = "ddpm"
    ddpm_large = "ddpm-large"
    analytic_dpm = "analytic-dpm"
    npr_dpm = "npr-dpm"
    sn_dpm = "sn-dpm"
    dpm_solver = "dpm-solver"


class Spacing(StrEnum):
    linspace = "linspace"
    leading = "leading"
    trailing = "trailing"
    quadratic = "quadratic"


@dataclass(frozen=True)
class Sample:
    """Draw pictures from a diffusion model in few steps; a small one is trained first, where none is given."""

    source: Annotated[
        str,
        typer.Argument(
            help="What to draw: digits, clothes, another set of pictures (`gezhi data`), a file or folder of your own "
            "pictures, a model that --keep wrote, or the folder of a diffusers pipeline."
        ),
    ] = "digits"
    method: Annotated[Method, typer.Option(help="How to step, and with which variance.")] = Method.analytic_dpm
    steps: Annotated[int, typer.Option(help="Steps, each of which calls the model once.")] = 10
    eta: Annotated[float | None, typer.Option(help="The mean of DDIM (0, the default), of DDPM (1), or between.")] = (
        None
    )
    spacing: Annotated[Spacing, typer.Option(help="Which times are visited.")] = Spacing.linspace
    count: Annotated[int, typer.Option(help="How many pictures.")] = 64
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.")] = 0
    output: Annotated[
        list[Path] | None,
        typer.Option("-o", "--output", help="A grid as .png, the pictures as .npz; default: samples.png, samples.npz."),
    ] = None
    data: Annotated[
        str | None, typer.Option(help="Pictures to measure variances on, for a model that brings none.")
    ] = None
    updates: Annotated[int | None, typer.Option(help="Updates of the training; default: what the set needs.")] = None
    keep: Annotated[Path | None, typer.Option(help="Write the trained model into this .safetensors file too.")] = None
    device: Annotated[str, typer.Option(help="cpu, cuda, …")] = "cpu"
    lang: Lang = Language.en
    json: Json = False

    def __call__(self) -> None:
        from gezhi.cli.sampling import run_and_print

        run_and_print(self)


EXAMPLE = "gezhi sample digits --method analytic-dpm --steps 10 -o digits.png"
RESUMES = "What was trained is kept; run the same command again to go on."
COMMAND = Command(Sample, "sample", TOOLS, EXAMPLE, RESUMES)
