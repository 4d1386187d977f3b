"""What a worker does with a job: load the case, measure each arm, store a cell each."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from gezhi._checks import invalid
from gezhi.data import DataUnavailable
from gezhi.lab.cells import Data, Job, plain, write
from gezhi.lab.clock import ComputeMeter, fastest
from gezhi.lab.study import FIRST_SEED, load_experiment

Problem = tuple[str, str] | None
Done = tuple[Job, Problem, Mapping[str, str]]  # and the warnings: category to the first text


_IN_THIS_PROCESS = threading.Lock()  # threads of one process would share generators, caches and thread limits


def measured(job: Job) -> Done:
    """Measure and store every arm of a job; a problem is told, not raised, so that the run goes on.

    Only OSError from storing a cell is raised: it concerns the folder, not the experiment.
    """
    end_with_parent(os.getpid())
    with _IN_THIS_PROCESS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        problem = _measured_arms(job)
    return job, problem, {w.category.__name__: str(w.message) for w in reversed(caught)}


@lru_cache(maxsize=1)
def end_with_parent(_process: int) -> None:
    """A worker whose parent was killed ends too, in the middle of a measurement."""
    if multiprocessing.parent_process() is not None:
        threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _measured_arms(job: Job) -> Problem:
    cells = timed_cells(job) if job.posed.timed else cells_one_by_one(job)
    while True:
        try:
            with fixed_threads(job.posed.threads if job.posed.timed else 1):
                arm, cell = next(cells)
        except StopIteration:
            return None
        except DataUnavailable as error:
            return "missing", str(error)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}, line {where.lineno}"
            return "failed", f"{type(error).__name__}: {error} ({place})"
        write(job.path(arm), cell)


def cells_one_by_one(job: Job) -> Iterator[tuple[str, dict[str, Any]]]:
    """A cell an arm: its metrics, and what they cost. Every global generator starts alike for each arm."""
    case = load_case(job.stem, job.study, job.case, job.data)
    for arm in job.arms:
        seed_everything(job.seed)
        meter, start = ComputeMeter(), time.perf_counter()
        with meter:
            metrics = job.posed.measure(job.posed.arms[arm], case, job.seed, job.size)
        yield arm, cell_of(job, arm, metrics, time.perf_counter() - start, meter)


def timed_cells(job: Job) -> Iterator[tuple[str, dict[str, Any]]]:
    """Cells of a timed job: the arms' calls interleaved, the fastest of each, and what they returned."""
    case = load_case(job.stem, job.study, job.case, job.data)
    calls, start = {}, time.perf_counter()
    for arm in job.arms:
        seed_everything(job.seed)
        calls[arm] = job.posed.measure(job.posed.arms[arm], case, job.seed, job.size)
        if not callable(calls[arm]):
            raise invalid("measure", "give a callable, which is timed", type(calls[arm]).__name__, kind=TypeError)
    seconds, returned = fastest(calls, 1 if job.budget == "smoke" else job.posed.repeats)
    took = (time.perf_counter() - start) / len(calls)
    for arm in job.arms:
        more = returned[arm] if isinstance(returned[arm], Mapping) else {}
        metrics = {name: value() if callable(value) else value for name, value in more.items()}
        yield arm, cell_of(job, arm, {"seconds": seconds[arm], **metrics}, took, None)


def cell_of(
    job: Job, arm: str, metrics: Mapping[str, Any], seconds: float, meter: ComputeMeter | None
) -> dict[str, Any]:
    """What is stored; ValueError where a metric that claims ask for is absent."""
    found = {name: plain(name, value) for name, value in metrics.items()}
    asked = asked_metrics(job, arm)
    infinite = [name for name in asked & set(found) if job.posed.varies == "rows" and np.isinf(found[name]).any()]
    if infinite:
        raise invalid(f"metric {infinite[0]!r} of measure", "be finite where rows vary", "infinity", "NaN: not tested.")
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


def asked_metrics(job: Job, arm: str) -> set[str]:
    """What the claims need to know of an arm; of a shorter run nothing, for a claim may speak of the last step."""
    if job.shorter:
        return set()
    return job.posed.metrics(arm, job.case if job.data is None else None)
