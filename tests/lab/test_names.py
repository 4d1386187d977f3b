"""Chinese names: of a method before common ones, with numbers filled in."""

from __future__ import annotations

import pytest

from gezhi.lab import names

TABLES = {
    "common": {"accuracy": "准确率", "n = {}": "n = {}", "digits": "数字", "{} of {} rows": "{1} 行中的 {0} 行"},
    "cosent": {"accuracy": "正确率", "epoch {}": "第 {} 轮", "epoch 1": "首轮", "50% {brace}": "一半"},
}


@pytest.fixture(autouse=True)
def _tables(monkeypatch):
    monkeypatch.setattr(names, "tables", lambda: TABLES)


@pytest.mark.parametrize(
    ("name", "stem", "expected"),
    [
        ("accuracy", "cosent", "正确率"),
        ("accuracy", "gelu", "准确率"),
        ("digits", "cosent", "数字"),
        ("epoch 12", "cosent", "第 12 轮"),
        ("epoch 1", "cosent", "首轮"),
        ("epoch 12", "gelu", "epoch 12"),
        ("n = 10 000", "gelu", "n = 10 000"),
        ("n = 0.5", "gelu", "n = 0.5"),
        ("3 of 1,000 rows", "gelu", "1,000 行中的 3 行"),
        ("50% {brace}", "cosent", "一半"),
        ("{odd} name", "cosent", "{odd} name"),
        ("unknown", "cosent", "unknown"),
        ("unknown 3", "no_such_method", "unknown 3"),
        ("", "cosent", ""),
    ],
)
def test_names(name, stem, expected):
    assert names.chinese(name, stem) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("epoch 12", ("cosent", "epoch {}")),
        ("epoch 1", ("cosent", "epoch 1")),
        ("digits", ("common", "digits")),
        ("n = 7", ("common", "n = {}")),
        ("unknown", None),
    ],
)
def test_the_entry_that_names_it(name, expected):
    assert names.entry(name, "cosent") == expected
    assert (names.lookup(name, "cosent") is None) == (expected is None)


def test_without_the_file_names_stay_as_they_are(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(names._catalogue, "names", lambda: tmp_path / "none.toml")
    names.tables.cache_clear()
    assert names.chinese("accuracy", "cosent") == "accuracy"
    (tmp_path / "names.toml").write_text('[common]\n"accuracy" = "准确率"\n')
    monkeypatch.setattr(names._catalogue, "names", lambda: tmp_path / "names.toml")
    names.tables.cache_clear()
    assert names.chinese("accuracy", "cosent") == "准确率"
    names.tables.cache_clear()
