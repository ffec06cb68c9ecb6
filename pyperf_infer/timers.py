# SPDX-License-Identifier: Apache-2.0
"""Low-level timers: what a custom script imports.

Samples are int64 nanoseconds of `std::chrono::steady_clock`, one call a sample. Importing this module imports neither
torch nor onnxruntime nor onnx.

>>> from pyperf_infer import timers
>>> samples = timers.measure(lambda: sum(range(1000)), duration=0.1, max_duration=0.2)
>>> samples.ns.dtype, samples.median_ns > 0
(dtype('int64'), True)
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.ort_session import OnnxSession
from pyperf_infer.statistics.compare import MARGIN, Interval, Verdict, compare_rounds
from pyperf_infer.statistics.estimate import CONFIDENCE, Estimates, estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Comparison", "Measurement", "OnnxSession", "Samples", "Stopwatch", "compare", "measure"]

Mode = Literal["latency", "throughput"]
Progress = Callable[[str, int, int, int, int], object]  # phase, calls, elapsed_ns, budget_ns, last_ns

# Below this many times the timer's own cost a sample is coarse, and many calls between two reads stand beside it.
SHORT_CALL_OVERHEADS = 100
_BATCHED_NS = 20_000_000
_BATCHED_REPEATS = 5
# Of the budget of a comparison: each target alone, the rest interleaved.
_SHARE_ALONE = 0.15


class HasTarget(Protocol):
    """Anything with a native target, such as `OnnxSession`."""

    @property
    def target(self) -> _core.Target: ...


Measurable = Callable[[], object] | HasTarget | _core.Target


@cache
def clock_properties() -> _core.ClockProperties:
    """Name, step and cost of the clock in this process, measured once."""
    return _core.measure_steady_clock()


@dataclass(frozen=True)
class Samples:
    """What a measurement found. Times are nanoseconds.

    `ns` is the read-only int64 array of shape (count,) that the native loop wrote, not a copy of it, in the order of
    the calls. `converged` says whether the 95% interval of the median reached the asked width within the budget;
    `stop_reason` is "converged", "max_duration", "max_samples" or "interrupted".
    """

    ns: NDArray[np.int64]
    stop_reason: str
    looks: int
    duration_ns: int
    warmup: _core.WarmupOutcome | None
    confidence: float
    timer_overhead_ns: int
    clock_step_ns: int
    batched_ns_per_call: float | None

    @property
    def converged(self) -> bool:
        return self.stop_reason == "converged"

    @cached_property
    def estimates(self) -> Estimates:
        """Median, p90, p95 and p99 with their intervals, mean, extremes, outliers, autocorrelation."""
        return self.summarise()

    @property
    def median_ns(self) -> float:
        return self.estimates.p50_ns

    @property
    def interval_ns(self) -> Interval | None:
        """Of the median; None below 6 samples, where there is none at 95%."""
        return self.estimates.p50_interval_ns

    def summarise(self, percentiles: tuple[float, ...] = (90.0, 95.0, 99.0)) -> Estimates:
        """All estimates, with other percentiles."""
        return estimate(self.ns, percentiles=percentiles, confidence=self.confidence, clock_step_ns=self.clock_step_ns)


class Measurement:
    """A measurement of one target in two steps, whose samples are at hand also when it fails or is interrupted.

    Args as for `measure`.
    """

    def __init__(
        self,
        what: Measurable,
        *,
        duration: float = 1.0,
        max_duration: float = 20.0,
        iterations: int = 30,
        ci: float = 0.01,
        confidence: float = CONFIDENCE,
        mode: Mode = "latency",
    ) -> None:
        clock = clock_properties()
        self.target = as_target(what)
        self.mode = mode
        self.warmup: _core.WarmupOutcome | None = None
        self._plan = _core.StopPlan(
            min_samples=iterations,
            min_duration_ns=_to_ns("duration", duration),
            max_duration_ns=_to_ns("max_duration", max_duration),
            relative_half_width=ci,
            confidence=confidence,
            clock_step_ns=clock.step_ns,
        )
        self._samples = _core.Samples()
        self._outcome: _core.MeasureOutcome | None = None
        self._batched_ns_per_call: float | None = None
        self._begin_ns = 0
        self._elapsed_ns = 0

    def warm_up(self, *, budget: float = 5.0, iterations: int = 1, progress: Progress | None = None) -> None:
        """Runs the target until its times are steady, at least `iterations` times, for at most `budget` seconds."""
        self.warmup = _core.warm_up(
            self.target, min_calls=iterations, budget_ns=_to_ns("warm-up budget", budget), progress=progress
        )

    def run(self, *, progress: Progress | None = None) -> Samples:
        """Measures until the stop rule is content.

        Raises:
            What the target raises; the samples until then stay in `samples`.
        """
        self._begin_ns = _core.now_ns()
        try:
            self._outcome = _core.measure(self.target, self._plan, self._samples, mode=self.mode, progress=progress)
        finally:
            self._elapsed_ns = _core.now_ns() - self._begin_ns
        samples = self.samples
        assert samples is not None  # noqa: S101  a measurement that returns has taken at least one
        if samples.median_ns >= SHORT_CALL_OVERHEADS * samples.timer_overhead_ns:
            return samples
        calls = max(1, int(_BATCHED_NS / max(1.0, samples.median_ns)))
        times = sorted(_core.run_batched(self.target, calls) for _ in range(_BATCHED_REPEATS))
        self._batched_ns_per_call = times[_BATCHED_REPEATS // 2] / calls
        samples = self.samples
        assert samples is not None  # noqa: S101
        return samples

    @property
    def samples(self) -> Samples | None:
        """What there is so far; None before the first sample."""
        if len(self._samples) == 0:
            return None
        clock, outcome = clock_properties(), self._outcome
        return Samples(
            ns=self._samples.ns,
            stop_reason=outcome.reason if outcome else "interrupted",
            looks=outcome.looks if outcome else 0,
            duration_ns=outcome.duration_ns if outcome else self._elapsed_ns,
            warmup=self.warmup,
            confidence=self._plan.confidence,
            timer_overhead_ns=clock.overhead_ns,
            clock_step_ns=clock.step_ns,
            batched_ns_per_call=self._batched_ns_per_call,
        )


def measure(
    what: Measurable,
    *,
    duration: float = 1.0,
    max_duration: float = 20.0,
    iterations: int = 30,
    ci: float = 0.01,
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
        ci: the relative half-width of the median's interval at which to stop.
        warmup, warmup_iterations: the most seconds and the least calls before measuring.
        mode: "latency" (from a call until it is done) or "throughput" (the period between two completions).
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
        confidence=confidence,
        mode=mode,
    )
    with garbage_collection(collect_garbage):
        measurement.warm_up(budget=warmup, iterations=warmup_iterations, progress=progress)
        return measurement.run(progress=progress)


@dataclass(frozen=True)
class Comparison:
    """What `compare` found: `ratio` is the time of f over that of g, so that above 1 g is faster.

    `verdict` speaks of g: "faster", "slower", "same" (within the margin) or "undecided", with the `reason`. `alone` has
    the samples of f and of g when each ran alone; `discarded_calls` were thrown away after switching.
    """

    ratio: float
    interval: Interval | None
    verdict: Verdict
    reason: str | None
    rounds: int
    discarded_calls: int
    alone: tuple[Samples, Samples]


def compare(
    f: Measurable,
    g: Measurable,
    *,
    max_duration: float = 10.0,
    ci: float = 0.01,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    collect_garbage: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compares two callables or targets in one process, within `max_duration` seconds in all.

    Each runs alone first, then both in blocks of at least 10 calls and 100 ms, in an order drawn anew in every round.
    It stops early when the interval of the ratio is within `ci`.

    Raises:
        UsageError, TypeError: as `measure`. What the callables raise.
    """
    if not margin > 0:
        raise UsageError("the margin is a positive share, such as 0.01")
    begin_ns = perf_counter_ns()
    share = max_duration * _SHARE_ALONE
    with garbage_collection(collect_garbage):
        first, second = (
            measure(
                what,
                duration=share / 2,
                max_duration=share,
                ci=ci,
                confidence=confidence,
                warmup=share / 2,
                collect_garbage=collect_garbage,
                progress=progress,
            )
            for what in (f, g)
        )
        left = max(0.0, max_duration - (perf_counter_ns() - begin_ns) / 1e9)
        rounds = interleave((f, g), max_duration=left, ci=ci, confidence=confidence, seed=seed, progress=progress)
    result = compare_rounds(
        rounds.medians_ns[0],
        rounds.medians_ns[1],
        alone_interval=ratio_interval(first, second),
        margin=margin,
        confidence=confidence,
    )
    return Comparison(
        result.ratio,
        result.interval,
        result.verdict,
        result.reason,
        result.rounds,
        rounds.discarded_calls,
        (first, second),
    )


@dataclass(frozen=True)
class Rounds:
    """The medians of the blocks of several targets, `medians_ns[target][round]`, of complete rounds."""

    medians_ns: tuple[tuple[int, ...], ...]
    discarded_calls: int
    stop_reason: str


def interleave(
    targets: tuple[Measurable, ...],
    *,
    max_duration: float,
    ci: float = 0.01,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    progress: Progress | None = None,
) -> Rounds:
    """Runs several targets in blocks until the intervals of their ratios to the first are within `ci`."""
    native = [as_target(target) for target in targets]
    plan = _core.SchedulePlan(
        max_duration_ns=_to_ns("max_duration", max_duration),
        relative_half_width=ci,
        confidence=confidence,
        seed=seed,
    )
    outcome = _core.interleave(native, plan, [_core.Samples() for _ in native], progress=progress)
    medians: list[list[int]] = [[0] * outcome.rounds for _ in native]
    for block in outcome.blocks:
        medians[block.target][block.round] = block.median_ns
    discarded = sum(block.discarded for block in outcome.blocks)
    return Rounds(tuple(map(tuple, medians)), discarded, outcome.reason)


def ratio_interval(first: Samples, second: Samples) -> Interval | None:
    """What the ratio of two medians can be, from the interval of each; None where one has none."""
    if first.interval_ns is None or second.interval_ns is None or min(second.interval_ns) <= 0:
        return None
    return first.interval_ns[0] / second.interval_ns[1], first.interval_ns[1] / second.interval_ns[0]


class Stopwatch:
    """Host time of a block of code.

    >>> with Stopwatch() as watch:
    ...     total = sum(range(1000))
    >>> watch.ns > 0
    True

    `ns` reads the time so far inside the block and the whole of it afterwards. Entering and leaving cost Python some
    hundred nanoseconds, `Stopwatch.overhead_ns()` here: for short calls use `measure`.
    """

    def __init__(self) -> None:
        self._begin_ns: int | None = None
        self._ns: int | None = None

    def __enter__(self) -> Stopwatch:
        self._ns = None
        self._begin_ns = perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        end_ns = perf_counter_ns()
        assert self._begin_ns is not None  # noqa: S101  entered before it is left
        self._ns = end_ns - self._begin_ns

    @property
    def ns(self) -> int:
        """Elapsed nanoseconds.

        Raises:
            UsageError: it was never started.
        """
        if self._begin_ns is None:
            raise UsageError("this Stopwatch was never started: with Stopwatch() as watch: ...")
        return self._ns if self._ns is not None else perf_counter_ns() - self._begin_ns

    @staticmethod
    def overhead_ns() -> int:
        """What an empty block reads on this machine: the median of 1000."""
        readings = []
        for _ in range(1000):
            with Stopwatch() as watch:
                pass
            readings.append(watch.ns)
        return sorted(readings)[500]


def as_target(what: Measurable) -> _core.Target:
    """The native target of anything that can be measured."""
    if isinstance(what, _core.Target):
        return what
    target = getattr(what, "target", None)
    if isinstance(target, _core.Target):
        return target
    function: Any = what
    return _core.CallableTarget(function)


@contextmanager
def garbage_collection(enabled: bool) -> Iterator[None]:
    """Switches Python's garbage collector for the time of a block."""
    was_enabled = gc.isenabled()
    gc.collect()
    (gc.enable if enabled else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_enabled else gc.disable)()


def _to_ns(name: str, seconds: float) -> int:
    if not (isinstance(seconds, int | float) and math.isfinite(seconds) and 0 <= seconds <= 1e9):
        raise UsageError(f"{name} is a number of seconds from 0 on, and {seconds!r} is not")
    return round(seconds * 1e9)
