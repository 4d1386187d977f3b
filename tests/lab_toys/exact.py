"""A question without chance."""

from __future__ import annotations

from gezhi.lab import Experiment, Study, every, inside, itself

EXPERIMENT = Experiment(
    "Is it zero?",
    (
        Study(
            "exact",
            itself,
            {"zero": lambda case: {"error": 0.0 * case}},
            {"toy": 1.0},
            every(None),
            claims={"is zero": inside("error", "zero", high=0)},
            varies="nothing",
        ),
    ),
)
