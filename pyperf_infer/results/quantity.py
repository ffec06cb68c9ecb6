# SPDX-License-Identifier: Apache-2.0
"""The one place where nanoseconds become the milliseconds that a result states."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pyperf_infer.results.schema import Outliers, Percentile, QuantityBlock

NS_PER_MS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PercentileNs:
    """One percentile in nanoseconds: a value and its interval, or the reason why it is refused."""

    percent: float
    value_ns: float | None = None
    interval_ns: tuple[float, float] | None = None
    refused: str | None = None
    effective_count: float | None = None


def block_from_ns(
    *,
    count: int,
    mean_ns: float,
    stddev_ns: float | None,
    min_ns: float,
    max_ns: float,
    p50_ns: float,
    p50_interval_ns: tuple[float, float] | None,
    percentiles: Iterable[PercentileNs],
    outliers: int,
    autocorrelation_lag1: float | None,
    outlier_classes: tuple[int, int, int, int] | None = None,
    effective_count: float | None = None,
) -> QuantityBlock:
    """A quantity's block in milliseconds; ``p90_ms``, ``p95_ms`` and ``p99_ms`` are filled from ``percentiles``.

    ``outlier_classes`` are low severe, low mild, high mild and high severe.

    Raises:
        ValueError: numbers that contradict each other, such as a median outside the extremes.
    """
    listed = [
        Percentile(
            percent=float(one.percent),
            value_ms=None if one.value_ns is None else to_ms(one.value_ns),
            interval_ms=_interval_ms(one.interval_ns),
            refused=one.refused,
            effective_count=None if one.effective_count is None else float(one.effective_count),
        )
        for one in percentiles
    ]
    flat = {one.percent: one.value_ms for one in listed}
    return QuantityBlock(
        count=int(count),
        mean_ms=to_ms(mean_ns),
        stddev_ms=None if stddev_ns is None else to_ms(stddev_ns),
        min_ms=to_ms(min_ns),
        max_ms=to_ms(max_ns),
        p50_ms=to_ms(p50_ns),
        p50_interval_ms=_interval_ms(p50_interval_ns),
        percentiles=listed,
        outliers=int(outliers),
        autocorrelation_lag1=None if autocorrelation_lag1 is None else float(autocorrelation_lag1),
        outlier_classes=None if outlier_classes is None else _outliers(outlier_classes),
        effective_count=None if effective_count is None else float(effective_count),
        p90_ms=flat.get(90.0),
        p95_ms=flat.get(95.0),
        p99_ms=flat.get(99.0),
    )


def _outliers(classes: tuple[int, int, int, int]) -> Outliers:
    low_severe, low_mild, high_mild, high_severe = (int(one) for one in classes)
    return Outliers(low_severe=low_severe, low_mild=low_mild, high_mild=high_mild, high_severe=high_severe)


def to_ms(nanoseconds: float) -> float:
    """Milliseconds as a plain ``float``: NumPy's own scalars do not belong in a document."""
    return float(nanoseconds) / NS_PER_MS


def _interval_ms(interval_ns: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval_ns is None else (to_ms(interval_ns[0]), to_ms(interval_ns[1]))
