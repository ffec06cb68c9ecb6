# SPDX-License-Identifier: Apache-2.0
"""Whether the GPU span of a row is possible, from what its model must at least move and compute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.roofline.gpu_peaks import most_bytes_per_s, most_flops_per_s, peaks_of
from pyperf_infer.roofline.integrity import check
from pyperf_infer.roofline.work import LeastBytes, LeastFlops, LeastWork

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyperf_infer.backends.base import Array
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.gpu import GpuSide
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Integrity
    from pyperf_infer.timing.samples import Samples

_HALF = {"float16": 2, "bfloat16": 2}  # bytes an element of weights, inputs and outputs


def integrity_of(
    case: Case, plan: RunPlan, side: GpuSide, backend: str, samples: Samples, outputs: Mapping[str, Array]
) -> Integrity:
    """Judges the row's median GPU span. Runs the model once on the CPU or the meta device, for its counts."""
    spans = samples.columns.get("gpu")
    p50_ns = None if spans is None else samples.summarise(quantity="gpu").p50_ns
    work = _least_work(case, plan, backend, outputs) if p50_ns is not None else None
    flops = work.flops if work else None
    peaks = peaks_of(side.facts.name)
    clock_mhz = side.described.max_sm_clock_mhz
    return check(
        plan.mode,
        p50_ns,
        least_bytes=work.bytes if work else None,
        least_flops=flops,
        bandwidth_bytes_per_s=most_bytes_per_s(peaks, side.facts.memory_bandwidth_bytes_per_s or None),
        peak_flops_per_s=most_flops_per_s(peaks, flops.precisions, clock_mhz) if flops else None,
        l2_bytes=side.facts.l2_bytes or None,
        copies_inputs=plan.options.include_transfers,
    )


def _least_work(case: Case, plan: RunPlan, backend: str, outputs: Mapping[str, Array]) -> LeastWork | None:
    arrays = make_inputs(case.model.inputs, case.shapes, plan.seed)
    element_bytes = _HALF.get(plan.precision)
    if case.model.module is not None:
        found = _of_module(case, arrays, backend, element_bytes)
        return None if found is None else _at_precision(found, arrays, plan.precision)
    if case.model.onnx_path is None:
        return None
    from pyperf_infer.roofline.least_bytes_onnx import least_bytes_onnx

    sizes = {name: array.nbytes for name, array in arrays.items()}
    written = {name: array.nbytes for name, array in outputs.items()}
    read = least_bytes_onnx(case.model.onnx_path, sizes, written, element_bytes=element_bytes)
    # Nothing counts the FLOPs of an ONNX file yet; the bytes alone are judged.
    return LeastWork(bytes=read, flops=LeastFlops(total=0, floor=0, precisions=frozenset(), notes=()))


def _of_module(case: Case, arrays: Mapping[str, Array], backend: str, element_bytes: int | None) -> LeastWork | None:
    from pyperf_infer.backends.torch_common import tensor_of
    from pyperf_infer.roofline.least_work import least_work

    assert case.model.module is not None  # noqa: S101  the caller looked
    inputs = [tensor_of(arrays[spec.name]) for spec in case.model.inputs]
    return least_work(
        case.model.module, inputs, compiled=backend.startswith("onnxruntime"), element_bytes=element_bytes
    )


def _at_precision(work: LeastWork, arrays: Mapping[str, Array], precision: str) -> LeastWork:
    """The counts are of the float32 module; what it computes in and what its inputs are kept in is the precision's."""
    at_most: LeastBytes = work.bytes
    if precision in _HALF:
        halved = sum(array.nbytes // 2 for array in arrays.values() if array.dtype.kind == "f")
        at_most = replace(work.bytes, inputs=max(0, work.bytes.inputs - halved))
    precisions = frozenset({precision} if "float32" in work.flops.precisions else work.flops.precisions)
    return LeastWork(bytes=at_most, flops=replace(work.flops, precisions=precisions))
