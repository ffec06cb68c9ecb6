# SPDX-License-Identifier: Apache-2.0
"""Whether targets differ, from the rounds of an interleaved schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pyperf_infer import _core
from pyperf_infer.statistics.alone import apart, middle_of
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.statistics.holm import Interval, Judged, Verdict, judge_together, verdict_of

MARGIN = 0.01

__all__ = [
    "MARGIN",
    "ClockLimits",
    "Interval",
    "RatioEstimate",
    "Verdict",
    "compare_all_rounds",
    "compare_rounds",
    "verdict_of",
]


class ClockLimits(NamedTuple):
    """What the clock adds to every sample of a target, and the smallest difference it tells, in nanoseconds."""

    overhead_ns: float
    step_ns: float

    @classmethod
    def of(cls, timed: HasClock) -> ClockLimits:
        return cls(timed.timer_overhead_ns, timed.clock_step_ns)


class HasClock(Protocol):
    """Samples that know their clock."""

    timer_overhead_ns: int
    clock_step_ns: int


class RatioEstimate(NamedTuple):
    """`ratio` is the baseline's time over the contender's: above 1 the contender is faster.

    The interval is that of the median of the rounds' ratios, at the `confidence` at which it was judged: the one asked
    for, or a higher one where several contenders are compared. None where there are too few rounds (6 at 95%).
    """

    ratio: float
    interval: Interval | None
    verdict: Verdict
    reason: str | None
    rounds: int
    confidence: float


def compare_rounds(
    baseline_ns: Sequence[float],
    contender_ns: Sequence[float],
    *,
    alone_interval: Interval | None = None,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
) -> RatioEstimate:
    """One contender, see `compare_all_rounds`."""
    (found,) = compare_all_rounds(
        (baseline_ns, contender_ns), alone=(alone_interval,), margin=margin, confidence=confidence
    )
    return found


def compare_all_rounds(
    medians_ns: Sequence[Sequence[float]],
    *,
    alone: Sequence[Interval | None],
    clocks: Sequence[ClockLimits] = (),
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
) -> list[RatioEstimate]:
    """Compares the medians of the blocks of each round, `medians_ns[target][round]`; target 0 is the baseline.

    A contender is `faster` or `slower` when the interval of the ratio lies beyond the margin, `same` when it lies
    inside, else `undecided`; the verdicts on several contenders are corrected for their number (holm.py). The interval
    is the order-statistic one of the median of the rounds' log-ratios: it assumes nothing of their distribution. The
    order within a round is drawn anew in each, so that on identical work every round is a fair coin whatever disturbs
    the machine. `alone[i]` is the interval of contender i + 1's ratio when each ran alone (None: not known); where the
    two intervals are further apart than the margin, the targets disturb each other and the verdict is `undecided`.

    `clocks` has one a target, where it is known. The interval is never narrower than a step of either, and holds the
    ratio both with and without what timing itself adds to each: of calls hardly longer than that it says little, and
    of calls no longer nothing.

    Where no round was complete the ratio is the one that each running alone gives.

    Raises:
        ValueError: fewer than two targets, unlike numbers of rounds, times that are not positive, or neither rounds nor
            a ratio of each running alone.
    """
    if len(medians_ns) < 2 or len(alone) != len(medians_ns) - 1:
        raise ValueError("a comparison takes a baseline, contenders, and what is known of each contender alone")
    if len({len(one) for one in medians_ns}) != 1:
        raise ValueError("a comparison takes as many blocks of the one as of the other")
    if not all(time_ns > 0 and math.isfinite(time_ns) for one in medians_ns for time_ns in one):
        raise ValueError("a comparison takes times above 0")
    baseline_ns, *contenders_ns = medians_ns
    if not len(baseline_ns):
        return [_without_rounds(one, confidence) for one in alone]
    logs = [[math.log(mine / other) for mine, other in zip(baseline_ns, one, strict=True)] for one in contenders_ns]
    sides = [
        _Side(_middle(times), *clock)
        for times, clock in zip(medians_ns, clocks or [ClockLimits(0.0, 0.0)] * len(medians_ns), strict=True)
    ]
    judged = judge_together(
        [_interval_of(one, sides[0], side) for one, side in zip(logs, sides[1:], strict=True)],
        margin=margin,
        confidence=confidence,
    )
    return [
        _estimate(one, verdict, known, margin, (sides[0], side))
        for one, verdict, known, side in zip(logs, judged, alone, sides[1:], strict=True)
    ]


class _Side(NamedTuple):
    """About what a call takes, and what of it is the clock's."""

    time_ns: float
    overhead_ns: float
    step_ns: float

    @property
    def is_timed(self) -> bool:
        """Whether more than timing nothing was timed."""
        return self.time_ns - self.overhead_ns > self.step_ns


def _middle(values: Sequence[float]) -> float:
    """The median, between the two in the middle of an even number: exchanging the targets turns the ratio over."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _interval_of(logs: list[float], baseline: _Side, contender: _Side) -> Callable[[float], Interval | None]:
    if not (baseline.is_timed and contender.is_timed):
        return lambda _: None
    steps = baseline.step_ns / 2 / baseline.time_ns + contender.step_ns / 2 / contender.time_ns
    # What the ratio changes by when the clock's share is taken out of both times.
    without = (1 - baseline.overhead_ns / baseline.time_ns) / (1 - contender.overhead_ns / contender.time_ns)

    def at(confidence: float) -> Interval | None:
        estimate = _core.estimate_quantile(logs, 0.5, confidence)
        if estimate is None:
            return None
        low, high = math.exp(estimate[1]) * (1 - steps), math.exp(estimate[2]) * (1 + steps)
        return min(low, low * without), max(high, high * without)

    return at


def _estimate(
    logs: list[float], judged: Judged, alone: Interval | None, margin: float, sides: tuple[_Side, _Side]
) -> RatioEstimate:
    rounds = len(logs)
    ratio = math.exp(_middle(logs))
    verdict, reason = judged.verdict, judged.reason
    if not all(one.is_timed for one in sides):
        reason = "a call takes no longer than timing nothing does; put many of them into one"
    elif judged.interval is None:
        reason = f"{rounds} {'round is' if rounds == 1 else 'rounds are'} too few to say; give it more time"
    elif alone is not None and apart(judged.interval, alone) > margin:
        verdict, reason = "undecided", f"interference: the ratio is {middle_of(alone):.3f} when each runs alone"
    elif verdict == "undecided" and _decided_but_for_the_clock(logs, judged.confidence, margin):
        reason = "the clock's step and cost leave it open for calls as short as these; put many of them into one"
    return RatioEstimate(ratio, judged.interval, verdict, reason, rounds, judged.confidence)


def _decided_but_for_the_clock(logs: list[float], confidence: float, margin: float) -> bool:
    estimate = _core.estimate_quantile(logs, 0.5, confidence)
    return estimate is not None and verdict_of(math.exp(estimate[1]), math.exp(estimate[2]), margin)[1] is None


def _without_rounds(alone: Interval | None, confidence: float) -> RatioEstimate:
    if alone is None:
        raise ValueError("there is nothing to compare: no rounds, and no ratio of each running alone")
    return RatioEstimate(middle_of(alone), None, "undecided", "no round was complete in the time given", 0, confidence)
