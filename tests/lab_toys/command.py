"""`gezhi` with the toys in its catalogue: `python -m lab_toys.command run lab_toys.slow`."""

from __future__ import annotations

from pathlib import Path

from gezhi import _catalogue
from gezhi._catalogue import Method

TOYS = ("planted", "on_items", "yours", "troubles", "slow")
_in_the_house = _catalogue._discovered


def discovered_with_toys(package: Path) -> tuple[Method, ...]:
    """The house's methods, and the toys as a wing of their own."""
    toys = (Method(f"lab_toys.{toy}", "toys", "A toy.", "A toy", "玩具", (), (), "", ()) for toy in TOYS)
    return (*_in_the_house(package), *toys)


if __name__ == "__main__":
    _catalogue._discovered = discovered_with_toys  # type: ignore[assignment]
    from gezhi.cli import main

    main()
