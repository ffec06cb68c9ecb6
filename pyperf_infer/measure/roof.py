# SPDX-License-Identifier: Apache-2.0
"""Rows against the least time that the machine's ceilings allow, where those were measured before.

Nothing is measured for it: `pyperf-infer roofline` does that once. What the model has to compute and move is counted
after all of its rows have been timed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pyperf_infer.errors import PyperfInferError
from pyperf_infer.models.spec import ModelStructure
from pyperf_infer.results.schema import Roof
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.roofline.ceilings.find import cached_ceilings
from pyperf_infer.roofline.roofs import ABOVE, Roofs
from pyperf_infer.roofline.work.count import count
from pyperf_infer.roofline.work.kernels import first_reads, touched_weight_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.results.schema import Result, Summary

_HALF_BYTES = {"float16": 2, "bfloat16": 2}
_WARM = ("latency", "throughput")  # in mode cold nothing is in the caches that the roof lets bytes come from


def set_roofs(rows: Iterable[Result], model: LoadedModel, shapes: Mapping[str, tuple[int, ...]], plan: RunPlan) -> None:
    """Fills in `roof` of the rows of one model at `shapes`. Rows without a time, and models that cannot be counted,
    are left alone."""
    timed = [one for one in rows if one.summary.timing is not None and one.error is None]
    if plan.mode not in _WARM or not timed:
        return
    options = plan.options
    ceilings = cached_ceilings(options.device, options.threads)
    if ceilings is None:
        return
    structure = ModelStructure(model.name, model.inputs, model.parameters, model.module, model.onnx_path)
    try:
        work = count(structure, shapes, float_bytes=_HALF_BYTES.get(options.precision))
    except PyperfInferError:
        return
    touched = touched_weight_bytes(work.kernels) + work.activation_bytes_peak
    roofs = Roofs(ceilings, options.threads, asked=options.precision, touched_bytes=touched)
    roof = roofs.of(first_reads(work.kernels))
    if roof is None or not roof.time_s:
        return
    for row in timed:
        block = row.summary.timing
        if block is not None and block.p50_ms:
            share = roof.time_s * 1e3 / block.p50_ms
            if share > ABOVE:
                row.warnings.append(_above(share))
            row.roof = Roof(
                roof_ms=roof.time_s * 1e3,
                share_of_roof=share,
                ceilings_utc=ceilings.measured_utc,
                unknown_ops=sorted(work.unknown_ops),
            )


def roof_of(known: Roof, summary: Summary) -> Roof | None:
    """The same least time over another median; None where there is none."""
    block = summary.timing
    if block is None or not block.p50_ms:
        return None
    return replace(known, share_of_roof=known.roof_ms / block.p50_ms)


def _above(share: float) -> Notice:
    return Notice(
        code="above_roof",
        message=f"the least time that the ceilings allow is {share:.0%} of the median, which cannot be: the machine is "
        "faster now than when they were measured, or the model does less than was counted.",
        remedy="Measure them again: pyperf-infer roofline --fresh-ceilings",
    )
