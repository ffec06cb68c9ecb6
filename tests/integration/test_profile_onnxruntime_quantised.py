# SPDX-License-Identifier: Apache-2.0
"""Quantised and float16 files profiled on the installed ONNX Runtime: each product is that of the node that runs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_cases
import pytest
from onnx import TensorProto, helper, numpy_helper

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.models.onnx_source import OnnxSource
from pyperf_infer.models.shapes import resolve_shapes
from pyperf_infer.profile.onnxruntime_profile import profile_onnxruntime
from pyperf_infer.profile.plan import ProfilePlan

if TYPE_CHECKING:
    from pyperf_infer.results.profile_schema import ProfileRow

quantization = pytest.importorskip("onnxruntime.quantization")

PLAN = ProfilePlan(duration_s=0.0, max_duration_s=0.2, inferences=5, memory=False, trace=False)
PRODUCTS = ("Conv", "MatMul", "Gemm")
SHAPES = {"convolutions": (1, 16, 12, 12), "matrices": (2, 6, 32)}
Q, D = "QuantizeLinear", "DequantizeLinear"


def weight(name: str, *shape: int) -> TensorProto:
    values = np.random.default_rng(len(name) + sum(shape)).normal(0, 0.2, shape)
    return numpy_helper.from_array(values.astype(np.float32), name)


def convolutions(path: Path) -> Path:
    """Two of the same input, a residual, a depthwise one, and a Gemm behind the pool."""
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["a"], name="left", **padded),
        helper.make_node("Relu", ["a"], ["b"], name="relu"),
        helper.make_node("Conv", ["x", "w1"], ["c"], name="right", **padded),
        helper.make_node("Add", ["b", "c"], ["d"], name="sum"),
        helper.make_node("Conv", ["d", "w2"], ["e"], name="depthwise", group=16, **padded),
        helper.make_node("Sigmoid", ["e"], ["f"], name="sigmoid"),
        helper.make_node("GlobalAveragePool", ["f"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["h"], name="flatten"),
        helper.make_node("Gemm", ["h", "w3", "b3"], ["y"], name="head"),
    ]
    shapes = {"w0": (16, 16, 3, 3), "b0": (16,), "w1": (16, 16, 3, 3), "w2": (16, 1, 3, 3), "w3": (16, 4), "b3": (4,)}
    weights = [weight(name, *shape) for name, shape in shapes.items()]
    ends = onnx_cases.value("x", SHAPES["convolutions"]), onnx_cases.value("y", (1, 4))
    return onnx_cases.save(path, nodes, [ends[0]], [ends[1]], weights)


def matrices(path: Path) -> Path:
    """Projections of one input, a product of two activations, and a Gelu between two layers."""
    nodes = [
        helper.make_node("MatMul", ["x", "wq"], ["q"], name="query"),
        helper.make_node("MatMul", ["x", "wk"], ["k"], name="key"),
        helper.make_node("Transpose", ["k"], ["t"], name="transpose", perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "t"], ["s"], name="scores"),
        helper.make_node("Softmax", ["s"], ["p"], name="softmax"),
        helper.make_node("MatMul", ["p", "x"], ["o"], name="mix"),
        helper.make_node("MatMul", ["o", "w1"], ["m"], name="up"),
        helper.make_node("Add", ["m", "b1"], ["n"], name="bias"),
        helper.make_node("Gelu", ["n"], ["g"], name="gelu"),
        helper.make_node("MatMul", ["g", "w2"], ["y"], name="down"),
    ]
    shapes = {"wq": (32, 32), "wk": (32, 32), "w1": (32, 64), "b1": (64,), "w2": (64, 32)}
    weights = [weight(name, *shape) for name, shape in shapes.items()]
    value = onnx_cases.value("x", SHAPES["matrices"]), onnx_cases.value("y", SHAPES["matrices"])
    return onnx_cases.save(path, nodes, [value[0]], [value[1]], weights, opset=20)


NETS = {"convolutions": convolutions, "matrices": matrices}
STATIC = {
    "default": {},
    "per channel": {"per_channel": True},
    "uint8": {"activation_type": "QUInt8", "weight_type": "QUInt8"},
    "uint8 by int8": {"activation_type": "QUInt8", "weight_type": "QInt8"},
    "operators": {"quant_format": "QOperator", "activation_type": "QUInt8", "weight_type": "QUInt8"},
    "signed operators": {"quant_format": "QOperator"},
}


class Inputs(quantization.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, shape: tuple[int, ...]) -> None:
        generator = np.random.default_rng(0)
        batches = (generator.normal(size=shape).astype(np.float32) for _ in range(2))
        self.batches: Iterator[dict[str, object]] = ({"x": batch} for batch in batches)

    def get_next(self) -> dict[str, object] | None:
        return next(self.batches, None)


def quantised(net: str, how: str, folder: Path) -> Path:
    given, path = NETS[net](folder / "given.onnx"), folder / "quantised.onnx"
    if how == "dynamic":
        quantization.quantize_dynamic(given, path)
        return path
    options: dict[str, object] = {"quant_format": quantization.QuantFormat.QDQ}
    for key, value in STATIC[how].items():
        kind = {"quant_format": quantization.QuantFormat}.get(key, quantization.QuantType)
        options[key] = kind[value] if isinstance(value, str) else value
    quantization.quantize_static(given, path, Inputs(SHAPES[net]), **options)
    return path


def rows_of(path: Path, folder: Path) -> list[ProfileRow]:
    model = OnnxSource(str(path), path).load(seed=0)
    found = profile_onnxruntime(model, resolve_shapes(model.inputs), BackendOptions(threads=1), folder, PLAN, seed=1)
    return found.tables[0].rows


def executes(row: ProfileRow) -> bool:
    return any(product in row.kind for product in PRODUCTS)


def products_of(path: Path) -> list[str]:
    return [node.name for node in onnx.load(path).graph.node if any(one in node.op_type for one in PRODUCTS)]


@pytest.mark.parametrize("how", [*STATIC, "dynamic"])
@pytest.mark.parametrize("net", NETS)
def test_each_product_of_a_quantised_file_is_of_the_one_node_that_executes_it(
    tmp_path: Path, net: str, how: str
) -> None:
    path = quantised(net, how, tmp_path)
    rows = rows_of(path, tmp_path)
    assert [row.name for row in rows if not row.sources] == []
    products = products_of(path)
    assert len(products) >= 4
    executed = [{*row.sources} & {*products} for row in rows if executes(row)]
    assert sorted(name for names in executed for name in names) == sorted(products)
    assert all(len(names) == 1 for names in executed)
    kinds = {node.name: node.op_type for node in onnx.load(path).graph.node}
    own = Counter(source for row in rows if row.kind in (Q, D) for source in row.sources if kinds[source] == row.kind)
    for row in rows:
        if row.kind in (Q, D):
            # what ONNX Runtime leaves to a Quantize is to cut off below zero, and the shape does not change a value
            assert {kinds[source] for source in row.sources} <= {row.kind, "Relu", "Reshape", "Flatten"}, row.name
    if net == "convolutions" and how != "dynamic":
        assert "x_QuantizeLinear" in own


def test_an_operator_that_a_float16_file_has_and_the_processor_has_not_is_traced_to_itself(tmp_path: Path) -> None:
    path = matrices(tmp_path / "m.onnx")
    model = onnx.load(path)
    for constant in model.graph.initializer:
        constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float16), constant.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    rows = rows_of(path, tmp_path)
    assert [row.name for row in rows if not row.sources] == []
    products = products_of(path)
    added = ("Cast", "Reshape")  # to change a type, and of three dimensions to two
    assert sorted(one for row in rows if executes(row) for one in {*row.sources} & {*products}) == sorted(products)
    for row in rows:
        if not executes(row) and row.kind not in added:
            assert not {*row.sources} & {*products}, row.name
    body = [row for row in rows if "gelu" in row.sources and row.kind not in added]
    assert body
    assert all(row.sources in (["gelu"], ["bias", "gelu"]) for row in body)
