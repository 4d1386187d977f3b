"""Paragraphs in a terminal: lines end between words or Chinese characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from gezhi.cli.flow import lines_of


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, [""]),
        ("one two three", 7, ["one two", "three"]),
        ("one\u00a0two three", 9, ["one\u00a0two", "three"]),
        ("extraordinarily", 6, ["extrao", "rdinar", "ily"]),
        ("一二三四五六", 6, ["一二三", "四五六"]),
        ("一二三，四五六", 6, ["一二", "三，四", "五六"]),
        ("一（二三）四", 5, ["一", "（二", "三）", "四"]),
        ("共 0.0447 与 1.702", 8, ["共", "0.0447", "与 1.702"]),
        ("用CoSENT训练", 8, ["用CoSENT", "训练"]),
    ],
)
def test_lines_end_between_words(text, width, lines):
    assert lines_of(text, width) == lines


@given(st.text(alphabet="ab1. 一二，（）\u00a0", max_size=60), st.integers(4, 30))
def test_nothing_is_lost_and_nothing_sticks_out(text, width):
    lines = lines_of(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= width for line in lines)
