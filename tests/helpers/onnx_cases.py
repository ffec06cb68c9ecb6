# SPDX-License-Identifier: Apache-2.0
"""ONNX files that a command line meets: good ones of many shapes, and bad ones of every kind. Needs onnx, not torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import IR_VERSION, OPSET

Shape = Sequence[int | str | None]


def value(name: str, shape: Shape, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: Sequence[onnx.TensorProto] = (),
    *,
    opset: int = OPSET,
    domain: str = "",
) -> Path:
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(constants))
    opsets = [helper.make_opsetid("", opset), *([helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION), path)
    return path


def one_node(
    path: Path, op: str, shape: Shape = ("batch", 4), element: int = TensorProto.FLOAT, **options: Any
) -> Path:
    """y = op(x), both of one shape and type."""
    node = helper.make_node(op, ["x"], ["y"], name=op.lower(), domain=options.get("domain", ""))
    return save(path, [node], [value("x", shape, element)], [value("y", shape, element)], **options)


def slow(path: Path, width: int = 384, layers: int = 12) -> Path:
    """Some milliseconds of matrix products a call, so that seconds of it are few samples."""
    names = [f"x{index}" for index in range(layers + 1)]
    nodes = [
        helper.make_node("MatMul", [names[index], "weight"], [names[index + 1]], name=f"matmul{index}")
        for index in range(layers)
    ]
    weight = numpy_helper.from_array(np.full((width, width), 1 / width, np.float32), "weight")
    shape = ("batch", width, width)
    return save(path, nodes, [value(names[0], shape)], [value(names[-1], shape)], [weight])


def not_a_number(path: Path) -> Path:
    """y = x / 0 * 0."""
    nodes = [helper.make_node("Div", ["x", "zero"], ["z"]), helper.make_node("Mul", ["z", "zero"], ["y"])]
    zero = numpy_helper.from_array(np.zeros(4, np.float32), "zero")
    return save(path, nodes, [value("x", ("batch", 4))], [value("y", ("batch", 4))], [zero])


def two_batches(path: Path) -> Path:
    """Two inputs whose batches have different names, and a table that has none; all come back."""
    nodes = [
        helper.make_node("MatMul", ["left", "table"], ["a"]),
        helper.make_node("MatMul", ["right", "table"], ["b"]),
    ]
    inputs = [value("left", ("n", 4)), value("right", ("m", 4)), value("table", (4, 2))]
    return save(path, nodes, inputs, [value("a", ("n", 2)), value("b", ("m", 2))])


def strange_outputs(path: Path) -> Path:
    """Outputs that are a list of tensors, and one whose shape depends on the values of x."""
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["list"]),
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Neg", ["x"], ["y"]),
    ]
    listed = helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, None)
    outputs = [listed, value("places", (2, None), TensorProto.INT64), value("y", ("batch", 4))]
    return save(path, nodes, [value("x", ("batch", 4))], outputs)


def with_external_data(path: Path, location: str) -> Path:
    """y = x * factor, where factor is in another file, which is not written."""
    factor = numpy_helper.from_array(np.ones(4, np.float32), "factor")
    del factor.external_data[:]
    factor.ClearField("raw_data")
    factor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, "offset": "0", "length": "16"}.items():
        entry = factor.external_data.add()
        entry.key, entry.value = key, text
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    return save(path, [node], [value("x", ("batch", 4))], [value("y", ("batch", 4))], [factor])
