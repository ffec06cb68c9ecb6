# SPDX-License-Identifier: Apache-2.0
"""timers.EventTimer against torch's own events on the same stream: one pair inside of the other."""

from __future__ import annotations

import pytest
import torch
from gpu_torch import on_new_stream, sleep

from pyperf_infer import timers
from pyperf_infer.errors import UsageError

# What two events can read apart where one was recorded right after the other: the step of an event's time.
STEP_MS = 0.002


def torch_events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    return begin, end


def test_a_span_around_torchs_is_no_shorter() -> None:
    with on_new_stream() as stream:
        begin, end = torch_events()
        with timers.EventTimer(stream) as timer:
            begin.record()
            sleep(2)
            end.record()
        assert timer.ms >= begin.elapsed_time(end) - STEP_MS


def test_a_span_inside_of_torchs_is_no_longer_and_holds_the_work() -> None:
    with on_new_stream() as stream:
        begin, end = torch_events()
        begin.record()
        with timers.EventTimer(stream) as timer:
            sleep(2)
        end.record()
        end.synchronize()
        assert timer.ms <= begin.elapsed_time(end) + STEP_MS
        assert timer.ms > 0.2  # a sleep of some 2 ms, at any clock that a GPU has


def test_what_was_queued_before_is_no_part_of_it() -> None:
    with on_new_stream() as stream:
        begin, end = torch_events()
        begin.record()
        sleep(20)
        end.record()
        with timers.EventTimer(stream) as timer:
            sleep(0.01)
        assert timer.ms < begin.elapsed_time(end) / 2


def test_it_is_not_done_before_the_work_is() -> None:
    with on_new_stream() as stream:
        timer = timers.EventTimer(stream)
        with timer:
            sleep(200)
        assert not timer.is_done
        stream.synchronize()
        assert timer.is_done
        assert timer.ns == pytest.approx(timer.ms * 1e6)


def test_a_timer_is_used_again() -> None:
    with on_new_stream() as stream:
        timer = timers.EventTimer(stream)
        with timer:
            sleep(5)
        long_ns = timer.ns
        with timer:
            sleep(0.05)
        assert timer.ns < long_ns
        assert 0 < timer.overhead_ns() < long_ns


def test_one_that_was_never_stopped_says_so() -> None:
    with on_new_stream() as stream, pytest.raises(UsageError, match="started and stopped"):
        _ = timers.EventTimer(stream).ns
