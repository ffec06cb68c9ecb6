# SPDX-License-Identifier: Apache-2.0
"""The floor of a machine: how far fresh processes of the same work lie apart, beyond what their samples explain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, fmean, variance
from typing import NamedTuple

from pyperf_infer.statistics.estimate import CONFIDENCE

FEWEST_PROCESSES = 3  # below that a spread is hardly more than a guess


class Floor(NamedTuple):
    """`relative_sd` is the standard deviation of the logarithm of a process's median; it was found from `processes`."""

    relative_sd: float
    processes: int


def floor_of(
    medians: Sequence[float], intervals: Sequence[tuple[float, float] | None], confidence: float = CONFIDENCE
) -> Floor:
    """The spread between processes from the median of each and that median's interval, all in one unit of time.

    One-way random effects by the method of moments (Searle, Casella and McCulloch, Variance Components, 3.6): the
    variance of the log medians holds that between processes and, on top, that of each median itself, which its interval
    tells: half its width in logarithms is as many standard errors as the confidence has. What is left is at least 0.

    Raises:
        ValueError: fewer than `FEWEST_PROCESSES`, unlike numbers of both, a time that is not above 0, or a median
            without an interval.
    """
    if len(medians) != len(intervals):
        raise ValueError(f"{len(medians)} medians with {len(intervals)} intervals")
    if len(medians) < FEWEST_PROCESSES:
        raise ValueError(f"a floor takes {FEWEST_PROCESSES} processes or more, and there are {len(medians)}")
    if not all(math.isfinite(one) and one > 0 for one in medians):
        raise ValueError("a floor takes times above 0")
    sigmas = NormalDist().inv_cdf(0.5 + confidence / 2)
    errors = [_standard_error(one, sigmas) for one in intervals]
    between = variance([math.log(one) for one in medians]) - fmean(error**2 for error in errors)
    return Floor(math.sqrt(max(0.0, between)), len(medians))


def _standard_error(interval: tuple[float, float] | None, sigmas: float) -> float:
    """Of a log median."""
    if interval is None:
        raise ValueError("a process has too few samples for an interval of its median")
    low, high = interval
    if not 0 < low <= high < math.inf:
        raise ValueError(f"[{low}, {high}] is no interval of a time")
    return (math.log(high) - math.log(low)) / 2 / sigmas
