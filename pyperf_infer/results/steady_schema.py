# SPDX-License-Identifier: Apache-2.0
"""Whether the samples keep their level, and what disturbs them: part of the result document, see schema.py."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import Count, Interval, NonNegative, Part, Positive, check_order


class Segment(Struct, kw_only=True):
    """Samples in a row between two changes of level."""

    begin: Count
    count: Positive
    median_ms: NonNegative


class Disturbance(Struct, kw_only=True):
    """Something in the samples that independent ones around one level would not show."""

    kind: Literal["drift", "two modes", "periodic", "levels"]
    size_relative: NonNegative  # of the median: the drift from begin to end, the modes' distance, the swing, the step
    period_ms: NonNegative | None = None  # of a periodic one
    slower: bool | None = None  # of a drift: whether times grow
    modes_ms: Interval | None = None  # of two modes: their medians
    slow_share: Part | None = None  # of two modes: the share of samples in the slower one
    cause: str
    remedy: str

    def __post_init__(self) -> None:
        check_order("modes_ms", self.modes_ms)


class Steady(Struct, kw_only=True):
    """What the change points and the shape of the samples say."""

    status: Literal["steady", "warming up", "never steady", "too few samples"]
    steady_from: Count | None  # the first sample of the level that lasts to the end; None where there is none
    segments: list[Segment]
    disturbances: list[Disturbance] = []
    median_before_ms: NonNegative | None = None  # of the samples before steady_from; None where there are none
    median_steady_ms: NonNegative | None = None  # of the samples from there on
