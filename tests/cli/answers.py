"""What a command answered, as tests compare it."""

from __future__ import annotations

from click.testing import Result


def words(text: str) -> str:
    """The text as if it stood on one line."""
    return " ".join(text.split())


def sentence(result: Result) -> str:
    """The one sentence of a refused command."""
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line.removeprefix("gezhi: ")
