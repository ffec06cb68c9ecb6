# SPDX-License-Identifier: Apache-2.0
"""Hartigan's dip: how far samples are from any distribution with a single mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values: TypeAlias = "NDArray[np.float64]"
    Places: TypeAlias = "NDArray[np.int64]"


def dip(ordered: Values) -> float:
    """Of distinct values in rising order: 1 / (2 count) at least, 1/4 for two spikes. Time grows with the square.

    J. A. Hartigan & P. M. Hartigan, The Dip Test of Unimodality, Annals of Statistics 13 (1985): twice the dip is the
    largest distance of the distribution from its greatest convex minorant before a modal interval, and from its least
    concave majorant behind it; the interval shrinks until the two are nearer to each other than that.
    """
    count = ordered.size
    if count < 4:
        return 1 / (2 * max(1, count))
    below, above = np.arange(count) / count, np.arange(1, count + 1) / count  # of the step at each value
    first, last, largest = 0, count - 1, 1 / count
    while last - first > 1:
        here = slice(first, last + 1)
        low = _minorant(ordered[here], below[here])
        high = _minorant(ordered[here], -above[here])
        convex = np.interp(ordered[here], ordered[here][low], below[here][low])
        concave = np.interp(ordered[here], ordered[here][high], above[here][high])
        apart = concave - convex
        at_low, at_high = int(low[np.argmax(apart[low])]), int(high[np.argmax(apart[high])])
        if apart[at_high] > apart[at_low]:
            begin, end = int(low[low <= at_high][-1]), at_high
        else:
            begin, end = at_low, int(high[high >= at_low][0])
        if apart[[at_low, at_high]].max() <= largest:
            break
        left = float((above[here] - convex)[: begin + 1].max())
        right = float((concave - below[here])[end:].max())
        largest = max(largest, left, right)
        if begin == 0 and end == last - first:
            break
        first, last = first + begin, first + end
    return largest / 2


def _minorant(places: Values, heights: Values) -> Places:
    """The points at which the greatest convex function below all of them touches them."""
    hull = list[int]()
    xs, ys = places.tolist(), heights.tolist()
    for at, (x, y) in enumerate(zip(xs, ys, strict=True)):
        while len(hull) > 1:
            before, inner = hull[-2], hull[-1]
            if (ys[inner] - ys[before]) * (x - xs[before]) < (y - ys[before]) * (xs[inner] - xs[before]):
                break
            hull.pop()
        hull.append(at)
    return np.array(hull)
