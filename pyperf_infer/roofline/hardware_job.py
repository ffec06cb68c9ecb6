# SPDX-License-Identifier: Apache-2.0
"""A model on several devices and batches, by their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
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
from pyperf_infer.roofline.what_if import WhatIf, largest_batch, memory_bytes, scaled, turning_batch, what_if
from pyperf_infer.roofline.work.count import count

if TYPE_CHECKING:
    from pyperf_infer.models.spec import InputSpec, ModelStructure
    from pyperf_infer.results.schema import Document, Result
    from pyperf_infer.roofline.work.counts import ModelWork

_FLOAT_BYTES = {"float16": 2, "bfloat16": 2, "float8": 1, "int8": 1}


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
    found = [_linked(device_of(one, Path(one)), asked.interconnect) for one in asked.devices]
    devices = list({one.name: one for one in found}.values())
    for device in devices:
        device.peak(asked.precision)  # before anything is counted
    document = None if asked.measured is None else read_document(asked.measured)
    given = parse_shapes(asked.shapes)
    structure = resolve(asked.model).structure(shapes=given or None)
    open_batch = any(_is_open(spec) for spec in structure.inputs)
    if asked.gpus and not open_batch:
        raise InputError(
            f"{asked.model}: its batch is fixed, so that it cannot be split over several GPUs; leave out --gpus."
        )

    @cache
    def counted(batch: int | None) -> ModelWork:
        whole = resolve_shapes(structure.inputs, None if given else batch, given or None, drawn=False)
        if given and batch is not None:  # --shape says all but how many
            whole |= {one.name: (batch, *whole[one.name][1:]) for one in structure.inputs if _is_open(one)}
        return count(structure, whole, float_bytes=_FLOAT_BYTES.get(asked.precision))

    runs = []
    for asked_batch in dict.fromkeys(asked.batch_sizes):
        batch = 1 if asked_batch is None and open_batch and not given else asked_batch
        if given and batch is not None:
            resolve_shapes(structure.inputs, batch, given, drawn=False)  # refuses two batches that contradict
        work = counted(batch)
        for device in devices:
            run = _run(asked, structure, what_if(work, device, asked.precision), device, document)
            if open_batch:
                run = _with_batches(run, asked, device, counted)
            runs.append(run)
    return runs


def _is_open(spec: InputSpec) -> bool:
    """Whether its first dimension is left open."""
    return bool(spec.shape) and not isinstance(spec.shape[0], int)


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
    shapes = {name: list(shape) for name, shape in work.shapes.items()}
    measured_ms = None if document is None else _measured_ms(document, asked, shapes, device)
    return ModelledRun(
        model=asked.model,
        batch_size=batch,
        shapes=shapes,
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
    with suppress(InputError):  # a module with weights may not take the batches that this asks for
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


def _measured_ms(document: Document, asked: Asked, shapes: Mapping[str, Sequence[int]], device: Device) -> float | None:
    """The shortest median of a call among rows of the same; None where there is none on such a device."""
    wanted = (asked.model, dict(shapes), asked.precision)
    found = [
        timing.p50_ms
        for row in document.results
        if row.error is None
        and (row.subject.model, row.subject.shapes, row.subject.precision) == wanted
        and device.name in _names_of(row)
        and (timing := row.summary.gpu or row.summary.latency) is not None
    ]
    return min(found, default=None)


def _names_of(row: Result) -> set[str]:
    """Of the GPU that ran it: the driver's and the table's."""
    if row.method.gpu is None:
        return set()
    peaks = peaks_of(row.method.gpu.device_name)
    return {row.method.gpu.device_name, *([peaks.name] if peaks else [])}
