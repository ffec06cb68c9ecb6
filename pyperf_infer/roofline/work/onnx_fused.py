# SPDX-License-Identifier: Apache-2.0
"""The work of the operators that ONNX Runtime adds, and of those that its optimisers put in place of ONNX's.

What each takes and gives is from ONNX Runtime's own definitions: docs/ContribOperators.md for com.microsoft,
core/graph/contrib_ops/nhwc_schema_defs.cc and nchwc_schema_defs.cc for the layouts. A fused operator counts as its
parts do, so that optimising a file changes no `macs`; but in the blocked layout (com.microsoft.nchwc) channels are
filled up to a whole block, and what is computed of the filling counts, as padding does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import COPY, Shape, Value, Work
from pyperf_infer.roofline.work.onnx_attention import grouped, merged, multi_head
from pyperf_infer.roofline.work.onnx_formulas import (
    Attributes,
    Formula,
    Operands,
    each,
    gemm,
    needed,
    optional,
    pooling,
    product,
    softmax,
)

MICROSOFT = "com.microsoft."
BLOCKED = "com.microsoft.nchwc."
INTERNAL = "com.ms.internal.nhwc."


def channels_first(shape: Shape) -> Shape:
    return (*shape[:1], *shape[-1:], *shape[1:-1])


def _plus(work: Work, flops: int) -> Work:
    return replace(work, other_flops=work.other_flops + flops)


def _activated(work: Work, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """One more an output where an activation is part of it."""
    return _plus(work, outputs[0].count if attributes.get("activation") else 0)


def _convolution(weight: int, bias: int, *, added: int | None = None, last: bool | None = None) -> Formula:
    """With an activation, and a tensor that is added, the input at that position. `last`: channels come last; None
    where an attribute says so. Weights are (Cout, Cin/g, k...) in every layout."""

    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        turned = bool(attributes.get("channels_last")) if last is None else last
        source, result = needed(inputs, 0).shape, outputs[0].shape
        work = formulas.convolution(
            channels_first(source) if turned else source,
            needed(inputs, weight).shape,
            channels_first(result) if turned else result,
            bias=optional(inputs, bias) is not None,
        )
        sums = outputs[0].count if added is not None and optional(inputs, added) is not None else 0
        return _plus(_activated(work, outputs, attributes), sums)

    return formula


def _matmul(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.FusedMatMul: the last two dimensions of A, or all but the last, may stand the other way round; and
    alpha, a factor of every output."""
    left = needed(inputs, 0).shape
    inner = left[-1]
    if attributes.get("transA") and len(left) > 1:  # with transBatchA the inner dimension stands in front
        inner = left[0] if attributes.get("transBatchA") else left[-2]
    scaled = attributes.get("alpha", 1.0) != 1.0
    return _plus(formulas.matmul((inner,), outputs[0].shape), outputs[0].count if scaled else 0)


def _gemm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    return _activated(gemm(inputs, outputs, attributes), outputs, attributes)


def _qgemm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    left = needed(inputs, 0).shape
    inner = left[0] if attributes.get("transA") else left[1]
    return formulas.matmul((inner,), outputs[0].shape, bias=optional(inputs, 6) is not None)


def _integer_matmul(bias: int) -> Formula:
    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        return formulas.matmul(needed(inputs, 0).shape, outputs[0].shape, bias=optional(inputs, bias) is not None)

    return formula


def _lstm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.DynamicQuantizeLSTM: its matrices are (directions, in, 4 x units), the other way round."""
    steps = math.prod(needed(inputs, 0).shape[:2])
    directions, inner, rows = needed(inputs, 1).shape
    hidden = rows // formulas.GATES["lstm"]
    elements = rows * inner + math.prod(needed(inputs, 2).shape[1:])
    return formulas.recurrent(
        "lstm", steps, [(elements, hidden, hidden)] * directions, bias=optional(inputs, 3) is not None
    )


def _embedding(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.EmbedLayerNormalization: rows of two or three tables, their sum, and a layer norm of it."""
    count = outputs[0].count
    segments = optional(inputs, 4)
    read = {place: math.ceil(count * needed(inputs, place).item_bytes) for place in ((2, 3, 4) if segments else (2, 3))}
    sums = 2 if segments is not None else 1
    present = [place for place, one in enumerate(inputs) if one is not None]
    return Work(
        "normalisation",
        other_flops=(formulas.OWN_STATISTICS + sums) * count,
        fvcore_other_flops=5 * count,
        read_bytes={present.index(place): size for place, size in read.items()},
    )


def _group_norm(*, skip: bool) -> Formula:
    """com.microsoft.GroupNorm (1: an activation, SiLU) and SkipGroupNorm (input 3 is added, input 4 a bias)."""

    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        count = needed(inputs, 0).count
        sums = (1 + (optional(inputs, 4) is not None)) if skip else 0
        price = formulas.OWN_STATISTICS + sums + bool(attributes.get("activation"))
        return Work("normalisation", other_flops=price * count, fvcore_other_flops=5 * count)

    return formula


def _gelu(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """With a bias where there is a second input."""
    return formulas.elementwise(outputs[0].shape, 1 + (optional(inputs, 1) is not None))


def _bias_softmax(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    return formulas.reduction(outputs[0].shape, formulas.SOFTMAX + 1)


def _reduction(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    return formulas.reduction(needed(inputs, 0).shape)


def _upsample(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.nchwc.Upsample, over two dimensions."""
    linear = attributes.get("mode", "nearest") == "linear"
    return formulas.interpolation(outputs[0].shape, 4 if linear else 1, fvcore=4 if linear else 1)


def _copy(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    return COPY


FUSED: Mapping[str, Formula] = {
    **{
        MICROSOFT + name: formula
        for name, formula in {
            "FusedConv": _convolution(1, 2, added=3),
            "NhwcConv": _convolution(1, 2, last=True),
            "NhwcFusedConv": _convolution(1, 2, added=3, last=True),
            "QLinearConv": _convolution(3, 8),
            "NhwcMaxPool": pooling,
            "FusedMatMul": _matmul,
            "TransposeMatMul": _matmul,
            "FusedGemm": _gemm,
            "QGemm": _qgemm,
            "DynamicQuantizeMatMul": _integer_matmul(4),
            "MatMulIntegerToFloat": _integer_matmul(6),
            "MatMulNBits": _integer_matmul(5),
            "MatMulBnb4": product,
            "MatMulFpQ4": product,
            "Attention": merged(3, 4, 5),
            "QAttention": merged(5, 8),
            "MultiHeadAttention": multi_head,
            "GroupQueryAttention": grouped,
            "DynamicQuantizeLSTM": _lstm,
            "EmbedLayerNormalization": _embedding,
            "GroupNorm": _group_norm(skip=False),
            "SkipGroupNorm": _group_norm(skip=True),
            "BiasSoftmax": _bias_softmax,
            **dict.fromkeys(("QLinearAdd", "QLinearMul", "QLinearWhere"), each(1)),
            **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu"), each(1)),
            **dict.fromkeys(("BiasGelu", "FastGelu"), _gelu),
            "QLinearSoftmax": softmax,
            "QLinearAveragePool": pooling,
            "QLinearGlobalAveragePool": _reduction,
            "QLinearReduceMean": _reduction,
            "QLinearConcat": _copy,
        }.items()
    },
    BLOCKED + "Conv": _convolution(1, 2, added=3, last=False),
    **{BLOCKED + name: pooling for name in ("MaxPool", "AveragePool")},
    **{BLOCKED + name: _reduction for name in ("GlobalAveragePool", "GlobalMaxPool")},
    BLOCKED + "Upsample": _upsample,
    BLOCKED + "ReorderInput": _copy,
    BLOCKED + "ReorderOutput": _copy,
    INTERNAL + "Conv": _convolution(1, 2, last=True),
    INTERNAL + "QLinearConv": _convolution(3, 8, last=True),
    **{INTERNAL + name: pooling for name in ("MaxPool", "AveragePool", "LpPool")},
    **{INTERNAL + name: _reduction for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")},
}  # fmt: skip
