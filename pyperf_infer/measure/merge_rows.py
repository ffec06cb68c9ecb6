# SPDX-License-Identifier: Apache-2.0
"""The rows of several processes as one document's: those of the same thing become one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pyperf_infer.measure.merge_figures import (
    merged_activity,
    merged_gpu_activity,
    merged_method,
    merged_summary,
    pooled,
)
from pyperf_infer.measure.merge_warnings import failed_in, merged_warnings
from pyperf_infer.measure.roof import roof_of
from pyperf_infer.results.schema import Processes, ProcessRun
from pyperf_infer.statistics.processes import VarianceSplit, location_of, split_variance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Parity, Result

    Columns = Mapping[str, NDArray[np.int64]]

_PARITY = ("equal", "not checked", "different", "invalid")  # the worst last
_INTEGRITY = ("ok", "not checked", "impossible")
_STEADY = ("steady", "too few samples", "warming up", "never steady")
_INTERRUPTED = "interrupted"


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One row of one process."""

    process: int  # its number, from 1
    index: int  # of the row in its own document
    row: Result
    samples: Columns | None

    @property
    def measured(self) -> bool:
        """To its end."""
        stop = self.row.method.stop
        timed = self.row.summary.timing is not None and self.samples is not None and self.row.error is None
        return timed and (stop is None or stop.reason != _INTERRUPTED)


@dataclass(frozen=True, kw_only=True)
class MergedRow:
    """A row of the merged document, and those it comes from by process and index."""

    row: Result
    samples: Columns | None
    of: tuple[tuple[int, int], ...]


def merged_rows(of_each: Sequence[Sequence[Ran]], asked: int, plan: RunPlan) -> list[MergedRow]:
    """The rows of each process, in the order in which they first come up.

    Rows are the same where subject, weights, backend, provider, device and mode are; one that failed has not all of
    these, and belongs to what has the rest. Where no process measured a row to its end, the first that began stands.
    """
    places: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Ran]]] = {}
    failures: dict[tuple[Any, ...], list[Ran]] = {}
    for rows in of_each:
        seen: dict[tuple[Any, ...], int] = {}
        for one in rows:
            asked_for = _asked_for(one.row)
            nth = seen[asked_for] = seen.get(asked_for, 0) + 1  # a model that is named twice has two rows
            place = places.setdefault((*asked_for, nth), {})
            if one.measured:
                place.setdefault(_what_ran(one.row), []).append(one)
            else:
                failures.setdefault((*asked_for, nth), []).append(one)
    merged: list[MergedRow] = []
    for key, groups in places.items():
        others = failures.get(key, [])
        for group in groups.values():
            merged.append(_merged(group, others, asked, plan))
            others = []
        if not groups:
            merged.append(_unmeasured(others))
    return merged


def _asked_for(row: Result) -> tuple[Any, ...]:
    subject = row.subject
    return subject.model, subject.batch_size, subject.precision, row.method.backend, row.method.mode


def _what_ran(row: Result) -> tuple[Any, ...]:
    subject, method = row.subject, row.method
    shapes = tuple((name, tuple(shape)) for name, shape in subject.shapes.items())
    weights = None if subject.weights is None else (subject.weights.source, subject.weights.sha256)
    return subject.source, weights, shapes, method.provider, method.device


def _unmeasured(rows: Sequence[Ran]) -> MergedRow:
    """Failed everywhere, or broken off; the samples that there are stay."""
    best = next((one for one in rows if one.row.error is None), rows[0])
    return MergedRow(row=best.row, samples=best.samples, of=((best.process, best.index),))


def _merged(group: Sequence[Ran], failed: Sequence[Ran], asked: int, plan: RunPlan) -> MergedRow:
    rows = [one.row for one in group]
    samples = [one.samples for one in group if one.samples is not None]
    errors = [one.row.error for one in failed if one.row.error is not None]
    columns, method = pooled(samples), merged_method([one.method for one in rows])
    first = rows[0]
    summary = merged_summary([one.summary for one in rows], columns, method, plan)
    row = replace(
        first,
        method=method,
        summary=summary,
        samples=None,
        activity=merged_activity([one.activity for one in rows if one.activity is not None]),
        gpu_activity=merged_gpu_activity([one.gpu_activity for one in rows if one.gpu_activity is not None]),
        parity=_worst_parity([one.parity for one in rows if one.parity is not None]),
        integrity=_worst([one.integrity for one in rows if one.integrity is not None], _INTEGRITY),
        steady=_worst([one.steady for one in rows if one.steady is not None], _STEADY),
        roof=None if first.roof is None else roof_of(first.roof, summary),
        processes=processes_of(rows, samples, asked, plan.confidence),
        warnings=merged_warnings([one.warnings for one in rows]) + failed_in(errors, asked),
    )
    return MergedRow(row=row, samples=columns, of=tuple((one.process, one.index) for one in group))


def processes_of(rows: Sequence[Result], samples: Sequence[Columns], asked: int, confidence: float) -> Processes | None:
    """What each process measured, and what they say together; None where a median is 0, which has no logarithm."""
    blocks = [one.summary.timing for one in rows]
    runs = []
    for one, block in zip(rows, blocks, strict=True):
        if block is None or block.p50_ms <= 0:
            return None
        runs.append(
            ProcessRun(
                p50_ms=block.p50_ms,
                p50_interval_ms=block.p50_interval_ms,
                count=block.count,
                converged=one.method.stop is not None and one.method.stop.converged,
                throughput_per_s=one.summary.throughput_per_s,
                peak_memory_bytes=one.summary.peak_memory_bytes,
            )
        )
    judged = [next(iter(one.values())) for one in samples]
    positive = all(int(one.min()) > 0 for one in judged)
    split = split_variance(judged) if positive else VarianceSplit(None, None, None)
    location = location_of([one.p50_ms for one in runs], confidence)
    half_step_ms = max(one.method.clock_step_ns or 0.0 for one in rows) / 2e6
    interval = location.interval
    if interval is not None:  # medians that are alike to the clock's step are not known any better than that
        low, high = location.value - half_step_ms, location.value + half_step_ms
        interval = max(0.0, min(interval[0], low)), max(interval[1], high)
    return Processes(asked=asked, runs=runs, p50_ms=location.value, interval_ms=interval, **split._asdict())


def _worst_parity(parities: Sequence[Parity]) -> Parity | None:
    """By status, and among equals by how far the outputs are apart."""
    return max(
        parities,
        key=lambda one: (
            _PARITY.index(one.status),
            max((output.relative or 0.0 for output in one.outputs), default=0.0),
        ),
        default=None,
    )


def _worst(values: Sequence[Any], order: Sequence[str]) -> Any:
    return max(values, key=lambda one: order.index(one.status), default=None)
