# SPDX-License-Identifier: Apache-2.0
"""What stands on a roofline plot, wherever it is drawn: lines of the ceilings, points of the layers, the total."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyperf_infer.reports.profile_view import WHOLE_MODEL
from pyperf_infer.units import format_count

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Roofline, RooflineLayer

Bound = Literal["compute", "memory", "overhead", "unknown"]
LABELLED = 6  # of the layers, those of the longest time
_MARGIN = 1.5  # beyond what is drawn, on each side: a factor
_LONGEST_NAME = 26


@dataclass(frozen=True)
class Line:
    """A ceiling: from one point to another, in FLOP a byte and FLOP/s. `used`: the model computes with it."""

    label: str
    kind: Literal["compute", "memory"]
    begin: tuple[float, float]
    end: tuple[float, float]
    used: bool = True


@dataclass(frozen=True)
class Point:
    """A layer. `share` is of the layers' time; `label` is empty but for the few that matter."""

    label: str
    intensity: float
    flops_per_s: float
    share: float
    bound: Bound


@dataclass(frozen=True)
class Chart:
    """`x` and `y` are the ends of the axes. `beside`: what is not on the plot, in a sentence; "" where nothing is."""

    title: str
    lines: Sequence[Line]
    points: Sequence[Point]
    total: tuple[float, float] | None
    x: tuple[float, float]
    y: tuple[float, float]
    beside: str


def chart_of(roofline: Roofline) -> Chart:
    """The plot of one result; every axis is logarithmic."""
    points = _points(roofline)
    total = None
    if roofline.intensity_flops_per_byte and roofline.flops_per_s:
        total = (roofline.intensity_flops_per_byte, roofline.flops_per_s)
    peaks = _peaks(roofline)
    rates = _rates(roofline)
    xs = [one.intensity for one in points] + ([total[0]] if total else [])
    ridges = [max(peaks.values()) / rate for rate in rates.values()] if peaks else []
    x = _ends([*xs, *ridges], (0.1, 1000.0))
    ys = [one.flops_per_s for one in points] + ([total[1]] if total else []) + list(peaks.values())
    y = _ends(ys, (1e9, 1e12))
    return Chart(
        f"{roofline.model}, batch {roofline.batch_size}, {roofline.precision}: {roofline.backend}",
        [*_lines(peaks, rates, x, y, {one.precision for one in roofline.layers if one.precision})],
        points,
        total,
        x,
        y,
        _beside(roofline),
    )


def _points(roofline: Roofline) -> list[Point]:
    drawn = [one for one in roofline.layers if _has_place(one)]
    labelled = {id(one) for one in sorted(drawn, key=lambda one: -one.time_ms)[:LABELLED]}
    whole = roofline.layers_ms or 1.0
    return [
        Point(
            short_name(one) if id(one) in labelled else "",
            one.intensity_flops_per_byte or 0.0,
            one.flops_per_s or 0.0,
            one.time_ms / whole,
            one.bound,
        )
        for one in drawn
    ]


def _has_place(layer: RooflineLayer) -> bool:
    return bool(layer.intensity_flops_per_byte and layer.flops_per_s)


def short_name(layer: RooflineLayer) -> str:
    """The module that a layer is, or mostly came from, else the node: the name's end where it is long."""
    name = layer.layers[0] if layer.layers and layer.layers[0] else layer.name or WHOLE_MODEL
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"


def rate_text(per_second: float, unit: str) -> str:
    """As axes and datasheets have it: "380.0 GFLOP/s"."""
    digits = format_count(per_second)
    number = digits.rstrip("kMGTPE")
    return f"{number} {digits.removeprefix(number)}{unit}/s"


def _beside(roofline: Roofline) -> str:
    """Of layers that multiply nothing there is no rate of multiplying to draw."""
    left_out = [one for one in roofline.layers if not _has_place(one)]
    if not left_out or not roofline.layers_ms:
        return ""
    share = sum(one.time_ms for one in left_out) / roofline.layers_ms
    several = f"{len(left_out)} layers without products are" if len(left_out) > 1 else "1 layer without products is"
    return f"{several} not on it: {share:.1%} of the layers' time"


def _peaks(roofline: Roofline) -> dict[str, float]:
    """Of each precision, over the threads of the run."""
    found: dict[str, float] = {}
    for one in roofline.ceilings.compute:
        if one.threads == _threads(roofline):
            found[one.precision] = max(one.flops_per_s, found.get(one.precision, 0.0))
    return found


def _rates(roofline: Roofline) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in roofline.ceilings.memory:
        if one.threads == _threads(roofline):
            found[one.level] = max(one.bytes_per_s, found.get(one.level, 0.0))
    return found


def _threads(roofline: Roofline) -> int:
    return 1 if roofline.device != "cpu" else roofline.threads


def _lines(
    peaks: dict[str, float], rates: dict[str, float], x: tuple[float, float], y: tuple[float, float], used: set[str]
) -> Iterator[Line]:
    highest = max(peaks.values(), default=y[1])
    fastest = max(rates.values(), default=0.0)
    for level, rate in rates.items():
        begin = max(x[0], y[0] / rate)
        end = highest / rate
        if begin < end:
            label = f"{level} {rate_text(rate, 'B')}"
            yield Line(label, "memory", (begin, begin * rate), (end, highest))
    for precision, peak in peaks.items():
        begin = max(x[0], peak / fastest) if fastest else x[0]
        yield Line(f"{precision} {rate_text(peak, 'FLOP')}", "compute", (begin, peak), (x[1], peak), precision in used)


def _ends(values: Sequence[float], otherwise: tuple[float, float]) -> tuple[float, float]:
    known = [one for one in values if one > 0 and math.isfinite(one)]
    if not known:
        return otherwise
    return min(known) / _MARGIN, max(known) * _MARGIN
