# SPDX-License-Identifier: Apache-2.0
"""How much samples depend on those before them, and how many independent ones would say as much.

A clock that ramps, a neighbour that comes and goes: what slows one call slows the next. Then the interval that counts
every sample as news is too narrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer import _core

if TYPE_CHECKING:
    from pyperf_infer.statistics.samples import Nanoseconds


def dependence_at(samples_ns: Nanoseconds, value_ns: int) -> float:
    """How many samples say as much about their quantile `value_ns` as one independent sample would: 1 or more.

    The variance of the means of overlapping blocks of the indicator (sample <= value), times their length, over what it
    is where samples are independent. csrc/core/order_statistics.hpp has the method and its sources; the stop rule asks
    the same function, so that what is stated is what was judged.
    """
    return _core.dependence_at(samples_ns, value_ns)


def effective_count(count: int, dependence: float) -> float:
    """The independent samples that would say as much: above 0, and never more than there are."""
    return count / dependence


def autocorrelation_lag1(samples_ns: Nanoseconds) -> float | None:
    """Correlation of each sample with the next; None for fewer than 3 samples or constant ones."""
    if samples_ns.size < 3:
        return None
    centred = samples_ns - samples_ns.mean()
    total = float(centred @ centred)
    if total == 0.0:
        return None
    return float(centred[:-1] @ centred[1:]) / total
