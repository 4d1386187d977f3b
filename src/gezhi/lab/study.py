"""An experiment is a few studies; a study measures arms on cases and carries the claims about them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from gezhi._checks import check_choice, invalid
from gezhi.data.kinds import KINDS
from gezhi.lab.claims import Claim
from gezhi.lab.figures import Figure

BUDGETS = ("smoke", "quick", "full")
SEEDS = {"smoke": 2, "quick": 5, "full": 10}
FIRST_SEED = 1000  # the pilots that planned sizes and margins used 0 to 19
Varies = Literal["seed", "items", "both", "nothing"]


@dataclass(frozen=True)
class Study:
    """Arms measured alike on cases, and the claims about the outcome.

    Args:
        name: shown in the report, unique in the experiment.
        measure: `measure(arm, case, seed, size) -> {metric: number, or one number per test item}`.
        arms: shown name to the value that `measure` receives; the first is the baseline.
        cases: shown name to value; a callable is called once a worker, to load or generate.
        sizes: budget to what `measure` receives as `size`; a budget without entry does not run the study.
        claims: fixed before the run.
        varies: `"seed"` every seed draws split, initialisation and data; `"items"` fixed test set, nothing random;
            `"both"` fixed test set, random training; `"nothing"` exact.
        alone: timed: nothing runs beside it, seeds are interleaved rounds.
        threads: threads of a timed study (others use one per job).
        accepts: a data kind: the user's file may become the only case.
        units: metric to unit; `"%"` shows shares as percent and their differences as percentage points.
        scope: what the verdicts speak of, (English, Chinese), without case and what varies.
        figures: drawn from the replicates.
        seeds: budget to number of replicates where the house's (5 quick, 10 full) are too many.
    """

    name: str
    measure: Callable[..., Mapping[str, Any]]
    arms: Mapping[str, Any]
    cases: Mapping[str, Any]
    sizes: Mapping[str, Any]
    claims: Sequence[Claim]
    varies: Varies = "seed"
    alone: bool = False
    threads: int = 1
    accepts: str | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    scope: tuple[str, str] = ("", "")
    figures: Sequence[Figure] = ()
    seeds: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_choice("varies", self.varies, ("seed", "items", "both", "nothing"))
        for argument, budgets in (("sizes", self.sizes), ("seeds", self.seeds)):
            for budget in budgets:
                check_choice(f"{argument} of {self.name!r}", budget, BUDGETS)
        if len(self.arms) < (1 if self.exact else 2):
            raise invalid(f"arms of {self.name!r}", "hold a baseline and what is compared with it", list(self.arms))
        if self.accepts is not None:
            check_choice(f"accepts of {self.name!r}", self.accepts, KINDS)
        elif not self.cases:
            raise invalid(f"cases of {self.name!r}", "hold a case, or accepts a data kind", "neither")
        for claim in self.claims:
            self._check_claim(claim)

    def _check_claim(self, claim: Claim) -> None:
        if claim.at is not None and claim.at not in self.cases:
            raise invalid(f"at of claim {claim.id!r}", f"name a case of {list(self.cases)}", claim.at)
        for test in claim.all_tests:
            number = test.number
            for arm in {number.arm, number.than} - {None, *self.arms}:
                raise invalid(f"arm of claim {claim.id!r}", f"be one of {list(self.arms)}", arm)
            if number.how == "difference" and self.varies != "nothing" and 0 in (test.low, test.high):
                raise invalid(f"margin of claim {claim.id!r}", "not be 0", 0, "State the smallest gain worth having.")
        if claim.along_cases:
            self._check_trend(claim)

    def _check_trend(self, claim: Claim) -> None:
        if claim.at is None and any(test.number.how != "exponent" for test in claim.all_tests):
            raise invalid(f"at of claim {claim.id!r}", "name the case of the tests beside the exponent", None)
        try:
            numbers = case_numbers(self.cases)
        except (TypeError, ValueError):
            numbers = []
        if len(set(numbers)) < 2 or min(numbers) <= 0:
            must = "be two positive numbers at least, or names that end in '= number'"
            raise invalid(f"cases of {self.name!r}", must, list(self.cases), "Its exponent is a slope along them.")

    @property
    def exact(self) -> bool:
        return self.varies == "nothing"

    def replicates(self, budget: str, asked: int | None) -> list[int]:
        """The seeds of a run; a study in which nothing random varies has one."""
        if self.varies in ("items", "nothing") and not self.alone:
            return [FIRST_SEED]
        count = asked or self.seeds.get(budget, SEEDS[budget])
        return [FIRST_SEED + i for i in range(count)]


@dataclass(frozen=True)
class Experiment:
    """A question and the studies that answer it.

    Args:
        question: the module's docstring.
        studies: their names and the ids of their claims are unique.
        zh: Chinese names of arms, cases, metrics and studies.
        packages: distributions beside the core's on whose version the figures depend as well, such as numba.
    """

    question: str
    studies: Sequence[Study]
    zh: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [study.name for study in self.studies]
        ids = [claim.id for study in self.studies for claim in study.claims]
        for what, found in (("study names", names), ("claim ids", ids)):
            twice = sorted({name for name in found if found.count(name) > 1})
            if twice:
                raise invalid(what, "be unique in an experiment", twice)

    def study(self, name: str) -> Study:
        return next(study for study in self.studies if study.name == name)


def case_numbers(cases: Mapping[str, Any]) -> list[float]:
    """The numbers along which an exponent is fitted: the cases' values, or what follows `=` in their names."""
    return [float(v) if isinstance(v, int | float) else float(name.split("=")[-1]) for name, v in cases.items()]


@lru_cache(maxsize=64)
def load_experiment(stem: str) -> Experiment:
    """The `EXPERIMENT` of `gezhi.experiments.<stem>` (or of the module, for a dotted name)."""
    module = importlib.import_module(experiment_module(stem))
    experiment = getattr(module, "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise invalid(f"EXPERIMENT of {module.__name__}", "be a gezhi.lab.Experiment", type(experiment).__name__)
    return experiment


def experiment_module(stem: str) -> str:
    """Where an experiment lives; names with a dot are modules outside the house."""
    return stem if "." in stem else f"gezhi.experiments.{stem}"
