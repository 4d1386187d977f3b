"""What the lab reads from a method's page."""

from __future__ import annotations

from gezhi.lab.pages import display_formulas, section, sections

PAGE = r"""# A method

Summary.

## Question

<!-- en:3f2a91bc -->
Is it true?

## Derivation

### First step

$$a = b
\tag{1}$$

```python
## not a heading
```

$$c = d$$ and $$e = f \tag{2}$$

## References
"""


def test_sections_are_found_by_number_without_their_stamp():
    assert section(PAGE, 1) == "Is it true?"
    assert section(PAGE, 3) == ""
    assert section(PAGE, 4) == ""


def test_headings_in_code_are_none():
    assert [heading for heading, _ in sections(PAGE)] == [
        "# A method", "## Question", "## Derivation", "### First step", "## References",
    ]  # fmt: skip
    assert "not a heading" in dict(sections(PAGE))["### First step"]


def test_only_formulas_with_a_tag_are_shown():
    assert display_formulas(PAGE) == [r"a = b \tag{1}", r"e = f \tag{2}"]
