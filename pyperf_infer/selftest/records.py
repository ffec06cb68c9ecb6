# SPDX-License-Identifier: Apache-2.0
"""What one step of a self-test found: a line of the state file each.

The bounds count when a line is read: one that no step can have written is refused.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct

from pyperf_infer.results.fields import (
    AboveZero,
    Count,
    NonNegative,
    Part,
    Percent,
    Positive,
    Share,
    check_order,
)
from pyperf_infer.statistics.holm import Verdict  # noqa: TC001  msgspec reads it

Ends: TypeAlias = tuple[AboveZero, AboveZero]


class Trial(Struct, kw_only=True, tag="comparison"):
    """One comparison whose answer is known: the same work, or one side slower by `slow_down`."""

    kind: Literal["A/A", "power"]
    work_s: AboveZero
    slow_down: Part
    neighbour: bool
    number: Count
    seed: Count
    verdict: Verdict
    reason: str | None
    ratio: AboveZero
    interval: Ends | None
    rounds: Count
    wall_s: NonNegative
    # CPUs' worth of time that others used meanwhile; None where the system tells none
    other_cpus: NonNegative | None = None

    def __post_init__(self) -> None:
        check_order("interval", self.interval)


class PercentileCoverage(Struct, kw_only=True):
    """Intervals of one percentile."""

    percent: Percent
    trials: Positive
    covering: Count
    refused: Count
    exact_share: Share
    mean_count: AboveZero

    def __post_init__(self) -> None:
        if self.covering > self.trials:
            raise ValueError(f"{self.covering} of {self.trials} intervals cannot hold the true value")


class CoverageLine(Struct, kw_only=True, tag="coverage"):
    """Intervals of one distribution."""

    distribution: str
    percentiles: list[PercentileCoverage]

    def __post_init__(self) -> None:
        if not self.percentiles or len({one.percent for one in self.percentiles}) < len(self.percentiles):
            raise ValueError(f"the percentiles of {self.distribution} are none, or the same ones twice")


class PrecisionLine(Struct, kw_only=True, tag="precision"):
    """One measurement of 1 ms work to 1%."""

    number: Count
    wall_s: NonNegative
    samples: Positive
    converged: bool


class ProcessLine(Struct, kw_only=True, tag="process"):
    """The same model measured in a fresh process."""

    number: Count
    median_ns: AboveZero
    interval_ns: Ends | None
    samples: Positive

    def __post_init__(self) -> None:
        check_order("interval_ns", self.interval_ns)


Record: TypeAlias = Trial | CoverageLine | PrecisionLine | ProcessLine


def key_of(record: Record) -> tuple[object, ...]:
    """Which step a record is of: what `plan.Step.key` says of the step itself."""
    if isinstance(record, Trial):
        return (record.kind, record.work_s, record.slow_down, record.neighbour, record.number)
    if isinstance(record, CoverageLine):
        return ("coverage", record.distribution)
    return ("precision" if isinstance(record, PrecisionLine) else "floor", record.number)
