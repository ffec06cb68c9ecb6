# SPDX-License-Identifier: Apache-2.0
"""The ratio of two targets when each runs alone, beside the one of their interleaved blocks.

Where the two part, the targets disturb each other, or the machine has changed between one and the other. What each
takes alone is measured once more after the blocks, to tell the two apart.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.statistics.holm import Interval


def alone_hull(before: Interval, after: Interval) -> Interval:
    """The narrowest interval that holds both: what the ratio alone can be, where the machine drifted meanwhile."""
    return min(before[0], after[0]), max(before[1], after[1])


def apart(one: Interval, other: Interval) -> float:
    """The relative gap between two intervals of a ratio; 0 where they touch."""
    return max(0.0, one[0] / other[1] - 1, other[0] / one[1] - 1)


def middle_of(interval: Interval) -> float:
    """The ratio in the middle, as ratios go: 1 of 0.5 to 2."""
    return math.sqrt(interval[0] * interval[1])
