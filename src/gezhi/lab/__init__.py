"""The bench: experiments, claims, verdicts, runs and reports. It names no method."""

from gezhi._checks import require

require("pydantic", "lab")

from gezhi.lab.claims import Claim, better, exponent, inside, lower, ratio, same  # noqa: E402
from gezhi.lab.clock import best_of  # noqa: E402
from gezhi.lab.figures import Dots, Lines, Profile  # noqa: E402
from gezhi.lab.study import Experiment, Study  # noqa: E402

__all__ = [
    "Claim",
    "Dots",
    "Experiment",
    "Lines",
    "Profile",
    "Study",
    "best_of",
    "better",
    "exponent",
    "inside",
    "lower",
    "ratio",
    "same",
]
