"""What is printed at any width and in either language: whole words, no word of the other language, two screens at most."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from cli_toys import house
from cli_toys.house import PAGE, PAGE_ZH, STEM
from rich.cells import cell_len

from gezhi._catalogue import Method
from gezhi.cli import verdicts
from gezhi.lab.verdicts import record_of

WIDTHS = (60, 79, 80, 100, 119, 120, 160, 200)
COMMANDS = {
    "list": ("list",),
    "show": ("show", "NS"),
    "run": ("run", STEM),
    "run verbosely": ("run", STEM, "--verbose"),
    "run on a file": ("run", STEM, "--data", "t.csv"),
    "compare": ("report", "--diff", "one", "other"),
}
NAMES = {"NS", "NS：", "cli", "toys", "shop", "lab", "csv", "html", "pp", "full", "UTC", "log", "data", "features"}


@pytest.fixture
def ready(gezhi, docs, tmp_path):
    """Everything that the commands read."""
    house.publish(docs)
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,b\n3,a\n")
    house.save(house.measured(), tmp_path / "one" / "results")
    turned = house.measured().model_copy(deep=True)
    turned.studies[0].levels["south"] = turned.studies[0].levels["north"]
    house.save(turned, tmp_path / "other" / "results")
    return gezhi


def squeezed(text):
    """Without spaces and line ends, which a width may change."""
    return re.sub(r"\s+", "", text)


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_no_width_cuts_a_word(ready, monkeypatch, command, lang):
    printed = {}
    for width in WIDTHS:
        monkeypatch.setenv("COLUMNS", str(width))
        result = ready(*command, "--lang", lang)
        assert result.exit_code == 0
        printed[width] = result.stdout
        lines = [line for line in result.stdout.splitlines() if "/" not in line]  # paths are one word
        assert max(map(cell_len, lines)) <= width
        assert "…" not in result.stdout
    signs = {width: sorted(squeezed(text)) for width, text in printed.items() if width < 120 or command[0] != "list"}
    assert all(found == signs[60] for found in signs.values())


@pytest.mark.parametrize("width", WIDTHS)
def test_no_width_cuts_a_word_of_the_data(ready, monkeypatch, width):
    whole = squeezed(ready("data").stdout)
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = ready("data").stdout
    assert sorted(squeezed(narrow)) == sorted(whole)
    assert max(map(cell_len, narrow.splitlines())) <= width


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_chinese_output_has_no_english_word_of_ours(ready, monkeypatch, docs, command):
    monkeypatch.setattr("gezhi._catalogue._discovered", lambda _: (replace(house.SHOP, wing="losses"),))
    text = "\n".join(line for line in ready(*command, "--lang", "zh").stdout.splitlines() if "/" not in line)
    prose = re.sub(r"L = .*", "", text)
    assert set(re.findall(r"[A-Za-z]{2,}", prose)) <= NAMES | {"losses", "quick", "one", "other"}


# ---- two screens ----------------------------------------------------------------------------------------------------

THESES = [
    "A formula without iteration classifies at least as well as logistic regression trained by gradient descent, with few samples and with many.",
    "Re-normalising uncertain predictions with the class prior raises accuracy when there are many classes.",
    "The shorter the code of a random walk, the better the communities.",
    "As the loss of a cross-encoder CoSENT is no better than cross-entropy.",
    "FlatNCE repairs what contrastive learning loses with small batches.",
    "A margin in the softmax of a classifier makes its features better for retrieval.",
    "Scaling attention by log n keeps a model accurate on inputs longer than those of its training.",
    "The constants 0.044715 and 1.702 are those of a minimax fit to the normal distribution.",
    "Word vectors need about 8.33 log N dimensions for N words.",
    "Contrastive learning can accumulate gradients exactly, at the price of one more forward pass.",
]
SHORT = "Only if you know the prior of the test data; and then logit adjustment, which costs no more, gains more than it does."


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_ten_methods_fit_two_screens(docs, monkeypatch, capsys, lang):
    methods = tuple(
        Method(f"toy_{i}", "toys", "", f"A method of some name {i}", f"某个方法 {i}", (), (), "", ()) for i in range(10)
    )
    for method, thesis in zip(methods, THESES, strict=True):
        for text, suffix in ((PAGE, ".md"), (PAGE_ZH, ".zh.md")):
            said = text.replace("The new seller sells more than the plain one.", thesis)
            said = said.replace("Only in the north; in the south it sells less.", SHORT)
            (docs / "methods" / f"{method.stem}{suffix}").write_text(said, encoding="utf-8")
    house.move_in(docs, monkeypatch, lambda _: methods)
    measured = [house.measured().model_copy(update={"stem": method.stem}) for method in methods]
    for found in measured:
        house.publish(docs, found)
    monkeypatch.setenv("COLUMNS", "80")
    verdicts.print_record(record_of(measured), lang, verbose=False)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) + 1 <= 2 * 24, "with the line that says where the report is"
    assert len(lines) >= 20
