# SPDX-License-Identifier: Apache-2.0
"""One model at one batch size on several backends: prepare, compare the outputs, time each alone, then interleaved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pyperf_infer import _core
from pyperf_infer.convert.parity import compare_outputs
from pyperf_infer.errors import OutOfMemoryError, PyperfInferError
from pyperf_infer.measure.entry import Case, Memory, OnGpu, activity_of, measured_result
from pyperf_infer.measure.gpu import DeviceMemory, GpuSide, check_asynchrony, gpu_method, launch_bound, profile_range
from pyperf_infer.measure.integrity import integrity_of
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.shapes import ITEM_BYTES
from pyperf_infer.results.schema import Comparison, Environment, Parity, Result
from pyperf_infer.statistics.compare import compare_rounds
from pyperf_infer.system.memory import PeakMemory, available_memory_bytes, memory_limit
from pyperf_infer.timing.comparison import interleave, ratio_interval
from pyperf_infer.timing.measurement import Measurement
from pyperf_infer.timing.target import garbage_collection
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, Backend, PreparedBackend
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.phases import Phases
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.timing.samples import Samples

# Calls of the GPU-busy pass: some, and no more than a fraction of a second's worth, since every kernel is recorded.
_FEWEST_BUSY_CALLS, _MOST_BUSY_CALLS, _BUSY_NS = 3, 30, 200_000_000
_REFERENCE = "torch"  # what parity is measured against, where it takes part


@dataclass(kw_only=True)
class Contestant:
    """A backend on this case, from being prepared to being timed."""

    backend: Backend
    prepared: PreparedBackend
    memory: Memory
    load_s: float | None
    export_s: float | None
    outputs_a: dict[str, Array]
    outputs_b: dict[str, Array]
    device_memory: DeviceMemory | None = None
    parity: Parity | None = None
    samples: Samples | None = None

    @property
    def name(self) -> str:
        return self.backend.name


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What all cases of a run share."""

    plan: RunPlan
    environment: Environment
    phases: Phases
    observer: Observer
    gpu: GpuSide | None = None  # None on the CPU


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What loading the module took. It is the part of a backend that runs the module itself, and of no other."""

    seconds: float
    module_bytes: int  # of its parameters and buffers


def prepare(case: Case, backend: Backend, loaded: Loaded, around: Surroundings) -> Contestant:
    """Loads the model into the backend, runs it on two inputs and leaves the first in place."""
    plan = around.plan
    with around.phases.timed("draw inputs"):
        _check_room(case)
        inputs_a = make_inputs(case.model.inputs, case.shapes, plan.seed)
        inputs_b = make_inputs(case.model.inputs, case.shapes, plan.seed + 1)
    with around.phases.timed("convert"):
        export_s = backend.convert(case.model, case.shapes)
    used_before = around.gpu.used_memory_bytes() if around.gpu else 0
    # A GPU's driver maps its own and the device's memory into the process, which the limit would count.
    limit = memory_limit() if around.gpu is None else nullcontext()
    with around.phases.timed(f"prepare {backend.name}"), PeakMemory() as peak, limit:
        prepared = backend.prepare(case.model, inputs_a)
        outputs_a = prepared.outputs()
        prepared.bind(inputs_b)
        outputs_b = prepared.outputs()
        prepared.bind(inputs_a)
    device_memory = None
    if around.gpu is not None:
        used = around.gpu.used_memory_bytes()
        device_memory = DeviceMemory(peak_bytes=used, increase_bytes=used - used_before)
    load_s, module_bytes = prepared.facts.load_s, 0
    if load_s is None:  # it runs the module that is there already
        load_s, module_bytes = loaded.seconds, loaded.module_bytes
    memory = Memory(peak_bytes=peak.peak_bytes, increase_bytes=peak.increase_bytes + module_bytes, method=peak.method)
    return Contestant(
        backend=backend,
        prepared=prepared,
        memory=memory,
        load_s=load_s,
        export_s=export_s,
        outputs_a=outputs_a,
        outputs_b=outputs_b,
        device_memory=device_memory,
    )


def _check_room(case: Case) -> None:
    """Drawing billions of numbers takes minutes: where they cannot fit, that is said before."""
    needed = 2 * sum(math.prod(case.shapes[spec.name]) * ITEM_BYTES[spec.dtype] for spec in case.model.inputs)
    available = available_memory_bytes()
    if needed > available:
        raise OutOfMemoryError(
            f"two sets of inputs take {format_bytes(needed)}, and {format_bytes(available)} are available"
        )


def compare_all_outputs(contestants: Sequence[Contestant], around: Surroundings) -> None:
    """Fills in `parity`: each against PyTorch, or against the first where that takes no part."""
    if not contestants:
        return
    with around.phases.timed("compare outputs"):
        reference = next((one for one in contestants if one.name == _REFERENCE), contestants[0])
        reference.parity = _not_finite(reference, around.plan)
        for one in contestants:
            if one is not reference:
                one.parity = _parity(reference, one, around.plan)


def time_alone(case: Case, one: Contestant, around: Surroundings) -> Result:
    """Warm-up and measurement of one backend while nothing else runs.

    Raises:
        Interrupted: Ctrl-C; it carries the row of what was measured until then.
        BrokenOffError: it failed after the first sample; it carries that row too, and the error.
        What the backend raises before.
    """
    plan, phases = around.plan, around.phases
    measurement = Measurement(
        one.prepared,
        duration=plan.duration_s,
        max_duration=plan.max_duration_s,
        iterations=plan.min_iterations,
        ci=plan.ci,
        confidence=plan.confidence,
        mode=plan.mode,
    )

    def row() -> Result | None:
        if measurement.samples is None:
            return None
        one.samples = measurement.samples
        activity = _core.take_activity_snapshot() - begin
        return measured_result(
            case,
            plan,
            one.prepared.facts,
            measurement.samples,
            activity=activity_of(activity, around.environment),
            memory=one.memory,
            parity=one.parity,
            load_s=one.load_s,
            export_s=one.export_s,
            on_gpu=_on_gpu(one, measurement, around, begin.wall_ns, begin.wall_ns + activity.wall_ns),
        )

    begin = _core.take_activity_snapshot()
    try:
        with one.prepared.measuring(), garbage_collection(enabled=False):
            with phases.timed(f"warm up {one.name}"):
                measurement.warm_up(
                    budget=plan.warmup_ms / 1000,
                    iterations=plan.warmup_iterations,
                    progress=around.observer.progress,
                )
            if isinstance(measurement.target, _core.StreamTarget):
                check_asynchrony(measurement.target, one.name, plan.mode, plan.options)
            begin = _core.take_activity_snapshot()
            with phases.timed(f"measure {one.name}"), profile_range(one.name, enabled=plan.profile_range):
                measurement.run(progress=around.observer.progress)
            with phases.timed("summarise"):
                result = row()
            if around.gpu is not None:
                _look_closer(case, one, measurement, result, around, around.gpu)
    except KeyboardInterrupt as error:
        raise Interrupted(row(), one.samples) from error
    except Exception as error:
        if measurement.samples is None:
            raise
        partial = row()
        assert partial is not None  # noqa: S101  there are samples
        raise BrokenOffError(error, partial, measurement.samples) from error
    assert result is not None  # noqa: S101  a measurement that returns has taken at least one sample
    return result


def _look_closer(
    case: Case, one: Contestant, measurement: Measurement, result: Result | None, around: Surroundings, side: GpuSide
) -> None:
    """What takes passes of its own, after the measurement: the GPU-busy time, and whether the span is possible."""
    samples = measurement.samples
    if result is None or samples is None or result.method.gpu is None:
        return
    with around.phases.timed("check integrity"):
        result.integrity = integrity_of(case, around.plan, side, one.name, samples, one.outputs_a)
    if around.plan.profile_range:  # Nsight has the profiler
        return
    with around.phases.timed("GPU-busy pass"):
        calls = max(_FEWEST_BUSY_CALLS, min(_MOST_BUSY_CALLS, int(_BUSY_NS / max(1.0, samples.median_ns))))
        from pyperf_infer.backends.busy import gpu_busy  # imports torch

        busy = gpu_busy(
            lambda count: _core.run_batch(measurement.target, _core.Samples(), count), calls, device=side.facts.ordinal
        )
    result.summary.gpu_busy_ms = busy.ms_per_call
    result.summary.gpu_busy_method = busy.method if busy.missing is None else f"not measured: {busy.missing}"


def _on_gpu(
    one: Contestant, measurement: Measurement, around: Surroundings, begin_ns: int, end_ns: int
) -> OnGpu | None:
    target, samples, plan = measurement.target, measurement.samples, around.plan
    if around.gpu is None or not isinstance(target, _core.StreamTarget) or samples is None or one.device_memory is None:
        return None
    try:
        method = gpu_method(target, around.gpu, plan.options, plan.mode, plan.profile_range)
    except PyperfInferError:  # of a device that was lost: the row keeps its samples
        return None
    bound, evidence = launch_bound(samples, method)
    return OnGpu(
        method=method,
        memory=one.device_memory,
        launch_bound=bound,
        launch_bound_evidence=evidence,
        activity=around.gpu.activity(begin_ns, end_ns, samples),
    )


def time_interleaved(case: Case, contestants: Sequence[Contestant], around: Surroundings) -> list[Comparison]:
    """The speed-up of every backend over the first, from blocks in random order."""
    plan, first = around.plan, contestants[0]
    with ExitStack() as held, around.phases.timed("interleave"):
        for one in contestants:
            held.enter_context(one.prepared.measuring())
        held.enter_context(garbage_collection(enabled=False))
        rounds = interleave(
            tuple(one.prepared for one in contestants),
            max_duration=plan.max_duration_s,
            ci=plan.ci,
            confidence=plan.confidence,
            seed=plan.seed,
            progress=around.observer.progress,
        )
    comparisons = []
    for index, one in enumerate(contestants[1:], start=1):
        assert first.samples is not None  # noqa: S101  timed alone before
        assert one.samples is not None  # noqa: S101
        found = compare_rounds(
            rounds.medians_ns[0],
            rounds.medians_ns[index],
            alone_interval=ratio_interval(first.samples, one.samples),
            margin=plan.margin,
            confidence=plan.confidence,
        )
        verdict, reason = found.verdict, found.reason
        if _threads(first, plan) != _threads(one, plan):
            verdict = "undecided"
            reason = f"{first.name} ran {_threads(first, plan)} threads and {one.name} {_threads(one, plan)}"
        comparisons.append(
            Comparison(
                model=case.model.name,
                batch_size=case.batch_size,
                precision=plan.precision,
                baseline=first.name,
                contender=one.name,
                ratio=found.ratio,
                interval=found.interval,
                confidence=plan.confidence,
                margin=plan.margin,
                verdict=verdict,
                reason=reason,
                rounds=found.rounds,
                discarded_calls=rounds.discarded_calls,
            )
        )
    return comparisons


def _threads(one: Contestant, plan: RunPlan) -> int:
    return plan.options.threads if one.prepared.facts.threads is None else one.prepared.facts.threads


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while measuring, with the row so far (None where there was no sample yet)."""

    def __init__(self, result: Result | None, samples: Samples | None) -> None:
        super().__init__()
        self.result = result
        self.samples = samples


class BrokenOffError(Exception):
    """Measuring failed with `error` after some samples, whose row is here."""

    def __init__(self, error: Exception, result: Result, samples: Samples) -> None:
        super().__init__(str(error))
        self.error = error
        self.result = result
        self.samples = samples


def _parity(reference: Contestant, other: Contestant, plan: RunPlan) -> Parity:
    return compare_outputs(
        list(reference.outputs_a.values()),
        list(reference.outputs_b.values()),
        list(other.outputs_a.values()),
        list(other.outputs_b.values()),
        plan.rtol,
        plan.atol,
        names=list(reference.outputs_a),
        reference=reference.name,
        other=other.name,
    )


def _not_finite(one: Contestant, plan: RunPlan) -> Parity | None:
    """Outputs that are no numbers are a finding also where there is nothing to compare them with."""
    broken = [name for name, array in one.outputs_a.items() if not _finite(array)]
    if not broken:
        return None
    reason = f"{', '.join(broken)} of {one.name}: NaN or infinity in the output"
    return Parity(
        status="invalid",
        reference=one.name,
        other=one.name,
        outputs=[],
        rtol=plan.rtol,
        atol=plan.atol,
        reason=reason,
    )


def _finite(array: Array) -> bool:
    if array.dtype.kind not in "fcV":  # V: bfloat16
        return True
    return bool(np.isfinite(array.astype(np.float32) if array.dtype.kind == "V" else array).all())
