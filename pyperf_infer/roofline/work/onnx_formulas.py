# SPDX-License-Identifier: Apache-2.0
"""The work of ONNX's operators, and of those that ONNX Runtime adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyperf_infer.roofline.work import formulas
from pyperf_infer.roofline.work.counts import COPY, UNKNOWN, VIEW, Value, Work

Attributes = Mapping[str, Any]
Operands = Sequence[Value | None]  # None where an optional input is left out
_Formula = Callable[[Operands, Sequence[Value], Attributes], Work]

CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_VIEWS = frozenset(
    """
    Constant ConstantOfShape Dropout Flatten Identity Range Reshape Shape Size Squeeze Unsqueeze OptionalGetElement
    """.split()
)
_COPIES = frozenset(
    """
    Cast CastLike CenterCropPad Concat DepthToSpace Expand EyeLike OneHot Pad
    RandomNormal RandomNormalLike RandomUniform RandomUniformLike ReverseSequence ScatterElements ScatterND
    SpaceToDepth Split Tile Transpose TensorScatter Trilu
    """.split()
)  # fmt: skip
_ELEMENTWISE = frozenset(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BiasGelu BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Ceil Celu
    Clip Cos Cosh Div Elu Equal Erf Exp FastGelu Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN
    LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow QuickGelu Reciprocal Relu Round Selu
    Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
    """.split()
)
_REDUCTIONS = frozenset(
    """
    ArgMax ArgMin CumSum CumProd GlobalAveragePool GlobalMaxPool ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare
    """.split()
)
_NEIGHBOURS = {"linear": 2, "cubic": 4}  # in each dimension that changes


def onnx_work(op: str, inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """Of one node. `op` is its type, with its domain in front where that is not ONNX's own."""
    domain, _, name = op.rpartition(".")
    if domain not in ("", "com.microsoft"):  # whose operators may have the names of these and do something else
        return UNKNOWN
    formula = _ort_attention if op == "com.microsoft.Attention" else _FORMULAS.get(name)
    if formula is not None:
        return formula(inputs, outputs, attributes)
    if name in _VIEWS:
        return VIEW
    if name in _COPIES:
        return COPY
    if name in _ELEMENTWISE:
        return formulas.elementwise(outputs[0].shape)
    first = next((one for one in inputs if one is not None), None)
    if first is not None and name in _REDUCTIONS:
        return formulas.reduction(first.shape)
    return UNKNOWN


def _needed(inputs: Operands, place: int) -> Value:
    found = _optional(inputs, place)
    if found is None:
        raise ValueError(f"input {place} is missing")
    return found


def _optional(inputs: Operands, place: int) -> Value | None:
    return inputs[place] if place < len(inputs) else None


def _convolution(weight: int, bias: int, *, transposed: bool = False) -> _Formula:
    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        if attributes.get("channels_last"):
            return UNKNOWN
        return formulas.convolution(
            _needed(inputs, 0).shape,
            _needed(inputs, weight).shape,
            outputs[0].shape,
            transposed=transposed,
            bias=_optional(inputs, bias) is not None,
        )

    return formula


def _matmul(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    left = _needed(inputs, 0).shape
    return formulas.matmul(left[:-2] + left[-2:][::-1] if attributes.get("transA") else left, outputs[0].shape)


def _gemm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    left = _needed(inputs, 0).shape
    inner = left[0] if attributes.get("transA") else left[1]
    return formulas.matmul((inner,), outputs[0].shape, bias=_optional(inputs, 2) is not None)


def _qgemm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    left = _needed(inputs, 0).shape
    return formulas.matmul((left[0] if attributes.get("transA") else left[1],), outputs[0].shape)


def _product(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.matmul(_needed(inputs, 0).shape, outputs[0].shape)


def _einsum(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    shapes = [one.shape for one in inputs if one is not None]
    return formulas.einsum(attributes["equation"], shapes)


def _recurrent(kind: str) -> _Formula:
    def formula(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
        steps = math.prod(_needed(inputs, 0).shape[:2])
        directions, rows, inner = _needed(inputs, 1).shape
        hidden = rows // formulas.GATES[kind]
        each = rows * inner + math.prod(_needed(inputs, 2).shape[1:])
        layers = [(each, hidden, hidden)] * directions
        return formulas.recurrent(kind, steps, layers, bias=_optional(inputs, 3) is not None)

    return formula


def _attention(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """ONNX's own: heads stand in a dimension of their own, or beside each other and their number in attributes. What
    was computed for earlier tokens counts among the keys."""
    query, key, value = (_needed(inputs, place).shape for place in range(3))
    past = _optional(inputs, 4)
    earlier = past.shape[2] if past is not None else 0
    masked = bool(attributes.get("is_causal")) or _optional(inputs, 3) is not None
    if len(query) == 4:
        return formulas.attention(query, key[2] + earlier, value[3], masked=masked)
    heads = int(attributes["q_num_heads"])
    each = value[2] // int(attributes["kv_num_heads"])
    return formulas.attention((query[0], heads, query[1], query[2] // heads), key[1] + earlier, each, masked=masked)


def _ort_attention(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.Attention: the three projections of one input, and the attention of its heads."""
    source, weight = _needed(inputs, 0).shape, _needed(inputs, 1).shape
    bias = _optional(inputs, 2) is not None
    sizes = attributes.get("qkv_hidden_sizes") or [weight[1] // 3] * 3
    heads = int(attributes["num_heads"])
    past = _optional(inputs, 4)
    earlier = past.shape[3] if past is not None and len(past.shape) == 5 else 0
    projected = formulas.matmul(source, (*source[:2], weight[1]), bias=bias)
    core = formulas.attention(
        (source[0], heads, source[1], sizes[0] // heads), source[1] + earlier, sizes[2] // heads,
        masked=bool(attributes.get("unidirectional")) or _optional(inputs, 3) is not None,
    )  # fmt: skip
    return _together(projected, core)


def _together(*parts: Work) -> Work:
    return Work(
        "matrix",
        sum(one.macs for one in parts),
        other_flops=sum(one.other_flops for one in parts),
        activations=sum(one.activations for one in parts),
    )


def _multi_head(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """com.microsoft.MultiHeadAttention and GroupQueryAttention: projected already, packed into one or not."""
    query = _needed(inputs, 0).shape
    key, value = _optional(inputs, 1), _optional(inputs, 2)
    heads = int(attributes["num_heads"])
    shared = int(attributes.get("kv_num_heads", heads))
    past = _optional(inputs, 3) if "kv_num_heads" in attributes else _optional(inputs, 6)
    earlier = past.shape[2] if past is not None and len(past.shape) == 4 else 0
    masked = "kv_num_heads" in attributes or bool(attributes.get("unidirectional"))
    if key is not None and len(key.shape) == 5:  # keys and values in one, heads in front of the two
        width = query[-1] // heads
        return formulas.attention((query[0], heads, query[1], width), key.shape[1] + earlier, width, masked=masked)
    if key is None or value is None:
        width = math.prod(query[2:]) // (heads + 2 * shared)
        return formulas.attention((query[0], heads, query[1], width), query[1] + earlier, width, masked=masked)
    width = query[-1] // heads if len(query) == 3 else query[-1]
    keys = key.shape[2] if len(key.shape) == 4 else key.shape[1]
    each = value.shape[-1] if len(value.shape) == 4 else value.shape[-1] // shared
    return formulas.attention((query[0], heads, query[1], width), keys + earlier, each, masked=masked)


def _batch_norm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    price = formulas.OWN_STATISTICS if attributes.get("training_mode") else formulas.KNOWN_STATISTICS
    return formulas.normalisation(_needed(inputs, 0).shape, affine=True, price=price)


def _own_norm(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.normalisation(_needed(inputs, 0).shape, affine=_optional(inputs, 1) is not None)


def _rms_norm(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.normalisation(_needed(inputs, 0).shape, affine=True, price=formulas.RMS, fvcore=False)


def _skip_norm(price: int, *, bias: int, fvcore: int) -> _Formula:
    """A sum before it, and perhaps a bias, the input at that position."""

    def formula(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
        count = _needed(inputs, 0).count
        sums = 1 + (_optional(inputs, bias) is not None)
        return Work("normalisation", other_flops=(price + sums) * count, fvcore_other_flops=fvcore * count)

    return formula


def _pooling(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    return formulas.pooling(outputs[0].shape, math.prod(attributes["kernel_shape"]))


def _softmax(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    return formulas.reduction(outputs[0].shape, formulas.SOFTMAX)


def _local_norm(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    """Local response: a square, a sum of neighbours, a power, a product."""
    return formulas.elementwise(outputs[0].shape, int(attributes["size"]) + 4)


def _resize(inputs: Operands, outputs: Sequence[Value], attributes: Attributes) -> Work:
    mode = attributes.get("mode", "nearest")
    before, after = _needed(inputs, 0).shape, outputs[0].shape
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
    return formulas.gather(math.ceil(outputs[0].count * _needed(inputs, 0).item_bytes))


def _dequantise(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    """Whoever needs its result reads what it is made of, and computes it on the way."""
    return Work("view", other_flops=2 * outputs[0].count)


def _part(inputs: Operands, outputs: Sequence[Value], _: Attributes) -> Work:
    """Reads what it hands on."""
    return formulas.gather(outputs[0].size_bytes)


def _each(price: int) -> _Formula:
    return lambda _inputs, outputs, _attributes: formulas.elementwise(outputs[0].shape, price)


_FORMULAS: Mapping[str, _Formula] = {
    "Conv": _convolution(1, 2),
    "FusedConv": _convolution(1, 2),
    "ConvInteger": _convolution(1, 99),
    "QLinearConv": _convolution(3, 8),
    "ConvTranspose": _convolution(1, 2, transposed=True),
    "DeformConv": _convolution(1, 3),
    "MatMul": _product,
    "FusedMatMul": _matmul,
    **dict.fromkeys(("MatMulInteger", "QLinearMatMul", "MatMulNBits", "DynamicQuantizeMatMul"), _product),
    "MatMulIntegerToFloat": _product,
    **dict.fromkeys(("Gemm", "FusedGemm"), _gemm),
    "Einsum": _einsum,
    "LSTM": _recurrent("lstm"),
    "GRU": _recurrent("gru"),
    "RNN": _recurrent("rnn"),
    "Attention": _attention,
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention"), _multi_head),
    "BatchNormalization": _batch_norm,
    **dict.fromkeys(("LayerNormalization", "GroupNormalization", "InstanceNormalization"), _own_norm),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization"), _rms_norm),
    "SkipLayerNormalization": _skip_norm(formulas.OWN_STATISTICS, bias=4, fvcore=5),
    "SkipSimplifiedLayerNormalization": _skip_norm(formulas.RMS, bias=3, fvcore=0),
    "LpNormalization": _each(3),
    "MeanVarianceNormalization": _own_norm,
    "LRN": _local_norm,
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooling),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    "Resize": _resize,
    "Upsample": _resize,
    "GridSample": _grid_sample,
    "Gather": _gather,
    "QGemm": _qgemm,
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _each(1)),
    **dict.fromkeys(("QLinearSigmoid", "QLinearLeakyRelu"), _each(1)),
    "QLinearSoftmax": _softmax,
    "QLinearAveragePool": _pooling,
    "QLinearGlobalAveragePool": lambda inputs, _outputs, _attributes: formulas.reduction(_needed(inputs, 0).shape),
    "QLinearConcat": lambda _inputs, _outputs, _attributes: COPY,
    "QuantizeLinear": _each(2),
    "DequantizeLinear": _dequantise,
    **dict.fromkeys(("Slice", "GatherND", "GatherElements"), _part),
    "DynamicQuantizeLinear": _each(4),
}
