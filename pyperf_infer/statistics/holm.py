# SPDX-License-Identifier: Apache-2.0
"""Several comparisons judged together, so that one of many is not called different by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from pyperf_infer.units import format_asked_percent

Verdict = Literal["faster", "slower", "same", "undecided"]
Interval = tuple[float, float]

_HALVINGS = 40  # of the error rate at which an interval would just decide; more of them round up to 1, which is none


class Judged(NamedTuple):
    """A verdict, and the interval of the ratio at the `confidence` at which it was judged: what is shown decides.

    `reason` says why nothing was decided; `interval` is None where there is none at that confidence.
    """

    verdict: Verdict
    reason: str | None
    interval: Interval | None
    confidence: float


def verdict_of(low: float, high: float, margin: float) -> tuple[Verdict, str | None]:
    """What the interval of a ratio (baseline's time over contender's) says of the contender, and why if nothing.

    `faster` or `slower` where it lies beyond the margin, `same` where it lies inside, else `undecided`.
    """
    if low > 1 + margin:
        return "faster", None
    if high < 1 / (1 + margin):
        return "slower", None
    if low >= 1 / (1 + margin) and high <= 1 + margin:
        return "same", None
    return "undecided", f"the interval reaches across the margin of {format_asked_percent(margin)}"


def judge_together(
    intervals: Sequence[Callable[[float], Interval | None]], *, margin: float, confidence: float
) -> list[Judged]:
    """Judges several ratios so that all verdicts that are decided hold together with `confidence`.

    Each callable gives the interval of one ratio at a confidence; a lower confidence gives one within it. Holm's step
    down: the comparison that is decided at the smallest error rate is judged at (1 - confidence) / m of m, the next one
    at (1 - confidence) / (m - 1), until one is not decided; it and what follows stay undecided. Source: S. Holm, "A
    simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    Raises:
        ValueError: a margin or a confidence that makes no sense.
    """
    if not margin > 0:
        raise ValueError("the margin is a positive share, such as 0.01")
    if not 0 < confidence < 1:
        raise ValueError("the confidence lies between 0 and 1")
    error = 1 - confidence
    count = len(intervals)
    order = list(range(count))
    if count > 1:
        needed = [_error_to_decide(one, margin) for one in intervals]
        order = sorted(order, key=needed.__getitem__)
    judged: dict[int, Judged] = {}
    stopped, level = False, confidence
    for place, index in enumerate(order):
        # After the first that is not decided no other is, and none is judged more leniently than that one.
        if not stopped:
            level = 1 - error / (count - place)
        found = _judge(intervals[index](level), level, margin, stopped=stopped)
        stopped = stopped or found.verdict == "undecided"
        judged[index] = found
    return [judged[index] for index in range(count)]


def _judge(interval: Interval | None, confidence: float, margin: float, *, stopped: bool) -> Judged:
    if interval is None:
        why = f"too little was measured for an interval at {format_asked_percent(confidence)}"
        return Judged("undecided", why, None, confidence)
    verdict, reason = verdict_of(*interval, margin)
    if stopped and verdict != "undecided":
        verdict, reason = "undecided", "another comparison, decided before this one could be, is not decided itself"
    return Judged(verdict, reason, interval, confidence)


def _error_to_decide(interval_at: Callable[[float], Interval | None], margin: float) -> float:
    """The smallest error rate whose interval decides; 1 where none does."""

    def decides(error: float) -> bool:
        interval = interval_at(1 - error)
        return interval is not None and verdict_of(*interval, margin)[0] != "undecided"

    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if decides(middle):
            high = middle
        else:
            low = middle
        if high < 1e-12:
            break
    return high
