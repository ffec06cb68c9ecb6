# SPDX-License-Identifier: Apache-2.0
"""Whether the GPU span of a row is possible, from what its model must at least move and compute."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.results.schema import Integrity
from pyperf_infer.roofline.gpu_peaks import most_bytes_per_s, most_flops_per_s, peaks_of
from pyperf_infer.roofline.integrity import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyperf_infer.backends.base import Array
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.gpu import GpuSide
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.roofline.least import LeastBytes, LeastFlops
    from pyperf_infer.timing.samples import Samples

_HALF = {"float16": 2, "bfloat16": 2}  # bytes an element of weights, inputs and outputs
# With which TensorRT may keep weights in fewer bytes than the file, and those; the least first.
_TENSORRT_SIZES = (("trt_int8_enable", 1), ("trt_fp16_enable", 2), ("trt_bf16_enable", 2))


def integrity_of(
    case: Case, plan: RunPlan, side: GpuSide, backend: str, samples: Samples, outputs: Mapping[str, Array]
) -> Integrity:
    """Judges the row's median GPU span, in mode throughput on one stream the median period, in which a request runs by
    itself. Runs the model once on the CPU or the meta device, for its counts; where that fails the row is not judged.
    """
    try:
        return _judged(case, plan, side, backend, samples, outputs)
    except Exception as error:  # memory that ran out too: the row's numbers are good without it
        said = " ".join(str(error).split("\n", 1)[0].split())
        return Integrity(status="not checked", reason=f"the check failed: {type(error).__name__}: {said}")


def _judged(
    case: Case, plan: RunPlan, side: GpuSide, backend: str, samples: Samples, outputs: Mapping[str, Array]
) -> Integrity:
    quantity = "period" if plan.mode == "throughput" and plan.options.streams == 1 else "gpu"
    p50_ns = samples.summarise(quantity=quantity).p50_ns if quantity in samples.columns else None
    least_bytes, least_flops = _least_work(case, plan, backend, outputs) if p50_ns is not None else (None, None)
    peaks = peaks_of(side.facts.name)
    clock_mhz = side.described.max_sm_clock_mhz
    return check(
        plan.mode,
        p50_ns,
        least_bytes=least_bytes,
        least_flops=least_flops,
        bandwidth_bytes_per_s=most_bytes_per_s(peaks, side.facts.memory_bandwidth_bytes_per_s or None),
        peak_flops_per_s=most_flops_per_s(peaks, least_flops.precisions, clock_mhz) if least_flops else None,
        l2_bytes=side.facts.l2_bytes or None,
        copies_inputs=plan.options.include_transfers,
        measured="median period" if quantity == "period" else "median GPU span",
    )


def _least_work(
    case: Case, plan: RunPlan, backend: str, outputs: Mapping[str, Array]
) -> tuple[LeastBytes | None, LeastFlops | None]:
    """None for what is not known: the FLOPs of an ONNX file are not counted."""
    arrays = make_inputs(case.model.inputs, case.shapes, plan.seed)
    keeps = _element_bytes(plan, backend)
    if case.model.onnx_path is not None:
        from pyperf_infer.roofline.least_bytes_onnx import least_bytes_onnx

        sizes = {name: array.nbytes for name, array in arrays.items()}
        written = {name: array.nbytes for name, array in outputs.items()}
        return least_bytes_onnx(case.model.onnx_path, sizes, written, element_bytes=keeps), None
    if case.model.module is None:
        return None, None
    from pyperf_infer.backends.torch_common import tensor_of
    from pyperf_infer.roofline.least_work import least_work

    inputs = [tensor_of(arrays[spec.name]) for spec in case.model.inputs]
    compiled = backend.startswith("onnxruntime")
    found = least_work(case.model.module, inputs, compiled=compiled, element_bytes=keeps)
    if found is None:
        return None, None
    return _inputs_at(found.bytes, arrays, plan.precision), replace(
        found.flops, precisions=_precisions(found.flops.precisions, plan, keeps)
    )


def _element_bytes(plan: RunPlan, backend: str) -> int | None:
    """The most that an element of a weight takes, where that is less than the module or the file says."""
    options = plan.options.provider_options if backend.startswith("onnxruntime") else {}
    for switch, size in _TENSORRT_SIZES:
        if options.get(switch, "0").lower() in ("1", "true"):
            return size
    return _HALF.get(plan.precision)


def _precisions(of_module: frozenset[str], plan: RunPlan, keeps: int | None) -> frozenset[str]:
    """What is computed in: what the float32 module's products become, and what a provider may choose instead."""
    products = {plan.precision if one == "float32" else one for one in of_module}
    if keeps is not None and plan.precision not in _HALF:
        products |= {"float16", "int8"} if keeps == 1 else {"float16"}
    return frozenset(products)


def _inputs_at(least: LeastBytes, arrays: Mapping[str, Array], precision: str) -> LeastBytes:
    if precision not in _HALF:
        return least
    halved = sum(array.nbytes // 2 for array in arrays.values() if array.dtype.kind == "f")
    return replace(least, inputs=max(0, least.inputs - halved))
