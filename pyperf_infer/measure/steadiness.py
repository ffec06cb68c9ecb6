# SPDX-License-Identifier: Apache-2.0
"""Whether a row's samples kept their level and what disturbed them, and the warnings about it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.results.steady_schema import Disturbance, Segment, Steady
from pyperf_infer.statistics.periodic import periodic
from pyperf_infer.statistics.shape import drift, two_modes
from pyperf_infer.statistics.steady import examine
from pyperf_infer.units import format_duration_ms

if TYPE_CHECKING:
    from pyperf_infer.measure.likely_causes import Evidence
    from pyperf_infer.results.schema import Result
    from pyperf_infer.statistics.samples import Nanoseconds
    from pyperf_infer.statistics.steady import Steadiness

# Of the samples. Fewer on another level are within what the interval of the median allows for.
LATE_SHARE = 0.01


def steady_of(
    samples_ns: Nanoseconds, evidence: Evidence, *, clock_step_ns: int = 1, duration_ns: int | None = None
) -> Steady:
    """Of the samples of a row in the order of measuring, which took `duration_ns` of wall time. None is dropped.

    Drift, modes and periods are those of the level that lasts; of all samples where none does.
    """
    found = examine(samples_ns)
    lasting = samples_ns[found.steady_from or 0 :]
    disturbances = list(_levels(found, evidence))
    if found.status != "too few samples":
        if found.status == "never steady":
            disturbances += _drift(samples_ns, evidence)
        else:
            disturbances += [*_drift(lasting, evidence), *_modes(lasting, evidence, clock_step_ns)]
        whole = duration_ns if duration_ns is not None and lasting.size == samples_ns.size else None
        disturbances += _period(lasting, evidence, whole)
    return Steady(
        status=found.status,
        steady_from=found.steady_from,
        segments=[Segment(begin=one.begin, count=one.length, median_ms=one.median_ns / 1e6) for one in found.levels],
        disturbances=disturbances,
        median_before_ms=float(np.median(samples_ns[: found.steady_from])) / 1e6 if found.steady_from else None,
        median_steady_ms=float(np.median(lasting)) / 1e6 if found.steady_from is not None else None,
    )


def _levels(found: Steadiness, evidence: Evidence) -> Iterator[Disturbance]:
    if found.status not in ("warming up", "never steady") or found.step is None:
        return
    if found.status == "never steady":
        cause = evidence.of_changing()
    else:
        cause = evidence.of_faster() if found.step > 0 else evidence.of_slower()
    yield Disturbance(kind="levels", size_relative=abs(found.step), cause=cause.cause, remedy=cause.remedy)


def _drift(samples_ns: Nanoseconds, evidence: Evidence) -> Iterator[Disturbance]:
    size = drift(samples_ns)
    if size is not None:
        cause = evidence.of_slower() if size > 0 else evidence.of_faster()
        yield Disturbance(
            kind="drift", size_relative=abs(size), slower=size > 0, cause=cause.cause, remedy=cause.remedy
        )


def _modes(samples_ns: Nanoseconds, evidence: Evidence, clock_step_ns: int) -> Iterator[Disturbance]:
    modes = two_modes(samples_ns, clock_step_ns=clock_step_ns)
    if modes is not None:
        cause = evidence.of_two_modes()
        yield Disturbance(
            kind="two modes",
            size_relative=modes.slow_ns / modes.fast_ns - 1,
            modes_ms=(modes.fast_ns / 1e6, modes.slow_ns / 1e6),
            slow_share=modes.slow_share,
            cause=cause.cause,
            remedy=cause.remedy,
        )


def _period(samples_ns: Nanoseconds, evidence: Evidence, duration_ns: int | None) -> Iterator[Disturbance]:
    period = periodic(samples_ns, duration_ns=duration_ns)
    if period is not None:
        period_ms = period.period_ns / 1e6
        cause = evidence.of_period(period_ms)
        yield Disturbance(
            kind="periodic", size_relative=period.swing, period_ms=period_ms, cause=cause.cause, remedy=cause.remedy
        )


def steadiness_notices(result: Result) -> Iterator[Notice]:
    """The warnings about what `steady_of` found, with the figures."""
    steady = result.steady
    if steady is None:
        return
    found = {one.kind: one for one in steady.disturbances}
    levels, drifts = found.get("levels"), found.get("drift")
    if steady.status == "never steady":
        yield _never_steady(steady, levels, drifts)
    elif drifts is not None:
        yield _notice(
            "drift",
            f"Samples became {drifts.size_relative:.1%} {_direction(drifts)} from the first to the last.",
            drifts,
        )
    if steady.status == "warming up" and levels is not None:
        yield from _changed(steady, levels)
    if (modes := found.get("two modes")) is not None and modes.modes_ms is not None:
        fast, slow = (format_duration_ms(one) for one in modes.modes_ms)
        yield _notice(
            "two_modes",
            f"Samples have two modes: {fast}, and {slow} in {modes.slow_share:.0%} of them.",
            modes,
        )
    if (period := found.get("periodic")) is not None:
        yield _notice(
            "periodic",
            f"Samples swing by {_share(period.size_relative)} the median with a period of {period.period_ms:.3g} ms.",
            period,
        )


def _never_steady(steady: Steady, levels: Disturbance | None, drifts: Disturbance | None) -> Notice:
    cause = drifts or levels
    medians = [one.median_ms for one in steady.segments]
    if drifts is not None:
        what = f"from the first to the last they became {drifts.size_relative:.1%} {_direction(drifts)}"
    elif len(medians) > 1:
        low, high = format_duration_ms(min(medians)), format_duration_ms(max(medians))
        what = f"{len(medians)} levels, with medians from {low} to {high}"
    else:
        what = "they wander" + (f", by {levels.size_relative:.1%}" if levels is not None else "")
    message = f"Samples never became steady: {what}. The median depends on when measuring began and ended."
    if cause is None:
        return Notice(code="never_steady", message=message, remedy="Quiet the machine and measure again.")
    return _notice("never_steady", message, cause)


def _changed(steady: Steady, levels: Disturbance) -> Iterator[Notice]:
    begin, count = steady.steady_from, sum(one.count for one in steady.segments)
    before, after = steady.median_before_ms, steady.median_steady_ms
    if begin is None or before is None or after is None or begin <= LATE_SHARE * count:
        return
    figures = (
        f"median {format_duration_ms(before)} in the first {begin} of {count} samples, "
        f"{format_duration_ms(after)} since"
    )
    if before > after:
        yield _notice("still_warming_up", f"The warm-up ended within the samples: {figures}.", levels)
    else:
        yield _notice("level_changed", f"Samples became slower and stayed so: {figures}.", levels)


def _share(relative: float) -> str:
    return f"{relative:.1%} of" if relative < 1 else f"{relative:.3g} times"


def _direction(drifts: Disturbance) -> str:
    return "slower" if drifts.slower else "faster"


def _notice(code: str, message: str, disturbance: Disturbance) -> Notice:
    return Notice(code=code, message=f"{message} Likely cause: {disturbance.cause}.", remedy=disturbance.remedy)
