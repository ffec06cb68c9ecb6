# SPDX-License-Identifier: Apache-2.0
"""Tukey's outliers: how many samples lie far outside of the middle half. They are flagged, and never removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyperf_infer.statistics.samples import order_statistic

if TYPE_CHECKING:
    from pyperf_infer.statistics.samples import Nanoseconds

TUKEY_FENCE = 1.5
SEVERE_FENCE = 3.0


class OutlierClasses(NamedTuple):
    """How many samples lie beyond which fence; what is severe is not also counted as mild."""

    low_severe: int
    low_mild: int
    high_mild: int
    high_severe: int

    @property
    def total(self) -> int:
        return sum(self)


def classify_outliers(ordered_ns: Nanoseconds) -> OutlierClasses:
    """Counts samples beyond the fences, which stand 1.5 (mild) and 3 (severe) interquartile ranges from the quartiles.

    Where half of the samples are equal, as with a coarse clock, the range is 0 and every other sample is severe.

    Args:
        ordered_ns: sorted, from the least.

    Raises:
        ValueError: no samples.

    Source: J. W. Tukey, Exploratory Data Analysis (1977), section 2D: inner and outer fences.
    """
    if not len(ordered_ns):
        raise ValueError("there are no samples to classify")
    low, high = order_statistic(ordered_ns, 25.0), order_statistic(ordered_ns, 75.0)
    span = high - low
    low_severe = _below(ordered_ns, low - SEVERE_FENCE * span)
    high_severe = _above(ordered_ns, high + SEVERE_FENCE * span)
    return OutlierClasses(
        low_severe=low_severe,
        low_mild=_below(ordered_ns, low - TUKEY_FENCE * span) - low_severe,
        high_mild=_above(ordered_ns, high + TUKEY_FENCE * span) - high_severe,
        high_severe=high_severe,
    )


def _below(ordered_ns: Nanoseconds, fence_ns: float) -> int:
    return int(np.searchsorted(ordered_ns, fence_ns, side="left"))


def _above(ordered_ns: Nanoseconds, fence_ns: float) -> int:
    return int(ordered_ns.size - np.searchsorted(ordered_ns, fence_ns, side="right"))
