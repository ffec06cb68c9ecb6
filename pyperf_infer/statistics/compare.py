# SPDX-License-Identifier: Apache-2.0
"""Whether two targets differ, from the rounds of an interleaved schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from pyperf_infer import _core
from pyperf_infer.statistics.estimate import CONFIDENCE

MARGIN = 0.01

Verdict = Literal["faster", "slower", "same", "undecided"]
Interval = tuple[float, float]


class RatioEstimate(NamedTuple):
    """`ratio` is the baseline's time over the contender's: above 1 the contender is faster.

    The interval is that of the median of the rounds' ratios; None where there are too few rounds for one (6 at 95%).
    """

    ratio: float
    interval: Interval | None
    verdict: Verdict
    reason: str | None
    rounds: int


def compare_rounds(
    baseline_ns: Sequence[float],
    contender_ns: Sequence[float],
    *,
    alone_interval: Interval | None = None,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
) -> RatioEstimate:
    """Compares the medians of the blocks of each round: `baseline_ns[i]` and `contender_ns[i]` ran in round i.

    The contender is `faster` or `slower` when the interval of the ratio lies beyond the margin, `same` when it lies
    inside, else `undecided`. The interval is the order-statistic one of the median of the rounds' log-ratios, which
    assumes nothing of their distribution. `alone_interval` is that of the ratio when each ran alone; where the two
    intervals are further apart than the margin, the targets disturb each other and the verdict is `undecided`.

    Where no round was complete the ratio is the one that each running alone gives.

    Raises:
        ValueError: unlike numbers of rounds, times that are not positive, or neither rounds nor an `alone_interval`.
    """
    if len(baseline_ns) != len(contender_ns):
        raise ValueError("a comparison takes as many blocks of the one as of the other")
    if not all(time_ns > 0 for time_ns in (*baseline_ns, *contender_ns)):
        raise ValueError("a comparison takes times above 0")
    if not baseline_ns:
        if alone_interval is None:
            raise ValueError("there is nothing to compare: no rounds, and no ratio of each running alone")
        return RatioEstimate(_middle(alone_interval), None, "undecided", "no round was complete in the time given", 0)
    log_ratios = [math.log(a / b) for a, b in zip(baseline_ns, contender_ns, strict=True)]
    rounds = len(log_ratios)
    estimate = _core.estimate_quantile(log_ratios, 0.5, confidence)
    if estimate is None:
        middle = sorted(log_ratios)[(rounds - 1) // 2]
        return RatioEstimate(
            math.exp(middle),
            None,
            "undecided",
            f"{rounds} {'round is' if rounds == 1 else 'rounds are'} too few to say; give it more time",
            rounds,
        )
    ratio, low, high = (math.exp(value) for value in estimate)
    if alone_interval is not None and _apart((low, high), alone_interval) > margin:
        reason = f"interference: the ratio is {_middle(alone_interval):.3f} when each runs alone"
        return RatioEstimate(ratio, (low, high), "undecided", reason, rounds)
    verdict, why = _judge(low, high, margin)
    return RatioEstimate(ratio, (low, high), verdict, why, rounds)


def _middle(interval: Interval) -> float:
    return math.sqrt(interval[0] * interval[1])


def _apart(one: Interval, other: Interval) -> float:
    """The relative gap between two intervals of a ratio; 0 where they overlap."""
    return max(0.0, one[0] / other[1] - 1, other[0] / one[1] - 1)


def _judge(low: float, high: float, margin: float) -> tuple[Verdict, str | None]:
    if low > 1 + margin:
        return "faster", None
    if high < 1 / (1 + margin):
        return "slower", None
    if low >= 1 / (1 + margin) and high <= 1 + margin:
        return "same", None
    return "undecided", f"the interval reaches across the margin of {margin:.1%}"
