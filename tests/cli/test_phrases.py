"""How a claim reads in a terminal."""

from __future__ import annotations

import pytest
from lab_toys.running import run_toys

from gezhi.cli.words import claim_text, estimate_text


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    return run_toys(tmp_path_factory.mktemp("planted"), "planted").record.methods[0]


@pytest.mark.parametrize(
    ("claim", "text"),
    [
        ("true", "+10.0 [+8.0, +12.0] pp"),
        ("reversed", "−10.0 [−12.0, −8.0] pp"),
        ("ten times", "30.00× [29.42, 30.59]"),
        ("quadratic", "2.000 [1.980, 2.020]"),
        ("exactly false", "0.01"),
        ("exactly true", "10⁻¹⁴"),
        ("broken", "—"),
    ],
)
def test_estimates_read_on_their_scale(method, claim, text):
    found = next(c for c in method.claims if c.id == claim)
    assert " ".join(estimate_text(found).split()) == text
    assert estimate_text(found.model_copy(update={"tests": []})) == ""


def test_a_claim_names_its_case_in_the_reader_s_language(method):
    claim = method.claims[0].model_copy(update={"case": "toy"})
    assert claim_text(claim, method) == "The claim true holds. (toy)"
    assert claim_text(claim, method, "zh") == f"{claim.text_zh}(玩具)"
    assert claim_text(method.claims[0], method) == "The claim true holds."
