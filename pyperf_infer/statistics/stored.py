# SPDX-License-Identifier: Apache-2.0
"""Whether two stored results differ, from the medians of their processes.

Twelve fresh processes of one model lie further apart than the interval of each tells, so that two single processes of
identical code are nearly always "different". The unit of these statistics is therefore the process, not the sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pyperf_infer.statistics.floor import Floor
    from pyperf_infer.statistics.holm import Interval

LEAST_PROCESSES = 5  # of each side, for their own spread to say how far processes lie apart
_LARGEST_LOG = 700.0  # of an end of an interval: beyond lies no float
_NOT_BY_CHANCE = 0.01  # at this error rate processes lie further apart than the machine's floor


class _Side(NamedTuple):
    mean: float  # of the logs
    variance: float | None  # of the logs; None for a single one
    size: int


class _Spread(NamedTuple):
    """A standard error of the log-ratio, and its degrees of freedom."""

    error: float
    freedom: float


def ratio_of_processes(
    baseline_medians: Sequence[float],
    contender_medians: Sequence[float],
    *,
    floor: Floor | None = None,
    within: float = 0.0,
    resolution: float = 0.0,
) -> Callable[[float], Interval | None]:
    """The interval of the ratio (baseline / contender, of the geometric means) as a function of the confidence.

    With at least 5 processes a side: Welch's t of the logs of their medians, the degrees of freedom by Satterthwaite.
    Sources: B. L. Welch, "The generalization of 'Student's' problem when several different population variances are
    involved", Biometrika 34 (1947); F. E. Satterthwaite, Biometrics Bulletin 2 (1946).

    With fewer, only the machine's `floor` tells how far processes lie apart: t of the floor's degrees of freedom with
    the standard error sqrt(sd^2 (1/n + 1/m) + within). With enough processes and a floor, the wider of the two
    intervals: processes that started in one go share the minute's conditions, which their own spread cannot show.
    Without either there is no interval at any confidence, nor where its ends would be beyond what a float holds. An
    interval at a lower confidence lies within one at a higher.

    Args:
        baseline_medians, contender_medians: one a process, in any unit, above 0.
        floor: of the machine that measured both; None where there is none, or where the machines differ.
        within: variance of the log-ratio that the iterations within the processes leave. Only the floor's interval
            adds it: the spread between processes contains it already.
        resolution: relative step of the clock; no interval is narrower than that to either side.

    Raises:
        ValueError: a side without medians, or one that is not a finite number above 0.
    """
    sides = _side(baseline_medians), _side(contender_medians)
    centre = sides[0].mean - sides[1].mean
    spreads = []
    if min(one.size for one in sides) >= LEAST_PROCESSES:
        spreads.append(_welch(*sides))
    # A floor of 0 is that of few processes which agreed by chance: by it anything would differ.
    if floor is not None and floor.processes >= 2 and (spreads or (floor.relative_sd and not _exceeds(sides, floor))):
        error = math.hypot(floor.relative_sd * math.sqrt(sum(1 / one.size for one in sides)), math.sqrt(within))
        spreads.append(_Spread(error, floor.processes - 1))

    def interval(confidence: float) -> Interval | None:
        if not spreads:
            return None
        half = max(resolution, *(one.error * _quantile_of_t(confidence, one.freedom) for one in spreads))
        if not abs(centre) + half < _LARGEST_LOG:
            return None
        return math.exp(centre - half), math.exp(centre + half)

    return interval


def geometric_mean(medians: Sequence[float]) -> float:
    """What the ratio is made of; equal ones to the last digit. Raises as :func:`ratio_of_processes`."""
    mean = _side(medians).mean
    return medians[0] if min(medians) == max(medians) else math.exp(mean)


def relative_sd(medians: Sequence[float]) -> float | None:
    """Standard deviation of the logs; None for a single median. Raises as :func:`ratio_of_processes`."""
    variance = _side(medians).variance
    return None if variance is None else math.sqrt(variance)


def spread_exceeds_floor(baseline_medians: Sequence[float], contender_medians: Sequence[float], floor: Floor) -> bool:
    """Whether the few processes of either side lie further apart than the floor allows: it is not theirs then.

    An F test of the pooled variance of the logs at an error rate of 1%. Raises as :func:`ratio_of_processes`.
    """
    return _exceeds((_side(baseline_medians), _side(contender_medians)), floor)


def _exceeds(sides: Sequence[_Side], floor: Floor) -> bool:
    freedom = sum(one.size - 1 for one in sides)
    squares = sum((one.size - 1) * one.variance for one in sides if one.variance is not None)
    if freedom == 0 or squares == 0:
        return False
    if floor.relative_sd == 0 or floor.processes < 2:
        return True
    from scipy.special import fdtrc

    tail: float = fdtrc(freedom, floor.processes - 1, squares / freedom / floor.relative_sd / floor.relative_sd)
    return tail < _NOT_BY_CHANCE


def _side(medians: Sequence[float]) -> _Side:
    if not len(medians) or not all(math.isfinite(one) and one > 0 for one in medians):
        raise ValueError("a ratio of processes takes medians that are finite and above 0, and one a side at least")
    logs = [math.log(one) for one in medians]
    mean = math.fsum(logs) / len(logs)
    variance = math.fsum((one - mean) ** 2 for one in logs) / (len(logs) - 1) if len(logs) > 1 else None
    return _Side(mean, variance, len(logs))


def _welch(baseline: _Side, contender: _Side) -> _Spread:
    parts = [((one.variance or 0.0) / one.size, one.size - 1) for one in (baseline, contender)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return _Spread(0.0, math.inf)
    # Of the shares and not of the variances themselves: the square of a tiny one would vanish.
    return _Spread(math.sqrt(total), 1 / sum((part / total) ** 2 / freedom for part, freedom in parts))


def _quantile_of_t(confidence: float, freedom: float) -> float:
    from scipy.special import ndtri, stdtrit

    upper = 1 - (1 - confidence) / 2
    value: float = ndtri(upper) if math.isinf(freedom) else stdtrit(freedom, upper)
    return float(value)
