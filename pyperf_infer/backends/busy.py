# SPDX-License-Identifier: Apache-2.0
"""How long the GPU was busy with a call: the time in which at least one kernel, copy or fill was running on it.

Measured in a pass of its own with PyTorch's profiler (Kineto, which reads CUPTI's records of the device). It sees what
any library in this process launches, and slows the host down while it does: its numbers are the device's alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch._C._autograd import DeviceType

METHOD = "union of kernels, copies and fills on the device, from CUPTI through torch.profiler, in a pass of its own"

# Kineto's names of what occupies the device. Its timeline also has annotations and waits, which do not.
_WORK = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
# The waits' names, for a PyTorch that does not tell the kind of an event, as 2.9 does not.
_WAITS = frozenset({"Context Sync", "Stream Sync", "Stream Wait Event", "Event Sync"})
_SILENT = "6"  # above all of Kineto's levels, which otherwise reach the terminal at every start and stop


@dataclass(frozen=True)
class Busy:
    """Milliseconds a call in which the device worked, and kernels (copies and fills included) a call.

    Both None where that could not be measured; `missing` says why then.
    """

    ms_per_call: float | None
    kernels_per_call: float | None
    method: str = METHOD
    missing: str | None = None


class Event(Protocol):
    """What is used of torch's `_KinetoEvent`, beside `activity_type()`, which PyTorch 2.9 does not have."""

    def name(self) -> str: ...
    def device_type(self) -> DeviceType: ...
    def device_index(self) -> int: ...
    def start_ns(self) -> int: ...
    def end_ns(self) -> int: ...
    def is_user_annotation(self) -> bool: ...


def gpu_busy(run_calls: Callable[[int], object], calls: int, *, device: int = 0) -> Busy:
    """Profiles `run_calls(calls)`, which makes that many calls of the target, on CUDA device `device`.

    What `run_calls` raises is passed on. Whatever keeps the profiler from working is told in the result instead.
    """
    import torch
    from torch.profiler import ProfilerActivity, profile

    missing = _why_not()
    if missing is not None:
        return Busy(None, None, missing=missing)
    with silent_kineto():
        profiler = profile(activities=[ProfilerActivity.CUDA])
        try:
            profiler.start()
        except (RuntimeError, AssertionError) as error:
            return Busy(None, None, missing=f"torch.profiler does not start: {_first_line(error)}")
        try:
            run_calls(calls)
            torch.cuda.synchronize(device)
        except BaseException:
            with contextlib.suppress(Exception):  # what went wrong first is what counts
                profiler.stop()
            raise
        try:
            profiler.stop()
        except (RuntimeError, AssertionError) as error:
            return Busy(None, None, missing=f"torch.profiler does not end: {_first_line(error)}")
    results = profiler.profiler and profiler.profiler.kineto_results
    return busy_of(work_intervals(results.events() if results else (), device), calls)


def busy_of(intervals: Sequence[tuple[int, int]], calls: int) -> Busy:
    """From what ran on the device, as (begin, end) in nanoseconds, during `calls` calls."""
    if not intervals:
        return Busy(
            None,
            None,
            missing="the profiler saw nothing run on the device: CUPTI is not permitted, or in use by another tool "
            "(KINETO_LOG_LEVEL=0 shows what it says)",
        )
    return Busy(union_ns(intervals) / calls / 1e6, len(intervals) / calls)


def work_intervals(events: Iterable[Event], device: int) -> list[tuple[int, int]]:
    """When each kernel, copy and fill ran on CUDA device `device`, in nanoseconds of the profiler's clock."""
    return [
        (event.start_ns(), event.end_ns())
        for event in events
        if event.device_type().name == "CUDA" and event.device_index() == device and _is_work(event)
    ]


def _is_work(event: Event) -> bool:
    kind: Callable[[], str] | None = getattr(event, "activity_type", None)
    if kind is not None:
        return kind() in _WORK
    return not event.is_user_annotation() and event.name() not in _WAITS


def union_ns(intervals: Iterable[tuple[int, int]]) -> int:
    """Nanoseconds that at least one interval covers. One that ends before it begins (a lost record) is empty."""
    total = 0
    reached: int | None = None
    for begin, end in sorted(intervals):
        start = begin if reached is None else max(begin, reached)
        if end > start:
            total += end - start
            reached = end
    return total


def _why_not() -> str | None:
    import torch
    from torch.profiler import ProfilerActivity, supported_activities

    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA device"
    if ProfilerActivity.CUDA not in supported_activities():  # type: ignore[no-untyped-call]
        return "this PyTorch's profiler is built without CUPTI"
    if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        # A second one takes the first one's place, and the process crashes when the first ends.
        return "another torch.profiler is running in this process"
    return None


@contextlib.contextmanager
def silent_kineto() -> Iterator[None]:
    """Kineto reads the level when it first starts; one that the user has set stays."""
    if "KINETO_LOG_LEVEL" in os.environ:
        yield
        return
    os.environ["KINETO_LOG_LEVEL"] = _SILENT
    try:
        yield
    finally:
        del os.environ["KINETO_LOG_LEVEL"]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
