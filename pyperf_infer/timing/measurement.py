# SPDX-License-Identifier: Apache-2.0
"""One target, measured alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.timing.clocks import Clock, clock_of
from pyperf_infer.timing.cold import cache_flush
from pyperf_infer.timing.samples import Samples, StopAt
from pyperf_infer.timing.target import Measurable, Mode, Progress, as_target, garbage_collection, to_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Below this many times the timer's own cost a sample is coarse, and many calls between two reads stand beside it.
SHORT_CALL_OVERHEADS = 100
_BATCHED_NS = 20_000_000
_BATCHED_REPEATS = 5


class Measurement:
    """A measurement of one target in two steps, whose samples are at hand also when it fails or is interrupted.

    Args as for `measure`, and the most samples to take.
    """

    def __init__(
        self,
        what: Measurable,
        *,
        duration: float = 1.0,
        max_duration: float = 20.0,
        iterations: int = 30,
        ci: float = 0.01,
        ci_of: float = 50.0,
        confidence: float = CONFIDENCE,
        mode: Mode = "latency",
        max_samples: int = 10_000_000,
    ) -> None:
        self.target = as_target(what)
        self.mode = mode
        on_gpu = isinstance(self.target, _core.StreamTarget)  # which flushes its own caches, on its stream
        self._flush = cache_flush() if mode == "cold" and not on_gpu else None
        self.warmup: _core.WarmupOutcome | None = None
        self.event_overhead: _core.EventOverhead | None = None  # of a GPU at speed: known once it is warm
        self._clock: Clock | None = None
        self._confidence = confidence
        self._plan_at = partial(
            _core.StopPlan,
            min_samples=iterations,
            min_duration_ns=to_ns("duration", duration),
            max_duration_ns=to_ns("max_duration", max_duration),
            max_samples=max_samples,
            relative_half_width=ci,
            confidence=confidence,
            quantile=ci_of / 100,
        )
        self.stop_at = StopAt(ci, ci_of)
        self._plan_at(clock_step_ns=1)  # so that a plan that contradicts itself is refused here
        self._samples = _core.Samples()
        self._outcome: _core.MeasureOutcome | None = None
        self._batched_ns_per_call: float | None = None
        # Of the loop, on the steady clock; what comes after it is left out. 0 before it has begun and ended.
        self.begin_ns = 0
        self.end_ns = 0

    def warm_up(self, *, budget: float = 5.0, iterations: int = 1, progress: Progress | None = None) -> None:
        """Runs the target until its times are steady, at least `iterations` times, for at most `budget` seconds."""
        self.warmup = _core.warm_up(
            self.target,
            min_calls=iterations,
            budget_ns=to_ns("warm-up budget", budget),
            mode="throughput" if self.mode == "throughput" else "latency",
            progress=progress,
        )
        self._look_at_clock()

    def _look_at_clock(self) -> Clock:
        """A GPU's is looked at when the device is at speed, which it is not before the warm-up."""
        if isinstance(self.target, _core.StreamTarget):
            self.event_overhead = self.target.measure_overhead()
        self._clock = clock_of(self.target, self.mode, self.event_overhead)
        return self._clock

    def run(self, *, batched: bool = True, progress: Progress | None = None) -> Samples:
        """Measures until the stop rule is content; short calls many between two reads too, unless not `batched`.

        Raises:
            What the target raises; the samples until then stay in `samples`.
        """
        if len(self._samples):
            raise UsageError("a Measurement runs once; make another")
        clock = self._clock or self._look_at_clock()
        plan = self._plan_at(clock_step_ns=clock.step_ns)
        self.begin_ns = _core.now_ns()
        try:
            self._outcome = _core.measure(
                self.target, plan, self._samples, mode=self.mode, flush=self._flush, progress=progress
            )
        finally:
            self.end_ns = _core.now_ns()
        samples = self.samples
        assert samples is not None  # noqa: S101  a measurement that returns has taken at least one
        if not batched or self.mode == "cold" or samples.median_ns >= SHORT_CALL_OVERHEADS * samples.timer_overhead_ns:
            return samples
        calls = max(1, int(_BATCHED_NS / max(1.0, samples.median_ns)))
        times = sorted(_core.run_batched(self.target, calls) for _ in range(_BATCHED_REPEATS))
        self._batched_ns_per_call = times[_BATCHED_REPEATS // 2] / calls
        samples = self.samples
        assert samples is not None  # noqa: S101
        return samples

    @property
    def warmup_ns(self) -> NDArray[np.int64]:
        """What the calls of the warm-up took, in order: the first million at most."""
        return np.empty(0, np.int64) if self.warmup is None else self.warmup.samples_ns

    @property
    def samples(self) -> Samples | None:
        """What there is so far; None before the first sample."""
        if len(self._samples) == 0:
            return None
        outcome = self._outcome
        return Samples(
            columns={name: self._samples.column(name) for name in self._samples.columns},
            stop_reason=outcome.reason if outcome else "interrupted",
            looks=outcome.looks if outcome else 0,
            looks_ns=outcome.looks_ns if outcome else 0,
            half_width=outcome.relative_half_width if outcome else None,
            stop_at=self.stop_at,
            duration_ns=outcome.duration_ns if outcome else self.end_ns - self.begin_ns,
            warmup=self.warmup,
            confidence=self._confidence,
            batched_ns_per_call=self._batched_ns_per_call,
            clock=self._clock,
            flush_bytes=None if self._flush is None else self._flush.bytes,
        )


def measure(
    what: Measurable,
    *,
    duration: float = 1.0,
    max_duration: float = 20.0,
    iterations: int = 30,
    ci: float = 0.01,
    ci_of: float = 50.0,
    confidence: float = CONFIDENCE,
    warmup: float = 5.0,
    warmup_iterations: int = 1,
    mode: Mode = "latency",
    collect_garbage: bool = False,
    progress: Progress | None = None,
) -> Samples:
    """Times `what` in the native loop, one call a sample.

    Args:
        what: a callable without arguments, or a native target such as `OnnxSession`, which runs without Python.
        duration, iterations: the least seconds and calls; both hold.
        max_duration: the budget in seconds; when it is spent the result is not `converged`.
        ci, ci_of: the relative half-width of an interval at which to stop, and of which percentile: the median's,
            unless another is given. See `Samples.needed` for what a budget was short of.
        warmup, warmup_iterations: the most seconds and the least calls before measuring.
        mode: "latency" (from a call until it is done), "throughput" (the period between two completions) or "cold" (a
            call after the caches were flushed; on a GPU the span on the stream, with the launch held back).
        collect_garbage: leave Python's garbage collector on. It is off by default, as in timeit.
        progress: called at most ten times a second, outside of the measured windows, with the phase, the number of
            calls, the elapsed and the granted nanoseconds, and the last sample.

    Raises:
        UsageError: a plan that contradicts itself.
        TypeError: `what` cannot be called.
        What the callable raises.
    """
    measurement = Measurement(
        what,
        duration=duration,
        max_duration=max_duration,
        iterations=iterations,
        ci=ci,
        ci_of=ci_of,
        confidence=confidence,
        mode=mode,
    )
    with garbage_collection(collect_garbage):
        measurement.warm_up(budget=warmup, iterations=warmup_iterations, progress=progress)
        return measurement.run(progress=progress)
