# SPDX-License-Identifier: Apache-2.0
"""Rooflines and ceilings as columns of plain text, and the sentences that belong under them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell, Column, number, without_empty
from pyperf_infer.reports.notes import Note
from pyperf_infer.reports.profile_view import WHOLE_MODEL
from pyperf_infer.roofline.roofs import ABOVE
from pyperf_infer.units import (
    format_bytes,
    format_count,
    format_duration_ms,
    format_percent,
    format_rate,
    format_ratio,
)

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Ceilings, ComputeCeiling, MemoryCeiling, Roofline, RooflineLayer

TOP = 20
KEYS = ("layer", "kind")
_MOST_NAMED = 5
_FEW_IN_SUM = 0.03  # by which the layers' sum may miss the whole before the reader is told to mind it


def ranked(roofline: Roofline, top: int) -> list[RooflineLayer]:
    """The `top` layers (0: all) with the most to gain, that with the most first; those without a roof by their time."""
    return sorted(roofline.layers, key=lambda one: -_gain_ms(one))[: top or None]


def layer_columns(roofline: Roofline, layers: Sequence[RooflineLayer]) -> list[Column]:
    """Below the `layers` stand those left out together, what is outside of all, and the whole."""
    feet = list(_feet(roofline, layers))

    def column(
        title: str,
        cell: Callable[[RooflineLayer], Cell],
        foot: Callable[[_Foot], Cell] = lambda _: Cell(),
        *,
        numeric: bool = True,
    ) -> Column:
        return Column(title, (*map(cell, layers), *map(foot, feet)), numeric)

    several = any(one.calls != 1 for one in layers)
    return without_empty(
        [
            column(
                "layer",
                lambda one: Cell(one.name or WHOLE_MODEL),
                lambda one: Cell(one.name, tone="quiet"),
                numeric=False,
            ),
            column("kind", lambda one: Cell(one.kind), numeric=False),
            column("module", lambda one: Cell(_modules(one)), numeric=False),
            column(
                "time",
                lambda one: Cell(format_duration_ms(one.time_ms)),
                lambda one: number(one.time_ms, format_duration_ms),
            ),
            column("roof", lambda one: number(one.roof_ms, format_duration_ms), _roof_foot),
            column(
                "of roof",
                lambda one: number(one.share_of_roof, format_percent),
                lambda one: number(one.share, format_percent),
            ),
            column("to gain", lambda one: number(one.gap_ms, format_duration_ms), _gain_foot),
            column("bound", lambda one: Cell(_bound(one)), numeric=False),
            column("FLOP", lambda one: Cell(format_count(one.flops_model) if one.flops_model else "")),
            column("FLOP/s", lambda one: Cell(format_rate(one.flops_per_s) if one.flops_per_s else "")),
            column("bytes", lambda one: Cell(format_bytes(one.bytes_min_layer) if one.bytes_min_layer else "")),
            column("bytes/s", lambda one: Cell(format_rate(one.bytes_per_s) if one.bytes_per_s else "")),
            column("FLOP/byte", lambda one: number(one.intensity_flops_per_byte or None, format_ratio)),
            column("calls", lambda one: Cell(f"{one.calls:.4g}") if several else Cell()),
        ]
    )


def total_columns(rooflines: Sequence[Roofline]) -> list[Column]:
    """A line a result, for several side by side."""

    def column(title: str, cell: Callable[[Roofline], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in rooflines), numeric)

    return without_empty(
        [
            column("model", lambda one: Cell(one.model), numeric=False),
            column("batch", lambda one: Cell(str(one.batch_size))),
            column("precision", lambda one: Cell(one.precision), numeric=False),
            column("backend", lambda one: Cell(one.backend), numeric=False),
            column("measured", lambda one: number(one.measured_ms, format_duration_ms)),
            column("roof", lambda one: Cell(format_duration_ms(one.roof_ms))),
            column("of roof", lambda one: number(one.share_of_roof, format_percent)),
            column("FLOP", lambda one: Cell(format_count(one.flops_model))),
            column("FLOP/s", lambda one: number(one.flops_per_s, format_rate)),
            column("layer bytes", lambda one: Cell(format_bytes(one.bytes_min_layer))),
            column("FLOP/byte", lambda one: number(one.intensity_flops_per_byte, format_ratio)),
        ]
    )


def roofline_title(roofline: Roofline) -> str:
    return (
        f"{roofline.model}, batch {roofline.batch_size}, {roofline.precision} on {roofline.device}: {roofline.backend}"
    )


def roofline_notes(roofline: Roofline) -> Iterator[Note]:
    """How much of what was measured the roof explains, and what the table does not know."""
    yield from _total_notes(roofline)
    yield from _sum_notes(roofline)
    yield Note("plain", "; ".join(_known(roofline)))
    for op, share in roofline.unknown_ops.items():
        part = format_percent(share)
        yield Note("unsure", f"{op} has no formula: the layers with it take {part} of the layers' time")
    if any(one.bound == "overhead" for one in roofline.layers):
        idle = roofline.overhead_ms
        call = f", or below the {format_duration_ms(idle)} of a call that only makes a view" if idle else ""
        yield Note(
            "plain",
            f"overhead: layers whose roof is a tenth of their time at most{call}; the rest is dispatch, threads that "
            "wait, or a kernel that uses little of the machine",
        )
    yield from (Note("unsure", f"not told: {text}") for text in roofline.not_told)
    yield Note(
        "plain",
        f"how: {roofline.method}; means over {roofline.inferences} inferences. The roof is the longer of FLOP over the "
        "peak of their type and bytes over the bandwidth of the levels of memory that they can come from, summed over "
        "layers; bytes are the least that each layer reads and writes",
    )


def _total_notes(roofline: Roofline) -> Iterator[Note]:
    roofless = sum(one.time_ms for one in roofline.layers if one.roof_ms is None)
    least = "at least " if roofless else ""
    if roofline.measured_ms is None:
        yield Note("unsure", "no round without the profiler was complete: there is no share of the roof to tell")
    else:
        gap = roofline.measured_ms - roofline.roof_ms
        allowed, measured = format_duration_ms(roofline.roof_ms), format_duration_ms(roofline.measured_ms)
        share = format_percent(roofline.share_of_roof or 0.0)
        text = f"the ceilings allow {least}{allowed}, measured {measured}: {least}{share} of the roof"
        if gap >= 0:
            yield Note("plain", f"{text}, {format_duration_ms(gap)} to gain at the most")
        elif (roofline.share_of_roof or 0.0) <= ABOVE:
            yield Note("plain", f"{text}, nothing to gain without another algorithm or precision")
        else:
            yield Note(
                "bad",
                f"{text}, which cannot be: a count, whose time is whose, or a ceiling is wrong",
                "Measure the ceilings again with --fresh-ceilings; where it stays, do not use these figures.",
            )
    if roofless:
        part = format_percent(roofless / roofline.layers_ms) if roofline.layers_ms else "none"
        yield Note("unsure", f"layers without a roof take {part} of the layers' time")
    above = sorted((one for one in roofline.layers if one.reason), key=lambda one: -one.time_ms)
    for one in above[:_MOST_NAMED]:
        share = format_percent(one.share_of_roof or 0.0)
        yield Note("unsure", f"{one.name or WHOLE_MODEL} is at {share} of its roof: {one.reason}")
    if len(above) > _MOST_NAMED:
        yield Note("unsure", f"and {len(above) - _MOST_NAMED} more layers above {ABOVE:.0%} of their roof")


def _sum_notes(roofline: Roofline) -> Iterator[Note]:
    whole = roofline.profiled_ms
    if whole and abs(roofline.rest_ms) > _FEW_IN_SUM * whole:
        yield Note(
            "unsure", f"the layers' times sum to {format_percent(roofline.layers_ms / whole)} of the profiled inference"
        )
    cost = roofline.perturbation
    if cost is not None and cost.ratio > 1 + _FEW_IN_SUM:
        yield Note(
            "unsure",
            f"with the instrument an inference takes {format_ratio(cost.ratio)} times as long: layers look slower than "
            "they are, small ones the most",
        )


def _known(roofline: Roofline) -> Iterator[str]:
    if roofline.formula_share is not None:
        known = format_percent(roofline.formula_share)
        yield f"{known} of the time of layers that execute something is in operators with a formula"
    if roofline.mapped_share is not None and roofline.backend == "onnxruntime":
        yield f"{format_percent(roofline.mapped_share)} of it was traced to the given graph"
    if roofline.idle_share:
        what = "nodes that ONNX Runtime put in" if roofline.backend == "onnxruntime" else "modules' own Python"
        yield f"{format_percent(roofline.idle_share)} of the layers' time is {what}"


def compute_columns(ceilings: Sequence[ComputeCeiling]) -> list[Column]:
    def column(title: str, cell: Callable[[ComputeCeiling], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in ceilings), numeric)

    return without_empty(
        [
            column("products of", lambda one: Cell(one.precision), numeric=False),
            column("threads", lambda one: Cell(str(one.threads))),
            column("FLOP/s", lambda one: Cell(format_rate(one.flops_per_s))),
            column("median", lambda one: Cell(format_rate(one.median_flops_per_s))),
            column("spread", lambda one: Cell(format_percent(one.spread))),
            column("of theory", lambda one: number(one.share_of_theory, format_percent)),
            column("datasheet", lambda one: number(one.datasheet_flops_per_s, format_rate)),
            column(
                "of datasheet", lambda one: number(_part(one.flops_per_s, one.datasheet_flops_per_s), format_percent)
            ),
            column("clock", lambda one: number(one.clock_hz and one.clock_hz / 1e9, lambda ghz: f"{ghz:.2f} GHz")),
            column("instructions", lambda one: Cell(one.instructions), numeric=False),
        ]
    )


def memory_columns(ceilings: Sequence[MemoryCeiling]) -> list[Column]:
    def column(title: str, cell: Callable[[MemoryCeiling], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in ceilings), numeric)

    return without_empty(
        [
            column("level", lambda one: Cell(one.level), numeric=False),
            column("pattern", lambda one: Cell(one.pattern), numeric=False),
            column("threads", lambda one: Cell(str(one.threads))),
            column("bytes/s", lambda one: Cell(format_rate(one.bytes_per_s))),
            column("median", lambda one: Cell(format_rate(one.median_bytes_per_s))),
            column("spread", lambda one: Cell(format_percent(one.spread))),
            column("datasheet", lambda one: number(one.datasheet_bytes_per_s, format_rate)),
            column(
                "of datasheet", lambda one: number(_part(one.bytes_per_s, one.datasheet_bytes_per_s), format_percent)
            ),
            column("working set", lambda one: Cell(format_bytes(one.working_set_bytes))),
            column("stores", lambda one: Cell("around the caches" if one.non_temporal else ""), numeric=False),
        ]
    )


def ceilings_title(ceilings: Ceilings) -> str:
    return f"Ceilings of {ceilings.device_name} ({ceilings.device}), measured {ceilings.measured_utc}"


def ceilings_notes(ceilings: Ceilings) -> Iterator[Note]:
    """Where the theory is from, and what was not measured."""
    if ceilings.microarchitecture is not None:
        yield Note("plain", f"theory: {ceilings.microarchitecture}; {ceilings.microarchitecture_source}")
    elif ceilings.device == "cpu":
        yield Note("plain", "theory: the microarchitecture is not known, so that there is no percentage of it")
    if ceilings.other_load is not None:
        yield Note("plain", f"other programs took {format_percent(ceilings.other_load)} of the CPUs meanwhile")
    if ceilings.sm_clock_mhz is not None:
        power = "" if ceilings.power_w is None else f", {ceilings.power_w:.0f} W"
        yield Note("plain", f"under load: {ceilings.sm_clock_mhz:.0f} MHz{power}")
    yield from (Note("unsure", f"not measured: {one}") for one in ceilings.not_measured)
    yield from (Note("unsure", one) for one in ceilings.warnings)


class _Foot:
    def __init__(self, name: str, time_ms: float | None, roof_ms: float | None = None) -> None:
        self.name, self.time_ms, self.roof_ms = name, time_ms, roof_ms

    @property
    def share(self) -> float | None:
        return self.roof_ms / self.time_ms if self.roof_ms is not None and self.time_ms else None


def _feet(roofline: Roofline, layers: Sequence[RooflineLayer]) -> Iterator[_Foot]:
    shown = {id(one) for one in layers}
    rest = [one for one in roofline.layers if id(one) not in shown]
    if rest:
        name = f"({len(rest)} more layer{'s' * (len(rest) != 1)})"
        yield _Foot(name, sum(one.time_ms for one in rest), sum(one.roof_ms or 0.0 for one in rest))
    yield _Foot("(outside of every layer)", roofline.rest_ms)
    yield _Foot("(the profiled inference)", roofline.profiled_ms, roofline.roof_ms)
    if roofline.measured_ms is not None:
        yield _Foot("(the same without a profiler)", roofline.measured_ms, roofline.roof_ms)


def _roof_foot(foot: _Foot) -> Cell:
    return number(foot.roof_ms, format_duration_ms)


def _gain_foot(foot: _Foot) -> Cell:
    if foot.roof_ms is None or foot.time_ms is None:
        return Cell()
    return Cell(format_duration_ms(foot.time_ms - foot.roof_ms))


def _gain_ms(layer: RooflineLayer) -> float:
    return layer.time_ms if layer.gap_ms is None else layer.gap_ms


def _bound(layer: RooflineLayer) -> str:
    if layer.bound == "compute" and layer.precision:
        return f"compute ({layer.precision})"
    return f"memory ({layer.memory_level})" if layer.bound == "memory" else layer.bound


def _modules(layer: RooflineLayer) -> str:
    """The first of those that a node came from, and how many more there are."""
    if not layer.layers:
        return ""
    more = f" +{len(layer.layers) - 1}" if len(layer.layers) > 1 else ""
    return f"{layer.layers[0] or WHOLE_MODEL}{more}"


def _part(value: float, of: float | None) -> float | None:
    return value / of if of else None
