# SPDX-License-Identifier: Apache-2.0
"""What a measurement found."""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.statistics.estimate import Estimates, estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.statistics.compare import Interval


@cache
def clock_properties() -> _core.ClockProperties:
    """Name, step and cost of the clock in this process, measured once."""
    return _core.measure_steady_clock()


class Samples:
    """What a measurement found. Times are nanoseconds.

    `ns` is the read-only int64 array of shape (count,) that the native loop wrote, not a copy of it, in the order of
    the calls. `converged` says whether the 95% interval of the median reached the asked width within the budget;
    `stop_reason` is "converged", "max_duration", "max_samples" or "interrupted".
    """

    def __init__(
        self,
        *,
        ns: NDArray[np.int64],
        stop_reason: str,
        looks: int,
        duration_ns: int,
        warmup: _core.WarmupOutcome | None,
        confidence: float,
        batched_ns_per_call: float | None,
    ) -> None:
        clock = clock_properties()
        self.ns = ns
        self.stop_reason = stop_reason
        self.looks = looks
        self.duration_ns = duration_ns
        self.warmup = warmup
        self.confidence = confidence
        self.timer_overhead_ns = clock.overhead_ns
        self.clock_step_ns = clock.step_ns
        self.batched_ns_per_call = batched_ns_per_call

    def __repr__(self) -> str:
        return (
            f"Samples(count={len(self.ns)}, median_ns={self.median_ns}, interval_ns={self.interval_ns}, "
            f"stop_reason={self.stop_reason!r})"
        )

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
