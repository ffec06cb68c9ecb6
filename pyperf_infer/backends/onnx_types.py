# SPDX-License-Identifier: Apache-2.0
"""Which types of numbers an ONNX graph computes with, and which of its operators a provider cannot run in bfloat16."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.ort_session import OnnxSession

if TYPE_CHECKING:
    import onnx


def float_types(model: Path) -> frozenset[str]:
    """Of the graph's inputs, outputs, weights and of what it casts to: numpy's names, "bfloat16" among them.

    External data is not read.
    """
    import onnx

    named = _named_types()
    graph = onnx.load(str(model), load_external_data=False).graph
    found = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    found |= {tensor.data_type for tensor in graph.initializer}
    found |= {attribute.i for node in graph.node if node.op_type == "Cast" for attribute in node.attribute}
    return frozenset(named[element] for element in found if element in named)


def operators_without_bfloat16(model: Path, provider: str) -> Counter[str]:
    """The operators of `model`, and how often it has each, that a provider has no bfloat16 kernel for.

    Each is loaded by itself, with its floating inputs and outputs in bfloat16; what does not load in float32 either is
    not counted. Operators with graphs inside of them, and those of unknown types, are left out. (In float16 all of them
    load: see casts.)
    """
    import onnx

    whole = onnx.load(str(model), load_external_data=False)
    try:
        inferred = onnx.shape_inference.infer_shapes(whole)
    except onnx.shape_inference.InferenceError:
        inferred = whole  # types that the file itself tells are left
    graph = inferred.graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    counts = Counter(node.op_type for node in graph.node)
    lacking = Counter[str]()
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
        path = Path(folder) / "one.onnx"
        for op_type in counts:
            node = next(one for one in graph.node if one.op_type == op_type)
            names = [name for name in (*node.input, *node.output) if name]
            inside = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
            if inside or any(not types.get(name) for name in names):
                continue
            as_float32 = _loads(path, _one_node(inferred, node, types, "float32"), provider)
            if as_float32 and not _loads(path, _one_node(inferred, node, types, "bfloat16"), provider):
                lacking[op_type] = counts[op_type]
    return lacking


def _one_node(
    whole: onnx.ModelProto, node: onnx.NodeProto, types: Mapping[str, int], precision: str
) -> onnx.ModelProto:
    """A model of this node alone. Everything it takes is an input, of unknown shape."""
    import onnx

    floats = {element for element, name in _named_types().items() if name != "float64"}
    wanted = next(element for element, name in _named_types().items() if name == precision)

    def described(name: str) -> onnx.ValueInfoProto:
        element = types[name]
        return onnx.helper.make_tensor_value_info(name, wanted if element in floats else element, None)

    graph = onnx.helper.make_graph(
        [node],
        "one",
        [described(name) for name in dict.fromkeys(node.input) if name],
        [described(name) for name in node.output if name],
    )
    return onnx.helper.make_model(graph, opset_imports=list(whole.opset_import), ir_version=whole.ir_version)


def _loads(path: Path, model: onnx.ModelProto, provider: str) -> bool:
    path.write_bytes(model.SerializeToString())
    try:
        OnnxSession(path, threads=1, opt_level="disabled", provider=provider)
    except InputError:
        return False
    return True


def _named_types() -> dict[int, str]:
    from onnx import TensorProto

    return {
        TensorProto.FLOAT: "float32",
        TensorProto.DOUBLE: "float64",
        TensorProto.FLOAT16: "float16",
        TensorProto.BFLOAT16: "bfloat16",
    }
