"""A method's record: what comes back from disk, what damages it, and what a record cannot do to its reader."""

from __future__ import annotations

import json
import math
import sys
import time
import tracemalloc

import pytest
from lab_toys.running import run_toys

from gezhi.lab import record as records
from gezhi.lab.record import MEASURED, Measured, Posed, PosedTest, load, load_all, packed, save, write_atomically
from gezhi.lab.results import environment
from gezhi.lab.verdicts import SCHEMA, difference, record_of, result_of

TOYS = ("planted", "on_items", "marks", "training", "troubles")


@pytest.fixture(scope="module")
def run_of_all(tmp_path_factory):
    """Records with every verdict, rows, numbers that are not finite, shorter runs, and what went wrong."""
    return run_toys(tmp_path_factory.mktemp("all"), *TOYS)


@pytest.fixture(scope="module")
def measured(run_of_all):
    return {method.stem.partition(".")[2]: method.measured for method in run_of_all.record.methods}


# ---- to disk and back -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", TOYS)
def test_round_trip_is_the_identity(measured, tmp_path, toy):
    path = save(measured[toy], tmp_path)
    assert path == tmp_path / f"lab_toys.{toy}.json"
    text = path.read_text("utf-8")
    assert load(path).dumps() == text == measured[toy].dumps()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("toy", TOYS)
def test_verdicts_from_a_record_are_those_of_the_run(measured, tmp_path, toy):
    again = record_of([load(save(measured[toy], tmp_path))])
    assert again.dumps() == record_of([measured[toy]]).dumps()


def test_the_text_is_strict_json_with_a_line_for_each_series(measured):
    text = measured["planted"].dumps()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert next(iter(content)) == "schema"
    levels = content["studies"][0]["levels"]["toy"]
    assert levels["broken"]["score"][2] is None
    line = f'"score": [{", ".join(map(str, levels["true"]["score"]))}]'
    assert any(found.strip() == line for found in text.splitlines())


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.0, 1.0, math.nan], "01-"),
        ([1.0], "1"),
        ([0.5, math.nan, 1 / 3], [0.5, None, 0.333333]),
        ([0.0, 2.0], [0.0, 2.0]),
        ([], []),
    ],
)
def test_rows_are_packed(values, text):
    assert packed(values) == text


@pytest.mark.parametrize(
    "level",
    [1.5, 0, None, math.nan, math.inf, -math.inf, [], [1.0], [0.0, 1.0, math.nan], [0.1, math.nan, math.inf],
     [0.0, 1.0, math.inf], [1e-300, 1e300, -0.0], "01-", "", [math.nan] * 3],
)  # fmt: skip
def test_any_level_comes_back(measured, tmp_path, level):
    content = with_levels(measured["planted"], lambda levels: levels["toy"]["true"].update(score=[level] * 5))
    found = Measured.model_validate(content)
    text = save(found, tmp_path).read_text("utf-8")
    assert load(tmp_path / "lab_toys.planted.json").dumps() == text


def with_levels(measured, change):
    content = measured.model_dump()
    change(content["studies"][0]["levels"])
    return content


def test_texts_come_back_whatever_brackets_and_blanks_are_in_them(measured, tmp_path):
    study = measured["planted"].studies[0]
    odd = {"en": 'got [ 0.5  -1. ],  and\n[ "a",  {b} ] ', "zh": "［ 甲,  乙 ］"}
    content = measured["planted"].model_dump()
    content["studies"][0]["reasons"] = {"toy": odd}
    content["command"] = "gezhi run [ a,  b ]"
    content["studies"][0]["arms"] = [*study.arms, "c [ 1,  2 ]", "d,  e"]
    found = Measured.model_validate(content)
    again = load(save(found, tmp_path))
    assert again == found
    assert again.studies[0].reasons["toy"].en == odd["en"]


def test_a_case_whose_number_is_infinite_can_be_stored(measured, tmp_path):
    content = measured["planted"].model_dump()
    content["studies"][0]["cases"] = {"toy": math.inf}
    assert load(save(Measured.model_validate(content), tmp_path)).studies[0].cases == {"toy": None}


def test_others_may_read_what_was_written(tmp_path):
    (tmp_path / "plain").write_text("")
    written = write_atomically(tmp_path / "result.json", "{}")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_claim_comes_back_as_it_was_posed(measured):
    (study, *_) = measured["marks"].studies
    for name, posed in study.claims.items():
        again = Posed.model_validate(json.loads(posed.model_dump_json()))
        assert again.asks(posed.claim), name
    posed = Posed(tests=[PosedTest(metric="x", arm="a", low=1.0)], cases=["toy"])
    for changed in ({"low": 2.0}, {"high": 3.0}, {"metric": "y"}, {"arm": "b"}):
        test = PosedTest.model_validate({**posed.tests[0].model_dump(), **changed})
        assert not posed.asks(Posed(tests=[test], cases=["toy"]).claim)
    assert not posed.asks(Posed(tests=posed.tests).claim)


def test_where_it_was_measured_is_recorded():
    here = environment()
    assert {"numpy", "scipy", "scikit-learn", "torch"} <= set(here.packages)
    assert here.cores >= 1
    assert here.cpu


# ---- hostile records ------------------------------------------------------------------------------------------------


@pytest.fixture
def content(measured):
    return json.loads(measured["planted"].dumps())


@pytest.fixture
def damaged(content, tmp_path):
    """The record with one place changed, on disk."""

    def at(*place, value):
        part = content
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = value
        path = tmp_path / "damaged.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return at


CLAIM = ("studies", 0, "claims", "true")
SERIES = ("studies", 0, "levels", "toy", "true", "score")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema",), "gezhi.measured/0", "schema of .*damaged.json must be 'gezhi.measured/1': got 'gezhi.measured/0'"),
        (("stem",), "../../etc/passwd", "stem: Value error, a method's stem is letters, digits and _"),
        (("stem",), "/etc/passwd", "stem: Value error, a method's stem"),
        (("stem",), "a/b", "stem: Value error, a method's stem"),
        (("stem",), "", "stem: Value error, a method's stem"),
        (("stem",), "..", "stem: Value error, a method's stem"),
        (("stem",), "gelu\n", "stem: Value error, a method's stem"),
        (("budget",), "huge", "budget: Input should be 'smoke', 'quick' or 'full'"),
        (("surprise",), 1, "surprise: Extra inputs are not permitted"),
        (("studies", 0, "surprise"), 1, r"studies\.0\.surprise: Extra inputs are not permitted"),
        (("studies", 0, "varies"), "both", r"studies\.0\.varies: Input should be 'seed'"),
        ((*CLAIM, "verdict"), "supported", r"claims\.true\.verdict: Extra inputs are not permitted"),
        ((*CLAIM, "tests"), [], r"claims\.true: Value error, a claim must hold a test"),
        ((*CLAIM, "cases"), [], r"claims\.true: Value error, cases of a claim must name a case"),
        ((*CLAIM, "tests", 0, "low"), None, r"tests\.0: Value error, low and high must bound the claim"),
        ((*CLAIM, "tests", 0, "high"), -5, r"tests\.0: Value error, low must not exceed high"),
        ((*CLAIM, "tests", 0, "than"), None, r"tests\.0: Value error, a difference or a ratio names the arm"),
        ((*CLAIM, "tests", 0, "how"), "value", r"tests\.0: Value error, a difference or a ratio names the arm"),
        ((*CLAIM, "tests", 0, "how"), "magic", r"tests\.0\.how: Input should be 'value'"),
        (("seeds",), True, "seeds: Input should be a valid integer"),
        (("seeds",), "5", "seeds: Input should be a valid integer"),
        (("seconds",), False, "seconds: Input should be a valid number"),
        (("studies", 0, "timed"), 0, r"studies\.0\.timed: Input should be a valid boolean"),
        (SERIES, [True] * 5, r"levels\.toy\.true\.score"),
        (SERIES, [[True]] * 5, r"levels\.toy\.true\.score"),
        (SERIES, [1.0], r"studies\.0: Value error, levels of the study 'planted' are not one a seed"),
        (SERIES, [[[1]]] * 5, "one number per test row is a list of numbers and null"),
        (SERIES, [["a"]] * 5, "one number per test row is a list of numbers and null"),
        (SERIES, ["0x1"] * 5, "rows of a 0/1 metric are the characters 0, 1 and -"),
        (SERIES, [{}] * 5, "score"),
        (("studies", 0, "levels", "elsewhere"), {}, "levels of 'elsewhere' are of no case or arm of the study 'planted'"),
        (("studies", 0, "shorter", "toy"), {"who": {}}, "levels of 'toy' are of no case or arm of the study 'planted'"),
        (("environment",), [], "environment: Input should be a valid dictionary"),
    ],
)  # fmt: skip
def test_what_does_not_follow_the_schema_is_named_with_its_place(damaged, place, value, message):
    path = damaged(*place, value=value)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith("Delete it and run gezhi again; what was measured is kept.")
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[" * 2_000,
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"schema": "\xff"}',
        b'{"schema": ' + b"9" * 10_000 + b"}",
        b"\x00" * 100,
    ],
)
def test_what_is_no_json_is_named(tmp_path, text):
    path = tmp_path / "damaged.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=r"damaged\.json is not JSON: ") as caught:
        load(path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", ["[]", "null", "3", '"text"', "{}"])
def test_what_is_no_record_is_named(tmp_path, text):
    (tmp_path / "damaged.json").write_text(text)
    with pytest.raises(ValueError, match=f"schema of .*damaged.json must be '{MEASURED}': got None"):
        load(tmp_path / "damaged.json")


def test_a_huge_number_is_no_number(damaged):
    huge = damaged(*SERIES, value=[10**400] * 5)
    with pytest.raises(ValueError, match="does not follow"):
        load(huge)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(records.MOST_BYTES + 1)
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"huge\.json must have at most {records.MOST_BYTES} bytes: got "):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    tracemalloc.stop()


def test_a_million_claims_are_refused_in_bounded_time(content, tmp_path):
    path = tmp_path / "many.json"
    content["studies"][0]["claims"] = "HERE"
    many = ",".join(f'"c{i}":0' for i in range(1_000_000))
    path.write_text(json.dumps(content).replace('"HERE"', "{" + many + "}"))
    assert path.stat().st_size < records.MOST_BYTES
    start = time.process_time()
    with pytest.raises(ValueError, match=r"many\.json .*studies\.0\.claims: .* at most 1000 claims, not 1000000"):
        load(path)
    assert time.process_time() - start < 10


def test_nothing_is_imported_or_read_because_of_a_record(damaged, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap/inner.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for stem in ("trap", "trap.inner", "gezhi.experiments.trap"):
        found = result_of(load(damaged("stem", value=stem)))
        assert (found.stem, found.claims[0].verdict) == (stem, "supported")
        assert (found.claims[0].text, found.claims[0].by, found.wing) == ("true", "ours", "")
    assert not {"trap", "trap.inner"} & set(sys.modules)


def test_a_record_s_names_never_leave_its_folder(measured, tmp_path):
    hostile = measured["planted"].model_copy(update={"stem": "trap.inner"})
    assert save(hostile, tmp_path / "in").parent == tmp_path / "in"
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_a_folder_without_records_is_named(tmp_path, path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"DIR must hold the results of a run: got .*{path}. Run `gezhi run` first."):
        load_all(tmp_path / path)


def test_records_of_a_folder_are_those_of_its_results(measured, tmp_path):
    for toy in ("planted", "marks"):
        save(measured[toy], tmp_path / "results")
    (tmp_path / "result.json").write_text("{}")
    expected = ["lab_toys.marks", "lab_toys.planted"]
    assert [found.stem for found in load_all(tmp_path)] == expected
    assert [found.stem for found in load_all(tmp_path / "results")] == expected


# ---- what other programs read ---------------------------------------------------------------------------------------

CLAIM_FACE = {
    "id": "ten times",
    "by": "ours",
    "thesis": False,
    "text": "ten times",
    "text_zh": "ten times",
    "criterion": {"en": "", "zh": ""},
    "study": "ratio",
    "scope": {"en": "", "zh": ""},
    "exact": False,
    "timed": False,
    "after": False,
    "verdict": "supported",
}
TEST_FACE = {
    "metric": "seconds",
    "arm": "slow",
    "than": "fast",
    "how": "ratio",
    "low": 10,
    "high": None,
    "unit": "",
    "verdict": "supported",
    "n": 5,
    "needs": None,
    "over": "seeds",
    "marks": [],
    "reason": None,
}
KEYS = {
    "record": {"schema", "environment", "methods"},
    "environment": {"gezhi", "python", "packages", "machine", "cpu", "cores", "commit"},
    "method": {
        "stem", "wing", "title", "articles", "budget", "seeds", "look", "data", "when", "seconds", "environment",
        "short", "claims", "studies",
    },
    "study": {"name", "varies", "timed", "arms", "cases", "seeds", "levels", "compute", "reasons"},
    "case": {"case", "verdict", "estimate", "interval", "deciding", "tests", "reason"},
}  # fmt: skip


@pytest.fixture(scope="module")
def face(run_of_all):
    return json.loads(run_of_all.record.dumps(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_the_face_for_programs_is_pinned(face):
    method = next(method for method in face["methods"] if method["stem"] == "lab_toys.planted")
    study = method["studies"][0]
    claim = next(claim for claim in method["claims"] if claim["id"] == "ten times")
    (case,) = claim["cases"]
    test = dict(*case["tests"])
    assert face["schema"] == SCHEMA == "gezhi.result/2"
    parts = {"record": face, "environment": face["environment"], "method": method, "study": study, "case": case}
    assert {name: set(part) for name, part in parts.items()} == KEYS
    assert {key: value for key, value in claim.items() if key != "cases"} == CLAIM_FACE
    assert {key: test.pop(key) for key in TEST_FACE} == TEST_FACE
    assert set(test) == {"estimate", "interval", "seen"}
    assert case["estimate"] == test["estimate"] == pytest.approx(30), "a ratio, not its logarithm"
    assert case["interval"] == test["interval"] == pytest.approx([29.4, 30.6], abs=0.1)
    assert study["levels"]["toy"]["broken"]["score"][2] is None
    assert study["compute"]["toy"]["base"].keys() == {"seconds", "evaluations", "parameters"}
    assert (method["budget"], method["seeds"], method["look"]) == ("quick", 5, 1)


def test_verdicts_are_these_five(face):
    claims = [claim for method in face["methods"] for claim in method["claims"]]
    assert {claim["verdict"] for claim in claims} == {
        "supported", "refuted", "divided", "inconclusive", "not asked",
    }  # fmt: skip
    cases = {case["verdict"] for claim in claims for case in claim["cases"]}
    assert cases == {"supported", "refuted", "inconclusive", "not asked"}


def test_estimate_and_interval_are_those_of_the_test_that_decides(run_of_all):
    case = run_of_all.cases["one reversed"]
    assert case.deciding == 2
    assert (case.estimate, case.interval) == (case.test.estimate, case.test.interval)
    assert case.test is case.tests[2]


# ---- two runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def record(measured):
    return record_of([measured["planted"], measured["marks"]])


def test_methods_stand_in_the_house_s_order(record):
    assert [method.stem for method in record.methods] == ["lab_toys.marks", "lab_toys.planted"]


def test_a_run_does_not_differ_from_itself(record):
    assert difference(record, record) == []


def test_difference_names_changed_added_and_removed_claims(record):
    other = record.model_copy(deep=True)
    method = other.methods[1]
    changed = method.claim("true")
    changed.verdict, changed.cases[0].estimate = "refuted", -0.5
    gone = method.claims[-1]
    method.claims[-1] = gone.model_copy(update={"id": "new", "text": "A new claim."})
    rows = {row["claim"]: row for row in difference(record, other)}
    assert set(rows) == {"true", gone.id, "new"}
    assert rows["true"] == {
        "stem": "lab_toys.planted",
        "claim": "true",
        "text": "true",
        "verdicts": ["supported", "refuted"],
        "estimates": [pytest.approx(0.1), -0.5],
    }
    assert (rows[gone.id]["verdicts"][1], rows["new"]["verdicts"][0], rows["new"]["text"]) == (
        None,
        None,
        "A new claim.",
    )
