"""The README's example runs and gives the number that stands beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_first_example_is_true(name):
    code = re.search(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.S)[1]
    *before, last = code.strip().splitlines()
    said = float(re.search(r"# (\d\.\d+)", last)[1])
    names: dict[str, object] = {}
    exec("\n".join(before), names)
    assert eval(last.partition("#")[0], names) == pytest.approx(said, abs=5e-4)
