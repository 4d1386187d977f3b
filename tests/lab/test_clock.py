"""What a measurement costs: rounds, bytes and calls, counted where they can be known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gezhi.lab import clock
from gezhi.lab.clock import ComputeMeter, best_of, interleaved, peak_bytes, peak_bytes_here, saved_bytes

MEGABYTE = 2**20


@pytest.fixture
def ticking(monkeypatch):
    """A clock that every call moves on by the next of these seconds."""

    def with_seconds(*seconds):
        now, steps = [0.0], iter(seconds)
        monkeypatch.setattr(clock.time, "perf_counter", lambda: now[0])
        return lambda: now.__setitem__(0, now[0] + next(steps))

    return with_seconds


def test_the_first_call_only_warms_up(ticking):
    assert best_of(ticking(0.5, 3.0, 2.0, 4.0)) == 2.0


def test_rounds_run_every_call_once_in_turns(ticking):
    call, order = ticking(*[1.0] * 8), []
    calls = {name: lambda name=name: (order.append(name), call()) for name in "ab"}
    assert interleaved(calls, rounds=3) == {"a": [1.0] * 3, "b": [1.0] * 3}
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"


def test_saved_bytes_count_a_storage_once():
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    with saved_bytes() as count:
        (x * x).sum()
    assert count() == 8000
    with saved_bytes() as count:
        x.exp().exp().sum()
    assert count() == 16000


def test_peak_of_a_fresh_process_does_not_count_this_one():
    held = np.ones(300 * MEGABYTE // 8)
    assert peak_bytes_here() > held.nbytes
    nothing, some = peak_bytes("pass"), peak_bytes("x = bytearray(100 * 2**20)")
    assert nothing < 100 * MEGABYTE
    assert 95 * MEGABYTE < some - nothing < 110 * MEGABYTE


def test_meter_counts_calls_of_outermost_modules():
    inner = torch.nn.Linear(3, 2)
    network = torch.nn.Sequential(inner, torch.nn.ReLU())
    with ComputeMeter() as meter:
        network(torch.ones(1, 3))
        network(torch.ones(1, 3))
        with pytest.raises(RuntimeError):
            network(torch.ones(1, 5))
        inner(torch.ones(1, 3))
    network(torch.ones(1, 3))
    assert (meter.evaluations, meter.parameters) == (4, 8)


def test_meter_of_a_measure_without_network_counts_nothing():
    with ComputeMeter() as meter:
        torch.ones(3).sum()
    assert (meter.evaluations, meter.parameters) == (None, None)
