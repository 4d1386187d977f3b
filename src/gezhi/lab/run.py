"""Running experiments: jobs by name, cells that survive a crash, timed studies alone, a record at the end."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from joblib import Parallel, delayed, parallel_config
from threadpoolctl import threadpool_limits

from gezhi._checks import check_choice, check_number, invalid
from gezhi.data import DataUnavailable, load
from gezhi.lab.cells import Data, Job, read, write
from gezhi.lab.clock import ComputeMeter
from gezhi.lab.study import BUDGETS, Study, load_experiment

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
        return self.data is not None and study.accepts is not None and kind_fits(study.accepts, self.data.path)

    def cases(self, study: Study) -> list[str]:
        return list(study.cases) if self.data is None else [Path(self.data.path).name]

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
    """What came of a run's jobs: the cells, and why some are missing."""

    cells: dict[tuple[str, str], dict[tuple[str, str, int], dict[str, Any]]] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


def execute(plan: Plan, on_event: Event = silent) -> Outcome:
    """Measure what is not yet on disk, then read all cells.

    Errors: OSError where the folder cannot be written. A measurement that fails, or whose data cannot be had, is
    noted in the outcome and the run goes on.
    """
    jobs = plan.planned()
    todo = [left for job in jobs if (left := missing_arms(job, on_event)).arms]
    on_event("plan", f"{len(todo)}/{len(jobs)}")
    outcome = Outcome()
    alone = {(stem, s.name): s for stem in plan.stems for s in plan.studies(stem) if s.alone}
    beside = [job for job in todo if (job.stem, job.study) not in alone]
    for job, problem in (*_in_parallel(plan, beside), *_one_by_one(job for job in todo if job not in set(beside))):
        on_event("job", f"{job.stem} · {job.study}")
        if problem:
            kind, text = problem
            getattr(outcome, kind)[job.stem, job.study] = text
            on_event("note", f"{job.stem}, {job.study}: {text}")
    for job in jobs:
        for arm in job.arms:
            cell = read(job.path(arm))
            if cell is not None:
                outcome.cells.setdefault((job.stem, job.study), {})[job.case, arm, job.seed] = cell
    return outcome


def missing_arms(job: Job, on_event: Event) -> Job:
    """The job with the arms that have no sound result on disk."""
    left = []
    for arm in job.arms:
        try:
            if read(job.path(arm)) is None:
                left.append(arm)
        except ValueError as error:
            on_event("note", f"{job.stem}, {job.study}: {error}; measured again")
            left.append(arm)
    return replace(job, arms=tuple(left))


Problem = tuple[str, str] | None


def _in_parallel(plan: Plan, jobs: Sequence[Job]) -> Iterator[tuple[Job, Problem]]:
    if plan.jobs == 1 and plan.backend == "loky":
        yield from _one_by_one(jobs)
        return
    with parallel_config(backend=plan.backend, n_jobs=plan.jobs):
        parallel = Parallel(return_as="generator_unordered", batch_size=1)
        yield from parallel(delayed(measured)(job) for job in jobs)


def _one_by_one(jobs: Sequence[Job] | Iterator[Job]) -> Iterator[tuple[Job, Problem]]:
    for job in jobs:
        yield measured(job)


def measured(job: Job) -> tuple[Job, Problem]:
    """Measure and store every arm of a job; a problem is told, not raised, so that the run goes on.

    Only OSError from storing a cell is raised: it concerns the folder, not the experiment.
    """
    study = load_experiment(job.stem).study(job.study)
    for arm in job.arms:
        try:
            with fixed_threads(study.threads if study.alone else 1):
                cell = measure_arm(study, arm, load_case(job.stem, job.study, job.case, job.data), job)
        except DataUnavailable as error:
            return job, ("missing", str(error))
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}, line {where.lineno}"
            return job, ("failed", f"{type(error).__name__}: {error} ({place})")
        write(job.path(arm), cell)
    return job, None


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
    cell = {"metrics": dict(metrics), "seconds": time.perf_counter() - start}
    for name in ("evaluations", "parameters"):  # measure may count what the meter cannot see
        cell[name] = cell["metrics"].pop(name, getattr(meter, name, None))
    return cell


@lru_cache(maxsize=2)
def load_case(stem: str, study_name: str, case: str, data: Data | None) -> Any:
    """The value of a case, loaded once a worker; the user's file if there is one."""
    study = load_experiment(stem).study(study_name)
    if data is not None:
        assert study.accepts is not None
        return load(study.accepts, Path(data.path), label=data.label)
    value = study.cases[case]
    return value() if callable(value) else value


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
    with threadpool_limits(count):
        yield
    torch.set_num_threads(before)


def kind_fits(kind: str, path: str) -> bool:
    """Whether a file of this name can be of the kind: an npz holds arrays, the other kinds are text or tables."""
    suffixes = {"probabilities": {".npz"}, "images": {".npz", ".gz", ".idx", ""}, "edges": {".csv", ".tsv", ".graphml"},
                "features": {".csv", ".parquet"}, "pairs": {".tsv"}, "texts": {".txt"},
                "labelled texts": {".tsv"}}  # fmt: skip
    return Path(path).suffix.lower() in suffixes[kind]


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
