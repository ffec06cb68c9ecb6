# SPDX-License-Identifier: Apache-2.0
"""Where the wall time of a command goes: phases in order, nested ones counted once."""

from __future__ import annotations

from contextlib import suppress

import pytest

from pyperf_infer.measure import phases as module
from pyperf_infer.measure.phases import Phases


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time stands still but for what a test adds to `clock[0]`."""
    now = [100.0]
    monkeypatch.setattr(module, "perf_counter", lambda: now[0])
    return now


def _seconds(phases: Phases) -> list[tuple[str, float]]:
    return [(one.name, one.seconds) for one in phases.listed()]


def test_phases_are_listed_in_the_order_they_first_came_up_and_add_up(clock: list[float]) -> None:
    phases = Phases()
    for name, seconds in (("load", 1), ("measure", 5), ("load", 2)):
        with phases.timed(name):
            clock[0] += seconds
    phases.add("start", 0.5)
    phases.add("load", 1)
    assert _seconds(phases) == [("load", 4), ("measure", 5), ("start", 0.5)]


def test_a_phase_inside_another_is_taken_out_of_it(clock: list[float]) -> None:
    phases = Phases()
    with phases.timed("outer"):
        clock[0] += 1
        with phases.timed("inner"):
            clock[0] += 2
            with phases.timed("innermost"):
                clock[0] += 4
        with phases.timed("inner"):
            clock[0] += 8
    assert _seconds(phases) == [("outer", 1), ("inner", 10), ("innermost", 4)]


def test_a_phase_that_fails_counts_too(clock: list[float]) -> None:
    phases = Phases()
    with suppress(KeyboardInterrupt), phases.timed("outer"), phases.timed("inner"):
        clock[0] += 3
        raise KeyboardInterrupt
    with phases.timed("next"):
        clock[0] += 1
    assert _seconds(phases) == [("outer", 0), ("inner", 3), ("next", 1)]
