"""`gezhi` with the toys in its catalogue: `python -m lab_toys.command run lab_toys.slow`."""

from __future__ import annotations

from pathlib import Path

from gezhi import _catalogue
from gezhi._catalogue import Method

TOYS = ("planted", "on_items", "yours", "troubles", "slow")


def methods_with_toys(package: Path = _catalogue.PACKAGE) -> dict[str, Method]:
    """The catalogue, and the toys as a wing of their own."""
    toys = [Method(f"lab_toys.{toy}", "toys", "A toy.", "A toy", "玩具", (), (), "", ()) for toy in TOYS]
    return {method.stem: method for method in (*_catalogue._discovered(package), *toys)}


if __name__ == "__main__":
    _catalogue.methods = methods_with_toys
    from gezhi.cli import main

    main()
