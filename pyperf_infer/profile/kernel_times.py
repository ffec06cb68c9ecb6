# SPDX-License-Identifier: Apache-2.0
"""Which node of ONNX Runtime started which kernel: two recordings of the same calls, on two clocks, laid over another.

ONNX Runtime's profile tells when each node ran on the host; Kineto's trace when the host launched each kernel, and how
long that took on the device. Each call is marked in the trace, begins before ONNX Runtime's run and ends after it, and
its launches lie between the first node's begin and the last one's end: that bounds how far the clocks are apart. Within
these bounds the shift is taken at which most launches lie inside of a node.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_events import Inference, NodeRun

_MARKS = "user_annotation"
_LAUNCHES = frozenset({"cuda_runtime", "cuda_driver"})
_WORK = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})
_STEP_US = 1.0  # of ONNX Runtime's profile, which rounds down


class TraceEvent(Protocol):
    """An event of a Chrome trace; times in microseconds."""

    name: str
    cat: str
    ts: float
    dur: float
    args: dict[str, Any]


@dataclass
class KernelTimes:
    """What the device worked for each node, in nanoseconds over `inferences` calls.

    `outside_ns`: started within a call, by no node. `unknown_ns`: the trace does not tell who started it. `lost`: calls
    whose two recordings contradict each other; nothing of them counts.
    """

    inferences: int = 0
    of_node: dict[tuple[object, ...], int] = field(default_factory=dict)  # by NodeRun.key
    outside_ns: int = 0
    unknown_ns: int = 0
    lost: int = 0

    @property
    def matched_share(self) -> float | None:
        """Of the device's work, what has a node; None where there was no work."""
        matched = sum(self.of_node.values())
        whole = matched + self.outside_ns + self.unknown_ns
        return matched / whole if whole else None


@dataclass
class Pair:
    """A call in both recordings; its kernels by the moment of their launch, with their nanoseconds."""

    call: Inference
    mark: TraceEvent
    kernels: list[tuple[float, int]]

    @property
    def bounds(self) -> tuple[float, float]:
        """Of the shift: the mark begins before the run and ends after it. Where that cannot be, they are reversed."""
        run = self.call.run
        return self.mark.ts - run.ts - _STEP_US, self.mark.ts + self.mark.dur - (run.ts + run.dur)

    @property
    def likely_bounds(self) -> tuple[float, float]:
        """The same if nothing was launched before the first node or after the last, as a transfer may be."""
        nodes, (least, most) = [node.event for node in self.call.nodes], self.bounds
        if not nodes or not self.kernels:
            return least, most
        launches = [at for at, _ in self.kernels]
        last, first = max(node.ts + node.dur for node in nodes), min(node.ts for node in nodes)
        return max(least, max(launches) - last - _STEP_US), min(most, min(launches) - first)


def kernel_times(calls: Sequence[Inference], trace: Iterable[TraceEvent], mark: str) -> KernelTimes:
    """Joins the profile of `calls` with the trace, in which each of them, in order, is an annotation called `mark`."""
    marks: list[TraceEvent] = []
    launched: dict[object, float] = {}
    work: list[tuple[object, int]] = []
    for event in trace:
        if event.cat == _MARKS and event.name == mark:
            marks.append(event)
        elif event.cat in _LAUNCHES and "correlation" in event.args:
            launched[event.args["correlation"]] = event.ts
        elif event.cat in _WORK:
            work.append((event.args.get("correlation"), round(event.dur * 1000)))
    marks.sort(key=lambda event: event.ts)
    times = KernelTimes()
    if len(marks) != len(calls):
        times.lost = len(calls)
        return times
    pairs = [Pair(call, one, []) for call, one in zip(calls, marks, strict=True)]
    begins = [one.ts for one in marks]
    for correlation, ns in work:
        at = launched.get(correlation)
        if at is None:
            times.unknown_ns += ns
            continue
        number = bisect_right(begins, at) - 1
        if number >= 0 and at <= marks[number].ts + marks[number].dur:  # else it is ours, between two calls
            pairs[number].kernels.append((at, ns))
    sound = [pair for pair in pairs if pair.bounds[0] <= pair.bounds[1]]
    times.lost = len(pairs) - len(sound)
    times.inferences = len(sound)
    together = best_shift(sound) if sound else None
    for pair in sound:  # one shift for all, unless a clock was set in between
        shift = best_shift([pair]) if together is None else together
        _take_in(times, pair, shift if shift is not None else pair.bounds[0])
    return times


def _take_in(times: KernelTimes, pair: Pair, shift: float) -> None:
    for at, ns in pair.kernels:
        node = _innermost(pair.call.nodes, at - shift)
        if node is None:
            times.outside_ns += ns
        else:
            times.of_node[node.key] = times.of_node.get(node.key, 0) + ns


def best_shift(pairs: Sequence[Pair]) -> float | None:
    """The shift at which most launches lie inside of a node of their call; None where no shift fits all pairs.

    Of several stretches that are as good, the middle of the longest; a likely one before any other.
    """
    found = []
    for bounds in ([pair.likely_bounds for pair in pairs], [pair.bounds for pair in pairs]):
        least, most = max(low for low, _ in bounds), min(high for _, high in bounds)
        if least <= most:
            found.append(_most_inside(pairs, least, most))
    return max(found, key=lambda one: one[0])[1] if found else None


def _most_inside(pairs: Sequence[Pair], least: float, most: float) -> tuple[int, float]:
    """How many launches lie inside of a node at the best shift within the bounds, and that shift."""
    changes: list[tuple[float, int]] = []  # where a launch comes to lie in a node, and where it no longer does
    for pair in pairs:
        windows = _union([(node.event.ts, node.event.ts + node.event.dur + _STEP_US) for node in pair.call.nodes])
        ends = [end for _, end in windows]
        for at, _ in pair.kernels:
            for begin, end in windows[bisect_left(ends, at - most) :]:
                low, high = max(least, at - end), min(most, at - begin)
                if low > high:
                    break
                changes += [(low, 1), (high, -1)]
    changes.sort(key=lambda change: (change[0], -change[1]))
    best: tuple[int, float] = (0, -1.0)
    middle, inside, before = (least + most) / 2, 0, least
    for at, change in [*changes, (most, 0)]:
        if (inside, at - before) > best:
            best, middle = (inside, at - before), (at + before) / 2
        inside, before = inside + change, at
    return best[0], middle


def _union(windows: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    joined: list[tuple[float, float]] = []
    for begin, end in sorted(windows):
        if joined and begin <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return joined


def _innermost(nodes: Sequence[NodeRun], moment: float) -> NodeRun | None:
    """The last to begin of those that are running; rounding lets neighbours overlap by a step."""
    running = [node for node in nodes if node.event.ts <= moment <= node.event.ts + node.event.dur + _STEP_US]
    return max(running, key=lambda node: node.event.ts, default=None)
