"""Records follow the experiments: tests that changed after the measurement are posed again, and marked so."""

from __future__ import annotations

from collections.abc import Iterator

from _tools.house import House, Problem, experiment_of
from gezhi._catalogue import methods
from gezhi.lab.cells import study_code
from gezhi.lab.record import Measured, MeasuredStudy, Posed, load, save
from gezhi.lab.results import drawn
from gezhi.lab.study import Experiment, Study


def records(house: House) -> list[Measured]:
    """The committed records of the methods that exist."""
    return [load(path) for path in sorted(house.results.glob("*.json")) if path.stem in methods()]


def follow(house: House, found: list[Measured], *, write: bool) -> Iterator[Problem]:
    """Write the tests that an experiment poses today into its record, or tell of those that differ."""
    for measured in found:
        experiment = experiment_of(measured.stem)
        now = posed_again(measured, experiment) if experiment else measured
        if now == measured:
            continue
        if write:
            save(now, house.results)
        else:
            path = house.results / f"{measured.stem}.json"
            yield house.problem(path, 1, f"{'; '.join(changes(measured, now))}: run make pages")


def posed_again(measured: Measured, experiment: Experiment) -> Measured:
    """The record with the tests, units and figures of the experiment; what it never measured is left out."""
    old = {name: posed for _, name, posed in measured.posed()}
    asked = {study.name: study for study in experiment.studies}
    studies = [_posed_again(s, asked[s.name], old) if s.name in asked else s for s in measured.studies]
    return measured.model_copy(update={"studies": studies, "units": dict(experiment.units)})


def _posed_again(measured: MeasuredStudy, study: Study, old: dict[str, Posed]) -> MeasuredStudy:
    claims = {
        name: old[name] if name in old and old[name].asks(claim) else Posed.of(claim, after=True)
        for name, claim in study.asked.items()
    }
    return measured.model_copy(update={"claims": claims, "figures": [drawn(figure) for figure in study.figures]})


def changes(before: Measured, after: Measured) -> Iterator[str]:
    """What the experiment poses otherwise."""
    old, new = ({name: posed for _, name, posed in m.posed()} for m in (before, after))
    for name in [*new, *(name for name in old if name not in new)]:
        if name not in new:
            yield f"claim `{name}` is asked no more"
        elif name not in old or old[name] != new[name]:
            yield f"the tests of claim `{name}` changed after the run"
    if old == new:
        yield "units or figures changed"


def other_code(found: list[Measured]) -> Iterator[str]:
    """Studies that were measured with other code than stands today, or not at all."""
    for measured in found:
        known = {study.name: study for study in measured.studies}
        experiment = experiment_of(measured.stem)
        for study in experiment.studies if experiment else ():
            if study.name not in known:
                yield f"{measured.stem}, {study.name}: not measured"
            elif known[study.name].levels and known[study.name].code != study_code(
                measured.stem, study.name, measured.budget
            ):
                yield f"{measured.stem}, {study.name}: measured with other code"
