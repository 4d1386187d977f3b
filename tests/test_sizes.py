"""A reader finishes a module in one sitting: 400 lines at most."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST = 400


def test_no_module_is_longer_than_a_sitting():
    lines = {path: path.read_text("utf-8").count("\n") for path in (ROOT / "src").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): n for path, n in lines.items() if n > MOST} == {}
