# SPDX-License-Identifier: Apache-2.0
"""Nodes of ONNX's own in place of ONNX Runtime's, so that ONNX's inference finds the shapes of what comes out.

They are made for the shapes and the element types alone and are never run: an activation is left out, a mask, a scale,
and whatever else changes values. Results keep their names. A node for which there is nothing here stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper, numpy_helper

from pyperf_infer.roofline.work.onnx_made import Made, StandIn
from pyperf_infer.roofline.work.onnx_made_attention import grouped, merged, multi_head

_CONVOLUTION = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOLING = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
_AXES_ARE_INPUTS = 18  # of a reduction, from this opset on
_BLOCKED_RANK = 4  # the blocked layout is of two dimensions alone


def _convolution(weight: int, *, last: bool | None = None) -> StandIn:
    """`weight`: the input at that place. `last`: channels come last; None where an attribute says so."""

    def make(made: Made) -> None:
        turned = bool(made.attribute("channels_last", 0)) if last is None else last
        source = made.input(0)
        rank = len(made.sizes.get(made.input(weight), ()))
        if turned and not rank:
            return
        source = made.turned(source, rank) if turned else source
        result = made.add(
            "Conv", [source, made.input(weight)], None if turned else made.output(), **made.kept(_CONVOLUTION)
        )
        if turned:
            made.turned(result, rank, back=True, output=made.output())

    return make


def _pooling(op: str, *, last: bool | None = None) -> StandIn:
    def make(made: Made) -> None:
        turned = bool(made.attribute("channels_last", 0)) if last is None else last
        kernel = made.attribute("kernel_shape")
        rank = len(kernel) + 2 if kernel else _BLOCKED_RANK
        source = made.turned(made.input(0), rank) if turned else made.input(0)
        attributes = made.kept(_POOLING) if kernel else {}
        result = made.add(op, [source], None if turned else made.output(), **attributes)
        if turned:
            made.turned(result, rank, back=True, output=made.output())

    return make


def _like(op: str, *places: int, keep: Sequence[str] = ()) -> StandIn:
    """Operator `op` of the inputs at these places."""

    def make(made: Made) -> None:
        made.add(op, [made.input(place) for place in places], made.output(), **made.kept(keep))

    return make


def _of_type(op: str, like: int, *places: int, keep: Sequence[str] = ()) -> StandIn:
    """The same, with elements of the type that input `like` has; float32 where that is left out."""

    def make(made: Made) -> None:
        result = made.add(op, [made.input(place) for place in places], **made.kept(keep))
        if made.input(like):
            made.cast_like(result, made.input(like), made.output())
        else:
            made.add("Cast", [result], made.output(), to=TensorProto.FLOAT)

    return make


def _matmul(made: Made) -> None:
    """What stands the other way round is turned first, whatever its rank, and then as numpy broadcasts them. With
    transBatchA the first dimension of A is the last but one of the product's, before transA."""
    sides = []
    for place, side in enumerate("AB"):
        before = "i...k" if made.attribute(f"transBatch{side}", 0) else "...ik"
        after = "...ki" if made.attribute(f"trans{side}", 0) else "...ik"
        # A vector is never turned; of what is no weight the rank is not known here.
        flat = len(made.sizes.get(made.input(place), "unknown")) == 1
        turned = None if flat or before == after else f"{before}->{after}"
        sides.append(made.add("Einsum", [made.input(place)], equation=turned) if turned else made.input(place))
    made.add("MatMul", sides, made.output())


def _skip_norm(made: Made) -> None:
    """Outputs: the norm, its statistics, which inference leaves out, and the sum that it is of."""
    made.add("Identity", [made.input(0)], made.output())
    if made.output(3):
        made.add("Identity", [made.input(0)], made.output(3))


def _embedding(made: Made) -> None:
    made.add("Gather", [made.input(2), made.input(0)], made.output())
    if made.output(1):  # how many tokens of each text the mask leaves
        of_each = made.add("ArgMax", [made.input(0)], axis=1, keepdims=0)
        made.add("Cast", [of_each], made.output(1), to=TensorProto.INT32)
    if made.output(2):
        made.add("Gather", [made.input(2), made.input(0)], made.output(2))


def _by_columns(made: Made) -> None:
    """Weights in blocks of few bits, of which attributes say the size."""
    rows, columns = made.attribute("K"), made.attribute("N")
    if not rows or not columns:
        return
    name = made.temporary()
    made.shapes.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, columns]))
    product = made.add("MatMul", [made.input(0), name])
    made.cast_like(product, made.input(0), made.output())


def _by_shape(made: Made) -> None:
    """Weights in one piece, of which an input says the shape."""
    made.add("MatMul", [made.input(0), made.add("ConstantOfShape", [made.input(2)])], made.output())


def _mean(made: Made) -> None:
    axes, kept = made.attribute("axes"), made.kept(("keepdims",))
    if axes and made.opset >= _AXES_ARE_INPUTS:
        made.add("ReduceMax", [made.input(0), made.constant(*axes)], made.output(), **kept)
    else:
        made.add("ReduceMax", [made.input(0)], made.output(), **kept, **({"axes": axes} if axes else {}))


def _lstm(made: Made) -> None:
    attributes = made.kept(("direction", "hidden_size"))
    outputs = [made.output(place) for place in range(3)]
    made.nodes.append(helper.make_node("LSTM", [made.input(place) for place in range(3)], outputs, **attributes))


def _concatenated(made: Made) -> None:
    made.add("Concat", list(made.node.input[2::3]), made.output(), axis=made.attribute("axis"))


def _reorder_input(made: Made) -> None:
    if made.attribute("channels_last", 0):
        made.turned(made.input(0), _BLOCKED_RANK, output=made.output())
    else:
        made.add("Identity", [made.input(0)], made.output())


def _reorder_output(made: Made) -> None:
    """Without the channels that fill up the last block."""
    turned = bool(made.attribute("channels_last", 0))
    bounds = [made.constant(0), made.constant(int(made.attribute("channels"))), made.constant(1)]
    real = made.add("Slice", [made.input(0), *bounds], None if turned else made.output())
    if turned:
        made.turned(real, _BLOCKED_RANK, back=True, output=made.output())


def _upsample(made: Made) -> None:
    import numpy as np

    scales = made.temporary()
    made.constants.append(numpy_helper.from_array(np.array(made.attribute("scales"), np.float32), scales))
    made.add("Resize", [made.input(0), "", scales], made.output())


_FIRST = _like("Identity", 0)
_MICROSOFT: dict[str, StandIn] = {
    "FusedConv": _convolution(1, last=False),
    "NhwcConv": _convolution(1, last=True),
    "NhwcFusedConv": _convolution(1, last=True),
    "QLinearConv": _convolution(3),
    "NhwcMaxPool": _pooling("MaxPool", last=True),
    "FusedMatMul": _matmul,
    "TransposeMatMul": _matmul,
    "FusedGemm": _like("Gemm", 0, 1, keep=("transA", "transB")),
    "QGemm": _of_type("Gemm", 8, 0, 3, keep=("transA", "transB")),
    "DynamicQuantizeMatMul": _like("MatMul", 0, 1),
    "MatMulIntegerToFloat": _of_type("MatMul", 2, 0, 1),
    "MatMulNBits": _by_columns,
    "MatMulBnb4": _by_columns,
    "MatMulFpQ4": _by_shape,
    "Attention": merged(0, past=4),
    "QAttention": merged(3, past=8),
    "MultiHeadAttention": multi_head,
    "GroupQueryAttention": grouped,
    "DynamicQuantizeLSTM": _lstm,
    "EmbedLayerNormalization": _embedding,
    **dict.fromkeys(("SkipLayerNormalization", "SkipSimplifiedLayerNormalization"), _skip_norm),
    **dict.fromkeys(
        (
            "BiasGelu", "FastGelu", "QuickGelu", "Gelu", "RotaryEmbedding", "BiasSoftmax", "GroupNorm", "SkipGroupNorm",
            "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax",
        ),
        _FIRST,
    ),
    **dict.fromkeys(("QLinearAdd", "QLinearMul"), _like("Add", 0, 3)),
    "QLinearWhere": _like("Where", 0, 1, 4),
    "QLinearConcat": _concatenated,
    "QLinearAveragePool": _pooling("AveragePool"),
    "QLinearGlobalAveragePool": _pooling("GlobalAveragePool"),
    "QLinearReduceMean": _mean,
    "QuantizeLinear": _like("QuantizeLinear", 0, 1, 2, keep=("axis",)),
    "DequantizeLinear": _like("DequantizeLinear", 0, 1, 2, keep=("axis",)),
}  # fmt: skip
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
_STAND_INS: Mapping[str, Mapping[str, StandIn]] = {
    "com.microsoft": _MICROSOFT,
    "com.microsoft.nchwc": {
        "Conv": _convolution(1, last=False),
        **{name: _pooling(name, last=False) for name in _POOLS},
        "Upsample": _upsample,
        "ReorderInput": _reorder_input,
        "ReorderOutput": _reorder_output,
    },
    "com.ms.internal.nhwc": {
        "Conv": _convolution(1, last=True),
        "QLinearConv": _convolution(3, last=True),
        **{name: _pooling(name, last=True) for name in (*_POOLS, "LpPool", "GlobalLpPool")},
    },
}


def with_stand_ins(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model`, whose large weights have no content, that ONNX's inference gets through."""
    opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
    sizes = {one.name: list(one.dims) for one in model.graph.initializer}
    for one in model.graph.input:
        sizes.setdefault(one.name, [size.dim_value for size in one.type.tensor_type.shape.dim])
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.node[:]
    for node in model.graph.node:
        make = _STAND_INS.get(node.domain, {}).get(node.op_type)
        made = Made(node, sizes, opset)
        if make is not None:
            make(made)
        changed.graph.node.extend(made.nodes or [node])
        changed.graph.initializer.extend(made.constants)
        changed.graph.input.extend(made.shapes)
    return changed
