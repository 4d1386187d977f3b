"""The bench: experiments, claims, verdicts, runs and reports. It names no method."""

from gezhi._checks import require

require("pydantic", "lab")

from gezhi.lab.claims import at, better, exponent, inside, lower, ratio, same  # noqa: E402
from gezhi.lab.clock import best_of  # noqa: E402
from gezhi.lab.figures import Dots, Grid, Lines, Profile  # noqa: E402
from gezhi.lab.study import YOUR_DATA, Experiment, Study, every, itself, two_thirds  # noqa: E402

__all__ = [
    "YOUR_DATA",
    "Dots",
    "Experiment",
    "Grid",
    "Lines",
    "Profile",
    "Study",
    "at",
    "best_of",
    "better",
    "every",
    "exponent",
    "inside",
    "itself",
    "lower",
    "ratio",
    "same",
    "two_thirds",
]
