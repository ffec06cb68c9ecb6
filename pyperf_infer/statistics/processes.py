# SPDX-License-Identifier: Apache-2.0
"""One piece of work in several fresh processes: where its time lies, and how much of the spread is the processes'.

Memory layout, hash seeds and what the machine did at the start are drawn once a process, so that iterations within one
agree better with each other than with those of the next. A process is therefore the unit of repetition: T. Kalibera and
R. Jones, "Rigorous benchmarking in reasonable time", ISMM 2013.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from pyperf_infer.statistics.estimate import CONFIDENCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

Nanoseconds: TypeAlias = "NDArray[np.int64]"
Interval = tuple[float, float]


_ROUNDING = 1e-26  # of a variance of logarithms


class VarianceSplit(NamedTuple):
    """Standard deviations of the logarithms, which for small ones are relative to the time itself: 0.01 for 1%.

    None where the samples do not tell: `relative_sd_between` takes two processes and more than one sample in one of
    them, `relative_sd_within` more than one sample in one of them, `share_between` in addition samples that vary.
    """

    relative_sd_between: float | None
    relative_sd_within: float | None
    share_between: float | None  # of the whole variance: 0 where the iterations explain everything


class Location(NamedTuple):
    """A geometric mean and its interval; None where there is none."""

    value: float
    interval: Interval | None


def split_variance(groups: Sequence[Nanoseconds]) -> VarianceSplit:
    """How much of the variance of the log times lies between processes, and how much within them.

    One-way random effects, the variance components by the method of moments (S. Searle, G. Casella and C. McCulloch,
    "Variance Components", Wiley 1992, section 3.6, for unequal numbers of samples): with the mean squares between
    (MSB) and within (MSW), sigma_within^2 = MSW and sigma_between^2 = (MSB - MSW) / n0, which is 0 where it would be
    negative; n0 = (N - sum n_i^2 / N) / (k - 1). Samples that depend on their neighbours make MSW too small for the
    noise of a process's mean: what is drift within processes then counts as between them.

    Args:
        groups: the samples of each process in nanoseconds.

    Raises:
        ValueError: no processes, one without samples, something else than a one-dimensional array of integers, or a
            time that is not above 0.
    """
    sums = [_sums_of(one) for one in _checked(groups)]
    total, count = sum(one.size for one in sums), len(sums)
    freedom = total - count
    if freedom == 0:
        return VarianceSplit(None, None, None)
    within = math.fsum(one.squares for one in sums) / freedom
    if count == 1:
        return VarianceSplit(None, math.sqrt(within), None)
    mean = math.fsum(one.size * one.mean for one in sums) / total
    between_mean_square = math.fsum(one.size * (one.mean - mean) ** 2 for one in sums) / (count - 1)
    typical = (total - sum(one.size**2 for one in sums) / total) / (count - 1)
    between = max(0.0, (between_mean_square - within) / typical)
    # Below what rounding the logarithms of nanoseconds makes, nothing varies.
    share = between / (between + within) if between + within > _ROUNDING else None
    return VarianceSplit(math.sqrt(between), math.sqrt(within), share)


def location_of(medians: Sequence[float], confidence: float = CONFIDENCE) -> Location:
    """The geometric mean of the processes' medians (or of their ratios), with Student's t interval of the logarithms.

    The spread of the medians holds what processes and iterations add, so that nothing has to be known of either. The
    interval takes two processes; with the fewest it is wide, as it should be: t is 12.7 for 2 of them, 2.8 for 5.

    Raises:
        ValueError: no medians, one that is not finite and above 0, or a confidence that is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError("the confidence lies between 0 and 1")
    if not len(medians):
        raise ValueError("a location takes one process or more, and there are none")
    if not all(math.isfinite(one) and one > 0 for one in medians):
        raise ValueError("a location takes finite times above 0")
    logs = [math.log(one) for one in medians]
    middle = math.fsum(logs) / len(logs)
    if len(logs) < 2:
        return Location(float(medians[0]), None)
    from scipy.special import stdtrit

    spread = math.sqrt(math.fsum((one - middle) ** 2 for one in logs) / (len(logs) - 1))
    half = float(stdtrit(len(logs) - 1, (1 + confidence) / 2)) * spread / math.sqrt(len(logs))
    # Rounding must not put the mean of equal medians outside of them.
    value = min(max(math.exp(middle), min(medians)), max(medians))
    if not math.log(value) + half < math.log(float(np.finfo(float).max)):
        return Location(value, None)  # further apart than numbers reach
    return Location(value, (value * math.exp(-half), value * math.exp(half)))


class _Sums(NamedTuple):
    """Of the logarithms of one process's samples; `squares` are those of the distances from the mean."""

    size: int
    mean: float
    squares: float


def _sums_of(samples: Nanoseconds) -> _Sums:
    logs = np.log(samples.astype(np.float64))
    mean = float(logs.mean())
    return _Sums(int(logs.size), mean, float(np.square(logs - mean).sum()))


def _checked(groups: Sequence[Nanoseconds]) -> Iterable[Nanoseconds]:
    if not len(groups):
        raise ValueError("there are no processes whose variance could be split")
    for number, one in enumerate(groups, start=1):
        array = np.asarray(one)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(f"process {number} has {array.dtype}{array.shape}, no list of integer nanoseconds")
        if array.size == 0:
            raise ValueError(f"process {number} has no samples")
        if int(array.min()) <= 0:
            raise ValueError(f"process {number} has a time of {int(array.min())} ns, and a time is above 0")
        yield array
