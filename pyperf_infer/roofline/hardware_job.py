# SPDX-License-Identifier: Apache-2.0
"""A model on several devices and batches, by their figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET

from pyperf_infer.errors import InputError
from pyperf_infer.models.catalog import resolve
from pyperf_infer.models.shapes import batch_of, parse_shapes, resolve_shapes
from pyperf_infer.results.files import read_document
from pyperf_infer.results.hardware_schema import ModelledKernel, ModelledRun, ModelledScaling
from pyperf_infer.roofline.gpu_peaks import peaks_of
from pyperf_infer.roofline.hardware import Device, device_of
from pyperf_infer.roofline.what_if import WhatIf, cached, largest_batch, memory_bytes, scaled, turning_batch, what_if
from pyperf_infer.roofline.work.count import count

if TYPE_CHECKING:
    from pyperf_infer.models.spec import ModelStructure
    from pyperf_infer.results.schema import Document, Result
    from pyperf_infer.roofline.work.counts import ModelWork

_FLOAT_BYTES = {"float16": 2, "bfloat16": 2}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks for."""

    model: str
    batch_sizes: Sequence[int | None]
    shapes: Sequence[str]
    devices: Sequence[str]
    precision: str = "float32"
    gpus: Sequence[int] = ()
    interconnect: str | None = None
    measured: Path | None = None
    per_layer: bool = False


def model_runs(asked: Asked) -> list[ModelledRun]:
    """A row for each batch and device.

    Raises:
        InputError: a model that cannot be counted, an unknown device, a peak that is not known, a file that is no
            result, a batch that the model does not take.
    """
    devices = [_linked(device_of(one, Path(one)), asked.interconnect) for one in dict.fromkeys(asked.devices)]
    for device in devices:
        device.peak(asked.precision)  # before anything is counted
    document = None if asked.measured is None else read_document(asked.measured)
    given = parse_shapes(asked.shapes)
    structure = resolve(asked.model).structure(shapes=given or None)
    open_batch = any(spec.shape and not isinstance(spec.shape[0], int) for spec in structure.inputs) and not given

    def counted(batch: int | None) -> ModelWork:
        shapes = resolve_shapes(structure.inputs, batch, given or None, drawn=False)
        return count(structure, shapes, float_bytes=_FLOAT_BYTES.get(asked.precision))

    at = cached(counted)
    runs = []
    for batch in dict.fromkeys(asked.batch_sizes):
        work = counted(batch) if batch is None else at(batch)
        for device in devices:
            run = _run(asked, structure, what_if(work, device, asked.precision), device, document)
            if open_batch:
                run = _with_batches(run, asked, device, at)
            runs.append(run)
    return runs


def _linked(device: Device, interconnect: str | None) -> Device:
    """With the interconnect that was asked for."""
    wanted = (interconnect or device.interconnect).upper()
    if wanted not in device.links:
        raise InputError(
            f"{device.name}: how fast its {wanted} is, is not known; give a YAML file with 'interconnect: {wanted}' "
            "and 'interconnect_bandwidth'."
        )
    return replace(device, interconnect=wanted)


def _run(
    asked: Asked, structure: ModelStructure, found: WhatIf, device: Device, document: Document | None
) -> ModelledRun:
    work = found.work
    batch = batch_of(structure.inputs, work.shapes)
    time_ms = found.time_s * 1e3
    measured_ms = None if document is None else _measured_ms(document, asked, batch, device)
    return ModelledRun(
        model=asked.model,
        batch_size=batch,
        shapes={name: list(shape) for name, shape in work.shapes.items()},
        precision=asked.precision,
        device=device.name,
        source=device.source,
        peak_flops_per_s=device.peak(asked.precision),
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        memory_bytes=device.memory_bytes,
        time_ms=time_ms,
        throughput_per_s=batch / found.time_s if found.time_s else 0.0,
        compute_bound_share=found.compute_bound_share,
        memory_needed_bytes=memory_bytes(work),
        fits=memory_bytes(work) <= device.memory_bytes,
        largest_batch=None,
        compute_bound_from_batch=None,
        measured_ms=measured_ms,
        measured_over_modelled=measured_ms / time_ms if measured_ms is not None and time_ms else None,
        unknown_ops=[op for op, _ in work.unknown_ops.most_common()],
        kernels=_kernels(found) if asked.per_layer else UNSET,
    )


def _with_batches(run: ModelledRun, asked: Asked, device: Device, at: Callable[[int], ModelWork]) -> ModelledRun:
    run.largest_batch = largest_batch(at, device)
    run.compute_bound_from_batch = turning_batch(at, device, asked.precision)
    for number in asked.gpus or ((device.gpus,) if device.gpus > 1 else ()):
        one = scaled(at, device, asked.precision, run.batch_size, number)
        run.scaling.append(
            ModelledScaling(
                gpus=number,
                time_ms=one.time_s * 1e3,
                transfer_ms=one.transfer_s * 1e3,
                throughput_per_s=run.batch_size / one.time_s if one.time_s else 0.0,
                efficiency=one.efficiency,
            )
        )
    return run


def _kernels(found: WhatIf) -> list[ModelledKernel]:
    return [
        ModelledKernel(
            ops=[op.op for op in one.kernel.operations],
            layers=list(dict.fromkeys(op.name for op in one.kernel.operations)),
            compute_ms=one.compute_s * 1e3,
            memory_ms=one.memory_s * 1e3,
            time_ms=one.time_s * 1e3,
            bound=one.bound,
        )
        for one in found.kernels
        if one.time_s
    ]


def _measured_ms(document: Document, asked: Asked, batch: int, device: Device) -> float | None:
    """The shortest median of a call among rows of the same; None where there is none on such a device."""
    wanted = (asked.model, batch, asked.precision, device.name)
    found = [
        timing.p50_ms
        for row in document.results
        if row.error is None
        and (row.subject.model, row.subject.batch_size, row.subject.precision, _device_of(row)) == wanted
        and (timing := row.summary.gpu or row.summary.latency) is not None
    ]
    return min(found, default=None)


def _device_of(row: Result) -> str | None:
    """The table's name of the GPU that ran it."""
    peaks = None if row.method.gpu is None else peaks_of(row.method.gpu.device_name)
    return None if peaks is None else peaks.name
