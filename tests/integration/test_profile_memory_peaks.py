# SPDX-License-Identifier: Apache-2.0
"""Peaks of layers from a trace: the allocator's running total, and when each layer ran."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.profile.kineto import TraceEvent
from pyperf_infer.profile.memory_peaks import WHOLE, peaks_of, range_name


def steps(start: int, changes: Sequence[tuple[float, int]], device: int = 0) -> list[TraceEvent]:
    """An allocator that had given out `start` bytes, and what changed when."""
    events, total = [], start
    for time, change in changes:
        total += change
        args = {"Device Type": device, "Total Allocated": total, "Bytes": change}
        events.append(TraceEvent(name="[memory]", cat="cpu_instant_event", ts=time, args=args))
    return events


def ran(name: str, begin: float, end: float) -> TraceEvent:
    return TraceEvent(name=name, cat="user_annotation", ts=begin, dur=end - begin)


WHOLE_RUN = ran(WHOLE, 0.0, 100.0)


def test_a_peak_is_above_what_was_before() -> None:
    allocator = steps(5000, [(10, 100), (20, 300), (30, -300), (40, 50), (50, -100)])
    found = peaks_of([WHOLE_RUN, *allocator, ran(range_name(0), 5, 35), ran(range_name(1), 35, 60)])
    assert found.layers == {0: 400, 1: 50}
    assert (found.whole, found.missing) == (400, None)


def test_of_several_calls_the_largest_counts() -> None:
    allocator = steps(0, [(10, 100), (20, -100), (30, 700), (40, -700)])
    found = peaks_of([WHOLE_RUN, *allocator, ran(range_name(3), 5, 25), ran(range_name(3), 25, 45)])
    assert found.layers == {3: 700}


def test_a_layer_that_allocates_nothing_or_only_frees_has_none() -> None:
    allocator = steps(0, [(10, 100), (60, -100)])
    found = peaks_of([WHOLE_RUN, *allocator, ran(range_name(0), 20, 30), ran(range_name(1), 50, 70)])
    assert found.layers == {0: 0, 1: 0}
    assert peaks_of([WHOLE_RUN, ran(range_name(0), 20, 30)]).layers == {0: 0}


def test_other_devices_and_ranges_of_the_models_own_are_left_out() -> None:
    other = steps(0, [(10, 10**9)], device=1)
    found = peaks_of([WHOLE_RUN, *other, *steps(0, [(11, 8)]), ran("decoder", 5, 20), ran(range_name(0), 5, 20)])
    assert found.layers == {0: 8}


def test_a_trace_without_an_inference_tells_nothing() -> None:
    found = peaks_of(steps(0, [(10, 100)]))
    assert (found.whole, found.layers) == (None, {})
    assert found.missing is not None


def test_a_trace_of_another_form_is_not_read_as_one() -> None:
    with pytest.raises(KeyError):
        peaks_of([WHOLE_RUN, TraceEvent(name="[memory]", ts=3.0, args={"Device Type": 0})])


@given(
    start=st.integers(0, 1000),
    changes=st.lists(st.integers(-500, 500), max_size=20),
    begin=st.integers(0, 200),
    length=st.integers(0, 200),
    shuffle=st.randoms(use_true_random=False),
)
def test_peaks_are_those_of_the_definition(
    start: int, changes: list[int], begin: int, length: int, shuffle: object
) -> None:
    timed = [(10.0 * number + 5, change) for number, change in enumerate(changes)]
    events = [*steps(start, timed), ran(WHOLE, begin, begin + length)]
    shuffle.shuffle(events)  # type: ignore[attr-defined]
    before = start + sum(change for time, change in timed if time < begin)
    highest = level = before
    for time, change in timed:
        if begin <= time <= begin + length:
            level += change
            highest = max(highest, level)
    assert peaks_of(events).whole == highest - before
