# SPDX-License-Identifier: Apache-2.0
"""Where the names of ceilings and the numbers of points stand on a picture, so that none hides another.

All lengths are in typographic points on the paper. What is in the way, and what is to be placed, is a set of discs,
rows of (x, y, radius): of a text, a chain of them along its middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Discs: TypeAlias = npt.NDArray[np.float64]
Place = tuple[float, float]
LED_FROM = 7.0  # from so far away on a number needs a line to its point
_WIDTH = 0.62  # of a character, in sizes of the font: digits are the widest of those that are common in names
_STEP = 4.0
_GAP = 2.0  # between a text and what it belongs to
_CUT = 20.0  # how much worse it is to be cut off than to touch something
_FAR = 0.03  # how much worse it is to stand farther away
_ROWS, _ROW = 3, 400.0  # of names beside a line, and as good as how far a row is: it may pass for another line's
_TURNS = 16
_REACHES = (0.0, 4.0, 9.0, 15.0, 22.0, 30.0, 40.0, 52.0)


@dataclass(frozen=True)
class Label:
    """A text with its middle at `at`, turned by `degrees`. `away`: how far it is from where it would best be."""

    at: Place
    degrees: float
    away: float


class Sheet:
    """The axes of one plot, `width` by `height`, on which more and more is in the way."""

    def __init__(self, width: float, height: float) -> None:
        self._ends = np.array([width, height])
        self._taken: Discs = np.empty((0, 3))

    def take(self, discs: Iterable[tuple[float, float, float]]) -> None:
        self._taken = np.concatenate([self._taken, np.array([*discs], dtype=float).reshape(-1, 3)])

    def take_line(self, begin: Place, end: Place) -> None:
        parts = np.linspace(0.0, 1.0, max(2, math.ceil(math.dist(begin, end) / _STEP)))[:, None]
        places = np.array(begin) + parts * (np.array(end) - np.array(begin))
        self.take((float(x), float(y), 0.5) for x, y in places)

    def name_line(self, begin: Place, end: Place, text: str, size: float) -> Label:
        """Over or under the line from `begin` to `end`, along it, and as near to its end as there is room."""
        half = _WIDTH * size * len(text) / 2
        return self._put(_along(begin, end, half, size / 2 + _GAP), half, size)

    def number_point(self, at: Place, radius: float, text: str, size: float) -> Label:
        """Around a point, and as near to it as there is room."""
        half = _WIDTH * size * len(text) / 2
        return self._put(_around(at, radius + size / 2 + _GAP), half, size)

    def _put(self, candidates: Iterable[Label], half: float, size: float) -> Label:
        label = min(candidates, key=lambda one: self._harm(_chain(one, half, size)) + _FAR * one.away)
        self.take(map(tuple, _chain(label, half, size)))
        return label

    def _harm(self, discs: Discs) -> float:
        """How deep the discs lie in what is in the way, and beyond the ends, summed."""
        apart = np.hypot(discs[:, None, 0] - self._taken[None, :, 0], discs[:, None, 1] - self._taken[None, :, 1])
        touching = np.clip(discs[:, None, 2] + self._taken[None, :, 2] - apart, 0.0, None).sum()
        radius = discs[:, 2:]
        low = np.clip(radius - discs[:, :2], 0.0, None).sum()
        high = np.clip(discs[:, :2] + radius - self._ends, 0.0, None).sum()
        return float(touching + _CUT * (low + high))


def _chain(label: Label, half: float, size: float) -> Discs:
    """A text of twice `half` in discs of the height of its letters."""
    reach = max(0.0, half - size / 2)
    along = np.linspace(-reach, reach, max(1, math.ceil(4 * half / size)))
    angle = math.radians(label.degrees)
    return np.column_stack(
        [
            label.at[0] + along * math.cos(angle),
            label.at[1] + along * math.sin(angle),
            np.full(len(along), size / 2),
        ]
    )


def _along(begin: Place, end: Place, half: float, off: float) -> Iterator[Label]:
    """In rows on both sides, the nearest first: lines may lie so close together that their names need several."""
    length = math.dist(begin, end)
    angle = math.atan2(end[1] - begin[1], end[0] - begin[0])
    nearest = half + _STEP
    for row in range(_ROWS):
        for back in np.arange(0.0, max(1.0, length - 2 * nearest), _STEP):
            along = length - nearest - float(back)
            for side in (off * (1 + 2 * row), -off * (1 + 2 * row)):
                at = (
                    begin[0] + along * math.cos(angle) - side * math.sin(angle),
                    begin[1] + along * math.sin(angle) + side * math.cos(angle),
                )
                yield Label(at, math.degrees(angle), float(back) + row * _ROW)


def _around(at: Place, reach: float) -> Iterator[Label]:
    """To the upper right first."""
    for away in _REACHES:
        for turn in range(_TURNS):
            angle = math.pi / 4 + 2 * math.pi * turn / _TURNS
            where = (at[0] + (reach + away) * math.cos(angle), at[1] + (reach + away) * math.sin(angle))
            yield Label(where, 0.0, away)
