# SPDX-License-Identifier: Apache-2.0
"""One prepared backend, timed while nothing else runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.errors import PyperfInferError
from pyperf_infer.measure.entry import OnGpu, activity_of, measured_result
from pyperf_infer.measure.gpu import check_asynchrony, gpu_method, launch_bound, profile_range
from pyperf_infer.timing.measurement import Measurement
from pyperf_infer.timing.target import garbage_collection

if TYPE_CHECKING:
    from pyperf_infer.measure.case import Contestant, Surroundings
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.results.schema import Result
    from pyperf_infer.timing.samples import Samples


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
        ci_of=plan.ci_of,
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
            on_gpu=_on_gpu(one, measurement, around),
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
                check_asynchrony(measurement.target, one.name, plan.mode)
            begin = _core.take_activity_snapshot()
            with phases.timed(f"measure {one.name}"), profile_range(one.name, enabled=plan.profile_range):
                measurement.run(progress=around.observer.progress)
            with phases.timed("summarise"):
                result = row()
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


def _on_gpu(one: Contestant, measurement: Measurement, around: Surroundings) -> OnGpu | None:
    target, samples, plan, side = measurement.target, measurement.samples, around.plan, around.gpu
    if side is None or not isinstance(target, _core.StreamTarget) or samples is None or one.device_memory is None:
        return None
    try:
        used = side.used_memory_bytes()
    except PyperfInferError:  # the device is lost: the row keeps its samples
        used = None
    method = gpu_method(target, side, plan, measurement.event_overhead)
    bound, evidence = launch_bound(samples, method)
    activity = side.activity(measurement.begin_ns, measurement.end_ns, samples, plan)
    return OnGpu(
        method=method,
        memory=one.device_memory.measured(used, activity),
        launch_bound=bound,
        launch_bound_evidence=evidence,
        activity=activity,
    )
