"""Running experiments: jobs by name, cells that survive a crash, timed studies alone, a record at the end."""

from __future__ import annotations

import random
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from itertools import chain
from pathlib import Path
from statistics import median
from threading import Lock
from typing import Any, cast

import numpy as np
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from gezhi._checks import check_choice, check_number, invalid
from gezhi.data import KINDS, DataUnavailable
from gezhi.lab.cells import Data, Job, plain, read, write
from gezhi.lab.clock import ComputeMeter
from gezhi.lab.study import BUDGETS, FIRST_SEED, Study, load_experiment

Event = Callable[[str, str], None]  # ("job" | "note", text)


def silent(_kind: str, _text: str) -> None:
    """For runs that nobody watches."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a run; `folder` receives cells, record and report."""

    stems: Sequence[str]
    folder: Path
    budget: str = "quick"
    seeds: int | None = None
    jobs: int = 1
    data: Data | None = None
    backend: str = "loky"
    kinds: frozenset[str] | None = None  # as which the user's file can be read; None: what its name allows

    def __post_init__(self) -> None:
        check_choice("budget", self.budget, BUDGETS)
        check_number("jobs", self.jobs, at_least=1)
        if self.seeds is not None:
            check_number("seeds", self.seeds, at_least=1)

    def studies(self, stem: str) -> Iterator[Study]:
        """The studies of an experiment that this run measures."""
        for study in load_experiment(stem).studies:
            if self.budget in study.sizes and (self.accepts(study) if self.data else study.cases):
                yield study

    def accepts(self, study: Study) -> bool:
        """Whether the study takes the user's file."""
        if self.data is None or study.accepts is None:
            return False
        return kind_fits(study.accepts, self.data.path) if self.kinds is None else study.accepts in self.kinds

    def cases(self, study: Study) -> list[str]:
        return list(study.cases) if self.data is None else [Path(self.data.path).name]

    def replicates(self, stem: str) -> int:
        """Most replicates of any study that is measured."""
        return max((len(study.replicates(self.budget, self.seeds)) for study in self.studies(stem)), default=1)

    def planned(self) -> list[Job]:
        """Every job of the run, timed ones last and by rounds."""
        found = []
        for stem in self.stems:
            for study in self.studies(stem):
                for seed in study.replicates(self.budget, self.seeds):
                    for case in self.cases(study):
                        job = Job(stem, study.name, case, seed, self.budget, tuple(study.arms), self.data,
                                  str(self.folder))  # fmt: skip
                        found.append((study.alone, job))
        return [job for alone, job in sorted(found, key=lambda pair: pair[0])]


@dataclass
class Outcome:
    """What came of a run's jobs: cells of each (stem, study), and why those of a (stem, study, case) are missing."""

    cells: dict[tuple[str, str], dict[tuple[str, str, int], dict[str, Any]]] = field(default_factory=dict)
    missing: dict[tuple[str, str, str], str] = field(default_factory=dict)
    failed: dict[tuple[str, str, str], str] = field(default_factory=dict)


def execute(plan: Plan, on_event: Event = silent) -> Outcome:
    """Measure what is not yet on disk, then read all cells.

    Errors: OSError where the folder cannot be written. A measurement that fails, or whose data cannot be had, is
    noted in the outcome and the run goes on.
    """
    jobs = plan.planned()
    todo = [left for job in jobs if (left := missing_arms(job, on_event)).arms]
    on_event("plan", f"{len(todo)}/{len(jobs)}")
    outcome = Outcome()
    alone = {(stem, s.name) for stem in plan.stems for s in plan.studies(stem) if s.alone}
    beside = [job for job in todo if (job.stem, job.study) not in alone]
    timed = [job for job in todo if (job.stem, job.study) in alone]
    told: set[tuple[str, str, str]] = set()
    for job, problem, warned in chain(_in_parallel(plan, beside), _one_by_one(timed)):
        on_event("job", f"{job.stem} · {job.study}")
        for category, text in warned.items():
            if (job.stem, job.study, category) not in told:
                on_event("note", f"{job.stem}, {job.study}: {category}: {text}")
            told.add((job.stem, job.study, category))
        if problem:
            kind, text = problem
            getattr(outcome, kind)[job.stem, job.study, job.case] = text
            on_event("note", f"{job.stem}, {job.study}: {text}")
    for job in jobs:
        for arm in job.arms:
            cell, key = read(job.path(arm)), (job.stem, job.study, job.case)
            if cell is not None:
                outcome.cells.setdefault(key[:2], {})[job.case, arm, job.seed] = cell
            elif key not in outcome.missing:
                outcome.failed.setdefault(key, "its result is not in the folder; workers elsewhere must share it")
    return outcome


def missing_arms(job: Job, on_event: Event) -> Job:
    """The job with the arms that have no sound result on disk, or one from before a claim asked for more."""
    study = load_experiment(job.stem).study(job.study)
    left = []
    for arm in job.arms:
        try:
            cell = read(job.path(arm))
            if cell is None or asked_metrics(study, arm, job.case) - set(cell["metrics"]):
                left.append(arm)
        except ValueError as error:
            on_event("note", f"{job.stem}, {job.study}: {error}; measured again")
            left.append(arm)
    return replace(job, arms=tuple(left))


def asked_metrics(study: Study, arm: str, case: str) -> set[str]:
    """What the claims need to know of an arm in a case."""
    here = (claim for claim in study.claims if claim.at in (None, case) or claim.along_cases)
    numbers = (test.number for claim in here for test in claim.all_tests)
    return {number.metric for number in numbers if arm in (number.arm, number.than)}


Problem = tuple[str, str] | None
Done = tuple[Job, Problem, Mapping[str, str]]  # and the warnings: category to the first text


def _in_parallel(plan: Plan, jobs: Sequence[Job]) -> Iterator[Done]:
    if not jobs or (plan.jobs == 1 and plan.backend == "loky"):
        yield from _one_by_one(jobs)
        return
    with _workers(plan), parallel_config(backend=plan.backend, n_jobs=plan.jobs):
        parallel = Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(delayed(measured)(job) for job in jobs)


def _workers(plan: Plan) -> AbstractContextManager[Any]:
    """Dask's: those of this process's client, else of DASK_SCHEDULER_ADDRESS, else new ones on this machine."""
    if plan.backend != "dask":
        return nullcontext()
    try:
        distributed: Any = import_module("distributed")
    except ModuleNotFoundError:
        raise ModuleNotFoundError("distributed is not installed. Run: pip install 'dask[distributed]'") from None
    try:
        distributed.get_client()
    except ValueError:
        known = import_module("dask").config.get("scheduler-address", None)
        here = {} if known else {"n_workers": plan.jobs, "threads_per_worker": 1, "dashboard_address": None}
        return cast(AbstractContextManager[Any], distributed.Client(**here))
    return nullcontext()


def _one_by_one(jobs: Sequence[Job]) -> Iterator[Done]:
    for job in jobs:
        yield measured(job)


_IN_THIS_PROCESS = Lock()  # threads of one process would share generators, caches and thread limits


def measured(job: Job) -> Done:
    """Measure and store every arm of a job; a problem is told, not raised, so that the run goes on.

    Only OSError from storing a cell is raised: it concerns the folder, not the experiment.
    """
    with _IN_THIS_PROCESS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        problem = _measured_arms(job)
    return job, problem, {w.category.__name__: str(w.message) for w in reversed(caught)}


def _measured_arms(job: Job) -> Problem:
    study = load_experiment(job.stem).study(job.study)
    for arm in job.arms:
        try:
            with fixed_threads(study.threads if study.alone else 1):
                cell = measure_arm(study, arm, load_case(job.stem, job.study, job.case, job.data), job)
        except DataUnavailable as error:
            return "missing", str(error)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}, line {where.lineno}"
            return "failed", f"{type(error).__name__}: {error} ({place})"
        write(job.path(arm), cell)
    return None


def measure_arm(study: Study, arm: str, case: Any, job: Job) -> dict[str, Any]:
    """One cell: the metrics of an arm, and what they cost. Every global generator starts alike for each arm."""
    seed_everything(job.seed)
    meter = None if study.alone else ComputeMeter()
    start = time.perf_counter()
    if meter is None:
        metrics = study.measure(study.arms[arm], case, job.seed, study.sizes[job.budget])
    else:
        with meter:
            metrics = study.measure(study.arms[arm], case, job.seed, study.sizes[job.budget])
    seconds = time.perf_counter() - start
    found = {name: plain(name, value) for name, value in metrics.items()}
    asked = asked_metrics(study, arm, job.case)
    if asked - set(found):
        must = f"give {', '.join(sorted(asked - set(found)))} for {arm!r}, which claims ask for"
        raise invalid("measure", must, ", ".join(found) or "nothing")
    # measure may count what the meter cannot see
    counts = {name: found.get(name, getattr(meter, name, None)) for name in ("evaluations", "parameters")}
    return {"metrics": {k: v for k, v in found.items() if k in asked or k not in counts}, "seconds": seconds, **counts}


@lru_cache(maxsize=2)
def load_case(stem: str, study_name: str, case: str, data: Data | None) -> Any:
    """The value of a case, loaded once a worker; the user's file if there is one."""
    study = load_experiment(stem).study(study_name)
    if data is not None:
        assert study.accepts is not None
        return data.load(study.accepts)
    value = study.cases[case]
    if not callable(value):
        return value
    seed_everything(FIRST_SEED)  # the same case in every worker, though it draws from a global generator
    return value()


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextmanager
def fixed_threads(count: int) -> Iterator[None]:
    """A fixed number of threads for BLAS, OpenMP and torch."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def kind_fits(kind: str, path: str) -> bool:
    """Whether a file of this name, or a folder, can be of the kind."""
    if Path(path).is_dir():
        return KINDS[kind].folders
    return path.lower().endswith(KINDS[kind].endings)


def median_cost(
    cells: Mapping[tuple[str, str, int], Mapping[str, Any]], case: str, arm: str, name: str
) -> float | None:
    """Median over seeds of what an arm cost."""
    found = [cell[name] for (c, a, _), cell in cells.items() if (c, a) == (case, arm) and cell[name] is not None]
    return float(median(found)) if found else None


def check_folder(folder: Path) -> None:
    """Raise at once where the folder cannot be written, before hours of measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise invalid("--out", "be a folder that can be written", f"{folder} ({error.strerror})", "Choose another.",
                      kind=OSError) from None  # fmt: skip
