"""One thread, fixed seeds, poisoned uninitialised memory; counts of fuzzed files, and skips that are all known."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import random

import counting
import hypothesis
import numpy as np
import pytest
import torch

hypothesis.settings.register_profile("house", deadline=None, derandomize=True, max_examples=40)
hypothesis.settings.load_profile("house")
with torch.device("meta"):  # torch now notes which functions make tensors: the true ones, not those poisoned below
    torch.empty(0)


def pytest_configure(config: pytest.Config) -> None:
    for plugin in counting.PLUGINS:
        config.pluginmanager.register(plugin())


@pytest.fixture(autouse=True)
def _even_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts from the same generators, on one thread; `torch.empty` holds NaN, so forgotten writes show."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    empty = torch.empty

    def poisoned(*args: object, **kwargs: object) -> torch.Tensor:
        tensor = empty(*args, **kwargs)  # type: ignore[call-overload]
        if tensor.is_floating_point() and tensor.device.type != "meta" and not torch.compiler.is_compiling():
            with torch.no_grad():
                tensor.fill_(torch.nan)
        return tensor

    monkeypatch.setattr(torch, "empty", poisoned)
