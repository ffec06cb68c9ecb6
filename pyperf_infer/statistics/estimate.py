# SPDX-License-Identifier: Apache-2.0
"""What samples say: quantiles as order statistics with order-statistic intervals, outliers, dependence.

Pure functions over one-dimensional int64 arrays of nanoseconds, in the order they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from pyperf_infer import _core
from pyperf_infer.statistics.dependence import autocorrelation_lag1, dependence_at, effective_count
from pyperf_infer.statistics.outliers import TUKEY_FENCE, OutlierClasses, classify_outliers
from pyperf_infer.statistics.samples import Nanoseconds, as_samples, order_statistic

__all__ = [
    "CONFIDENCE",
    "DEFAULT_PERCENTILES",
    "TUKEY_FENCE",
    "Estimates",
    "Nanoseconds",
    "QuantileEstimate",
    "estimate",
    "samples_needed",
]

CONFIDENCE = 0.95
DEFAULT_PERCENTILES = (90.0, 95.0, 99.0)
# Beyond a percentile, below which its own dependence cannot be seen and the median's stands for it.
FEW_IN_TAIL = 200
# Of the median, from which on a tail is refused by it: chance makes less than that of independent samples.
TELLING_DEPENDENCE = 2.0


class QuantileEstimate(NamedTuple):
    """A sample quantile and its interval, in nanoseconds; or why there is none.

    `effective_count` is how many independent samples would say as much about this quantile.
    """

    percent: float
    value_ns: float | None = None
    interval_ns: tuple[float, float] | None = None
    refused: str | None = None
    effective_count: float | None = None


class Estimates(SimpleNamespace):
    """What `estimate` finds.

    `dependence` is how many samples say as much about the median as one independent one, and `effective_count` the
    samples over that; `outliers` counts the four `outlier_classes`.
    """

    count: int
    mean_ns: float
    stddev_ns: float | None
    min_ns: float
    max_ns: float
    p50_ns: float
    p50_interval_ns: tuple[float, float] | None
    percentiles: tuple[QuantileEstimate, ...]
    outliers: int
    outlier_classes: OutlierClasses
    autocorrelation_lag1: float | None
    dependence: float
    effective_count: float


def samples_needed(percent: float, confidence: float = CONFIDENCE) -> int:
    """The fewest independent samples that support a two-sided interval of a percentile: 36 for p90, 368 for p99.

    Both order statistics of the interval must exist: max(q, 1 - q) ** n <= (1 - confidence) / 2.

    Raises:
        ValueError: a percentile that is not between 0 and 100, or a confidence not between 0 and 1, ends excluded.
    """
    if not 0 < percent < 100 or not 0 < confidence < 1:
        raise ValueError("a percentile lies between 0 and 100, and a confidence between 0 and 1, ends excluded")
    quantile = percent / 100
    extreme = max(quantile, 1 - quantile)
    count = max(1, math.ceil(math.log((1 - confidence) / 2) / math.log(extreme)) - 1)
    while _core.quantile_ranks(count, quantile, confidence) is None:
        count += 1
    return count


def estimate(
    samples_ns: Nanoseconds,
    *,
    percentiles: Sequence[float] = DEFAULT_PERCENTILES,
    confidence: float = CONFIDENCE,
    clock_step_ns: int = 1,
) -> Estimates:
    """All that a result states about one quantity.

    A percentile p is the order statistic of rank ceil(n * p / 100), its interval the distribution-free one (Conover,
    Practical Nonparametric Statistics, 3.2), widened where samples depend on one another and never narrower than a
    step of the clock. A percentile whose interval does not exist is refused with the reason: too few samples, or so
    dependent ones that they say no more than too few would. Where the median's dependence is plain it refuses a
    percentile too, since the few samples of a tail cannot show their own.

    Raises:
        ValueError: no samples, not a one-dimensional array of integers, or a time below 0.
    """
    samples = as_samples(samples_ns)
    ordered = np.sort(samples)
    count = int(ordered.size)
    p50_ns = order_statistic(ordered, 50.0)
    dependence = dependence_at(samples, p50_ns)
    median = _quantile(samples, ordered, 50.0, confidence, clock_step_ns, dependence)
    classes = classify_outliers(ordered)
    return Estimates(
        count=count,
        mean_ns=float(ordered.mean()),
        stddev_ns=float(ordered.std(ddof=1)) if count > 1 else None,
        min_ns=float(ordered[0]),
        max_ns=float(ordered[-1]),
        p50_ns=float(p50_ns),
        p50_interval_ns=median.interval_ns,
        percentiles=tuple(
            _quantile(samples, ordered, percent, confidence, clock_step_ns, dependence)
            for percent in percentiles
            if percent != 50
        ),
        outliers=classes.total,
        outlier_classes=classes,
        autocorrelation_lag1=autocorrelation_lag1(samples),
        dependence=dependence,
        effective_count=effective_count(count, dependence),
    )


def _quantile(
    samples: Nanoseconds,
    ordered: Nanoseconds,
    percent: float,
    confidence: float,
    clock_step_ns: int,
    median_dependence: float,
) -> QuantileEstimate:
    count = int(ordered.size)
    value = order_statistic(ordered, percent)
    dependence = median_dependence if percent == 50 else dependence_at(samples, value)
    known = effective_count(count, dependence)
    ranks = _core.quantile_ranks(count, percent / 100, confidence, dependence)
    in_tail = count * min(percent, 100 - percent) / 100
    told_by_median = median_dependence >= TELLING_DEPENDENCE and in_tail < FEW_IN_TAIL
    refusing = max(dependence, median_dependence) if told_by_median else dependence
    if ranks is None or _core.quantile_ranks(count, percent / 100, confidence, refusing) is None:
        why = _why_refused(count, percent, confidence, refusing)
        return QuantileEstimate(percent, refused=why, effective_count=known)
    half_step = clock_step_ns / 2
    low, high = float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1])
    interval = (min(low, max(0.0, value - half_step)), max(high, value + half_step))
    return QuantileEstimate(percent, float(value), interval, effective_count=known)


def _why_refused(count: int, percent: float, confidence: float, dependence: float) -> str:
    needed = samples_needed(percent, confidence)
    if count < needed:
        return f"{count} of {needed} samples"
    return f"dependent: {int(effective_count(count, dependence))} of {needed} samples"
