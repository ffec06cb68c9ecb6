# SPDX-License-Identifier: Apache-2.0
"""The energy that a GPU took in a window of time, from readings taken at other times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyperf_infer.system.gpu_reader import Reading

# The counter and the power are the driver's samples, some tens of milliseconds old when read; below this that shows.
SHORTEST_S = 1.0
FEWEST_READINGS = 5

Point = tuple[int, float]  # (time in ns, value)


class Energy(NamedTuple):
    joules: float
    method: str


def energy_of(readings: Sequence[Reading], begin_ns: int, end_ns: int) -> Energy | None:
    """What the whole board took from `begin_ns` to `end_ns`, idle power and other programs' work included.

    From NVML's total-energy counter, which the driver keeps from its own faster samples, taken to grow evenly between
    two readings; without a counter from the power readings, joined by straight lines (trapezoids). On most GPUs since
    Ampere NVML's power is the mean of the last second, so that the latter lags behind.

    None where the window is shorter than a second, holds fewer than five readings, has none on either side, or where a
    gap between two readings exceeds a quarter of it; and where the counter went backwards (the driver was reloaded).
    """
    counter = [(reading.monotonic_ns, reading.energy_mj) for reading in readings if reading.energy_mj is not None]
    if _covers(counter, begin_ns, end_ns):
        if any(after[1] < before[1] for before, after in pairwise(counter)):
            return None
        return Energy(_sum(counter, begin_ns, end_ns, _growth) / 1e3, "total energy counter")
    power = [(reading.monotonic_ns, reading.power_w) for reading in readings if reading.power_w is not None]
    if _covers(power, begin_ns, end_ns):
        return Energy(_sum(power, begin_ns, end_ns, _trapezoid) / 1e9, "power readings, trapezoids")
    return None


def _covers(points: Sequence[Point], begin_ns: int, end_ns: int) -> bool:
    if end_ns - begin_ns < SHORTEST_S * 1e9 or not points:
        return False
    inside = sum(begin_ns <= time <= end_ns for time, _ in points)
    gaps = [after[0] - before[0] for before, after in _segments(points, begin_ns, end_ns)]
    return (
        inside >= FEWEST_READINGS
        and points[0][0] <= begin_ns
        and points[-1][0] >= end_ns
        and max(gaps) <= (end_ns - begin_ns) / 4
    )


def _segments(points: Sequence[Point], begin_ns: int, end_ns: int) -> list[tuple[Point, Point]]:
    """Neighbours between which some of the window lies."""
    return [
        (before, after)
        for before, after in pairwise(points)
        if before[0] < end_ns and after[0] > begin_ns and before[0] < after[0]
    ]


def _sum(
    points: Sequence[Point], begin_ns: int, end_ns: int, share: Callable[[Point, Point, int, int], float]
) -> float:
    """Segment by segment: differences of a counter that has run for months keep their digits."""
    return sum(
        share(before, after, max(before[0], begin_ns), min(after[0], end_ns))
        for before, after in _segments(points, begin_ns, end_ns)
    )


def _growth(before: Point, after: Point, begin_ns: int, end_ns: int) -> float:
    return (after[1] - before[1]) * (end_ns - begin_ns) / (after[0] - before[0])


def _trapezoid(before: Point, after: Point, begin_ns: int, end_ns: int) -> float:
    slope = (after[1] - before[1]) / (after[0] - before[0])
    middle_ns = (begin_ns + end_ns) / 2 - before[0]
    return (before[1] + slope * middle_ns) * (end_ns - begin_ns)
