# SPDX-License-Identifier: Apache-2.0
"""What samples say: quantiles as order statistics with order-statistic intervals, outliers, dependence.

Pure functions over one-dimensional int64 arrays of nanoseconds, in the order they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from pyperf_infer import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

Nanoseconds: TypeAlias = "NDArray[np.int64]"

CONFIDENCE = 0.95
DEFAULT_PERCENTILES = (90.0, 95.0, 99.0)
TUKEY_FENCE = 1.5


class QuantileEstimate(NamedTuple):
    """A sample quantile and its interval, in nanoseconds; or why there is none."""

    percent: float
    value_ns: float | None = None
    interval_ns: tuple[float, float] | None = None
    refused: str | None = None


class Estimates(SimpleNamespace):
    """What `estimate` finds. `dependence` is how many samples say as much about the median as one independent one."""

    count: int
    mean_ns: float
    stddev_ns: float | None
    min_ns: float
    max_ns: float
    p50_ns: float
    p50_interval_ns: tuple[float, float] | None
    percentiles: tuple[QuantileEstimate, ...]
    outliers: int
    autocorrelation_lag1: float | None
    dependence: float


def samples_needed(percent: float, confidence: float = CONFIDENCE) -> int:
    """The fewest independent samples that support a two-sided interval of a percentile: 36 for p90, 368 for p99.

    Both order statistics of the interval must exist: max(q, 1 - q) ** n <= (1 - confidence) / 2.
    """
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
    step of the clock. A percentile whose interval does not exist is refused with the reason.

    Raises:
        ValueError: no samples, or not a one-dimensional array of integers.
    """
    if samples_ns.ndim != 1 or samples_ns.size == 0 or samples_ns.dtype.kind not in "iu":
        raise ValueError("samples are a one-dimensional, non-empty array of integer nanoseconds")
    ordered = np.sort(samples_ns)
    count = int(ordered.size)
    median = _quantile(samples_ns, ordered, 50.0, confidence, clock_step_ns)
    return Estimates(
        count=count,
        mean_ns=float(ordered.mean()),
        stddev_ns=float(ordered.std(ddof=1)) if count > 1 else None,
        min_ns=float(ordered[0]),
        max_ns=float(ordered[-1]),
        p50_ns=float(_order_statistic(ordered, 50.0)),
        p50_interval_ns=median.interval_ns,
        percentiles=tuple(
            _quantile(samples_ns, ordered, percent, confidence, clock_step_ns)
            for percent in percentiles
            if percent != 50
        ),
        outliers=count_outliers(ordered),
        autocorrelation_lag1=autocorrelation_lag1(samples_ns),
        dependence=_core.dependence_at(samples_ns, int(_order_statistic(ordered, 50.0))),
    )


def count_outliers(ordered_ns: Nanoseconds) -> int:
    """Samples beyond 1.5 interquartile ranges from the quartiles (Tukey's fences). They are flagged, never removed."""
    low, high = (float(_order_statistic(ordered_ns, percent)) for percent in (25.0, 75.0))
    reach = TUKEY_FENCE * (high - low)
    below = int(np.searchsorted(ordered_ns, low - reach, side="left"))
    above = ordered_ns.size - int(np.searchsorted(ordered_ns, high + reach, side="right"))
    return below + above


def autocorrelation_lag1(samples_ns: Nanoseconds) -> float | None:
    """Correlation of each sample with the next; None for fewer than 3 samples or constant ones."""
    if samples_ns.size < 3:
        return None
    centred = samples_ns - samples_ns.mean()
    total = float(centred @ centred)
    if total == 0.0:
        return None
    return float(centred[:-1] @ centred[1:]) / total


def _order_statistic(ordered: Nanoseconds, percent: float) -> np.int64:
    value: np.int64 = ordered[_core.quantile_rank(int(ordered.size), percent / 100) - 1]
    return value


def _quantile(
    samples: Nanoseconds, ordered: Nanoseconds, percent: float, confidence: float, clock_step_ns: int
) -> QuantileEstimate:
    count = int(ordered.size)
    value = _order_statistic(ordered, percent)
    dependence = _core.dependence_at(samples, int(value))
    ranks = _core.quantile_ranks(count, percent / 100, confidence, dependence)
    if ranks is None:
        return QuantileEstimate(percent, refused=_why_refused(count, percent, confidence, dependence))
    half_step = clock_step_ns / 2
    low, high = float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1])
    interval = (min(low, max(0.0, float(value) - half_step)), max(high, float(value) + half_step))
    return QuantileEstimate(percent, float(value), interval)


def _why_refused(count: int, percent: float, confidence: float, dependence: float) -> str:
    needed = samples_needed(percent, confidence)
    if count < needed:
        return f"{count} of {needed} samples"
    return f"dependent: {int(count / dependence)} of {needed} samples"
