# SPDX-License-Identifier: Apache-2.0
"""What a measurement found."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyperf_infer.statistics.estimate import Estimates, estimate, samples_needed
from pyperf_infer.timing.clocks import Clock, steady_clock

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pyperf_infer import _core
    from pyperf_infer.statistics.compare import Interval
    from pyperf_infer.statistics.steady import Steadiness


class StopAt(NamedTuple):
    """What the stop rule was asked for: the relative half-width of a percentile's interval."""

    ci: float = 0.01
    percent: float = 50.0


class Needed(NamedTuple):
    """What a measurement that did not converge would have taken, by the square of what its interval is too wide."""

    samples: int
    duration_ns: float


class Samples:
    """What a measurement found. Times are nanoseconds.

    `columns` has a read-only int64 array of shape (count,) for each quantity, in the order of the calls; they are what
    the native loop wrote, not copies. `ns` is the first of them, which the stop rule judged and all estimates are of:
    "latency", "period" in mode throughput, "gpu" in mode cold on a GPU. `converged` says whether the interval of its
    median (or of the percentile that was asked for) reached the asked width within the budget; `stop_reason` is
    "converged", "max_duration", "max_samples" or "interrupted". `relative_half_width` is the width that was reached at
    the last look, None where there was none; `looks_ns` is what looking took, between batches.
    """

    def __init__(
        self,
        *,
        columns: Mapping[str, NDArray[np.int64]],
        stop_reason: str,
        looks: int,
        looks_ns: int = 0,
        half_width: float | None = None,
        stop_at: StopAt | None = None,
        duration_ns: int,
        warmup: _core.WarmupOutcome | None,
        confidence: float,
        batched_ns_per_call: float | None,
        clock: Clock | None = None,
        flush_bytes: int | None = None,
    ) -> None:
        self.clock = clock or steady_clock()
        self.columns = dict(columns)
        self.quantity, self.ns = next(iter(self.columns.items()))
        self.stop_reason = stop_reason
        self.looks = looks
        self.looks_ns = looks_ns
        self.relative_half_width = half_width
        self.stop_at = stop_at or StopAt()
        self.duration_ns = duration_ns
        self.warmup = warmup
        self.confidence = confidence
        self.timer_overhead_ns = self.clock.overhead_ns
        self.clock_step_ns = self.clock.step_ns
        self.batched_ns_per_call = batched_ns_per_call
        self.flush_bytes = flush_bytes  # what the processors streamed through before each call, in mode cold

    def __repr__(self) -> str:
        return (
            f"Samples(count={len(self.ns)}, median_ns={self.median_ns}, interval_ns={self.interval_ns}, "
            f"stop_reason={self.stop_reason!r})"
        )

    @property
    def converged(self) -> bool:
        return self.stop_reason == "converged"

    @property
    def needed(self) -> Needed | None:
        """None where it converged, and where no number of samples would do: the clock's step is wider than what was
        asked for. Where there is no interval yet, the least that has one.
        """
        width, (ci, percent) = self.relative_half_width, self.stop_at
        if self.converged:
            return None
        if width is None:
            return self._needed_for_an_interval()
        if not math.isfinite(width) or width <= ci:
            return None
        value_ns = float(np.quantile(self.ns, percent / 100, method="inverted_cdf"))
        if self.clock_step_ns / 2 > ci * value_ns:
            return None
        more = (width / ci) ** 2
        return Needed(math.ceil(len(self.ns) * more), self.duration_ns * more)

    def _needed_for_an_interval(self) -> Needed | None:
        percent = self.stop_at.percent
        found = self._of_median if percent == 50 else self.summarise((percent,)).percentiles[0]
        more = samples_needed(percent, self.confidence) / (found.effective_count or 1.0)
        return Needed(math.ceil(len(self.ns) * more), self.duration_ns * more) if more > 1 else None

    @property
    def submit_ns(self) -> NDArray[np.int64] | None:
        """Host time until the call that hands the work over returned; None where that is the whole call."""
        return self.columns.get("submit")

    @property
    def gpu_ns(self) -> NDArray[np.int64] | None:
        """The span between two events around the work on its stream; None for work that is on no stream."""
        return self.columns.get("gpu")

    @cached_property
    def estimates(self) -> Estimates:
        """Median, p90, p95 and p99 with their intervals, mean, extremes, outliers, autocorrelation."""
        return self.summarise()

    @cached_property
    def _of_median(self) -> Estimates:
        """Without the percentiles, each of which takes another pass."""
        return self.summarise(())

    @property
    def median_ns(self) -> float:
        return self._of_median.p50_ns

    @property
    def interval_ns(self) -> Interval | None:
        """Of the median; None below 6 samples, where there is none at 95%."""
        return self._of_median.p50_interval_ns

    @cached_property
    def steady(self) -> Steadiness:
        """Whether the samples keep their level, and from which on: `.status`, `.steady_from`, `.levels`, `.step`."""
        from pyperf_infer.statistics.steady import examine  # which takes what is slow to import

        return examine(self.ns)

    def summarise(self, percentiles: tuple[float, ...] = (90.0, 95.0, 99.0), quantity: str | None = None) -> Estimates:
        """All estimates, with other percentiles or of another quantity than the one that was judged."""
        judged = quantity is None or quantity == self.quantity
        return estimate(
            self.ns if quantity is None else self.columns[quantity],
            percentiles=percentiles,
            confidence=self.confidence,
            clock_step_ns=self.clock_step_ns if judged else 1,
        )
