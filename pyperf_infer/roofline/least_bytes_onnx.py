# SPDX-License-Identifier: Apache-2.0
"""What an ONNX model must at least read and write in one call: a bound that is never too high.

As in least_work, only what an operator is known to read whole counts, and each initializer once. What a runtime may
work out when it loads the model, or fold into a neighbour (a BatchNormalization, a Mul with a constant), does not
count; nor do the branches of If and the bodies of loops and local functions. External data is not read.

The sizes of feature maps are not known here. A convolution is taken to read its whole kernel; on a map so small that
part of the kernel meets nothing but padding, a runtime might leave that part alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.roofline.least import LeastBytes
from pyperf_infer.roofline.onnx_elements import element_bits

if TYPE_CHECKING:
    import onnx

# Operators of ONNX, and those of ONNX Runtime's own: positions of the inputs that they read whole.
_READS: Mapping[str, tuple[int, ...]] = {
    "Conv": (0, 1, 2),
    "ConvTranspose": (0, 1, 2),
    "ConvInteger": (0, 1),
    "QLinearConv": (0, 3, 8),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearMatMul": (0, 3),
    "LayerNormalization": (0, 1, 2),
    "GroupNormalization": (0, 1, 2),
    "InstanceNormalization": (0, 1, 2),
    "RMSNormalization": (0, 1),
    "LSTM": (0, 1, 2, 3),
    "GRU": (0, 1, 2, 3),
    "RNN": (0, 1, 2, 3),
}
_ORT_READS: Mapping[str, tuple[int, ...]] = {
    "FusedConv": (0, 1, 2),
    "FusedGemm": (0, 1, 2),
    "FusedMatMul": (0, 1),
    "MatMulNBits": (0, 1, 2),
    "Attention": (0, 1, 2),
    "QAttention": (0, 1, 2),
    "DynamicQuantizeMatMul": (0, 1),
    "SkipLayerNormalization": (0, 1, 2, 3),
}
# The same, of operators that may be folded away where one of their inputs is constant: the other is read all the same.
_FOLDABLE_READS: Mapping[str, tuple[int, ...]] = {
    "BatchNormalization": (0,),
    "Gather": (1,),
    "Relu": (0,),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), (0, 1)),
}
# What hands its first input on whole, in another shape or type. Quantised weights may stay so until they are used.
_HANDS_ON = frozenset(
    (
        "Identity",
        "Reshape",
        "Transpose",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Cast",
        "QuantizeLinear",
        "DequantizeLinear",
    )
)
# Known when the model is loaded, if shapes are.
_SHAPES = frozenset({"Shape", "Size"})
_WIDEST_BITS = 128


def least_bytes_onnx(
    path: Path, inputs: Mapping[str, int], outputs: Mapping[str, int], *, element_bytes: int | None = None
) -> LeastBytes:
    """What one call must read and write, with `inputs` and `outputs` of these sizes in bytes, by name.

    `element_bytes`: the most that an element of a weight takes, where a provider keeps weights in fewer bytes than the
    file (2 for TensorRT in float16).
    """
    import onnx

    most_bits = _WIDEST_BITS if element_bytes is None else 8 * element_bytes
    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {tensor.name: tensor for tensor in _weights(graph)}
    producers = {output: node for node in graph.node for output in node.output if output}
    constants = _constants(graph, set(weights))
    read_weights: dict[str, int] = {}
    read_inputs: set[str] = set()
    for node in _needed(graph, producers):
        if all(name in constants for name in node.input if name):
            continue
        for name, foldable in _whole_inputs(node):
            source, bits = _source(name, producers)
            if source in weights and not foldable:
                size = _size_bytes(weights[source], min(bits, most_bits))
                read_weights[source] = min(size, read_weights.get(source, size))
            elif source in inputs:
                read_inputs.add(source)
    return LeastBytes(
        weights=sum(read_weights.values()),
        inputs=sum(inputs[name] for name in read_inputs),
        outputs=sum(outputs.values()),
    )


def _weights(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers, and constants written as nodes, under the names that the graph uses them by."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                tensor = type(attribute.t)(name=node.output[0], dims=attribute.t.dims, data_type=attribute.t.data_type)
                yield tensor


def _constants(graph: onnx.GraphProto, weights: Iterable[str]) -> set[str]:
    """Values that do not depend on what is in the inputs."""
    constants = set(weights)
    for node in graph.node:  # in topological order, as ONNX requires
        if node.op_type in _SHAPES or all(name in constants for name in node.input if name):
            constants.update(node.output)
    return constants


def _needed(graph: onnx.GraphProto, producers: Mapping[str, onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes that an output depends on, each once; a runtime drops the others."""
    seen: set[str] = set()
    waiting = [value.name for value in graph.output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and not seen.issuperset(node.output):
            seen.update(node.output)
            waiting.extend(node.input)
            yield node


def _whole_inputs(node: onnx.NodeProto) -> Iterator[tuple[str, bool]]:
    """Names of the inputs that `node` reads whole, and whether they may be folded away if they are constant."""
    own = node.domain in ("", "ai.onnx")
    reads = _READS if own else _ORT_READS if node.domain == "com.microsoft" else {}
    whole = reads.get(node.op_type, ())
    if node.op_type == "Gemm" and any(attribute.name == "beta" and attribute.f == 0 for attribute in node.attribute):
        whole = (0, 1)
    folded = _FOLDABLE_READS.get(node.op_type, ()) if own else ()
    for position in (*whole, *folded):
        if position < len(node.input) and node.input[position]:
            yield node.input[position], position in folded


def _source(name: str, producers: Mapping[str, onnx.NodeProto]) -> tuple[str, int]:
    """The value that `name` is another form of, and in how few bits an element of it may have passed on the way."""
    bits = _WIDEST_BITS
    while (node := producers.get(name)) is not None and node.op_type in _HANDS_ON and node.domain in ("", "ai.onnx"):
        if node.op_type == "QuantizeLinear":
            bits = 0  # to how few depends on a type that may not be written down
        for attribute in node.attribute if node.op_type == "Cast" else ():
            if attribute.name == "to":
                bits = min(bits, element_bits(attribute.i))
        name = node.input[0]
    return name, bits


def _size_bytes(tensor: onnx.TensorProto, most_bits: int) -> int:
    return int(math.prod(tensor.dims) * min(element_bits(tensor.data_type), most_bits) // 8)
