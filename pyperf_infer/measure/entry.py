# SPDX-License-Identifier: Apache-2.0
"""From samples and facts to an entry of the result document. Nothing is measured here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer.backends.base import Facts
from pyperf_infer.errors import MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.measure.likely_causes import Evidence
from pyperf_infer.measure.steadiness import steady_of
from pyperf_infer.results.quantity import PercentileNs, block_from_ns
from pyperf_infer.results.schema import (
    Activity,
    Environment,
    Failure,
    GpuActivity,
    GpuMethod,
    Method,
    Parity,
    QuantityBlock,
    Result,
    Stop,
    Subject,
    Summary,
    Warmup,
    Weights,
)
from pyperf_infer.statistics.steady import end_of_warmup
from pyperf_infer.system.memory import is_out_of_memory
from pyperf_infer.timing.clocks import steady_clock

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.measure.gpu import DeviceMemory
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.timing.samples import Samples

# What the stop rule's reasons are called in a result.
_STOP_REASONS = {
    "converged": "interval reached",
    "max_duration": "time budget spent",
    "max_samples": "sample limit reached",
    "interrupted": "interrupted",
}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Of preparing a model and running it the first times. See docs/results.md."""

    peak_bytes: int
    increase_bytes: int
    method: str


@dataclass(kw_only=True)
class OnGpu:
    """What is known of a row beyond its samples, where it ran on a GPU."""

    method: GpuMethod
    memory: DeviceMemory
    launch_bound: bool | None
    launch_bound_evidence: str | None
    activity: GpuActivity | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model at one batch size."""

    model: LoadedModel
    batch_size: int
    requested_batch_size: int
    shapes: Mapping[str, tuple[int, ...]]


def subject_of(case: Case, plan: RunPlan) -> Subject:
    weights = case.model.weights
    return Subject(
        model=case.model.name,
        source=case.model.source,
        weights=Weights(source=weights.source, seed=weights.seed, sha256=weights.sha256),
        parameters=case.model.parameters,
        batch_size=case.batch_size,
        requested_batch_size=case.requested_batch_size,
        shapes={name: list(shape) for name, shape in case.shapes.items()},
        precision=plan.precision,
    )


def unloaded_subject(name: str, source: str, plan: RunPlan, batch_size: int) -> Subject:
    """Of a model that could not be loaded."""
    return Subject(
        model=name,
        source=source,
        weights=None,
        parameters=None,
        batch_size=batch_size,
        requested_batch_size=batch_size,
        shapes={},
        precision=plan.precision,
    )


def failed_result(subject: Subject, backend: str, plan: RunPlan, error: Exception, exit_code: int) -> Result:
    """A row without numbers, and why."""
    settings = {"opt_level": plan.options.opt_level} if backend.startswith("onnxruntime") else {}
    return Result(
        subject=subject,
        method=_method(
            Facts(
                backend=backend, provider=None, loop="native", settings=settings, load_s=None, first_inference_ms=0.0
            ),
            plan,
        ),
        summary=Summary(),
        # On one line: reports print a line end in a message as "\\n", since it may come from a model's name.
        error=Failure(kind=type(error).__name__, message=" ".join(str(error).split()), exit_code=exit_code),
    )


def failed_case(case: Case, backend: str, plan: RunPlan, error: Exception) -> Result:
    """A row without numbers of a case that a backend failed on."""
    known: PyperfInferError
    said = str(error).strip().split("\n", 1)[0]
    if is_out_of_memory(error):
        known = OutOfMemoryError(
            f"{case.model.name} at batch {case.batch_size} does not fit in memory on {backend}: "
            f"{said}. Use a smaller --batch-size or --shape."
        )
    elif isinstance(error, PyperfInferError):
        known = error
    else:
        known = MeasurementError(f"{backend} failed on {case.model.name}: {type(error).__name__}: {said}")
    return failed_result(subject_of(case, plan), backend, plan, known, known.exit_code)


def measured_result(
    case: Case,
    plan: RunPlan,
    facts: Facts,
    samples: Samples,
    *,
    activity: Activity,
    memory: Memory,
    parity: Parity | None,
    load_s: float | None,
    export_s: float | None,
    on_gpu: OnGpu | None = None,
) -> Result:
    """A row with its numbers. `samples` may be cut short; then its `stop_reason` says so."""
    blocks = {name: block_of(samples, plan, name) for name in samples.columns}
    gpu_activity = on_gpu.activity if on_gpu else None
    return Result(
        subject=subject_of(case, plan),
        method=_measured_method(facts, plan, samples, on_gpu),
        summary=Summary(
            latency=blocks.get("latency"),
            period=blocks.get("period"),
            submit=blocks.get("submit"),
            gpu=blocks.get("gpu"),
            h2d=blocks.get("h2d"),
            d2h=blocks.get("d2h"),
            throughput_per_s=_throughput_per_s(case, plan, samples),
            launch_bound=on_gpu.launch_bound if on_gpu else None,
            launch_bound_evidence=on_gpu.launch_bound_evidence if on_gpu else None,
            device_peak_memory_bytes=on_gpu.memory.peak_bytes if on_gpu else None,
            device_memory_increase_bytes=on_gpu.memory.increase_bytes if on_gpu else None,
            device_memory_method=on_gpu.memory.method if on_gpu else None,
            session_create_s=load_s,
            first_inference_ms=facts.first_inference_ms,
            first_inference_warm=facts.first_inference_warm,
            export_s=export_s,
            compile_s=facts.compile_s,
            graph_breaks=facts.graph_breaks,
            graph_break_reasons=list(facts.graph_break_reasons),
            peak_memory_bytes=memory.peak_bytes,
            memory_increase_bytes=memory.increase_bytes,
            memory_method=memory.method,
            batched_ns_per_call=samples.batched_ns_per_call,
        ),
        activity=activity,
        gpu_activity=gpu_activity,
        parity=parity,
        steady=steady_of(
            samples.ns,
            Evidence(activity=activity, gpu=gpu_activity, flags=plan.flags),
            clock_step_ns=samples.clock_step_ns,
            duration_ns=samples.duration_ns,
        ),
    )


def _throughput_per_s(case: Case, plan: RunPlan, samples: Samples) -> float | None:
    """Items over the time they took: over the batches' wall time, and in mode throughput over the sum of the periods.

    Where many calls are in flight, the wall time has also the filling and draining of the queues at the ends of a
    batch, which the periods leave out. A cold call's time is not what a device sustains.
    """
    if plan.mode == "cold":
        return None
    taken_s = (int(samples.ns.sum()) if plan.mode == "throughput" else samples.duration_ns) / 1e9
    return case.batch_size * len(samples.ns) / taken_s if taken_s > 0 else None


def activity_of(delta: _core.Activity, environment: Environment) -> Activity:
    """The schema's form. What others used is what was busy less this process; ticks can make that negative."""
    own_ns = delta.user_cpu_ns + delta.system_cpu_ns
    return Activity(
        wall_ns=delta.wall_ns,
        user_cpu_ns=delta.user_cpu_ns,
        system_cpu_ns=delta.system_cpu_ns,
        steal_ns=delta.steal_ns,
        throttled_ns=delta.throttled_ns,
        throttled_periods=delta.throttled_periods,
        voluntary_switches=delta.voluntary_switches,
        involuntary_switches=delta.involuntary_switches,
        minor_faults=delta.minor_faults,
        major_faults=delta.major_faults,
        other_cpu_ns=None if delta.machine_busy_ns is None else max(0, delta.machine_busy_ns - own_ns),
        frequency_mhz_min=delta.frequency_mhz_min,
        frequency_mhz_max=delta.frequency_mhz_max,
        cpus=environment.logical_cores,
    )


def block_of(samples: Samples, plan: RunPlan, quantity: str) -> QuantityBlock:
    estimates = samples.summarise(plan.shown_percentiles, quantity)
    return block_from_ns(
        count=estimates.count,
        mean_ns=estimates.mean_ns,
        stddev_ns=estimates.stddev_ns,
        min_ns=estimates.min_ns,
        max_ns=estimates.max_ns,
        p50_ns=estimates.p50_ns,
        p50_interval_ns=estimates.p50_interval_ns,
        percentiles=[
            PercentileNs(
                percent=one.percent,
                value_ns=one.value_ns,
                interval_ns=one.interval_ns,
                refused=one.refused,
                effective_count=one.effective_count,
            )
            for one in estimates.percentiles
        ],
        outliers=estimates.outliers,
        autocorrelation_lag1=estimates.autocorrelation_lag1,
        outlier_classes=estimates.outlier_classes,
        effective_count=estimates.effective_count,
    )


def _measured_method(facts: Facts, plan: RunPlan, samples: Samples, on_gpu: OnGpu | None) -> Method:
    warmup = samples.warmup
    method = _method(facts, plan)
    method.gpu = on_gpu.method if on_gpu else None
    method.clock = samples.clock.name
    if samples.flush_bytes is not None:
        method.settings["cache_flush_bytes"] = samples.flush_bytes
    method.timer_overhead_ns = samples.timer_overhead_ns
    method.clock_step_ns = samples.clock_step_ns
    method.measured_duration_s = samples.duration_ns / 1e9
    method.warmup = Warmup(
        budget_ms=plan.warmup_ms,
        min_iterations=plan.warmup_iterations,
        iterations=warmup.calls if warmup else 0,
        duration_ms=warmup.duration_ns / 1e6 if warmup else 0.0,
        steady=warmup.steady if warmup else False,
        # Cold calls follow a warm warm-up: two levels that say nothing of one another.
        steady_after=end_of_warmup(warmup.samples_ns, samples.ns, calls=warmup.calls)
        if warmup and plan.mode != "cold"
        else None,
    )
    method.stop = Stop(
        ci=plan.ci,
        confidence=plan.confidence,
        min_iterations=plan.min_iterations,
        min_duration_s=plan.duration_s,
        max_duration_s=plan.max_duration_s,
        reason=_STOP_REASONS[samples.stop_reason],
        looks=samples.looks,
        converged=samples.converged,
        quantity=f"p{plan.ci_of:g}",
        relative_half_width=samples.relative_half_width
        if math.isfinite(samples.relative_half_width or math.nan)
        else None,
        needed_samples=None if samples.needed is None else samples.needed.samples,
        needed_duration_s=None if samples.needed is None else samples.needed.duration_ns / 1e9,
        looks_share=samples.looks_ns / (samples.looks_ns + samples.duration_ns) if samples.duration_ns else None,
    )
    return method


def _method(facts: Facts, plan: RunPlan) -> Method:
    clock = steady_clock()
    return Method(
        backend=facts.backend,
        provider=facts.provider,
        device=plan.device,
        mode=plan.mode,
        clock=clock.name,
        timer_overhead_ns=clock.overhead_ns,
        clock_step_ns=clock.step_ns,
        seed=plan.seed,
        threads=plan.options.threads if facts.threads is None else facts.threads,
        inter_op_threads=plan.options.inter_op_threads,
        loop=facts.loop,
        settings=dict(facts.settings),
        providers=facts.providers,
    )
