# SPDX-License-Identifier: Apache-2.0
"""A wide table cut into bands that fit the terminal. Nothing is dropped; the key columns stand in every band."""

from __future__ import annotations

from collections.abc import Sequence

GAP = 2  # cells between two columns


def width_of(widths: Sequence[int]) -> int:
    """The width of a table whose columns have these widths."""
    return sum(widths) + GAP * max(0, len(widths) - 1)


def split(keys: Sequence[int], metrics: Sequence[int], available: int) -> list[list[int]]:
    """Which metric columns stand together: indices into ``metrics``, in order, as many in a band as fit.

    Args:
        keys: widths of the key columns, in cells.
        metrics: widths of the others.
        available: the terminal's width. A single column that is wider still gets a band of its own.
    """
    bands: list[list[int]] = []
    for index in range(len(metrics)):
        fits = bands and width_of([*keys, *(metrics[one] for one in bands[-1]), metrics[index]]) <= available
        if fits:
            bands[-1].append(index)
        else:
            bands.append([index])
    return bands
