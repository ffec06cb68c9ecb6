# SPDX-License-Identifier: Apache-2.0
"""What one step of a self-test found: a line of the state file each."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct


class Trial(Struct, kw_only=True, tag="comparison"):
    """One comparison whose answer is known: the same work, or one side slower by `slow_down`."""

    kind: str  # "A/A" or "power"
    work_s: float
    slow_down: float
    neighbour: bool
    number: int
    seed: int
    verdict: str
    reason: str | None
    ratio: float
    interval: tuple[float, float] | None
    rounds: int
    wall_s: float
    other_cpus: float | None = None  # CPUs' worth of time that others used meanwhile; None where the system tells none


class PercentileCoverage(Struct, kw_only=True):
    """Intervals of one percentile."""

    percent: float
    trials: int
    covering: int
    refused: int
    exact_share: float
    mean_count: float


class CoverageLine(Struct, kw_only=True, tag="coverage"):
    """Intervals of one distribution."""

    distribution: str
    percentiles: list[PercentileCoverage]


class PrecisionLine(Struct, kw_only=True, tag="precision"):
    """One measurement of 1 ms work to 1%."""

    number: int
    wall_s: float
    samples: int
    converged: bool


class ProcessLine(Struct, kw_only=True, tag="process"):
    """The same model measured in a fresh process."""

    number: int
    median_ns: float
    interval_ns: tuple[float, float] | None
    samples: int


Record: TypeAlias = Trial | CoverageLine | PrecisionLine | ProcessLine


def key_of(record: Record) -> tuple[object, ...]:
    """Which step a record is of: what `plan.Step.key` says of the step itself."""
    if isinstance(record, Trial):
        return (record.kind, record.work_s, record.slow_down, record.neighbour, record.number)
    if isinstance(record, CoverageLine):
        return ("coverage", record.distribution)
    return ("precision" if isinstance(record, PrecisionLine) else "floor", record.number)
