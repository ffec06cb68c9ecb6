# SPDX-License-Identifier: Apache-2.0
"""The state that each row's GPU was in while it was measured, and whether its time is possible: columns of "how"."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell, Column, column
from pyperf_infer.units import format_duration_ms, format_percent, format_ratio

if TYPE_CHECKING:
    from pyperf_infer.results.schema import GpuActivity, Result


def condition_columns(rows: Sequence[Result]) -> list[Column]:
    """Clocks, power, temperature, throttling, how much of the row the readings cover, integrity."""
    return [
        column("SM clock", rows, _of(_sm_clock)),
        column("memory clock", rows, _of(_memory_clock)),
        column("power", rows, _of(_power)),
        column("temperature", rows, _of(_temperature)),
        column("throttled", rows, _of(_throttled), numeric=False),
        column("GPU readings", rows, _of(_readings)),
        column("integrity", rows, _integrity, numeric=False),
    ]


def _of(cell: Callable[[GpuActivity], Cell]) -> Callable[[Result], Cell]:
    return lambda result: Cell() if result.gpu_activity is None else cell(result.gpu_activity)


def _sm_clock(activity: GpuActivity) -> Cell:
    """The median beside the highest that the device allows, and the range."""
    median, most = activity.sm_clock_mhz_median, activity.max_sm_clock_mhz
    if median is None:
        return Cell()
    seen = _range(activity.sm_clock_mhz_min, activity.sm_clock_mhz_max)
    return Cell(f"{median:.0f}{'' if most is None else f' of {most:.0f}'} MHz", f"({seen})" if seen else "")


def _memory_clock(activity: GpuActivity) -> Cell:
    seen = _range(activity.memory_clock_mhz_min, activity.memory_clock_mhz_max)
    return Cell(f"{seen} MHz") if seen else Cell()


def _power(activity: GpuActivity) -> Cell:
    if activity.power_w_mean is None:
        return Cell()
    most = activity.power_w_max
    return Cell(f"{format_ratio(activity.power_w_mean)} W", "" if most is None else f"(at most {format_ratio(most)})")


def _temperature(activity: GpuActivity) -> Cell:
    hottest = activity.temperature_c_max
    return Cell() if hottest is None else Cell(f"{hottest:.0f} \N{DEGREE SIGN}C")


def _throttled(activity: GpuActivity) -> Cell:
    reasons = activity.throttle_reasons.items()
    return Cell(", ".join(f"{name} {format_percent(part)}" for name, part in reasons), tone="unsure")


def _readings(activity: GpuActivity) -> Cell:
    if not activity.readings:
        return Cell("none", tone="unsure")
    covered = activity.samples_covered
    return Cell(str(activity.readings), f"(cover {covered} sample{'s' * (covered != 1)})")


def _range(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return ""
    return f"{low:.0f}" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f}"


def _integrity(result: Result) -> Cell:
    integrity = result.integrity
    if integrity is None:
        return Cell()
    if integrity.status == "impossible":
        return Cell("impossible", tone="bad")
    floors = [one for one in (integrity.floor_bytes_ms, integrity.floor_flops_ms) if one is not None]
    if integrity.status == "not checked" or not floors:
        return Cell("possible" if integrity.status == "ok" else "not checked", tone="quiet")
    return Cell("possible", f"(at least {format_duration_ms(max(floors))})")
