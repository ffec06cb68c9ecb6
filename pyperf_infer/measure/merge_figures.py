# SPDX-License-Identifier: Apache-2.0
"""The figures of one row from several processes: samples pooled, what is spent added, what is reached at its worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from msgspec.structs import replace

from pyperf_infer.measure.entry import block_of
from pyperf_infer.timing.clocks import Clock
from pyperf_infer.timing.samples import Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Activity, GpuActivity, Method, QuantityBlock, Stop, Summary, Warmup

    Columns = Mapping[str, NDArray[np.int64]]

_Struct = TypeVar("_Struct", bound=msgspec.Struct)
_How = Callable[[list[Any]], Any]
_BLOCKS = ("latency", "period", "submit", "gpu", "h2d", "d2h")


def _known(how: _How) -> _How:
    """Of those that are known; None where none is."""
    return lambda values: how(known) if (known := [one for one in values if one is not None]) else None


def _all_known(how: _How) -> _How:
    """None where one is not known: a sum without it would be too small."""
    return lambda values: None if None in values else how(values)


def _first(values: list[Any]) -> Any:
    return values[0]


_MEDIAN, _HIGHEST, _LOWEST, _MEAN = _known(median), _known(max), _known(min), _known(fmean)
_FIRST_KNOWN = _known(_first)
_SUM = _all_known(sum)

# What is not named here is the first process's.
_SUMMARY: Mapping[str, _How] = {
    "throughput_per_s": _MEDIAN,
    "session_create_s": _MEDIAN,
    "first_inference_ms": _MEDIAN,
    "first_inference_warm": any,
    "export_s": _FIRST_KNOWN,  # the others found the conversion in the cache
    "compile_s": _FIRST_KNOWN,
    "graph_breaks": _HIGHEST,
    "peak_memory_bytes": _HIGHEST,
    "memory_increase_bytes": _HIGHEST,
    "batched_ns_per_call": _MEDIAN,
    "gpu_busy_ms": _MEDIAN,
    "device_peak_memory_bytes": _HIGHEST,
    "device_memory_increase_bytes": _HIGHEST,
}
_ACTIVITY: Mapping[str, _How] = {
    **dict.fromkeys(
        (
            "wall_ns", "user_cpu_ns", "system_cpu_ns", "steal_ns", "throttled_ns", "throttled_periods",
            "voluntary_switches", "involuntary_switches", "minor_faults", "major_faults", "other_cpu_ns",
        ),
        _SUM,
    ),
    "frequency_mhz_min": _LOWEST,
    "frequency_mhz_max": _HIGHEST,
}  # fmt: skip
_GPU_ACTIVITY: Mapping[str, _How] = {
    "readings": _SUM,
    "window_s": _SUM,
    "samples_covered": _SUM,
    "sm_clock_mhz_min": _LOWEST,
    "sm_clock_mhz_median": _MEDIAN,
    "sm_clock_mhz_max": _HIGHEST,
    "memory_clock_mhz_min": _LOWEST,
    "memory_clock_mhz_max": _HIGHEST,
    "temperature_c_max": _HIGHEST,
    "power_w_mean": _MEAN,
    "power_w_max": _HIGHEST,
    "throttle_reasons": lambda values: {
        name: max(one.get(name, 0.0) for one in values)
        for name in dict.fromkeys(name for one in values for name in one)
    },
    "energy_j": _SUM,
    "energy_j_per_request": _MEDIAN,
    "energy_method": _FIRST_KNOWN,
    "clock_normalised_p50_ms": _MEDIAN,
    "memory_used_peak_bytes": _HIGHEST,
    "missing": _FIRST_KNOWN,
}
_WARMUP: Mapping[str, _How] = {
    "iterations": sum,
    "duration_ms": sum,
    "steady": all,
    "steady_after": _all_known(max),
}


def _merged(values: Sequence[_Struct], how: Mapping[str, _How]) -> _Struct:
    """The first, with the fields that `how` names reduced over all."""
    merged = {name: reduce([getattr(one, name) for one in values]) for name, reduce in how.items()}
    return replace(values[0], **merged)


def pooled(samples: Sequence[Columns]) -> dict[str, NDArray[np.int64]]:
    """The samples of all, one process after the other; quantities that one of them has not are left out."""
    names = [name for name in samples[0] if all(name in one for one in samples)]
    return {name: np.concatenate([one[name] for one in samples]) for name in names}


def merged_summary(summaries: Sequence[Summary], columns: Columns, method: Method, plan: RunPlan) -> Summary:
    """Blocks of the pooled samples, without the intervals that would count iterations as if each were a process."""
    whole = Samples(
        columns=columns,
        stop_reason="converged",
        looks=0,
        duration_ns=1,
        warmup=None,
        confidence=plan.confidence,
        batched_ns_per_call=None,
        clock=Clock(method.clock, round(method.timer_overhead_ns or 0), max(1, round(method.clock_step_ns or 1))),
    )
    summary = _merged(summaries, _SUMMARY)
    blocks: dict[str, QuantityBlock | None] = dict.fromkeys(_BLOCKS)
    for name in columns:
        of_each = [block for one in summaries if (block := getattr(one, name)) is not None]
        blocks[name] = _without_intervals(block_of(whole, plan, name), of_each)
    breaks = max(summaries, key=lambda one: one.graph_breaks or 0).graph_break_reasons
    return _launch_bound(replace(summary, **blocks, graph_break_reasons=breaks), summaries)


def _without_intervals(block: QuantityBlock, of_each: Sequence[QuantityBlock]) -> QuantityBlock:
    """Neither can samples of several processes be asked how they depend on each other: that is each one's own."""
    return replace(
        block,
        p50_interval_ms=None,
        percentiles=[replace(one, interval_ms=None, effective_count=None) for one in block.percentiles],
        autocorrelation_lag1=_MEDIAN([one.autocorrelation_lag1 for one in of_each]),
        effective_count=None,
    )


def _launch_bound(summary: Summary, of_each: Sequence[Summary]) -> Summary:
    said = Counter(one.launch_bound for one in of_each)
    if len(said) == 1:
        return summary
    yes, no = said[True], said[False]
    evidence = f"withheld: the processes disagree: {yes} of {len(of_each)} say that it is, {no} that it is not"
    return replace(summary, launch_bound=None, launch_bound_evidence=evidence)


def merged_method(methods: Sequence[Method]) -> Method:
    """The first's, with what all spent and whether all came as far as they were asked to."""
    warmups = [one.warmup for one in methods if one.warmup is not None]
    stops = [one.stop for one in methods if one.stop is not None]
    return replace(
        methods[0],
        timer_overhead_ns=_MEDIAN([one.timer_overhead_ns for one in methods]),
        clock_step_ns=_HIGHEST([one.clock_step_ns for one in methods]),
        warmup=_merged_warmup(warmups) if warmups else None,
        stop=_merged_stop(stops, methods) if stops else None,
        measured_duration_s=_SUM([one.measured_duration_s for one in methods]),
    )


def _merged_warmup(warmups: Sequence[Warmup]) -> Warmup:
    return _merged(warmups, _WARMUP)


def _merged_stop(stops: Sequence[Stop], methods: Sequence[Method]) -> Stop:
    reasons = Counter(one.reason for one in stops)
    reason = stops[0].reason
    if len(reasons) > 1:
        reason = ", ".join(f"{name} ({count} of {len(stops)})" for name, count in reasons.most_common())
    return replace(
        stops[0],
        reason=reason,
        looks=sum(one.looks for one in stops),
        converged=all(one.converged for one in stops),
        relative_half_width=_all_known(max)([one.relative_half_width for one in stops]),
        needed_samples=_HIGHEST([one.needed_samples for one in stops]),
        needed_duration_s=_HIGHEST([one.needed_duration_s for one in stops]),
        looks_share=_looks_share(methods),
    )


def _looks_share(methods: Sequence[Method]) -> float | None:
    """Of the wall time of all: a share of looks and measuring becomes seconds of looks, and back."""
    looks_s = measured_s = 0.0
    for one in methods:
        share = one.stop.looks_share if one.stop else None
        if share is None or one.measured_duration_s is None or share >= 1:
            return None
        looks_s += one.measured_duration_s * share / (1 - share)
        measured_s += one.measured_duration_s
    return looks_s / (looks_s + measured_s) if looks_s + measured_s > 0 else None


def merged_activity(activities: Sequence[Activity]) -> Activity | None:
    return _merged(activities, _ACTIVITY) if activities else None


def merged_gpu_activity(activities: Sequence[GpuActivity]) -> GpuActivity | None:
    return _merged(activities, _GPU_ACTIVITY) if activities else None
