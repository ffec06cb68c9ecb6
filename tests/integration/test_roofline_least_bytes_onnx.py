# SPDX-License-Identifier: Apache-2.0
"""The least that one call of an ONNX model reads and writes, from the file alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_cases
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import value
from torch import nn

from pyperf_infer.roofline.least import LeastBytes
from pyperf_infer.roofline.least_bytes_onnx import least_bytes_onnx
from pyperf_infer.roofline.least_work import least_work

X = value("x", (4, 8))
W = numpy_helper.from_array(np.zeros((8, 8), np.float32), "w")  # 256 bytes
B = numpy_helper.from_array(np.zeros(8, np.float32), "b")  # 32 bytes


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def least(
    tmp_path: Path,
    nodes: Sequence[onnx.NodeProto],
    constants: Sequence[onnx.TensorProto] = (W, B),
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (X,),
    **options: Any,
) -> LeastBytes:
    """Of a model whose inputs hold 128 bytes each, and its output y 64."""
    path = tmp_path / "m.onnx"
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph(list(nodes), "graph", list(inputs), [value("y", None)], list(constants))  # type: ignore[arg-type]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString())
    return least_bytes_onnx(path, {item.name: 128 for item in inputs}, {"y": 64}, **options)


@pytest.mark.parametrize(
    ("nodes", "weights", "inputs"),
    [
        ([node("MatMul", "x w")], 256, 128),
        ([node("MatMul", "w x")], 256, 128),
        ([node("Gemm", "x w b")], 288, 128),
        ([node("Gemm", "x w b", beta=0.0)], 256, 128),
        ([node("FusedMatMul", "x w", domain="com.microsoft")], 256, 128),
        ([node("MatMul", "x w", domain="someone.else")], 0, 0),
        ([node("LayerNormalization", "x b")], 32, 128),
        ([node("MatMul", "x w", "z"), node("MatMul", "z w")], 256, 128),  # once
        ([node("Transpose", "w", "v"), node("MatMul", "x v")], 256, 128),
        ([node("Identity", "x", "z"), node("MatMul", "z w")], 256, 128),
        # Looked up, folded into a neighbour, worked out beforehand, or dropped.
        ([node("Gather", "w x")], 0, 128),
        ([node("Mul", "x b")], 0, 128),
        ([node("BatchNormalization", "x b b b b")], 0, 128),
        ([node("MatMul", "w w", "c"), node("Add", "x c")], 0, 128),
        ([node("MatMul", "w w", "c"), node("MatMul", "x c")], 0, 128),
        ([node("MatMul", "x w", "unused"), node("Relu", "x")], 0, 128),
        ([node("Shape", "x", "s"), node("ConstantOfShape", "s", "c"), node("MatMul", "c w")], 0, 0),
        ([node("RandomNormalLike", "x", "r"), node("Softmax", "r")], 0, 0),
    ],
)
def test_what_operators_read_whole_counts_once(
    tmp_path: Path, nodes: list[onnx.NodeProto], weights: int, inputs: int
) -> None:
    assert least(tmp_path, nodes) == LeastBytes(weights=weights, inputs=inputs, outputs=64)


def test_constants_written_as_nodes_are_weights(tmp_path: Path) -> None:
    constant = node("Constant", "", "v", value=numpy_helper.from_array(np.zeros((8, 3), np.float32)))
    del constant.input[:]
    assert least(tmp_path, [constant, node("MatMul", "x v")]).weights == 8 * 3 * 4


@pytest.mark.parametrize(
    ("element", "size"),
    [
        ("FLOAT", 256), ("DOUBLE", 512), ("FLOAT16", 128), ("BFLOAT16", 128), ("INT8", 64), ("UINT8", 64), ("BOOL", 64),
        ("FLOAT8E4M3FN", 64), ("INT4", 32), ("UINT4", 32), ("FLOAT4E2M1", 32), ("STRING", 0), ("UNDEFINED", 0),
    ],
)  # fmt: skip
def test_elements_count_at_their_size(tmp_path: Path, element: str, size: int) -> None:
    tensor = TensorProto(name="w", dims=[8, 8], data_type=TensorProto.DataType.Value(element))
    assert least(tmp_path, [node("MatMul", "x w")], [tensor]).weights == size


def test_an_element_of_a_type_from_the_future_counts_nothing(tmp_path: Path) -> None:
    assert least(tmp_path, [node("MatMul", "x w")], [TensorProto(name="w", dims=[8, 8], data_type=999)]).weights == 0


def test_weights_may_be_kept_in_fewer_bytes_than_the_files(tmp_path: Path) -> None:
    narrow = least(tmp_path, [node("Gemm", "x w b")], element_bytes=2)
    assert narrow == LeastBytes(weights=144, inputs=128, outputs=64)
    assert least(tmp_path, [node("Gemm", "x w b")], element_bytes=8).weights == 288


@pytest.mark.parametrize(
    ("between", "size"),
    [
        (node("Cast", "w", "v", to=TensorProto.FLOAT16), 128),  # if it is worked out beforehand
        (node("Cast", "w", "v", to=TensorProto.DOUBLE), 256),  # if it is not
        (node("QuantizeLinear", "w scale", "v"), 0),  # to how few bits is not looked up
    ],
)
def test_a_weight_counts_in_the_narrowest_type_it_passes(tmp_path: Path, between: onnx.NodeProto, size: int) -> None:
    scale = numpy_helper.from_array(np.float32(1), "scale")
    assert least(tmp_path, [between, node("MatMul", "x v")], [W, scale]).weights == size


def test_quantised_weights_count_as_they_are_stored(tmp_path: Path) -> None:
    stored = numpy_helper.from_array(np.zeros((8, 8), np.int8), "w")
    scale = numpy_helper.from_array(np.float32(1), "scale")
    nodes = [
        *(node("QuantizeLinear", "x scale", "q"), node("DequantizeLinear", "q scale", "d")),
        *(node("DequantizeLinear", "w scale", "v"), node("MatMul", "d v")),
    ]
    assert least(tmp_path, nodes, [stored, scale]) == LeastBytes(weights=64, inputs=128, outputs=64)


def test_a_quantised_convolution_reads_its_kernel_and_bias(tmp_path: Path) -> None:
    constants = [
        *(numpy_helper.from_array(np.float32(1), "s"), numpy_helper.from_array(np.uint8(0), "z")),
        *(
            numpy_helper.from_array(np.zeros((6, 3, 3, 3), np.uint8), "k"),
            numpy_helper.from_array(np.zeros(6, np.int32), "c"),
        ),
    ]
    image = value("x", (1, 3, 8, 8), TensorProto.UINT8)
    found = least(tmp_path, [node("QLinearConv", "x s z k s z s z c")], constants, inputs=[image])
    assert found == LeastBytes(weights=6 * 27 + 6 * 4, inputs=128, outputs=64)


def test_inputs_that_nothing_reads_do_not_count(tmp_path: Path) -> None:
    inputs = [X, value("other", (4, 8)), value("table", (9, 8))]
    nodes = [node("Gather", "table x", "z"), node("MatMul", "z w")]
    assert least(tmp_path, nodes, inputs=inputs).inputs == 128  # the indices alone


def test_branches_and_local_functions_do_not_count(tmp_path: Path) -> None:
    branch = helper.make_graph([node("MatMul", "x w", "inner")], "branch", [], [value("inner", (4, 8))])
    condition = numpy_helper.from_array(np.array(True), "condition")
    nodes = [node("If", "condition", "y", then_branch=branch, else_branch=branch)]
    assert least(tmp_path, nodes, [W, condition]).weights == 0


def test_external_data_is_not_read(tmp_path: Path) -> None:
    outside = TensorProto(name="w", dims=[1 << 20, 1 << 12], data_type=TensorProto.FLOAT)
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value="there/is/no/such.file")
    assert least(tmp_path, [node("MatMul", "x w")], [outside]).weights == 1 << 34


def test_an_exported_module_needs_what_the_module_does_when_compiled(tmp_path: Path) -> None:
    module = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, 5))
    ).eval()
    x = torch.zeros(2, 3, 16, 16)
    path = tmp_path / "m.onnx"
    torch.onnx.export(module, (x,), path, dynamo=True, optimize=False)
    model = onnx.load(path)
    found = least_bytes_onnx(path, {model.graph.input[0].name: x.nbytes}, {model.graph.output[0].name: 40})
    expected = least_work(module, [x], compiled=True)
    assert expected is not None
    assert found == expected.bytes


def test_a_file_of_the_test_suite_is_read(tmp_path: Path) -> None:
    found = least_bytes_onnx(onnx_cases.slow(tmp_path / "m.onnx", width=16, layers=3), {"x0": 1024}, {"x3": 1024})
    assert found == LeastBytes(weights=16 * 16 * 4, inputs=1024, outputs=1024)
