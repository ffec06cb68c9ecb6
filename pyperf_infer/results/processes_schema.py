# SPDX-License-Identifier: Apache-2.0
"""One row measured in several fresh processes: part of the result document, see schema.py."""

from __future__ import annotations

from msgspec import Struct

from pyperf_infer.results.fields import AboveZero, Count, Interval, NonNegative, Part, Positive, check_order


class ProcessRun(Struct, kw_only=True):
    """What one of the processes measured."""

    p50_ms: AboveZero
    p50_interval_ms: Interval | None
    count: Positive  # of its samples: the row's samples are those of the runs, one after the other
    converged: bool
    throughput_per_s: NonNegative | None = None
    peak_memory_bytes: Count | None = None

    def __post_init__(self) -> None:
        check_order("p50_interval_ms", self.p50_interval_ms)


class Processes(Struct, kw_only=True):
    """The same row in fresh processes, one after the other. statistics/processes.py has the formulas."""

    asked: Positive
    runs: list[ProcessRun]  # of the processes that measured this row, in order
    p50_ms: AboveZero  # the geometric mean of the runs'
    interval_ms: Interval | None  # of that, by the spread between processes; None for fewer than two
    relative_sd_between: NonNegative | None  # of the processes' levels, what iterations explain taken out
    relative_sd_within: NonNegative | None  # of samples around their process's level
    share_between: Part | None  # of the whole variance

    def __post_init__(self) -> None:
        check_order("interval_ms", self.interval_ms)
        if not 1 <= len(self.runs) <= self.asked:
            raise ValueError(f"{len(self.runs)} runs of {self.asked} processes")
