# SPDX-License-Identifier: Apache-2.0
"""The records of a self-test, added up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from pyperf_infer import _core
from pyperf_infer.results.selftest_schema import (
    SelfTestComparisons,
    SelfTestCoverage,
    SelfTestFloor,
    SelfTestPrecision,
    SelfTestTimer,
)
from pyperf_infer.selftest.precision import CI, WORK_S
from pyperf_infer.selftest.records import CoverageLine, PrecisionLine, ProcessLine, Record, Trial
from pyperf_infer.selftest.synthetic import DISTRIBUTIONS
from pyperf_infer.selftest.trials import gate_fires
from pyperf_infer.statistics.floor import FEWEST_PROCESSES, Floor, floor_of


def timer_facts() -> SelfTestTimer:
    """The clock of this process, measured now."""
    found = _core.measure_steady_clock()
    return SelfTestTimer(
        clock=found.name,
        step_ns=float(found.step_ns),
        overhead_ns=float(found.overhead_ns),
        read_cost_ns=found.read_cost_ns,
    )


def add_up_trials(records: Iterable[Record], gate: float) -> list[SelfTestComparisons]:
    """One row for each kind of comparison: A/A by duration, quiet and then beside a neighbour; power by slow-down."""
    groups: dict[tuple[Any, ...], list[Trial]] = {}
    for one in records:
        if isinstance(one, Trial):
            groups.setdefault((one.kind, one.neighbour, one.slow_down, one.work_s), []).append(one)
    return [_row(groups[key], gate) for key in sorted(groups)]


def _row(trials: Sequence[Trial], gate: float) -> SelfTestComparisons:
    first = trials[0]
    verdicts = Counter(one.verdict for one in trials)
    widths = [(high - low) / (high + low) for low, high in (one.interval for one in trials if one.interval)]
    others = [one.other_cpus for one in trials if one.other_cpus is not None]
    reasons = Counter(_kind_of(one.reason or "no reason was given") for one in trials if one.verdict == "undecided")
    return SelfTestComparisons(
        kind=first.kind,
        work_us=first.work_s * 1e6,
        slow_down=first.slow_down,
        neighbour=first.neighbour,
        trials=len(trials),
        faster=verdicts["faster"],
        slower=verdicts["slower"],
        same=verdicts["same"],
        undecided=verdicts["undecided"],
        gate_fired=sum(gate_fires(one, gate) for one in trials),
        half_width=median(widths) if widths else None,
        trial_s=median(one.wall_s for one in trials),
        other_cpus=median(others) if others else None,
        undecided_reasons=dict(reasons.most_common()),
    )


_KINDS = (
    ("interference", "interference"),
    ("too few to say", "too few rounds"),
    ("no round was complete", "too few rounds"),
    ("across the margin", "interval across the margin"),
)


def _kind_of(reason: str) -> str:
    """In a few words and without its numbers, so that alike reasons are counted together."""
    known = next((kind for text, kind in _KINDS if text in reason), None)
    return known or re.sub(r"[0-9]+(\.[0-9]+)?%?", "n", reason)


def add_up_coverage(records: Iterable[Record]) -> list[SelfTestCoverage]:
    """In the order of `DISTRIBUTIONS`, as the state file has them."""
    about = {one.name: one.about for one in DISTRIBUTIONS}
    return [
        SelfTestCoverage(
            distribution=one.distribution,
            about=about.get(one.distribution, ""),
            percent=found.percent,
            trials=found.trials,
            covering=found.covering,
            refused=found.refused,
            exact_share=found.exact_share,
            mean_samples=found.mean_count,
        )
        for one in records
        if isinstance(one, CoverageLine)
        for found in one.percentiles
    ]


def add_up_precision(records: Iterable[Record]) -> SelfTestPrecision | None:
    lines = [one for one in records if isinstance(one, PrecisionLine)]
    if not lines:
        return None
    return SelfTestPrecision(
        work_us=WORK_S * 1e6,
        ci=CI,
        trials=len(lines),
        converged=sum(one.converged for one in lines),
        median_s=median(one.wall_s for one in lines),
        longest_s=max(one.wall_s for one in lines),
        median_samples=round(median(one.samples for one in lines)),
    )


def floor_between(records: Iterable[Record], confidence: float) -> Floor | None:
    """The spread between the fresh processes; None while there are too few."""
    lines = _whole(records)
    if len(lines) < FEWEST_PROCESSES:
        return None
    return floor_of([one.median_ns for one in lines], [one.interval_ns for one in lines], confidence)


def add_up_floor(records: Iterable[Record], floor: Floor | None, *, kept: bool) -> SelfTestFloor | None:
    medians = [one.median_ns / 1e6 for one in _whole(records)]
    if not medians:
        return None
    return SelfTestFloor(
        processes=len(medians),
        relative_sd=None if floor is None else floor.relative_sd,
        median_ms=median(medians),
        lowest_ms=min(medians),
        highest_ms=max(medians),
        kept=kept,
    )


def _whole(records: Iterable[Record]) -> list[ProcessLine]:
    """Processes with an interval of their median, which all have but those that were starved of time."""
    return [one for one in records if isinstance(one, ProcessLine) and one.interval_ns is not None]
