# SPDX-License-Identifier: Apache-2.0
"""What stands on a roofline plot, wherever it is drawn: lines of the ceilings, points of the layers, the total."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyperf_infer.reports.profile_view import WHOLE_MODEL
from pyperf_infer.roofline.roofs import Roofs, peaks_of_threads, rates_of_threads, threads_of
from pyperf_infer.units import format_count, format_duration_ms, format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Roofline, RooflineLayer

Bound = Literal["compute", "memory", "overhead", "unknown"]
Ends = tuple[float, float]
LABELLED = 6  # of the layers, those of the longest time
LEFT_OUT = 4  # of the kinds of layers that have no place, as many are named
_MARGIN = 1.5  # beyond what is drawn, on each side: a factor
_SLOPE = 3.0  # as much of the steepest bandwidth is to be seen: a factor
_LEAST_SPAN = 50.0  # of an axis: less of it and the slopes of the memory are lost
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
    """`x` and `y` are the ends of the axes.

    `total` is the whole model, and if it is `profiled`, in the profiled inference: it did not run without the profiler.
    `outside` are the ceilings beyond the axes, each with where it is. `beside`: how many layers are not on the plot, in
    a sentence; "" where none is. `left_out` are the longest of their kinds, each with its share of the time.
    """

    title: str
    measured: str
    lines: Sequence[Line]
    outside: Sequence[str]
    points: Sequence[Point]
    total: tuple[float, float] | None
    profiled: bool
    x: Ends
    y: Ends
    beside: str
    left_out: Sequence[str]


def chart_of(roofline: Roofline) -> Chart:
    """The plot of one result; every axis is logarithmic."""
    points = _points(roofline)
    total = _total(roofline)
    threads = threads_of(roofline.ceilings, roofline.threads)
    peaks = {name: one.flops_per_s for name, one in peaks_of_threads(roofline.ceilings, threads).items()}
    rates = rates_of_threads(roofline.ceilings, threads)
    used = _used(roofline, peaks)
    x, y = _axes(points, total, [peaks[one] for one in used], list(rates.values()))
    ceilings = [*_ceilings(peaks, rates, used, x, y)]
    return Chart(
        title=f"{roofline.model}, batch {roofline.batch_size}, {roofline.precision}: {roofline.backend}",
        measured=_measured(roofline),
        lines=[line for line, beyond in ceilings if not beyond],
        outside=[f"{line.label} ({beyond} the plot)" for line, beyond in ceilings if beyond],
        points=points,
        total=total,
        profiled=roofline.measured_ms is None,
        x=x,
        y=y,
        beside=_beside(roofline),
        left_out=[*_left_out(roofline)],
    )


def short_name(layer: RooflineLayer) -> str:
    """The module that a layer is, or mostly came from, else the node: the name's end where it is long."""
    name = layer.layers[0] if layer.layers and layer.layers[0] else layer.name or WHOLE_MODEL
    return name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"


def rate_text(per_second: float, unit: str) -> str:
    """As axes and datasheets have it: "380.0 GFLOP/s"."""
    digits = format_count(per_second)
    number = digits.rstrip("kMGTPE")
    return f"{number} {digits.removeprefix(number)}{unit}/s"


def _measured(roofline: Roofline) -> str:
    """Where no inference ran without the profiler, its time is not passed off as that of one that did."""
    if roofline.measured_ms is None:
        time = f"profiled: {format_duration_ms(roofline.profiled_ms)}, no round without the profiler"
    else:
        time = format_duration_ms(roofline.measured_ms)
    share = "" if roofline.share_of_roof is None else f", {format_percent(roofline.share_of_roof)} of its roof"
    threads = "" if roofline.device != "cpu" else f", {roofline.threads} thread{'s' * (roofline.threads != 1)}"
    return f"{roofline.ceilings.device_name}{threads}; {time}{share}"


def _total(roofline: Roofline) -> tuple[float, float] | None:
    rate = roofline.flops_per_s
    if roofline.measured_ms is None and roofline.profiled_ms:
        rate = roofline.flops_model / (roofline.profiled_ms / 1e3)
    return (roofline.intensity_flops_per_byte, rate) if roofline.intensity_flops_per_byte and rate else None


def _points(roofline: Roofline) -> list[Point]:
    drawn = [one for one in roofline.layers if _has_place(one)]
    labelled = {id(one) for one in sorted(drawn, key=lambda one: -one.time_ms)[:LABELLED]}
    return [
        Point(
            short_name(one) if id(one) in labelled else "",
            one.intensity_flops_per_byte or 0.0,
            one.flops_per_s or 0.0,
            _share(one, roofline),
            one.bound,
        )
        for one in drawn
    ]


def _has_place(layer: RooflineLayer) -> bool:
    return bool(layer.intensity_flops_per_byte and layer.flops_per_s)


def _share(layer: RooflineLayer, roofline: Roofline) -> float:
    return layer.time_ms / (roofline.layers_ms or 1.0)


def _beside(roofline: Roofline) -> str:
    """Of layers that multiply nothing there is no rate of multiplying to draw."""
    left_out = [one for one in roofline.layers if not _has_place(one)]
    if not left_out or not roofline.layers_ms:
        return ""
    share = sum(one.time_ms for one in left_out) / roofline.layers_ms
    known = "" if all(one.mapped and not one.unknown_ops for one in left_out) else "known "
    several = (
        f"{len(left_out)} layers without {known}products are"
        if len(left_out) > 1
        else f"1 layer without {known}products is"
    )
    return f"{several} not on it: {share:.1%} of the layers' time"


def _left_out(roofline: Roofline) -> Iterator[str]:
    """By kind, since they are many and short. The share is of the bandwidth that their bytes can come with."""
    kinds: dict[str, list[RooflineLayer]] = {}
    for layer in roofline.layers:
        if layer.time_ms and not _has_place(layer):
            kinds.setdefault(layer.kind, []).append(layer)
    for layers in sorted(kinds.values(), key=lambda some: -sum(one.time_ms for one in some))[:LEFT_OUT]:
        one_module = len(layers) == 1 and not layers[0].sources and not layers[0].layers
        several = "" if len(layers) == 1 else f"{len(layers)} "
        name = short_name(layers[0]) if one_module else f"{several}{layers[0].kind}"
        known_ms = sum(one.time_ms for one in layers if one.memory_ms)
        moving_ms = sum(one.memory_ms or 0.0 for one in layers)
        moving = f" ({format_percent(moving_ms / known_ms)} of the bandwidth)" if known_ms else ""
        yield f"{name} {format_percent(sum(_share(one, roofline) for one in layers))}{moving}"


def _used(roofline: Roofline, peaks: Mapping[str, float]) -> set[str]:
    """The ceilings that the layers' products are set against; where there are none, the one that they would be."""
    roofs = Roofs(roofline.ceilings, roofline.threads, asked=roofline.precision, touched_bytes=0)
    for asked in ({one.precision for one in roofline.layers if one.precision}, {roofline.precision}):
        found: set[str] = {peak.precision for peak in map(roofs.peak, asked) if peak is not None}
        if found:
            return found
    return set(peaks)


def _axes(
    points: Sequence[Point], total: tuple[float, float] | None, peaks: Sequence[float], rates: Sequence[float]
) -> tuple[Ends, Ends]:
    """Of what the model does: ceilings that it does not use would only push everything else together."""
    drawn = [(one.intensity, one.flops_per_s) for one in points] + ([total] if total else [])
    ridges = [max(peaks) / rate for rate in rates] if peaks else []
    slopes = [min(ridges) * _MARGIN / _SLOPE] if ridges else []
    left, right = _ends([*(one for one, _ in drawn), *ridges, *slopes], (0.1, 1000.0))
    lower, upper = _ends([*(one for _, one in drawn), *peaks], (1e9, 1e12))
    return (min(left, right / _LEAST_SPAN), right), (min(lower, upper / _LEAST_SPAN), upper)


def _ceilings(
    peaks: Mapping[str, float], rates: Mapping[str, float], used: Collection[str], x: Ends, y: Ends
) -> Iterator[tuple[Line, str]]:
    """Each with the side of the plot on which it lies, "" where it is on it: then it begins and ends within."""
    highest = max((one for one in peaks.values() if one < y[1]), default=y[1])
    fastest = max(rates.values(), default=0.0)
    for level, rate in rates.items():
        begin, end = max(x[0], y[0] / rate), min(x[1], highest / rate)
        line = Line(f"{level} {rate_text(rate, 'B')}", "memory", (begin, begin * rate), (end, end * rate))
        yield line, "" if begin < end else "above" if x[0] * rate >= highest else "below"
    for precision, peak in peaks.items():
        begin = min(x[1], max(x[0], peak / fastest if fastest else 0.0))
        line = Line(f"{precision} {rate_text(peak, 'FLOP')}", "compute", (begin, peak), (x[1], peak), precision in used)
        yield line, "above" if peak >= y[1] else "below" if peak <= y[0] else ""


def _ends(values: Sequence[float], otherwise: Ends) -> Ends:
    known = [one for one in values if one > 0 and math.isfinite(one)]
    if not known:
        return otherwise
    return min(known) / _MARGIN, max(known) * _MARGIN
