"""The record of a run: measurements, one file a method. Verdicts are judged and sentences looked up when it is read."""

from __future__ import annotations

import base64
import json
import math
import re
import secrets
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from gezhi._checks import invalid
from gezhi.lab.claims import Claim, How, Number, Test
from gezhi.lab.study import Varies

MEASURED: Final = "gezhi.measured/1"
MOST_BYTES = 64 * 2**20  # of a record; those of all methods together stay far below
MOST_CLAIMS = 1000  # of a study
MANY, PACKED = 64, "f4:"
MOST_ROWS = 20_000_000  # of all packed metrics of a record together
RENEW = "Delete it and run gezhi again; what was measured is kept."
STEM = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*")


def _finite(value: Any) -> Any:
    """JSON has neither infinity nor NaN; both become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _stem(value: str) -> str:
    if not STEM.fullmatch(value):
        raise ValueError(f"a method's stem is letters, digits and _, not {value[:40]!r}")
    return value


def _few(claims: Any) -> Any:
    if isinstance(claims, dict) and len(claims) > MOST_CLAIMS:
        raise ValueError(f"a study has at most {MOST_CLAIMS} claims, not {len(claims)}")
    return claims


def _pair(value: Any) -> Any:
    """JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


Finite = Annotated[float | None, BeforeValidator(_finite)]
Stem = Annotated[str, AfterValidator(_stem)]


def packed(values: Sequence[float]) -> Any:
    """One number per test row: 0, 1 and NaN as the characters 0, 1 and -; many others as compressed float32."""
    if all(v in (0, 1) or math.isnan(v) for v in values) and values:
        return "".join("-" if math.isnan(v) else str(int(v)) for v in values)
    if len(values) > MANY:
        content = zlib.compress(np.asarray(values, "<f4").tobytes(), 9)
        return f"{PACKED}{len(values)}:{base64.b64encode(content).decode()}"
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values]


def rounded(values: Sequence[float]) -> list[float]:
    """Rows as the file holds them, so that verdicts are the same before and after."""
    return _unpacked(packed(values))  # type: ignore[no-any-return]


def _unpacked(value: Any) -> Any:
    if isinstance(value, str):
        return _numbers(value.removeprefix(PACKED)) if value.startswith(PACKED) else _characters(value)
    if isinstance(value, list):
        if not all(v is None or isinstance(v, int | float) for v in value):
            raise ValueError("one number per test row is a list of numbers and null")
        return [math.nan if v is None or not -math.inf < v < math.inf else v for v in value]
    return _finite(value)


def _characters(text: str) -> list[float]:
    if not re.fullmatch(r"[01-]*", text):
        raise ValueError("rows of a 0/1 metric are the characters 0, 1 and -")
    return [math.nan if c == "-" else float(c) for c in text]


def _numbers(text: str) -> list[float]:
    """Compressed rows, `count:content`; they must be as many as they say, which the file's total bounds."""
    count, _, content = text.partition(":")
    try:
        unpacker = zlib.decompressobj()
        rows = unpacker.decompress(base64.b64decode(content, validate=True), min(int(count), MOST_ROWS) * 4 + 1)
    except (ValueError, zlib.error) as error:
        raise ValueError(f"rows cannot be unpacked: {error}") from None
    if len(rows) != int(count) * 4 or not unpacker.eof:
        raise ValueError(f"rows must be the {count} numbers that they say they are")
    found = np.frombuffer(rows, "<f4").astype(float)
    return np.where(np.isfinite(found), found, math.nan).tolist()  # type: ignore[no-any-return]


def _repacked(value: Any) -> Any:
    return packed(value) if isinstance(value, list) else _finite(value)


Replicate = Annotated[  # a number, or one per test row
    float | list[float] | None, BeforeValidator(_unpacked), PlainSerializer(_repacked)
]
Levels = dict[str, dict[str, dict[str, list[Replicate]]]]  # case, arm, metric: one a seed


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


class PosedTest(Model):
    """A test as the experiment posed it."""

    metric: str
    arm: str
    than: str | None = None
    how: How = "value"
    low: Finite = None
    high: Finite = None

    @model_validator(mode="after")
    def _is_a_test(self) -> Self:
        if (self.than is None) != (self.how in ("value", "exponent")):
            raise ValueError("a difference or a ratio names the arm that it is from, other numbers name none")
        _ = self.test  # its region
        return self

    @classmethod
    def of(cls, test: Test) -> PosedTest:
        return cls(**vars(test.number), low=test.low, high=test.high)

    @property
    def test(self) -> Test:
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return Test(Number(self.metric, self.arm, self.than, self.how), low, high)


class Posed(Model):
    """A claim's tests; `after`: posed or changed after the measurement."""

    tests: list[PosedTest]
    cases: list[str] | None = None
    after: bool = False

    @model_validator(mode="after")
    def _is_a_claim(self) -> Self:
        _ = self.claim
        return self

    @classmethod
    def of(cls, claim: Claim, after: bool = False) -> Posed:
        cases = None if claim.cases is None else list(claim.cases)
        return cls(tests=[PosedTest.of(test) for test in claim.tests], cases=cases, after=after)

    @property
    def claim(self) -> Claim:
        return Claim(tuple(t.test for t in self.tests), None if self.cases is None else tuple(self.cases))

    def asks(self, claim: Claim) -> bool:
        """Whether the claim is as it was posed."""
        return self.claim == claim


class Compute(Model):
    """What one seed of an arm cost (median over seeds): seconds, calls of a torch model, its parameters."""

    seconds: float
    evaluations: Finite
    parameters: Finite


class Drawn(Model):
    """A figure as the experiment asked for it."""

    kind: Literal["dots", "lines", "profile", "grid"]
    metric: str
    claims: list[str] = []
    arms: list[str] | None = None
    cases: list[str] | None = None
    than: str | None = None
    log: Annotated[bool | tuple[bool, bool], BeforeValidator(_pair)] = False
    x: str = ""
    picture: Annotated[tuple[int, int], BeforeValidator(_pair)] = (1, 1)


class MeasuredStudy(Model):
    """What was measured, and what was asked of it.

    Attributes:
        levels: a number a seed, or one per test row; `shorter`: at two thirds of the steps, for the first seeds.
        code: hash of everything that the figures depend on, as long as it is unchanged they need no new run.
        reasons: why a case has no figures; the key "" stands for the whole study.
    """

    name: str
    varies: Varies
    timed: bool
    threads: int
    repeats: int
    arms: list[str]
    cases: dict[str, Finite]
    seeds: list[int]
    size: str
    code: str
    claims: Annotated[dict[str, Posed], BeforeValidator(_few)]
    figures: list[Drawn]
    resolution: dict[str, float]
    levels: Levels
    shorter: Levels
    compute: dict[str, dict[str, Compute]]
    reasons: dict[str, Words]

    @model_validator(mode="after")
    def _has_a_number_a_seed(self) -> Self:
        for case, arms in [*self.levels.items(), *self.shorter.items()]:
            if case not in self.cases or not set(arms) <= set(self.arms):
                raise ValueError(f"levels of {case[:40]!r} are of no case or arm of the study {self.name[:40]!r}")
        metrics = [found for arms in self.levels.values() for found in arms.values()]
        counts = {len(series) for found in metrics for series in found.values()}
        if counts - {len(self.seeds)}:
            raise ValueError(f"levels of the study {self.name[:40]!r} are not one a seed")
        return self

    @property
    def exact(self) -> bool:
        return self.varies == "nothing" and not self.timed


class Measured(Model):
    """All studies of one method in one run."""

    schema_: Literal["gezhi.measured/1"] = MEASURED
    stem: Stem
    budget: Literal["smoke", "quick", "full"]
    seeds: int
    look: int
    data: str | None
    when: str
    seconds: float
    command: str
    environment: Environment
    units: dict[str, str]
    studies: list[MeasuredStudy]

    def posed(self) -> Iterator[tuple[MeasuredStudy, str, Posed]]:
        for study in self.studies:
            for name, posed in study.claims.items():
                yield study, name, posed

    def dumps(self) -> str:
        """JSON in which each arm's metric has a line, so that a change of one is seen as such."""
        content = self.model_dump(mode="json")
        text = json.dumps({"schema": content.pop("schema_"), **content}, ensure_ascii=False, indent=1, allow_nan=False)
        return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", _on_one_line, text) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    inner = re.sub(r",\n\s*", ", ", found[1])
    return f"[{inner}]"


def save(measured: Measured, folder: Path) -> Path:
    """Write `<stem>.json` into the folder, whole or not at all."""
    return write_atomically(folder / f"{measured.stem}.json", measured.dumps())


def load(path: Path) -> Measured:
    """Read one method's record; ValueError says where it departs from the schema. Nothing is imported."""
    content = read_json(path)
    found = content.pop("schema", None) if isinstance(content, dict) else None
    if found != MEASURED:
        raise invalid(f"schema of {path}", f"be {MEASURED!r}", repr(found), RENEW)
    try:
        # strictly: neither a text nor a truth value is a number
        return Measured.model_validate({"schema_": found, **content}, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path} does not follow {MEASURED}: {where}: {first['msg']}. {RENEW}") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file of bounded size and depth; ValueError names the file."""
    if path.stat().st_size > MOST_BYTES:
        raise invalid(str(path), f"have at most {MOST_BYTES} bytes", path.stat().st_size, RENEW)
    try:
        text = path.read_text(encoding="utf-8")
        rows = sum(map(int, re.findall(rf'"{PACKED}(\d{{1,12}}):', text)))
        if rows > MOST_ROWS:
            raise ValueError(f"it announces {rows} numbers; at most {MOST_ROWS} are read")
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}. {RENEW}") from None


def load_all(folder: Path) -> list[Measured]:
    """The records of a run's folder (or of its `results`), in the order of their names."""
    inside = folder / "results" if (folder / "results").is_dir() else folder
    beside = {"result.json", "verdicts.json", "finetune.json", "attention.json"}  # what else may lie there
    found = [load(path) for path in sorted(inside.glob("*.json")) if path.name not in beside]
    if not found:
        raise invalid("DIR", "hold the results of a run", str(folder), "Run `gezhi run` first.")
    return found


def write_atomically(path: Path, text: str) -> Path:
    """Write to a temporary neighbour and rename it; nothing half-written is left behind."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        part.replace(path)
    except BaseException as error:
        if isinstance(error, OSError):  # of a full disk, say: where it happened, not the temporary name
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return path
