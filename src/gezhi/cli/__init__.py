"""The command line; it needs the `lab` extra and says so."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `gezhi`."""
    try:
        import typer
    except ModuleNotFoundError:
        sys.exit("The command line is not installed. Run: pip install 'gezhi[lab]'")
    from gezhi.cli.app import app

    app()
