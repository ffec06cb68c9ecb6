# SPDX-License-Identifier: Apache-2.0
"""What a row's GPU adds to the method lines, and which GPUs the rows ran on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyperf_infer.units import (
    format_bytes,
    format_count,
    format_duration_ms,
    format_duration_ns,
)

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Gpu, GpuActivity, GpuMethod, Result

Fact = tuple[str, Callable[["Result"], str]]


def gpu_lines(document: Document) -> list[str]:
    """Name, place and driver of every GPU that a row ran on."""
    used = {one.method.gpu.device_index: one.method.gpu.device_name for one in document.results if one.method.gpu}
    known = {one.index: one for one in document.environment.gpus}
    return [_gpu_line(index, name, known.get(index)) for index, name in sorted(used.items())]


def _gpu_line(index: int, name: str, gpu: Gpu | None) -> str:
    parts = [f"{name} (cuda:{index})"]
    if gpu is not None:
        parts += [f"driver {gpu.driver}"] if gpu.driver else []
        parts += [f"CUDA {gpu.cuda_driver}"] if gpu.cuda_driver else []
        parts += [format_bytes(gpu.memory_bytes)] if gpu.memory_bytes else []
        parts += ["partitioned (MIG)"] if gpu.mig else []
    return ", ".join(parts)


def facts() -> list[Fact]:
    """Title and text of each line; the text is empty where a row has nothing to say."""
    return [
        ("events", lambda one: _of_method(one, _events)),
        ("wait", lambda one: _of_method(one, lambda method: method.wait)),
        ("streams", lambda one: _of_method(one, lambda method: str(method.streams))),
        ("gate", lambda one: _of_method(one, _gate)),
        ("flush", lambda one: _of_method(one, _flush)),
        ("asynchrony", lambda one: _of_method(one, _asynchrony)),
        ("transfers", lambda one: _of_method(one, _transfers)),
        ("profile range", lambda one: _of_method(one, _profile_range)),
        ("GPU readings", lambda one: _of_activity(one, _readings)),
        ("energy", lambda one: _of_activity(one, lambda activity: activity.energy_method or "")),
        ("others on the GPU", lambda one: _of_activity(one, _others)),
        ("GPU busy", lambda one: one.summary.gpu_busy_method or ""),
        ("device memory", lambda one: one.summary.device_memory_method or ""),
        ("integrity", _integrity),
    ]


def _of_method(result: Result, text: Callable[[GpuMethod], str]) -> str:
    return "" if result.method.gpu is None else text(result.method.gpu)


def _of_activity(result: Result, text: Callable[[GpuActivity], str]) -> str:
    return "" if result.gpu_activity is None else text(result.gpu_activity)


def _events(method: GpuMethod) -> str:
    cost, step = method.event_overhead_ns, method.event_step_ns
    known = [f"an empty pair gives {format_duration_ns(cost)}" if cost is not None else ""]
    known.append(f"step {format_duration_ns(step)}" if step is not None else "")
    return ", ".join(filter(None, known))


def _gate(method: GpuMethod) -> str:
    if method.gated is None:
        return ""
    late = method.gate_timeouts
    held = "each launch held back until all of its work was queued" if method.gated else ""
    discarded = f"{late} sample{'s' * (late != 1)} discarded, whose gate the watchdog opened" if late else ""
    reason = "" if method.gated else f"not gated: {method.gate_reason}"
    return "; ".join(filter(None, [held, reason, discarded]))


def _flush(method: GpuMethod) -> str:
    return "" if method.flush_bytes is None else f"{format_bytes(method.flush_bytes)} before each call"


def _asynchrony(method: GpuMethod) -> str:
    evidence = method.asynchrony_evidence
    if method.asynchronous == "sync_inside_submit":
        return f"sync inside submit: launch-bound, throughput and gate withheld ({evidence})"
    return f"{method.asynchronous}: {evidence}"


def _transfers(method: GpuMethod) -> str:
    return "included, from and to pinned memory" if method.include_transfers else ""


def _profile_range(method: GpuMethod) -> str:
    return "the measured window is marked for a profiler" if method.profile_range else ""


def _readings(activity: GpuActivity) -> str:
    missing = (activity.missing or "").removesuffix(".")
    if not activity.readings:
        return f"none: {missing}"
    return f"polled every {format_duration_ms(activity.polling_interval_ms)}" + (f"; {missing}" if missing else "")


def _others(activity: GpuActivity) -> str:
    def described(pid: int, name: str | None, held: int | None) -> str:
        size = "" if held is None else f", {format_bytes(held)}"
        return f"{name or 'unnamed'} (process {pid}{size})"

    return ", ".join(described(one.pid, one.name, one.memory_bytes) for one in activity.other_processes)


def _integrity(result: Result) -> str:
    """What the time was held against. Why one is impossible is a finding, not a line here."""
    integrity = result.integrity
    if integrity is None or integrity.status == "impossible":
        return ""
    if integrity.status == "not checked":
        return f"not checked: {integrity.reason}"
    rates = [(integrity.bandwidth_bytes_per_s, "B/s"), (integrity.peak_flops_per_s, "FLOP/s")]
    against = " and ".join(f"{format_count(rate)}{unit}" for rate, unit in rates if rate is not None)
    return "; ".join(filter(None, [f"held against {against}" if against else "", integrity.reason]))
