# SPDX-License-Identifier: Apache-2.0
"""Whether two targets differ, from the rounds of an interleaved schedule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pyperf_infer import _core
from pyperf_infer.statistics.estimate import CONFIDENCE

MARGIN = 0.01

Verdict = Literal["faster", "slower", "same", "undecided"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class RatioEstimate:
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

    Raises:
        ValueError: no rounds, unlike numbers of rounds, or times that are not positive.
    """
    if not baseline_ns or len(baseline_ns) != len(contender_ns):
        raise ValueError("a comparison takes as many blocks of the one as of the other, and at least one")
    log_ratios = [math.log(a / b) for a, b in zip(baseline_ns, contender_ns, strict=True)]
    rounds = len(log_ratios)
    estimate = _core.estimate_quantile(log_ratios, 0.5, confidence)
    if estimate is None:
        middle = sorted(log_ratios)[(rounds - 1) // 2]
        return RatioEstimate(math.exp(middle), None, "undecided", f"only {rounds} rounds: too few to say", rounds)
    ratio, low, high = (math.exp(value) for value in estimate)
    if alone_interval is not None and _apart((low, high), alone_interval) > margin:
        alone = math.sqrt(alone_interval[0] * alone_interval[1])
        reason = f"interference: the ratio is {alone:.3f} when each runs alone"
        return RatioEstimate(ratio, (low, high), "undecided", reason, rounds)
    verdict, why = _judge(low, high, margin)
    return RatioEstimate(ratio, (low, high), verdict, why, rounds)


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
