# SPDX-License-Identifier: Apache-2.0
"""The most that was allocated at once within each layer, above what was when it began."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pyperf_infer.profile.instrument import Call
    from pyperf_infer.profile.kineto import TraceEvent

WHOLE = "pyperf-infer inference"
_PREFIX = "pyperf-infer layer "  # which no range of the model's own begins with
_MEMORY = "[memory]"
_CPU = 0  # as a device's kind


@dataclass
class Peaks:
    """Bytes by the layer's number, and of the whole inference; `whole` is None where `missing` says why."""

    layers: dict[int, int] = field(default_factory=dict)
    whole: int | None = None
    missing: str | None = None

    def add(self, number: int | None, peak: int) -> None:
        """Of one call: the largest counts. None is the whole."""
        if number is None:
            self.whole = max(self.whole or 0, peak)
        else:
            self.layers[number] = max(self.layers.get(number, 0), peak)


def range_name(number: int) -> str:
    """Of a layer in a trace that `peaks_of` reads."""
    return f"{_PREFIX}{number}"


def peaks_of(events: Iterable[TraceEvent]) -> Peaks:
    """From a trace with the ranges of layers and the running total of the allocator for the CPU."""
    steps, ranges = [], []
    for event in events:
        if event.name == _MEMORY and event.args.get("Device Type") == _CPU:
            steps.append((event.ts, event.args["Total Allocated"], event.args["Bytes"]))
        elif event.cat == "user_annotation" and (event.name == WHOLE or event.name.startswith(_PREFIX)):
            ranges.append(event)
    steps.sort(key=lambda step: step[0])
    times = [time for time, _, _ in steps]
    # The total is since the process's first recording; before the first step it was less by what that added.
    totals = [steps[0][1] - steps[0][2] if steps else 0, *(total for _, total, _ in steps)]
    peaks = Peaks()
    for one in ranges:
        first, last = bisect_left(times, one.ts), bisect_right(times, one.ts + one.dur)
        number = None if one.name == WHOLE else int(one.name.removeprefix(_PREFIX))
        peaks.add(number, max(totals[first : last + 1]) - totals[first])
    if peaks.whole is None:
        peaks.missing = "PyTorch's profiler recorded no inference"
    return peaks


class CudaLevels:
    """The same of torch's allocator on the current GPU, which keeps a peak since it was last reset."""

    def __init__(self, peaks: Peaks) -> None:
        self._peaks = peaks
        self._open: list[list[int]] = []  # of the calls that have begun, before and highest

    def around(self, number: int | None, call: Call) -> Call:
        """`call`, with its peak noted. None is the whole."""

        def metered(*args: Any, **kwargs: Any) -> Any:
            self._raise_to(torch.cuda.max_memory_allocated())
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            self._open.append([before, before])
            try:
                return call(*args, **kwargs)
            finally:
                self._raise_to(torch.cuda.max_memory_allocated())
                torch.cuda.reset_peak_memory_stats()
                before, highest = self._open.pop()
                self._peaks.add(number, highest - before)
                self._raise_to(highest)

        return metered

    def _raise_to(self, level: int) -> None:
        """What is reached within a call is reached within those around it."""
        if self._open:
            self._open[-1][1] = max(self._open[-1][1], level)
