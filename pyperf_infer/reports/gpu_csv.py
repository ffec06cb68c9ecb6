# SPDX-License-Identifier: Apache-2.0
"""The CSV columns of what a GPU adds to a result, all empty for one that ran on none."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.results.csv_text import Cell
    from pyperf_infer.results.schema import QuantityBlock, Result


def gpu_cells(result: Result) -> dict[str, Cell]:
    """By column. ``gpu_p50_ms`` of mode cold is ``p50_ms`` again: the column ``quantity`` says so."""
    return {**_numbers(result), **_method(result), **_activity(result), "integrity": _status(result)}


def _numbers(result: Result) -> dict[str, Cell]:
    summary = result.summary
    return {
        "gpu_p50_ms": _p50(summary.gpu),
        "h2d_p50_ms": _p50(summary.h2d),
        "d2h_p50_ms": _p50(summary.d2h),
        "launch_bound": _flag(summary.launch_bound),
        "gpu_busy_ms": summary.gpu_busy_ms,
        "device_peak_memory_bytes": summary.device_peak_memory_bytes,
        "device_memory_increase_bytes": summary.device_memory_increase_bytes,
    }


def _method(result: Result) -> dict[str, Cell]:
    method = result.method.gpu
    return {
        "gpu": method.device_name if method else None,
        "streams": method.streams if method else None,
        "wait": method.wait if method else None,
        "event_overhead_ns": method.event_overhead_ns if method else None,
        "event_step_ns": method.event_step_ns if method else None,
        "asynchronous": method.asynchronous if method else None,
        "gated": _flag(method.gated) if method else None,
        "gate_timeouts": method.gate_timeouts if method else None,
        "flush_bytes": method.flush_bytes if method else None,
        "include_transfers": _flag(method.include_transfers) if method else None,
        "profile_range": _flag(method.profile_range) if method else None,
    }


def _activity(result: Result) -> dict[str, Cell]:
    activity = result.gpu_activity
    return {
        "sm_clock_mhz_median": activity.sm_clock_mhz_median if activity else None,
        "clock_normalised_p50_ms": activity.clock_normalised_p50_ms if activity else None,
        "power_w_mean": activity.power_w_mean if activity else None,
        "temperature_c_max": activity.temperature_c_max if activity else None,
        "energy_j_per_request": activity.energy_j_per_request if activity else None,
        "throttle_reasons": (", ".join(activity.throttle_reasons) or None) if activity else None,
    }


def _status(result: Result) -> str | None:
    return result.integrity.status if result.integrity else None


def _p50(block: QuantityBlock | None) -> float | None:
    return block.p50_ms if block else None


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()
