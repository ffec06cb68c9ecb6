# SPDX-License-Identifier: Apache-2.0
"""Counts in the form in which they are printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from pyperf_infer.models.shapes import batch_of
from pyperf_infer.results.count_schema import CountedModel, CountedOperation

if TYPE_CHECKING:
    from pyperf_infer.models.spec import InputSpec
    from pyperf_infer.roofline.work.counts import ModelWork


def counted_model(work: ModelWork, inputs: Sequence[InputSpec], *, per_op: bool) -> CountedModel:
    """`inputs` are the model's, which tell what of the shapes is the batch."""
    return CountedModel(
        model=work.model,
        batch_size=batch_of(inputs, work.shapes),
        shapes={name: list(shape) for name, shape in work.shapes.items()},
        macs=work.macs,
        flops_model=work.flops_model,
        flops_all=work.flops_all,
        fvcore_flops=work.fvcore_flops,
        params=work.params,
        activations=work.activations,
        bytes_min_model=work.bytes_min_model,
        bytes_min_layer=work.bytes_min_layer,
        unknown_ops=[op for op, _ in work.unknown_ops.most_common()],
        ops=_operations(work) if per_op else UNSET,
    )


def _operations(work: ModelWork) -> list[CountedOperation]:
    return [
        CountedOperation(
            op=one.op,
            name=one.name,
            kind=one.work.kind,
            macs=one.work.macs,
            flops_model=2 * one.work.macs,
            flops_all=2 * one.work.macs + one.work.other_flops,
            fvcore_flops=one.work.macs + one.work.fvcore_other_flops,
            activations=one.work.activations,
            kernel=number,
            kernel_bytes=kernel.read_bytes + kernel.written_bytes if place == 0 else 0,
        )
        for number, kernel in enumerate(work.kernels)
        for place, one in enumerate(kernel.operations)
    ]
