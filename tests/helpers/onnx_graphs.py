# SPDX-License-Identifier: Apache-2.0
"""ONNX files of one node or so, that every ONNX Runtime from 1.20 on loads. Needs onnx, not torch."""

from __future__ import annotations

from pathlib import Path

OPSET = 17
IR_VERSION = 9


def save_scale_model(path: Path, factor: float = 3.0) -> Path:
    """y = x * factor, both float32 of shape [batch, 4]."""
    import onnx
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "factor"], ["y"], name="scale")],
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor("factor", TensorProto.FLOAT, [], [factor])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.save(model, path)
    return path
