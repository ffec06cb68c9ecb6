# SPDX-License-Identifier: Apache-2.0
"""Timed layers against their roofs: the rows of the result, and their totals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from pyperf_infer.results.roofline_schema import Bound, Roofline, RooflineLayer
from pyperf_infer.roofline.roofs import ABOVE, Roofs
from pyperf_infer.roofline.work.kernels import first_reads

if TYPE_CHECKING:
    from pyperf_infer.attribution.layers import Joined, TimedLayer
    from pyperf_infer.results.ceilings_schema import Ceilings
    from pyperf_infer.results.profile_schema import ProfileTable
    from pyperf_infer.roofline.roofs import RoofTime
    from pyperf_infer.roofline.work.counts import ModelWork, Operation

# Of a layer's time, by its roof: where that is less, neither ceiling is what bounds it; where it is more, one does.
LEAST_EXPLAINED, MUCH_EXPLAINED = 0.1, 0.5
# So far above its roof no clock and no algorithm takes a layer.
_IMPOSSIBLE = 1.5
_MOST_NAMED = 5


class Asked(NamedTuple):
    """What was measured, for the head of the result."""

    model: str
    batch_size: int
    shapes: Mapping[str, Sequence[int]]
    precision: str
    device: str
    backend: str
    threads: int


def roofline(
    asked: Asked, work: ModelWork, joined: Joined, table: ProfileTable, roofs: Roofs, ceilings: Ceilings
) -> Roofline:
    """The layers of `joined`, which are those of `table`, with their least times and the totals."""
    overhead_ms = _idle_call_ms(joined.layers)
    kernels = iter(first_reads(kernel for one in joined.layers for kernel in one.kernels))
    for one in joined.layers:
        one.kernels = list(islice(kernels, len(one.kernels)))
    layers = [_layer(one, roofs, overhead_ms) for one in joined.layers]
    layers_ms = sum(one.time_ms for one in layers)
    measured_ms = None if table.perturbation is None else table.perturbation.plain_ms
    roof_ms = sum(one.roof_ms or 0.0 for one in layers)
    moved_bytes = sum(one.bytes_min_layer for one in layers)
    macs = sum(one.macs for one in layers)
    # Modules' own Python and what the runtime put in execute nothing of the graph: they are in neither share.
    executing = [one for one in joined.layers if one.operations or not one.mapped]
    executing_ms = sum(one.time_ms for one in executing)
    mapped_ms = sum(one.time_ms for one in executing if one.mapped)
    known_ms = sum(
        one.time_ms for one in executing if one.mapped and all(each.work.kind != "unknown" for each in one.operations)
    )
    return Roofline(
        model=asked.model,
        batch_size=asked.batch_size,
        shapes={name: list(shape) for name, shape in asked.shapes.items()},
        precision=asked.precision,
        device=asked.device,
        backend=asked.backend,
        threads=asked.threads,
        method=table.method,
        inferences=table.inferences,
        measured_ms=measured_ms,
        profiled_ms=table.whole_ms,
        layers_ms=layers_ms,
        rest_ms=table.whole_ms - layers_ms,
        perturbation=table.perturbation,
        roof_ms=roof_ms,
        share_of_roof=_ratio(roof_ms, measured_ms),
        macs=work.macs,
        flops_model=work.flops_model,
        flops_all=work.flops_all,
        bytes_min_model=work.bytes_min_model,
        bytes_min_layer=moved_bytes,
        intensity_flops_per_byte=_ratio(2 * macs, moved_bytes),
        flops_per_s=_ratio(2 * macs, measured_ms and measured_ms / 1e3),
        formula_share=_part(known_ms, executing_ms),
        mapped_share=_part(mapped_ms, executing_ms),
        idle_share=_part(layers_ms - executing_ms, layers_ms),
        unknown_ops=dict(_unknown(layers, layers_ms)),
        overhead_ms=overhead_ms,
        ceilings=ceilings,
        layers=layers,
        not_told=[*table.not_told, *_not_told(joined, roofs)],
    )


def _layer(layer: TimedLayer, roofs: Roofs, overhead_ms: float | None) -> RooflineLayer:
    doing = [one for one in layer.operations if one.work.kind != "view"]
    unknown = [one.op for one in doing if one.work.kind == "unknown"]
    macs = sum(one.work.macs for one in doing)
    moved = sum(one.read_bytes + one.written_bytes for one in layer.kernels)
    roof = roofs.of(layer.kernels) if layer.mapped and not unknown else None
    seconds = layer.time_ms / 1e3
    roof_ms = None if roof is None else roof.time_s * 1e3
    bound = _bound(layer, roof, overhead_ms)
    share = _ratio(roof_ms, layer.time_ms)
    return RooflineLayer(
        name=layer.row.name,
        kind=layer.row.kind,
        calls=layer.row.calls,
        time_ms=layer.time_ms,
        mapped=layer.mapped,
        ops=[one.op for one in doing],
        sources=layer.row.sources,
        layers=layer.row.layers,
        unknown_ops=unknown,
        macs=macs,
        flops_model=2 * macs,
        flops_all=2 * macs + sum(one.work.other_flops for one in layer.operations),
        bytes_min_layer=moved,
        weight_bytes=sum(one.weight_bytes for one in layer.kernels),
        precision=(roof.precision or None) if roof is not None else None,
        intensity_flops_per_byte=_ratio(2 * macs, moved),
        flops_per_s=_ratio(2 * macs, seconds),
        bytes_per_s=_ratio(moved, seconds),
        compute_ms=None if roof is None else roof.compute_s * 1e3,
        memory_ms=None if roof is None else roof.memory_s * 1e3,
        roof_ms=roof_ms,
        bound=bound,
        memory_level=roof.level if roof is not None and bound == "memory" else None,
        share_of_roof=share,
        gap_ms=None if roof_ms is None else layer.time_ms - roof_ms,
        reason=_reason(roof, share, layer.operations) if roof is not None and (share or 0.0) > ABOVE else None,
    )


def _bound(layer: TimedLayer, roof: RoofTime | None, overhead_ms: float | None) -> Bound:
    if roof is None:
        return "unknown"
    roof_ms = roof.time_s * 1e3
    idle = roof_ms <= (overhead_ms or 0.0) * layer.row.calls and roof_ms < MUCH_EXPLAINED * layer.time_ms
    if idle or roof_ms <= LEAST_EXPLAINED * layer.time_ms:
        return "overhead"
    return "compute" if roof.compute_bound else "memory"


def _idle_call_ms(layers: Sequence[TimedLayer]) -> float | None:
    """What executing views takes here, which are nothing to do: the quickest call; None where no layer is that."""
    idle = (one for one in layers if one.only_views and one.row.calls and one.time_ms > 0)
    return min((one.time_ms / one.row.calls for one in idle), default=None)


def _reason(roof: RoofTime, share: float | None, operations: Sequence[Operation]) -> str:
    """What can be behind it; which of them it is, nothing here tells."""
    if not roof.compute_bound:
        return (
            f"faster than its bytes from {roof.level}: they may have come from a nearer level than the model of the "
            "caches lets them, or fewer of them were moved than were counted"
        )
    if (share or 0.0) > _IMPOSSIBLE:
        return "so much faster than its products at the peak that the count, or whose time this is, must be wrong"
    if any("conv" in one.op.lower() for one in operations):
        return (
            "faster than its products at the peak: Winograd's algorithm, which needs fewer than are counted, or a "
            "higher clock than when the peak was measured"
        )
    return "faster than its products at the peak: perhaps a higher clock than when that was measured"


def _unknown(layers: Sequence[RooflineLayer], layers_ms: float) -> Iterator[tuple[str, float]]:
    """Operators without a formula, those of the longest time first."""
    times: dict[str, float] = {}
    for layer in layers:
        for op in set(layer.unknown_ops):
            times[op] = times.get(op, 0.0) + layer.time_ms
    for op, time_ms in sorted(times.items(), key=lambda one: -one[1]):
        yield op, _part(time_ms, layers_ms) or 0.0


def _not_told(joined: Joined, roofs: Roofs) -> Iterator[str]:
    if joined.left_over:
        macs = sum(one.work.macs for one in joined.left_over)
        named = ", ".join(dict.fromkeys(one.name or one.op for one in joined.left_over[:_MOST_NAMED]))
        more = len(joined.left_over) - _MOST_NAMED
        yield (
            f"who executed {_count(len(joined.left_over))} ({2 * macs / 1e9:.3g} GFLOP): {named}"
            + (f" and {more} more" if more > 0 else "")
            + "; they are in no layer's work, as what is computed of weights alone when the model is loaded"
        )
    types = {
        roofs.precision_of(one, kernel)
        for layer in joined.layers
        for kernel in layer.kernels
        for one in kernel.operations
        if one.work.macs
    }
    missing = {one for one in types if roofs.peak(one) is None}
    if missing:
        yield f"the roof of products of {', '.join(sorted(missing))}: there is no measured peak for them"


def _count(operations: int) -> str:
    return "1 operation" if operations == 1 else f"{operations} operations"


def _ratio(top: float | None, bottom: float | None) -> float | None:
    return top / bottom if top is not None and bottom else None


def _part(top: float, bottom: float) -> float | None:
    return min(1.0, top / bottom) if bottom else None
