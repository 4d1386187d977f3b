"""An experiment is a few studies; a study measures arms on cases and carries the tests of the claims about them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Literal, TypeGuard

from gezhi._checks import check_choice, invalid
from gezhi.lab.claims import Asked, Claim, as_claim
from gezhi.lab.figures import Figure

BUDGETS = ("smoke", "quick", "full")
SEEDS = {"smoke": 2, "quick": 5, "full": 10}
YOUR_DATA = "your data"  # the key of the size for a user's file, where sizes are by case
FIRST_SEED = 1000  # of the first look; the pilots that planned sizes and margins used 0 to 19
Varies = Literal["seed", "rows", "items", "nothing"]


@dataclass(frozen=True)
class Study:
    """Arms measured alike on cases, and the tests of the claims about the outcome.

    Args:
        name: unique in the experiment; the page's heading of its claims.
        measure: `measure(arm, case, seed, size) -> {metric: number, or one number per test row}`; `itself` lets exact
            arms measure themselves. Of a timed study: `-> callable`, which the lab times (see `timed`).
        arms: shown name to the value that `measure` receives; the first is the baseline.
        cases: shown name to value; a callable is called once a worker, to load or generate.
        sizes: budget to what `measure` receives, or to one size for each case that this budget asks; a budget without
            entry does not run the study. `every(x)`: the same at all budgets.
        claims: id to test, several tests that must all hold, or `at(case, test)`; fixed before the run.
        varies: `"seed"` every seed draws data, split and initialisation; `"rows"` a fixed table or test set, training
            or splits redrawn: one number per row of the table, NaN where it was not tested; `"items"` a fixed test set,
            nothing random; `"nothing"` exact.
        timed: nothing runs beside it; each replicate is a fresh process that calls every arm `repeats` times in turn
            and keeps the fastest as `seconds`. A mapping that the call returns adds metrics; functions in it are called
            after the clock.
        accepts: a data kind: the user's file may become the only case.
        figures: drawn from the replicates.
        trains: the size at two thirds of the steps, from the size; see `two_thirds`. Claims whose arms still move
            there get no verdict.
        seeds: budget to number of replicates, where the house's (5 quick, 10 full) do not fit.
        resolution: metric to the step in which it is counted, where replicates may agree to within it.
        repeats, threads: of a timed study.
    """

    name: str
    measure: Callable[..., Any]
    arms: Mapping[str, Any]
    cases: Mapping[str, Any]
    sizes: Mapping[str, Any]
    claims: Mapping[str, Asked]
    varies: Varies = "seed"
    timed: bool = False
    accepts: str | None = None
    figures: Sequence[Figure] = ()
    trains: Callable[[Any], Any] | None = None
    seeds: Mapping[str, int] = field(default_factory=dict)
    resolution: Mapping[str, float] = field(default_factory=dict)
    repeats: int = 3
    threads: int = 1

    def __post_init__(self) -> None:
        check_choice("varies", self.varies, ("seed", "rows", "items", "nothing"))
        for argument, budgets in (("sizes", self.sizes), ("seeds", self.seeds)):
            for budget in budgets:
                check_choice(f"{argument} of {self.name!r}", budget, BUDGETS)
        if len(self.arms) < (1 if self.exact else 2):
            raise invalid(f"arms of {self.name!r}", "hold a baseline and what is compared with it", list(self.arms))
        if self.accepts is not None:
            from gezhi.data.kinds import KINDS  # records are read without the loaders

            check_choice(f"accepts of {self.name!r}", self.accepts, KINDS)
        elif not self.cases:
            raise invalid(f"cases of {self.name!r}", "hold a case, or accepts a data kind", "neither")
        for name, claim in self.asked.items():
            self._check_claim(name, claim)
        for budget in self.sizes:
            self._check_budget(budget)

    @cached_property
    def asked(self) -> dict[str, Claim]:
        """Its claims by id."""
        return {name: as_claim(asked) for name, asked in self.claims.items()}

    def _check_claim(self, name: str, claim: Claim) -> None:
        for case in set(claim.cases or ()) - set(self.cases):
            raise invalid(f"cases of claim {name!r}", f"be of {list(self.cases)}", case)
        for test in claim.tests:
            for arm in set(test.number.arms) - set(self.arms):
                raise invalid(f"arm of claim {name!r}", f"be one of {list(self.arms)}", arm)
            if test.number.how == "difference" and not self.exact and 0 in test.margins:
                raise invalid(f"margin of claim {name!r}", "not be 0", 0, "State the smallest gain worth having.")
            if test.number.how == "exponent" and self.varies in ("rows", "items"):
                must = f"be no exponent where {self.varies} vary"
                raise invalid(f"claim {name!r}", must, "exponent", "Let the seed vary.")
        if claim.along_cases:
            self._check_trend(name, claim)

    def _check_trend(self, name: str, claim: Claim) -> None:
        beside = any(test.number.how != "exponent" for test in claim.tests)
        if beside and (claim.cases is None or len(claim.cases) > 1):
            raise invalid(f"cases of claim {name!r}", "name the case of the tests beside the exponent", claim.cases)
        try:
            numbers = case_numbers(self.cases)
        except (TypeError, ValueError):
            numbers = []
        if len(set(numbers)) < 2 or min(numbers) <= 0:
            must = "be two positive numbers at least, or names that end in '= number'"
            raise invalid(f"cases of {self.name!r}", must, list(self.cases), "Its exponent is a slope along them.")

    def _check_budget(self, budget: str) -> None:
        asked = self.asked_cases(budget)
        if len(asked) < 2 and any(claim.along_cases for claim in self.asked.values()):
            raise invalid(f"sizes of {self.name!r}", "have two cases at least for an exponent", f"{asked} at {budget}")
        for case in asked if self.trains and budget != "smoke" else ():
            size = self.size(budget, case)
            if self.trains and self.trains(size) == size:
                must = "give a shorter run, or 'still training' cannot be seen"
                raise invalid(f"trains of {self.name!r}", must, f"{size!r} again at {budget}", "Train longer.")

    @property
    def exact(self) -> bool:
        return self.varies == "nothing" and not self.timed

    def replicates(self, budget: str, asked: int | None, look: int = 1) -> list[int]:
        """The seeds of a run; a study in which nothing random varies has one."""
        first = FIRST_SEED * look
        if self.varies in ("items", "nothing") and not self.timed:
            return [first]
        count = asked or self.seeds.get(budget, SEEDS[budget])
        return [first + i for i in range(count)]

    def asked_cases(self, budget: str) -> list[str]:
        """The cases that a budget asks."""
        size = self.sizes.get(budget)
        return [case for case in self.cases if case in size] if self._per_case(size) else list(self.cases)

    def size(self, budget: str, case: str) -> Any:
        """What `measure` receives; on a user's file the size of `YOUR_DATA`, else of the first case."""
        size = self.sizes[budget]
        if not self._per_case(size):
            return size
        return size[case] if case in size else size.get(YOUR_DATA, next(iter(size.values())))

    def _per_case(self, size: Any) -> TypeGuard[Mapping[str, Any]]:
        return isinstance(size, Mapping) and bool(size) and set(size) <= {*self.cases, YOUR_DATA}

    def metrics(self, arm: str, case: str | None) -> set[str]:
        """What the claims ask of an arm in a case (None: on the user's file)."""
        claims = (c for c in self.asked.values() if case is None or c.along_cases or case in (c.cases or self.cases))
        return {test.number.metric for claim in claims for test in claim.tests if arm in test.number.arms}


@dataclass(frozen=True)
class Experiment:
    """A question and the studies that answer it.

    Args:
        question: the module's docstring.
        studies: their names and the ids of their claims are unique.
        units: metric to unit; `"%"` shows shares as percent and their differences as percentage points.
        packages: distributions beside the core's on whose version the figures depend as well, such as numba.
    """

    question: str
    studies: Sequence[Study]
    units: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [study.name for study in self.studies]
        ids = [claim for study in self.studies for claim in study.claims]
        for what, found in (("study names", names), ("claim ids", ids)):
            twice = sorted({name for name in found if found.count(name) > 1})
            if twice:
                raise invalid(what, "be unique in an experiment", twice)
        shown = {claim for study in self.studies for figure in study.figures for claim in figure.claim_ids}
        if shown - set(ids):
            raise invalid("claims of a figure", f"be of {ids}", sorted(shown - set(ids)))

    def study(self, name: str) -> Study:
        return next(study for study in self.studies if study.name == name)


def every(size: Any) -> dict[str, Any]:
    """The same size at all budgets."""
    return dict.fromkeys(BUDGETS, size)


def itself(arm: Callable[[Any], Any], case: Any, _seed: int, _size: Any) -> Any:
    """The measure of exact arms that measure themselves: `arm(case)`."""
    return arm(case)


def two_thirds(*fields: str) -> Callable[[Any], Any]:
    """Two thirds of a size: of a number itself, or of these fields of a dataclass, rounded, at least 1."""
    return partial(_shortened, fields)


def _shortened(fields: tuple[str, ...], size: Any) -> Any:
    if not fields:
        return max(1, round(size * 2 / 3))
    return replace(size, **{name: max(1, round(getattr(size, name) * 2 / 3)) for name in fields})


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
