# SPDX-License-Identifier: Apache-2.0
"""The work of ONNX's operators that need a formula of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import Value, Work

Attributes = Mapping[str, Any]
Operands = Sequence[Value | None]  # None where an optional input is left out
Formula = Callable[[Operands, Sequence[Value], Attributes], Work]

_NEIGHBOURS = {"linear": 2, "cubic": 4}  # in each dimension that changes


def needed(inputs: Operands, place: int) -> Value:
    found = optional(inputs, place)
    if found is None:
        raise ValueError(f"input {place} is missing")
    return found


def optional(inputs: Operands, place: int) -> Value | None:
    return inputs[place] if place < len(inputs) else None


def _convolution(weight: int, bias: int, *, transposed: bool = False) -> Formula:
    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        return formulas.convolution(
            needed(inputs, 0).shape,
            needed(inputs, weight).shape,
            outputs[0].shape,
            transposed=transposed,
            bias=optional(inputs, bias) is not None,
        )

    return formula


def gemm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    left = needed(inputs, 0).shape
    inner = left[0] if attributes.get("transA") else left[1]
    return formulas.matmul((inner,), outputs[0].shape, bias=optional(inputs, 2) is not None)


def product(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.matmul(needed(inputs, 0).shape, outputs[0].shape)


def _einsum(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    shapes = [one.shape for one in inputs if one is not None]
    return formulas.einsum(attributes["equation"], shapes)


def _recurrent(kind: str) -> Formula:
    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        steps = math.prod(needed(inputs, 0).shape[:2])
        directions, rows, inner = needed(inputs, 1).shape
        hidden = rows // formulas.GATES[kind]
        each = rows * inner + math.prod(needed(inputs, 2).shape[1:])
        layers = [(each, hidden, hidden)] * directions
        return formulas.recurrent(kind, steps, layers, bias=optional(inputs, 3) is not None)

    return formula


def _attention(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """ONNX's own: heads stand in a dimension of their own, or beside each other and their number in attributes. What
    was computed for earlier tokens counts among the keys."""
    query, key, value = (needed(inputs, place).shape for place in range(3))
    past = optional(inputs, 4)
    earlier = past.shape[2] if past is not None else 0
    masked = bool(attributes.get("is_causal")) or optional(inputs, 3) is not None
    if len(query) == 4:
        return formulas.attention(query, key[2] + earlier, value[3], masked=masked)
    heads = int(attributes["q_num_heads"])
    each = value[2] // int(attributes["kv_num_heads"])
    return formulas.attention((query[0], heads, query[1], query[2] // heads), key[1] + earlier, each, masked=masked)


def _batch_norm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    price = formulas.OWN_STATISTICS if attributes.get("training_mode") else formulas.KNOWN_STATISTICS
    return formulas.normalisation(needed(inputs, 0).shape, affine=True, price=price)


def _own_norm(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.normalisation(needed(inputs, 0).shape, affine=optional(inputs, 1) is not None)


def _rms_norm(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.normalisation(needed(inputs, 0).shape, affine=True, price=formulas.RMS, fvcore=False)


def _skip_norm(price: int, *, bias: int, fvcore: int) -> Formula:
    """A sum before it, and perhaps a bias, the input at that position."""

    def formula(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
        count = needed(inputs, 0).count
        sums = 1 + (optional(inputs, bias) is not None)
        return Work("normalisation", other_flops=(price + sums) * count, fvcore_other_flops=fvcore * count)

    return formula


def pooling(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    return formulas.pooling(outputs[0].shape, math.prod(attributes["kernel_shape"]))


def softmax(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.reduction(outputs[0].shape, formulas.SOFTMAX)


def _local_norm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """Local response: a square, a sum of neighbours, a power, a product."""
    return formulas.elementwise(outputs[0].shape, int(attributes["size"]) + 4)


def _resize(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    mode = attributes.get("mode", "nearest")
    before, after = needed(inputs, 0).shape, outputs[0].shape
    changed = sum(one != other for one, other in zip(before, after, strict=True))
    neighbours: int = _NEIGHBOURS.get(mode, 1) ** changed
    flat = len(after) == 4
    fvcore = 4 if mode == "linear" and flat else 1 if mode == "nearest" and flat else 0
    return formulas.interpolation(after, neighbours, fvcore=fvcore)


def _grid_sample(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    spatial = len(outputs[0].shape) - 2
    mode = attributes.get("mode", "linear")
    per_dimension = 1 if mode == "nearest" else 4 if mode in ("cubic", "bicubic") else 2
    return formulas.interpolation(outputs[0].shape, per_dimension**spatial, fvcore=4)


def _gather(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.gather(math.ceil(outputs[0].count * needed(inputs, 0).item_bytes))


def _dequantise(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    """Whoever needs its result reads what it is made of, and computes it on the way."""
    return Work("view", other_flops=2 * outputs[0].count)


def _part(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    """Reads what it hands on."""
    return formulas.gather(outputs[0].size_bytes)


def each(price: int) -> Formula:
    return lambda _inputs, outputs, _attributes: formulas.elementwise(outputs[0].shape, price)


FORMULAS: Mapping[str, Formula] = {
    "Conv": _convolution(1, 2),
    "ConvInteger": _convolution(1, 99),
    "QLinearConv": _convolution(3, 8),
    "ConvTranspose": _convolution(1, 2, transposed=True),
    "DeformConv": _convolution(1, 3),
    "MatMul": product,
    **dict.fromkeys(("MatMulInteger", "QLinearMatMul"), product),
    "Gemm": gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent("lstm"),
    "GRU": _recurrent("gru"),
    "RNN": _recurrent("rnn"),
    "Attention": _attention,
    # Four products and two sums for each pair of elements (Su et al., "RoFormer", 2021).
    "RotaryEmbedding": each(3),
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "InstanceNormalization"), _own_norm),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization"), _rms_norm),
    "SkipLayerNormalization": _skip_norm(formulas.OWN_STATISTICS, bias=4, fvcore=5),
    "SkipSimplifiedLayerNormalization": _skip_norm(formulas.RMS, bias=3, fvcore=0),
    "LpNormalization": each(3),
    "MeanVarianceNormalization": _own_norm,
    "LRN": _local_norm,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), pooling),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), softmax),
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    "Gather": _gather,
    "QuantizeLinear": each(2),
    "DequantizeLinear": _dequantise,
    **dict.fromkeys(("Slice", "GatherND", "GatherElements"), _part),
    "DynamicQuantizeLinear": each(4),
}
