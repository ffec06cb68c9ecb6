# SPDX-License-Identifier: Apache-2.0
"""The columns that a GPU adds to the `run` table, each empty for a row that ran on none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell, Column, column, median, memory, number
from pyperf_infer.reports.judged import judged_quantity, labels, only
from pyperf_infer.units import format_duration_ms, format_ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyperf_infer.results.schema import Result


def transfer_columns(rows: Sequence[Result]) -> list[Column]:
    """The transfers to the device and back."""
    return [
        column("h2d", rows, lambda one: median(one.summary.h2d)),
        column("d2h", rows, lambda one: median(one.summary.d2h)),
    ]


def meaning_columns(rows: Sequence[Result]) -> list[Column]:
    """Whether the host or the GPU is the limit."""
    return [
        column("launch-bound", rows, _launch_bound, numeric=False),
        column("GPU busy", rows, lambda one: number(one.summary.gpu_busy_ms, format_duration_ms)),
    ]


def device_columns(rows: Sequence[Result]) -> list[Column]:
    """Clock, energy and memory of the device."""
    return [
        *(
            column(f"clock-normalised {name}p50", rows, only(listed, _clock_normalised))
            for name, listed in labels(rows).items()
        ),
        column("energy/request", rows, _energy),
        column("device memory", rows, _device_memory),
    ]


def gpu_span(result: Result) -> Cell:
    """The span's p50, unless that is what the mode judges: then it has a column of its own, with its interval."""
    return Cell() if judged_quantity(result) == "gpu" else median(result.summary.gpu)


def launch_bound_withheld(result: Result) -> bool:
    """Whether the row could say what bounds it, and does not: because of when the call returns, or for a reason given.

    Mode throughput measures the period alone: without a span there is nothing to withhold.
    """
    summary, method = result.summary, result.method.gpu
    if method is None or summary.timing is None or summary.launch_bound is not None:
        return False
    return summary.launch_bound_evidence is not None or (summary.gpu is not None and method.asynchronous != "proved")


def format_energy(joules: float) -> str:
    """Joules as "1.234 J", below one as "12.34 mJ"; rounded first, so that no "1000 mJ" is printed."""
    millijoules = format_ratio(joules * 1000)
    return f"{format_ratio(joules)} J" if float(millijoules) >= 1000 else f"{millijoules} mJ"


def _launch_bound(result: Result) -> Cell:
    bound = result.summary.launch_bound
    if bound is None:
        return Cell("withheld", tone="quiet") if launch_bound_withheld(result) else Cell()
    return Cell("yes", tone="unsure") if bound else Cell("no")


def _clock_normalised(result: Result) -> Cell:
    activity = result.gpu_activity
    return Cell() if activity is None else number(activity.clock_normalised_p50_ms, format_duration_ms)


def _energy(result: Result) -> Cell:
    activity = result.gpu_activity
    return Cell() if activity is None else number(activity.energy_j_per_request, format_energy)


def _device_memory(result: Result) -> Cell:
    summary = result.summary
    return memory(summary.device_peak_memory_bytes, summary.device_memory_increase_bytes)
