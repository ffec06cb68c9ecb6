# SPDX-License-Identifier: Apache-2.0
"""How much longer one target takes than another, from the rounds of an interleaved schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pyperf_infer import _core
from pyperf_infer.statistics.estimate import CONFIDENCE

SignedInterval = tuple[float, float]
Size = Literal["above", "below", "negative", "unknown"]


class DifferenceEstimate(NamedTuple):
    """`difference_ns` is what the target takes beyond the baseline, `share` that over its own time; either may be below
    zero.

    Each is the median over the rounds, and its interval that of the median; None where there are too few rounds for one
    (6 at 95%).
    """

    difference_ns: float
    interval_ns: SignedInterval | None
    share: float
    share_interval: SignedInterval | None
    rounds: int


def difference_of_rounds(
    target_ns: Sequence[float], baseline_ns: Sequence[float], *, confidence: float = CONFIDENCE
) -> DifferenceEstimate:
    """Takes the medians of the blocks of each round: `target_ns[i]` and `baseline_ns[i]` ran in round i.

    Differences are taken within a round, so that what changes from one to the next (a clock, a neighbour) cancels. The
    intervals are the order-statistic ones of a median, which assume nothing of the distribution.

    Raises:
        ValueError: unlike numbers of rounds, none at all, or times that are not above 0.
    """
    if len(target_ns) != len(baseline_ns) or not len(target_ns):
        raise ValueError("a difference takes as many blocks of the one as of the other, and one at least")
    if not all(time_ns > 0 for time_ns in (*target_ns, *baseline_ns)):
        raise ValueError("a difference takes times above 0")
    pairs = list(zip(target_ns, baseline_ns, strict=True))
    difference, interval = _median([mine - other for mine, other in pairs], confidence)
    share, share_interval = _median([(mine - other) / mine for mine, other in pairs], confidence)
    return DifferenceEstimate(difference, interval, share, share_interval, len(pairs))


def size_of_share(interval: SignedInterval | None, margin: float) -> Size:
    """What the interval of a share says of it.

    "above" the margin; "below" it, so that it does not matter; "negative", where not even zero can be; "unknown", where
    the interval reaches across the margin or there is none.
    """
    if interval is None:
        return "unknown"
    low, high = interval
    if low >= margin:
        return "above"
    if high < -margin:
        return "negative"
    return "below" if high < margin else "unknown"


def _median(values: list[float], confidence: float) -> tuple[float, SignedInterval | None]:
    estimate = _core.estimate_quantile(values, 0.5, confidence)
    if estimate is None:
        return sorted(values)[(len(values) - 1) // 2], None
    value, low, high = estimate
    return value, (low, high)
