# SPDX-License-Identifier: Apache-2.0
"""The rule by which a comparison fails a gate: `--fail-if-slower 3%`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.statistics.holm import Interval


def gate_fires(interval: Interval | None, share: float) -> bool:
    """Whether the whole interval of a ratio (baseline's time / contender's) says "slower by more than `share`".

    Only then: a gate that fires on a point estimate stops changes that cost nothing. No interval, no alarm.

    Raises:
        ValueError: a share below 0.
    """
    return interval is not None and interval[1] < _limit(share)


def gate_clears(interval: Interval | None, share: float) -> bool:
    """Whether the whole interval says "not slower by more than `share`". Where neither holds, nothing is known."""
    return interval is not None and interval[0] >= _limit(share)


def _limit(share: float) -> float:
    """The ratio of a contender that takes 1 + `share` times as long."""
    if not share >= 0:
        raise ValueError(f"the share of a gate is 0 or more, not {share}")
    return 1 / (1 + share)
