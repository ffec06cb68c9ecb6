# SPDX-License-Identifier: Apache-2.0
"""What samples say and how long they were taken: part of the result document, see schema.py."""

from __future__ import annotations

from msgspec import Struct

from pyperf_infer.results.fields import Count, Interval, NonNegative, Part, Percent, Positive, Share, check_order


class Warmup(Struct, kw_only=True):
    """The warm-up that was asked for (budget, minimum) and what it took."""

    budget_ms: NonNegative
    min_iterations: Count
    iterations: Count
    duration_ms: NonNegative
    steady: bool
    steady_after: Count | None = None  # calls after which no change of level was found; None where never steady


class Stop(Struct, kw_only=True):
    """The stop rule that was asked for, and how it ended."""

    ci: NonNegative  # relative half-width of the median's interval: 0.01 for 1%
    confidence: Share
    min_iterations: Count
    min_duration_s: NonNegative
    max_duration_s: NonNegative
    reason: str
    looks: Count
    converged: bool
    quantity: str = "p50"  # whose interval ci is about: p50, or the percentile of --ci-of
    relative_half_width: NonNegative | None = None  # reached; None where the samples support no interval
    needed_samples: Count | None = None  # what it would have taken; None where it converged or that is not known
    needed_duration_s: NonNegative | None = None
    looks_share: Part | None = None  # of the measuring's wall time that went into looking


class Outliers(Struct, kw_only=True):
    """Samples beyond Tukey's fences: mild beyond 1.5 interquartile ranges from the quartiles, severe beyond 3."""

    low_severe: Count
    low_mild: Count
    high_mild: Count
    high_severe: Count


class Percentile(Struct, kw_only=True):
    """One percentile: a value, or why there is none."""

    percent: Percent
    value_ms: NonNegative | None = None
    interval_ms: Interval | None = None
    refused: str | None = None
    effective_count: NonNegative | None = None  # independent samples that would say as much about this percentile

    def __post_init__(self) -> None:
        if (self.value_ms is None) == (self.refused is None):
            raise ValueError(f"p{self.percent:g} must have either a value or the reason why it has none")
        check_order("interval_ms", self.interval_ms)


class QuantityBlock(Struct, kw_only=True):
    """One measured quantity in milliseconds. ``results.quantity.block_from_ns`` makes one from nanoseconds."""

    count: Positive
    mean_ms: NonNegative
    stddev_ms: NonNegative | None  # None for a single sample
    min_ms: NonNegative
    max_ms: NonNegative
    p50_ms: NonNegative
    p50_interval_ms: Interval | None  # None where too few samples support one
    percentiles: list[Percentile]
    outliers: Count  # beyond Tukey's inner fences, all four classes; flagged, never removed
    autocorrelation_lag1: float | None  # None where it is not defined: constant or too few samples
    outlier_classes: Outliers | None = None  # None in documents written before they were told apart
    effective_count: NonNegative | None = None  # independent samples that would say as much about the median
    p90_ms: NonNegative | None = None
    p95_ms: NonNegative | None = None
    p99_ms: NonNegative | None = None

    def __post_init__(self) -> None:
        check_order("p50_interval_ms", self.p50_interval_ms)
        if not self.min_ms <= self.p50_ms <= self.max_ms:
            raise ValueError(f"p50_ms {self.p50_ms} lies outside [min_ms, max_ms] = [{self.min_ms}, {self.max_ms}]")
