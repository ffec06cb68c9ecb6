# SPDX-License-Identifier: Apache-2.0
"""Nodes of ONNX's own in place of ONNX Runtime's, so that ONNX's inference finds the shapes of what comes out.

They are made for the shapes and the element types alone and are never run: an activation is left out, a mask, a scale,
and whatever else changes values. Results keep their names. A node for which there is nothing here stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

_CONVOLUTION = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
_POOLING = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")
_CAST_LIKE = 15  # the opset that has it first
_BLOCKED_RANK = 4  # the blocked layout is of two dimensions alone


@dataclass
class _Made:
    """What stands in for one node: nodes, and constants that they take."""

    node: onnx.NodeProto
    sizes: Mapping[str, Sequence[int]]  # of initializers and of the model's inputs
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    shapes: list[onnx.ValueInfoProto] = field(default_factory=list)  # of tensors that nobody makes

    def attribute(self, name: str, default: Any = None) -> Any:
        for one in self.node.attribute:
            if one.name == name:
                found = helper.get_attribute_value(one)
                return found.decode() if isinstance(found, bytes) else found
        return default

    def kept(self, names: Sequence[str]) -> dict[str, Any]:
        found = {name: self.attribute(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def input(self, place: int) -> str:
        return self.node.input[place] if place < len(self.node.input) else ""

    def output(self, place: int = 0) -> str:
        return self.node.output[place] if place < len(self.node.output) else ""

    def temporary(self) -> str:
        return f"{self.node.output[0]} stand-in {len(self.nodes) + len(self.constants) + len(self.shapes)}"

    def add(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        made = self.temporary() if output is None else output
        self.nodes.append(helper.make_node(op, list(inputs), [made], **attributes))
        return made

    def cast_like(self, name: str, like: str, output: str) -> None:
        """Of its type, where the file's operators are recent enough to say so."""
        if self.opset < _CAST_LIKE:
            self.add("Identity", [name], output)
        else:
            self.add("CastLike", [name, like], output)

    def constant(self, *values: int) -> str:
        import numpy as np

        name = self.temporary()
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def turned(self, name: str, rank: int, *, back: bool = False, output: str | None = None) -> str:
        """Channels from the last place to the second, or back."""
        first = [0, rank - 1, *range(1, rank - 1)]
        last = [0, *range(2, rank), 1]
        return self.add("Transpose", [name], output, perm=last if back else first)


_StandIn = Callable[[_Made], None]


def _convolution(weight: int, *, last: bool | None = None) -> _StandIn:
    """`weight`: the input at that place. `last`: channels come last; None where an attribute says so."""

    def make(made: _Made) -> None:
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


def _pooling(op: str, *, last: bool | None = None) -> _StandIn:
    def make(made: _Made) -> None:
        turned = bool(made.attribute("channels_last", 0)) if last is None else last
        kernel = made.attribute("kernel_shape")
        rank = len(kernel) + 2 if kernel else _BLOCKED_RANK
        source = made.turned(made.input(0), rank) if turned else made.input(0)
        attributes = made.kept(_POOLING) if kernel else {}
        result = made.add(op, [source], None if turned else made.output(), **attributes)
        if turned:
            made.turned(result, rank, back=True, output=made.output())

    return make


def _like(op: str, *places: int, keep: Sequence[str] = ()) -> _StandIn:
    """Operator `op` of the inputs at these places."""

    def make(made: _Made) -> None:
        made.add(op, [made.input(place) for place in places], made.output(), **made.kept(keep))

    return make


def _of_type(op: str, like: int, *places: int, keep: Sequence[str] = ()) -> _StandIn:
    """The same, with elements of the type that input `like` has; float32 where that is left out."""

    def make(made: _Made) -> None:
        result = made.add(op, [made.input(place) for place in places], **made.kept(keep))
        if made.input(like):
            made.cast_like(result, made.input(like), made.output())
        else:
            made.add("Cast", [result], made.output(), to=TensorProto.FLOAT)

    return make


def _matmul(made: _Made) -> None:
    if made.attribute("transBatchA", 0) or made.attribute("transBatchB", 0):
        return
    left = "...ki" if made.attribute("transA", 0) else "...ik"
    right = "...jk" if made.attribute("transB", 0) else "...kj"
    if left == "...ik" and right == "...kj":
        made.add("MatMul", [made.input(0), made.input(1)], made.output())  # which takes vectors
    else:
        made.add("Einsum", [made.input(0), made.input(1)], made.output(), equation=f"{left},{right}->...ij")


def _skip_norm(made: _Made) -> None:
    """Outputs: the norm, its statistics, which inference leaves out, and the sum that it is of."""
    made.add("Identity", [made.input(0)], made.output())
    if made.output(3):
        made.add("Identity", [made.input(0)], made.output(3))


def _embedding(made: _Made) -> None:
    made.add("Gather", [made.input(2), made.input(0)], made.output())
    if made.output(1):  # how many tokens of each text the mask leaves
        of_each = made.add("ArgMax", [made.input(0)], axis=1, keepdims=0)
        made.add("Cast", [of_each], made.output(1), to=TensorProto.INT32)
    if made.output(2):
        made.add("Gather", [made.input(2), made.input(0)], made.output(2))


def _attention(like: int) -> _StandIn:
    """Of one input: (batch, tokens, in) x (in, 3 x width), and of that the last width, the values'."""

    def make(made: _Made) -> None:
        sizes = made.attribute("qkv_hidden_sizes")
        weight = made.sizes.get(made.input(1), ())
        width = int(sizes[2]) if sizes else int(weight[1]) // 3 if len(weight) == 2 else 0
        if not width:
            return
        projected = made.add("MatMul", [made.input(0), made.input(1)])
        values = made.add("Slice", [projected, made.constant(0), made.constant(width), made.constant(2)])
        made.cast_like(values, made.input(like), made.output())

    return make


def _multi_head(made: _Made) -> None:
    if made.input(1) and made.input(2):
        # Values are (batch, tokens, width), or (batch, heads, tokens, width of a head) where they were kept.
        rank = len(made.sizes.get(made.input(2), ())) or 3
        if rank == 3:
            made.add("Einsum", [made.input(0), made.input(2)], made.output(), equation="bsh,blv->bsv")
    elif made.input(1):  # packed keys and values, whose width is the queries'
        made.add("Identity", [made.input(0)], made.output())
    else:  # (batch, tokens, heads, 3, width of a head)
        queries = made.add("Slice", [made.input(0), made.constant(0), made.constant(1), made.constant(3)])
        made.add("Reshape", [queries, made.constant(0, 0, -1)], made.output())


def _grouped(made: _Made) -> None:
    if made.input(1):
        made.add("Identity", [made.input(0)], made.output())
        return
    heads = int(made.attribute("num_heads"))
    everything = heads + 2 * int(made.attribute("kv_num_heads"))
    apart = made.add("Reshape", [made.input(0), made.constant(0, 0, everything, -1)])
    queries = made.add("Slice", [apart, made.constant(0), made.constant(heads), made.constant(2)])
    made.add("Reshape", [queries, made.constant(0, 0, -1)], made.output())


def _by_columns(made: _Made) -> None:
    """Weights in blocks of few bits, of which attributes say the size."""
    rows, columns = made.attribute("K"), made.attribute("N")
    if not rows or not columns:
        return
    name = made.temporary()
    made.shapes.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, columns]))
    product = made.add("MatMul", [made.input(0), name])
    made.cast_like(product, made.input(0), made.output())


def _lstm(made: _Made) -> None:
    attributes = made.kept(("direction", "hidden_size"))
    outputs = [made.output(place) for place in range(3)]
    made.nodes.append(helper.make_node("LSTM", [made.input(place) for place in range(3)], outputs, **attributes))


def _concatenated(made: _Made) -> None:
    made.add("Concat", list(made.node.input[2::3]), made.output(), axis=made.attribute("axis"))


def _reorder_input(made: _Made) -> None:
    if made.attribute("channels_last", 0):
        made.turned(made.input(0), _BLOCKED_RANK, output=made.output())
    else:
        made.add("Identity", [made.input(0)], made.output())


def _reorder_output(made: _Made) -> None:
    """Without the channels that fill up the last block."""
    turned = bool(made.attribute("channels_last", 0))
    bounds = [made.constant(0), made.constant(int(made.attribute("channels"))), made.constant(1)]
    real = made.add("Slice", [made.input(0), *bounds], None if turned else made.output())
    if turned:
        made.turned(real, _BLOCKED_RANK, back=True, output=made.output())


def _upsample(made: _Made) -> None:
    import numpy as np

    scales = made.temporary()
    made.constants.append(numpy_helper.from_array(np.array(made.attribute("scales"), np.float32), scales))
    made.add("Resize", [made.input(0), "", scales], made.output())


_FIRST = _like("Identity", 0)
_MICROSOFT: dict[str, _StandIn] = {
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
    "Attention": _attention(0),
    "QAttention": _attention(3),
    "MultiHeadAttention": _multi_head,
    "GroupQueryAttention": _grouped,
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
    "QuantizeLinear": _like("QuantizeLinear", 0, 1, 2, keep=("axis",)),
    "DequantizeLinear": _like("DequantizeLinear", 0, 1, 2, keep=("axis",)),
}  # fmt: skip
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
_STAND_INS: Mapping[str, Mapping[str, _StandIn]] = {
    "com.microsoft": _MICROSOFT,
    "com.microsoft.nchwc": {
        "Conv": _convolution(1, last=False),
        **{name: _pooling(name, last=False) for name in _POOLS},
        "Upsample": _upsample,
        "ReorderInput": _reorder_input,
        "ReorderOutput": _reorder_output,
    },
    "com.ms.internal.nhwc": {
        **dict.fromkeys(("Conv", "FusedConv"), _convolution(1, last=True)),
        "QLinearConv": _convolution(3, last=True),
        **{name: _pooling(name, last=True) for name in _POOLS},
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
        made = _Made(node, sizes, opset)
        if make is not None:
            make(made)
        changed.graph.node.extend(made.nodes or [node])
        changed.graph.initializer.extend(made.constants)
        changed.graph.input.extend(made.shapes)
    return changed
