"""Running experiments: jobs by name, cells that survive a crash, timed rounds in fresh processes."""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import ProcessPoolExecutor, get_reusable_executor

from gezhi._checks import check_choice, check_number, invalid
from gezhi.data import KINDS
from gezhi.lab.cells import Data, Job, read
from gezhi.lab.measure import Done, asked_metrics, measured
from gezhi.lab.study import BUDGETS, Study, load_experiment

Event = Callable[[str, str], None]  # ("plan" | "job" | "note", text)
SETTLING = 0.3  # share of the seeds that also run at two thirds of the steps; two at least


def silent(_kind: str, _text: str) -> None:
    """For runs that nobody watches."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a run; `folder` receives cells, record and report. `look`: the how manieth, on its own seeds."""

    stems: Sequence[str]
    folder: Path
    budget: str = "quick"
    seeds: int | None = None
    jobs: int = 1
    data: Data | None = None
    backend: str = "loky"
    kinds: frozenset[str] | None = None  # as which the user's file can be read; None: what its name allows
    look: int = 1

    def __post_init__(self) -> None:
        check_choice("budget", self.budget, BUDGETS)
        check_number("jobs", self.jobs, at_least=1)
        check_number("look", self.look, at_least=1, at_most=1000)
        if self.seeds is not None:
            check_number("seeds", self.seeds, at_least=1, at_most=1000)

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
        return study.asked_cases(self.budget) if self.data is None else [Path(self.data.path).name]

    def seeds_of(self, study: Study) -> list[int]:
        return study.replicates(self.budget, self.seeds, self.look)

    def settling(self, study: Study) -> list[int]:
        """The seeds that also run at two thirds of the steps."""
        if study.trains is None or self.budget == "smoke":
            return []
        seeds = self.seeds_of(study)
        return seeds[: max(2, round(SETTLING * len(seeds)))]

    def replicates(self, stem: str) -> int:
        """Most replicates of any study that is measured."""
        return max((len(self.seeds_of(study)) for study in self.studies(stem)), default=1)

    def planned(self) -> list[Job]:
        """Every job of the run."""
        found = []
        for stem in self.stems:
            for study in self.studies(stem):
                for shorter, seeds in ((False, self.seeds_of(study)), (True, self.settling(study))):
                    for seed in seeds:
                        for case in self.cases(study):
                            found.append(Job(stem, study.name, case, seed, self.budget, tuple(study.arms), self.data,
                                             str(self.folder), shorter))  # fmt: skip
        return found


Cells = dict[tuple[str, str, int], dict[str, Any]]  # of a study: (case, arm, seed)


@dataclass
class Outcome:
    """What came of a run's jobs: cells of each (stem, study), and why those of a (stem, study, case) are missing."""

    cells: dict[tuple[str, str], Cells] = field(default_factory=dict)
    shorter: dict[tuple[str, str], Cells] = field(default_factory=dict)
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
    outcome, told = Outcome(), set[tuple[str, str, str]]()
    with workers_end_with_us():
        for done in _measured_all(plan, todo):
            _note(outcome, done, on_event, told)
    for job in jobs:
        _collect(outcome, job)
    return outcome


def _note(outcome: Outcome, done: Done, on_event: Event, told: set[tuple[str, str, str]]) -> None:
    """Tell of a finished job; each problem, and each kind of warning, of a study once."""
    job, problem, warned = done
    on_event("job", f"{job.stem} · {job.study}")
    notes = {category: f"{category}: {text}" for category, text in warned.items()}
    if problem:
        kind, text = problem
        getattr(outcome, kind)[job.stem, job.study, job.case] = text
        notes[text] = text
    for what, text in notes.items():
        if (job.stem, job.study, what) not in told:
            told.add((job.stem, job.study, what))
            on_event("note", f"{job.stem}, {job.study}: {text}")


def _collect(outcome: Outcome, job: Job) -> None:
    """The cells of a job, read from disk."""
    into = outcome.shorter if job.shorter else outcome.cells
    for arm in job.arms:
        key, cell = (job.stem, job.study, job.case), None
        with suppress(ValueError):  # damaged, and not measured again
            cell = read(job.path(arm))
        if cell is not None:
            into.setdefault(key[:2], {})[job.case, arm, job.seed] = cell
        elif key not in outcome.missing:
            outcome.failed.setdefault(key, "its result is not in the folder; workers elsewhere must share it")


def missing_arms(job: Job, on_event: Event) -> Job:
    """The job with the arms that have no sound result on disk, or one from before a claim asked for more.

    Timed arms are measured together or not at all, since they are timed in turn.
    """
    study, left = job.posed, []
    for arm in job.arms:
        try:
            cell = read(job.path(arm))
            if cell is None or asked_metrics(job, arm) - set(cell["metrics"]):
                left.append(arm)
        except ValueError as error:
            on_event("note", f"{job.stem}, {job.study}: {error}; measured again")
            left.append(arm)
    return replace(job, arms=job.arms if study.timed and left else tuple(left))


def _measured_all(plan: Plan, todo: Sequence[Job]) -> Iterator[Done]:
    """Rounds of timed jobs, each in a fresh process with nothing beside it, spread over the other jobs."""
    timed, others = [j for j in todo if j.posed.timed], [j for j in todo if not j.posed.timed]
    if plan.budget == "smoke":
        yield from _in_parallel(plan, [*others, *timed])
        return
    rounds = [[job for job in timed if job.seed == seed] for seed in sorted({job.seed for job in timed})]
    ends = [round(len(others) * i / max(len(rounds), 1)) for i in range(len(rounds) + 1)]
    for i, jobs in enumerate(rounds):
        yield from _in_parallel(plan, others[ends[i] : ends[i + 1]])
        yield from _in_fresh_process(jobs)
    if not rounds:
        yield from _in_parallel(plan, others)


def _in_fresh_process(jobs: Sequence[Job]) -> Iterator[Done]:
    get_reusable_executor().shutdown(wait=True)  # idle workers hold memory and caches
    pool = ProcessPoolExecutor(max_workers=1)
    try:
        yield from pool.map(measured, jobs)
    finally:  # an interrupted round is measured again as a whole
        pool.shutdown(wait=True, kill_workers=True)


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


def kind_fits(kind: str, path: str) -> bool:
    """Whether a file of this name, or a folder, can be of the kind."""
    if Path(path).is_dir():
        return KINDS[kind].folders
    return path.lower().endswith(KINDS[kind].endings)


@contextmanager
def workers_end_with_us() -> Iterator[None]:
    """SIGTERM ends the run as an interrupt does; whatever ends it early ends its workers."""
    here = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _terminated) if here else None
    try:
        yield
    except BaseException:
        get_reusable_executor().shutdown(wait=False, kill_workers=True)
        raise
    finally:
        if here:
            signal.signal(signal.SIGTERM, before)


def _terminated(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def check_folder(folder: Path) -> None:
    """Raise at once where the folder cannot be written, before hours of measuring."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
            pass
    except OSError as error:
        raise invalid("--out", "be a folder that can be written", f"{folder} ({error.strerror})", "Choose another.",
                      kind=OSError) from None  # fmt: skip
