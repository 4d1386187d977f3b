"""`result.json`: what other programs read in it, what damages it, and what differs between two."""

from __future__ import annotations

import json
import math

import pytest
from lab_toys.running import run_toys

from gezhi.lab import record as records
from gezhi.lab.record import SCHEMA, Record, difference, load, merge, save, write_atomically
from gezhi.lab.results import environment


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A record with every verdict, and with numbers that are not finite."""
    return run_toys(tmp_path_factory.mktemp("planted"), "planted", "on_items").record


@pytest.fixture
def record(measured):
    return measured.model_copy(deep=True)


def claim_of(record, id):
    return next(claim for _, claim in record.claims() if claim.id == id)


# ---- what programs read ---------------------------------------------------------------------------------------------

CLAIM = {
    "id": "ten times",
    "text": "The claim ten times holds.",
    "text_zh": "论断 ten times 成立。",
    "study": "ratio",
    "case": None,
    "scope": {"en": "", "zh": ""},
    "exact": False,
    "timed": False,
    "verdict": "supported",
    "reason": None,
    "deciding": 0,
    "level": 0.95,
    "weak": False,
}
TEST = {
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
}
KEYS = {
    "record": {"schema", "environment", "command", "methods"},
    "environment": {"gezhi", "python", "packages", "machine", "cpu", "cores", "commit"},
    "method": {
        "stem", "wing", "title", "articles", "budget", "seeds", "looks", "data", "when", "seconds", "environment", "zh",
        "claims", "studies",
    },
    "study": {
        "name", "varies", "alone", "threads", "arms", "cases", "seeds", "size", "replicates", "compute", "reason",
    },
}  # fmt: skip


def test_the_face_for_programs_is_pinned(record):
    content = json.loads(record.dumps())
    method = next(method for method in content["methods"] if method["stem"] == "lab_toys.planted")
    study = method["studies"][0]
    assert content["schema"] == SCHEMA == "gezhi.result/1"
    for part, found in (
        ("record", content),
        ("environment", content["environment"]),
        ("method", method),
        ("study", study),
    ):
        assert set(found) == KEYS[part]
    claim = next(claim for claim in method["claims"] if claim["id"] == "ten times")
    (test,) = claim["tests"]
    assert {key: claim.pop(key) for key in CLAIM} == CLAIM
    assert {key: test.pop(key) for key in TEST} == TEST
    assert set(claim) == {"estimate", "interval", "q", "tests"}
    assert set(test) == {"estimate", "interval", "p", "resolution"}
    assert claim["estimate"] == test["estimate"] == pytest.approx(30), "a ratio, not its logarithm"
    assert claim["interval"] == test["interval"] == pytest.approx([29.4, 30.6], abs=0.1)
    assert study["replicates"]["toy"]["broken"]["score"][2] is None
    assert study["compute"]["toy"]["base"].keys() == {"seconds", "evaluations", "parameters"}
    assert (method["budget"], method["seeds"], method["looks"], method["zh"]) == ("quick", 5, 1, {"toy": "玩具"})


def test_verdicts_are_these_four(record):
    verdicts = {claim["verdict"] for method in json.loads(record.dumps())["methods"] for claim in method["claims"]}
    assert verdicts <= {"supported", "refuted", "inconclusive", "not asked"}
    assert {"supported", "refuted", "inconclusive"} <= verdicts


def test_estimate_and_interval_are_those_of_the_test_that_decides(record):
    claim = claim_of(record, "one reversed")
    assert claim.deciding == 2
    assert (claim.estimate, claim.interval) == (claim.tests[2].estimate, claim.tests[2].interval)


def test_what_is_not_finite_becomes_null_in_strict_json(record):
    text = record.dumps()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert claim_of(record, "infinite").estimate is None
    assert claim_of(record, "true").tests[0].high is None
    claim = claim_of(record, "true").model_dump()
    assert records.ClaimResult.model_validate({**claim, "estimate": math.nan}).estimate is None
    assert records.ClaimResult.model_validate({**claim, "interval": (-math.inf, 1)}).interval == (None, 1)


def test_where_it_was_measured_is_recorded():
    here = environment([])
    assert {"numpy", "scipy", "scikit-learn", "torch"} <= set(here.packages)
    assert here.cores >= 1
    assert here.cpu


# ---- to disk and back -----------------------------------------------------------------------------------------------


def test_round_trip(record, tmp_path):
    assert save(record, tmp_path) == tmp_path / "result.json"
    assert load(tmp_path) == load(tmp_path / "result.json") == record
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_others_may_read_what_was_written(tmp_path):
    (tmp_path / "plain").write_text("")
    written = write_atomically(tmp_path / "result.json", "{}")
    assert written.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:100], "is not JSON: .* Delete it and run gezhi again"),
        (lambda _: "[]", "schema of .*result.json must be 'gezhi.result/1': got None. Delete it and run gezhi again"),
        (lambda text: text.replace("result/1", "result/0", 1), "must be 'gezhi.result/1': got 'gezhi.result/0'"),
        (lambda text: text.replace('"verdict": "supported"', '"verdict": "true"', 1), r"does not follow gezhi.result/1: methods\.\d+\.claims\.\d+\.verdict: Input should be 'supported'"),
        (lambda text: text.replace('"level": 0.95', '"level": "high"', 1), r"level: Input should be a valid number"),
        (lambda text: text.replace('"estimate": ', '"estimate": "much", "x": ', 1), r"estimate: Input should be a valid number"),
        (lambda text: text.replace('"weak"', '"week"', 1), r"weak: Field required"),
    ],
    ids=("cut", "a list", "an old schema", "a verdict", "a level", "an estimate", "a name"),
)  # fmt: skip
def test_a_damaged_record_is_named(record, tmp_path, damage, message):
    (tmp_path / "result.json").write_text(damage(record.dumps()), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_text_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "result.json").write_bytes(b'{"schema": "\xff"}')
    with pytest.raises(ValueError, match=r"result\.json is not JSON: 'utf-8' codec"):
        load(tmp_path)


@pytest.mark.parametrize("path", ["nowhere", "empty"])
def test_a_folder_without_record_is_named(tmp_path, path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=f"DIR must hold a result.json: got .*{path}. Run `gezhi run` first."):
        load(tmp_path / path)


# ---- two runs -------------------------------------------------------------------------------------------------------


def test_a_run_does_not_differ_from_itself(record):
    assert difference(record, record) == []


def test_difference_names_changed_added_and_removed_claims(record):
    other = record.model_copy(deep=True)
    changed = claim_of(other, "true")
    changed.verdict, changed.estimate = "refuted", -0.5
    method = other.methods[0]
    gone, new = method.claims[-1], method.claims[-1].model_copy(update={"id": "new", "text": "A new claim."})
    method.claims[-1] = new
    rows = {row["claim"]: row for row in difference(record, other)}
    assert set(rows) == {"true", gone.key, new.key}
    assert rows["true"] == {
        "stem": "lab_toys.planted",
        "claim": "true",
        "text": "The claim true holds.",
        "verdicts": ["supported", "refuted"],
        "estimates": [pytest.approx(0.1), -0.5],
    }
    assert (rows[gone.key]["verdicts"][1], rows[new.key]["verdicts"][0], rows[new.key]["text"]) == (
        None,
        None,
        "A new claim.",
    )


def test_claims_are_compared_case_by_case(record):
    other = record.model_copy(deep=True)
    claim_of(other, "true").case = "elsewhere"
    assert [row["claim"] for row in difference(record, other)] == ["true", "true@elsewhere"]


def test_merging_puts_new_methods_over_old_ones_in_the_house_s_order(record):
    def only(*stems: tuple[str, str], seconds: float) -> Record:
        method = record.methods[0]
        methods = [method.model_copy(update={"wing": w, "stem": s, "seconds": seconds}) for w, s in stems]
        return record.model_copy(update={"methods": methods, "command": f"{seconds}"})

    old, new = (
        only(("nn", "gelu"), ("nn", "masks"), seconds=1),
        only(("vae", "a"), ("nn", "gelu"), ("gan", "z"), seconds=2),
    )
    merged = merge(old, new)
    assert [(m.stem, m.seconds) for m in merged.methods] == [("z", 2), ("gelu", 2), ("masks", 1), ("a", 2)]
    assert merged.command == "2"
    assert [m.stem for m in merge(None, new).methods] == ["z", "gelu", "a"]
