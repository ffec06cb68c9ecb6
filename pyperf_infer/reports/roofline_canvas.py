# SPDX-License-Identifier: Apache-2.0
"""A roofline plot in characters, for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyperf_infer.reports.roofline_chart import rate_text
from pyperf_infer.units import format_count

if TYPE_CHECKING:
    from pyperf_infer.reports.roofline_chart import Chart

HEIGHT = 18
LEAST_WIDTH = 50
_SIZES = ((0.05, "@"), (0.01, "O"), (0.0, "o"))  # of the layers' time, at least
_TOTAL = "*"
LEGEND = (
    "o a layer, O from 1% of the time on, @ from 5%; * the whole model; lines: the ceilings, dotted: of types that it "
    "does not multiply"
)


def draw(chart: Chart, width: int) -> list[str]:
    """Lines of at most `width` characters; none where that is too narrow to show anything."""
    left = max(len(rate_text(one, "FLOP")) for one in chart.y) + 1
    columns = width - left - 1
    if columns < LEAST_WIDTH:
        return []
    canvas = [[" "] * columns for _ in range(HEIGHT)]

    def place(x: float, y: float) -> tuple[int, int]:
        return (
            round(_along(x, chart.x) * (columns - 1)),
            HEIGHT - 1 - round(_along(y, chart.y) * (HEIGHT - 1)),
        )

    for line in chart.lines:
        (begin, top), (end, bottom) = place(*line.begin), place(*line.end)
        steps = max(abs(end - begin), abs(bottom - top), 1)
        for step in range(steps + 1):
            row = round(top + (bottom - top) * step / steps)
            column = round(begin + (end - begin) * step / steps)
            if 0 <= row < HEIGHT and 0 <= column < columns:
                canvas[row][column] = "/" if line.kind == "memory" else "-" if line.used else "."
    for line in chart.lines:
        _write_label(canvas, line.label, place(*line.end), right=line.kind == "compute")
    for point in sorted(chart.points, key=lambda one: one.share):
        column, row = place(point.intensity, point.flops_per_s)
        canvas[row][column] = next(mark for least, mark in _SIZES if point.share >= least)
    if chart.total is not None:
        column, row = place(*chart.total)
        canvas[row][column] = _TOTAL
    ends = {0: chart.y[1], HEIGHT - 1: chart.y[0]}
    drawn = [
        f"{rate_text(ends[row], 'FLOP') if row in ends else '':>{left}}|{''.join(cells)}".rstrip()
        for row, cells in enumerate(canvas)
    ]
    first, last = (f"{format_count(one)} FLOP/B" for one in chart.x)
    return [*drawn, " " * left + "+" + "-" * columns, f"{'':{left}} {first}{last:>{columns - len(first)}}"]


def _along(value: float, ends: tuple[float, float]) -> float:
    """From 0 to 1, on a logarithmic axis."""
    where = math.log(value / ends[0]) / math.log(ends[1] / ends[0])
    return min(1.0, max(0.0, where))


def _write_label(canvas: list[list[str]], label: str, end: tuple[int, int], *, right: bool) -> None:
    """Above the right end of a horizontal line, or to the left of the upper end of a slanted one, where it is free."""
    column, row = end
    row = row - 1 if right else row + 1
    begin = column - len(label) - (0 if right else 2)
    if not 0 <= row < len(canvas) or begin < 0:
        return
    cells = canvas[row][begin : begin + len(label)]
    if len(cells) == len(label) and all(one == " " for one in cells):
        canvas[row][begin : begin + len(label)] = label
