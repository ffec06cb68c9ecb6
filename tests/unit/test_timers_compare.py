# SPDX-License-Identifier: Apache-2.0
"""`timers.compare` and `timers.Stopwatch`."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from pyperf_infer import timers
from pyperf_infer.errors import UsageError
from pyperf_infer.timing.comparison import block_length_ns


def _busy() -> None:
    sum(range(3000))


def _twice() -> None:
    sum(range(3000))
    sum(range(3000))


def test_a_comparison_has_both_alone_and_their_ratio() -> None:
    """Too short for a verdict to be relied on; what is there must fit together."""
    found = timers.compare(_busy, _twice, max_duration=0.6)
    assert found.ratio < 1
    assert found.verdict in ("slower", "undecided")
    assert (found.reason is None) == (found.verdict != "undecided")
    assert found.rounds >= 0
    assert found.discarded_calls >= 0
    assert [one.ns.size > 0 for one in found.alone] == [True, True]
    assert gc.isenabled()


def test_enough_rounds_give_an_interval() -> None:
    found = timers.compare(_busy, _busy, max_duration=12.0, ci=0.5)  # ends after 8 rounds, some 3 s
    assert found.rounds >= 6
    assert found.interval is not None
    assert found.interval[0] <= found.ratio <= found.interval[1]


@pytest.mark.parametrize(
    ("budget_s", "targets", "block_ms"),
    [(60.0, 2, 100.0), (10.24, 2, 48.0), (2.56, 2, 12.0), (2.56, 4, 6.0), (0.01, 2, 1.0)],
)
def test_blocks_are_shorter_where_a_budget_has_no_room_for_rounds_enough(
    budget_s: float, targets: int, block_ms: float
) -> None:
    assert block_length_ns(round(budget_s * 1e9), targets) == pytest.approx(block_ms * 1e6)


def test_without_time_for_a_round_it_is_undecided() -> None:
    found = timers.compare(_busy, _busy, max_duration=0.01)
    assert found.verdict == "undecided"
    assert found.interval is None


@pytest.mark.parametrize(
    "arguments", [{"margin": 0}, {"margin": -1}, {"margin": float("nan")}, {"max_duration": -1}, {"ci": 0}]
)
def test_a_plan_that_contradicts_itself_is_a_usage_error(arguments: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        timers.compare(_busy, _busy, **{"max_duration": 0.1, **arguments})


def test_what_cannot_be_called_is_a_type_error_before_anything_runs() -> None:
    called = []
    what: Any = None
    with pytest.raises(TypeError):
        timers.compare(lambda: called.append(1), what, max_duration=0.1)


def test_errors_of_either_come_through() -> None:
    with pytest.raises(ZeroDivisionError):
        timers.compare(_busy, lambda: 1 / 0, max_duration=0.1)
    assert gc.isenabled()


def test_a_stopwatch_reads_inside_and_stands_still_outside() -> None:
    with timers.Stopwatch() as watch:
        first = watch.ns
        time.sleep(0.001)
        second = watch.ns
    whole = watch.ns
    assert 0 <= first < second <= whole
    time.sleep(0.001)
    assert watch.ns == whole
    with watch:
        pass
    assert watch.ns < whole


def test_a_stopwatch_stops_at_an_error_and_lets_it_through() -> None:
    watch = timers.Stopwatch()
    with pytest.raises(ZeroDivisionError), watch:
        _ = 1 / 0
    assert watch.ns == watch.ns


def test_a_stopwatch_that_never_ran_has_no_time() -> None:
    with pytest.raises(UsageError, match="never started"):
        _ = timers.Stopwatch().ns


def test_a_stopwatch_knows_its_own_cost() -> None:
    assert timers.Stopwatch.overhead_ns() > 0
