"""Formulas in a terminal."""

from __future__ import annotations

import re

import pytest

from gezhi import _catalogue
from gezhi.cli.formulas import in_unicode, plain
from gezhi.lab.pages import display_formulas


@pytest.mark.parametrize(
    ("latex", "lines"),
    [
        (r"L\ge\log(1+D). \tag{6}", ["L ≥ log(1+D).   (6)"]),
        (r"\log\Big(1+\sum_{y_b<y_a}e^{s_b-s_a+m}\Big)", ["log(1+∑_(y_b<y_a)e^(s_b−s_a+m))"]),
        (r"\frac43-\frac b{3N}", ["4/3−b/(3N)"]),
        (r"\frac{\partial L}{\partial s_i}=-\sum_jw_{ij}x^\top", ["∂L/∂sᵢ = −∑ⱼwᵢⱼxᵀ"]),
        (r"x_i^2,\qquad\cos\theta\in[-1,1]", ["xᵢ²,    cos θ ∈ [−1,1]"]),
        (r"\{h_i\}_{i\in A}\ne\mathcal L", ["{hᵢ}_(i∈A) ≠ ℒ"]),
        (r"\begin{cases}a&b\le c\\d&\text{otherwise}\end{cases} \tag{10}", ["a    b ≤ c   (10)", "d    otherwise"]),
        (r"\tfrac x2\sqrt{2\pi}", ["x/2 √(2π)"]),
    ],
)
def test_formulas_read_on_a_line(latex, lines):
    assert in_unicode(latex) == lines


def test_prose_keeps_its_words():
    assert plain(r"Does a factor like $\log n$ or $\sqrt d$ help?") == "Does a factor like log n or √(d) help?"


@pytest.mark.parametrize("path", sorted(_catalogue.pages().glob("*[!h].md")), ids=lambda path: path.stem)
def test_every_formula_of_the_pages_is_free_of_markup(path):
    formulas = display_formulas(path.read_text("utf-8"))
    assert formulas
    for latex in formulas:
        text = "\n".join(in_unicode(latex))
        assert not re.search(r"\\|\$|\ue000", text), text
        assert re.search(r"   \(\d+\)$", text.split("\n")[0])
