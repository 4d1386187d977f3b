"""`result.json`: the record of a run, its schema, and the comparison of two."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from gezhi._checks import invalid
from gezhi.lab.stats import Verdict

SCHEMA: Final = "gezhi.result/1"
RENEW = "Delete it and run gezhi again; what was measured is kept."


def _finite(value: Any) -> Any:
    """JSON has neither infinity nor NaN; both become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Finite = Annotated[float | None, BeforeValidator(_finite)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Words(Model):
    """A text in both languages."""

    en: str
    zh: str


class Environment(Model):
    """Where and with what a run was made."""

    gezhi: str
    python: str
    packages: dict[str, str]
    machine: str
    cpu: str
    cores: int
    commit: str | None


class TestResult(Model):
    """One test of a claim, on the scale a person reads (a ratio, not its logarithm)."""

    metric: str
    arm: str
    than: str | None
    how: Literal["value", "difference", "ratio", "exponent"]
    low: Finite
    high: Finite
    unit: str
    verdict: Verdict
    estimate: Finite
    interval: tuple[Finite, Finite]
    n: int
    p: Finite
    resolution: Finite
    needs: int | None
    over: Literal["seeds", "items"] = "seeds"  # what n and needs count


class ClaimResult(Model):
    """A claim in one case, with its verdict; `tests[deciding]` decided."""

    id: str
    text: str
    text_zh: str
    study: str
    case: str | None
    scope: Words
    exact: bool
    timed: bool
    verdict: Verdict
    reason: Words | None
    estimate: Finite
    interval: tuple[Finite, Finite] | None
    deciding: int
    level: float
    q: Finite
    weak: bool
    tests: list[TestResult]

    @property
    def key(self) -> str:
        return f"{self.id}@{self.case}" if self.case else self.id


class Compute(Model):
    """What one seed of an arm cost (median over seeds): seconds, calls of a torch model, its parameters."""

    seconds: float
    evaluations: float | None
    parameters: float | None


class StudyResult(Model):
    """What was measured: `replicates[case][arm][metric]` holds one number (or profile) per seed."""

    name: str
    varies: Literal["seed", "items", "both", "nothing"]
    alone: bool
    threads: int
    arms: list[str]
    cases: list[str]
    seeds: list[int]
    size: str
    replicates: dict[str, dict[str, dict[str, list[Any]]]]
    compute: dict[str, dict[str, Compute]]
    reason: Words | None


class MethodResult(Model):
    """All claims and studies of one method."""

    stem: str
    wing: str
    title: Words
    articles: list[str]
    budget: Literal["smoke", "quick", "full"]
    seeds: int
    looks: int
    data: str | None
    when: str
    seconds: float
    environment: Environment
    zh: dict[str, str]
    claims: list[ClaimResult]
    studies: list[StudyResult]


class Record(Model):
    """A run: every method with its claims, readable by other programs."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_: Literal["gezhi.result/1"] = SCHEMA
    environment: Environment
    command: str
    methods: list[MethodResult]

    def claims(self) -> Iterator[tuple[MethodResult, ClaimResult]]:
        for method in self.methods:
            for claim in method.claims:
                yield method, claim

    def dumps(self) -> str:
        content = self.model_dump(mode="json")
        return json.dumps({"schema": content.pop("schema_"), **content}, ensure_ascii=False, indent=1, allow_nan=False)


def save(record: Record, folder: Path) -> Path:
    """Write `result.json` into the folder, whole or not at all."""
    return write_atomically(folder / "result.json", record.dumps() + "\n")


def load(path: Path) -> Record:
    """Read a `result.json`, or the one in a folder; ValueError says where it departs from the schema."""
    asked, path = path, path / "result.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content.pop("schema", None) if isinstance(content, dict) else None
        if found != SCHEMA:
            raise invalid(f"schema of {path}", f"be {SCHEMA!r}", repr(found), RENEW)
        return Record.model_validate({"schema_": found, **content})
    except FileNotFoundError:
        raise invalid("DIR", "hold a result.json", str(asked), "Run `gezhi run` first.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}. {RENEW}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} does not follow {SCHEMA}: {where}: {first['msg']}. {RENEW}") from None


def merge(old: Record | None, new: Record) -> Record:
    """The new run's methods over the old ones, in the house's order of stems."""
    kept = [] if old is None else [m for m in old.methods if m.stem not in {n.stem for n in new.methods}]
    methods = sorted([*kept, *new.methods], key=lambda m: (m.wing, m.stem))
    return new.model_copy(update={"methods": methods})


def write_atomically(path: Path, text: str) -> Path:
    """Write to a temporary neighbour and rename it; nothing half-written is left behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):  # of a full disk, say: where it happened, not the temporary name
            error.filename, error.filename2 = str(path), None
        raise
    return path


def difference(left: Record, right: Record) -> list[dict[str, Any]]:
    """Claims whose verdict differs between two runs, or that only one of them has."""
    a, b = ({(m.stem, c.key): c for m, c in record.claims()} for record in (left, right))
    rows = []
    for stem, key in dict.fromkeys([*a, *b]):
        old, new = a.get((stem, key)), b.get((stem, key))
        if old is None or new is None or old.verdict != new.verdict:
            text = (new or old).text  # type: ignore[union-attr]
            verdicts = [c.verdict if c else None for c in (old, new)]
            estimates = [c.estimate if c else None for c in (old, new)]
            rows.append({"stem": stem, "claim": key, "text": text, "verdicts": verdicts, "estimates": estimates})
    return rows
