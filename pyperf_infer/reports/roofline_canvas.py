# SPDX-License-Identifier: Apache-2.0
"""A roofline plot in characters, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyperf_infer.reports.roofline_chart import rate_text
from pyperf_infer.units import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyperf_infer.reports.roofline_chart import Chart, Line

HEIGHT = 18
LEAST_WIDTH = 50
_SIZES = ((0.05, "@"), (0.01, "O"), (0.0, "o"))  # of the layers' time, at least
_TOTAL = "*"
LEGEND = (
    "o a layer, O from 1% of the time on, @ from 5%; * the whole model; lines: the ceilings, dotted: of types that "
    "the model does not multiply"
)
_APART = 2  # columns between the name of a slanted line and the next line, so that it is plain whose name it is
Canvas = list[list[str]]


def draw(chart: Chart, width: int) -> list[str]:
    """Lines of at most `width` characters; none where that is too narrow to show anything."""
    left = _left(chart)
    columns = width - left - 1
    if columns < LEAST_WIDTH:
        return []
    canvas = [[" "] * columns for _ in range(HEIGHT)]

    def place(where: tuple[float, float]) -> tuple[int, int]:
        x, y = where
        return (
            round(_along(x, chart.x) * (columns - 1)),
            HEIGHT - 1 - round(_along(y, chart.y) * (HEIGHT - 1)),
        )

    ways = [(line, [*_way(place(line.begin), place(line.end))]) for line in chart.lines]
    for line, way in ways:
        for column, row in way:
            canvas[row][column] = "/" if line.kind == "memory" else "-" if line.used else "."
    for point in sorted(chart.points, key=lambda one: one.share):
        column, row = place((point.intensity, point.flops_per_s))
        canvas[row][column] = next(mark for least, mark in _SIZES if point.share >= least)
    if chart.total is not None:
        column, row = place(chart.total)
        canvas[row][column] = _TOTAL
    for line, way in sorted(ways, key=lambda one: not one[0].used):
        _write_label(canvas, line, way)
    ends = {0: chart.y[1], HEIGHT - 1: chart.y[0]}
    drawn = [
        f"{rate_text(ends[row], 'FLOP') if row in ends else '':>{left}}|{''.join(cells)}".rstrip()
        for row, cells in enumerate(canvas)
    ]
    first, last = (f"{format_count(one)} FLOP/B" for one in chart.x)
    return [*drawn, " " * left + "+" + "-" * columns, f"{'':{left}} {first}{last:>{columns - len(first)}}"]


def caption(chart: Chart, drawn: Sequence[str]) -> str:
    """What belongs under `drawn`, which `draw` made of the chart: all that there was no room for stands here."""
    if not drawn:
        return f"the terminal is too narrow for the plot, which takes {_left(chart) + 1 + LEAST_WIDTH} columns"
    return "; ".join([LEGEND, *_not_drawn(chart, drawn)])


def _not_drawn(chart: Chart, drawn: Sequence[str]) -> Iterator[str]:
    if chart.profiled:
        yield "* is the profiled inference: no round was without the profiler"
    unnamed = [one.label for one in chart.lines if not any(one.label in line for line in drawn)]
    if unnamed:
        yield f"without a name: {', '.join(unnamed)}"
    if chart.outside:
        yield ", ".join(chart.outside)
    if chart.beside:
        yield f"{chart.beside}, the most in {', '.join(chart.left_out)}" if chart.left_out else chart.beside


def _left(chart: Chart) -> int:
    return max(len(rate_text(one, "FLOP")) for one in chart.y) + 1


def _along(value: float, ends: tuple[float, float]) -> float:
    """From 0 to 1, on a logarithmic axis."""
    where = math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    return min(1.0, max(0.0, where))


def _way(begin: tuple[int, int], end: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Columns and rows from one end to the other."""
    steps = max(abs(end[0] - begin[0]), abs(end[1] - begin[1]), 1)
    for step in range(steps + 1):
        yield (
            round(begin[0] + (end[0] - begin[0]) * step / steps),
            round(begin[1] + (end[1] - begin[1]) * step / steps),
        )


def _write_label(canvas: Canvas, line: Line, way: Sequence[tuple[int, int]]) -> None:
    """Where there is room, the nearest to the line's upper or right end: over or under it, beside it if it slants."""
    size = len(line.label)
    for column, row in reversed(way):
        over, under = (column - size, row - 1, 1, 1), (column - size, row + 1, 1, 1)
        right, left = (column + 2, row, 1, _APART), (column - size - 1, row, _APART, 1)
        for begin, where, before, behind in (over, under) if line.kind == "compute" else (right, left):
            end = begin + size
            if not (0 <= where < len(canvas) and begin >= 0 and end <= len(canvas[where])):
                continue
            if all(one == " " for one in canvas[where][max(0, begin - before) : end + behind]):
                canvas[where][begin:end] = line.label
                return
