# SPDX-License-Identifier: Apache-2.0
"""What stands beside the verdict: percentiles, throughput, memory, and how far the outputs were off."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING, Literal

from pyperf_infer.results.schema import StoredFigure, StoredMember
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.statistics.stored import geometric_mean, ratio_of_processes, relative_sd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyperf_infer.results.schema import ProcessRun, Summary
    from pyperf_infer.stored.rows import Pool, Row

    Name = Literal["p90", "p95", "p99", "throughput", "peak_memory", "device_peak_memory"]
    Unit = Literal["ms", "items/s", "bytes"]


def figures(baseline: Pool, contender: Pool) -> list[StoredFigure]:
    """Those that both sides have. An interval where both have a value from each of enough processes."""
    found = []
    for name, unit, of_summary, of_run in _FIGURES:
        sides = [_values(pool, of_summary, of_run) for pool in (baseline, contender)]
        if all(sides):
            found.append(_figure(name, unit, sides[0], sides[1]))
    return found


def member(pool: Pool, files: list[int]) -> StoredMember:
    """One side of a row. `files` are the numbers of its documents."""
    result, medians = pool.result, pool.medians_ms
    checked = [row.result.parity for row in pool if row.result.parity is not None]
    differences = [one.relative for parity in checked for one in parity.outputs if one.relative is not None]
    worst = max(checked, key=lambda one: _WORSE.index(one.status), default=None)
    return StoredMember(
        backend=result.method.backend,
        provider=result.method.provider,
        device=result.method.device,
        files=files,
        processes=len(medians),
        p50_ms=geometric_mean(medians),
        relative_sd=relative_sd(medians),
        parity=worst.status if worst else None,
        largest_relative_difference=max(differences, default=None),
        side=result.side.label if result.side else None,
        warnings=list(dict.fromkeys(one.code for row in pool for one in row.result.warnings)),
    )


_WORSE = ("equal", "not checked", "different", "invalid")


def _figure(name: Name, unit: Unit, baseline: Sequence[float], contender: Sequence[float]) -> StoredFigure:
    # The ratio is that of the two numbers beside it, and the interval that ratio's: all of the geometric means.
    positive = all(one > 0 for side in (baseline, contender) for one in side)
    middle = geometric_mean if positive else median
    # Times as the speed-up is: above 1 the contender is faster. Of everything else, what the contender has over what
    # the baseline has.
    over, under = (baseline, contender) if unit == "ms" else (contender, baseline)
    divisor = middle(under)
    ratio = middle(over) / divisor if divisor > 0 else 0.0
    return StoredFigure(
        quantity=name,
        unit=unit,
        baseline=middle(baseline),
        contender=middle(contender),
        ratio=ratio if 0 < ratio < math.inf else None,
        interval=ratio_of_processes(over, under)(CONFIDENCE) if positive else None,
    )


def _values(
    pool: Pool, of_summary: Callable[[Summary], float | None], of_run: Callable[[ProcessRun], float | None] | None
) -> list[float]:
    """A value of each process; or, where a document has but one for all of them, that one."""
    per_row = [_row_values(row, of_summary, of_run) for row in pool]
    return [one for values in per_row for one in values] if all(per_row) else []


def _row_values(
    row: Row, of_summary: Callable[[Summary], float | None], of_run: Callable[[ProcessRun], float | None] | None
) -> Sequence[float]:
    processes = row.result.processes
    if processes is not None and of_run is not None:
        values = [of_run(one) for one in processes.runs]
        if values and all(one is not None for one in values):
            return [one for one in values if one is not None]
    value = of_summary(row.result.summary)
    return [] if value is None else [value]


def _percentile(percent: float) -> Callable[[Summary], float | None]:
    def value(summary: Summary) -> float | None:
        block = summary.timing
        listed = block.percentiles if block else []
        return next((one.value_ms for one in listed if one.percent == percent), None)

    return value


_FIGURES: tuple[
    tuple[Name, Unit, Callable[[Summary], float | None], Callable[[ProcessRun], float | None] | None], ...
] = (
    ("p90", "ms", _percentile(90), None),
    ("p95", "ms", _percentile(95), None),
    ("p99", "ms", _percentile(99), None),
    ("throughput", "items/s", lambda one: one.throughput_per_s, lambda one: one.throughput_per_s),
    ("peak_memory", "bytes", lambda one: one.peak_memory_bytes, lambda one: one.peak_memory_bytes),
    ("device_peak_memory", "bytes", lambda one: one.device_peak_memory_bytes, None),
)
