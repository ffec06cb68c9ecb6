# SPDX-License-Identifier: Apache-2.0
"""Files that ONNX Runtime has optimised, or quantised, count as the files that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from pyperf_infer.models.spec import ModelStructure
from pyperf_infer.roofline.work.count import count
from pyperf_infer.roofline.work.counts import ModelWork  # noqa: TC001

IMAGE, TEXT = (2, 32, 12, 12), (2, 8, 32)
LEVELS = ("ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
RANDOM = np.random.default_rng(1)


def weight(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(RANDOM.standard_normal(shape, dtype=np.float32) / 8, name)


def saved(path: Path, shape: tuple[int, ...], nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto]) -> Path:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape[1:]])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "one", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return path


def images(path: Path) -> Path:
    """Convolutions with activations and a sum, pooling, and a layer at the end. Channels fill whole blocks."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w1", "b1"], ["c1"], "conv1", pads=[1, 1, 1, 1]),
        node("Relu", ["c1"], ["r1"], "relu1"),
        node("MaxPool", ["r1"], ["p1"], "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["p1", "w2", "b1"], ["c2"], "conv2", pads=[1, 1, 1, 1], group=32),
        node("Add", ["c2", "p1"], ["s2"], "add2"),
        node("Relu", ["s2"], ["r2"], "relu2"),
        node("GlobalAveragePool", ["r2"], ["p2"], "pool2"),
        node("Flatten", ["p2"], ["f"], "flatten"),
        node("Gemm", ["f", "w3", "b3"], ["g"], "gemm", transB=1),
        node("Relu", ["g"], ["y"], "relu3"),
    ]
    weights = [
        weight("w1", 32, 32, 3, 3), weight("b1", 32), weight("w2", 32, 1, 3, 3), weight("w3", 16, 32), weight("b3", 16),
    ]  # fmt: skip
    return saved(path, IMAGE, nodes, weights)


def text(path: Path) -> Path:
    """An attention of one head, with a sum and a norm, and a layer with GELU."""
    node = helper.make_node
    nodes = [
        *(node("MatMul", ["x", name], [name + "x"], "by " + name) for name in ("q", "k", "v")),
        node("Transpose", ["kx"], ["kt"], "turn", perm=[0, 2, 1]),
        node("MatMul", ["qx", "kt"], ["scores"], "scores"),
        node("Mul", ["scores", "scale"], ["scaled"], "scaling"),
        node("Softmax", ["scaled"], ["soft"], "softmax"),
        node("MatMul", ["soft", "vx"], ["mixed"], "mix"),
        node("Add", ["mixed", "x"], ["sum"], "add"),
        node("LayerNormalization", ["sum", "gamma", "beta"], ["norm"], "norm"),
        node("MatMul", ["norm", "w"], ["wide"], "widen"),
        node("Add", ["wide", "bias"], ["biased"], "bias"),
        node("Gelu", ["biased"], ["y"], "gelu"),
    ]
    weights = [weight(name, 32, 32) for name in "qkv"]
    weights += [weight("gamma", 32), weight("beta", 32), weight("w", 32, 64), weight("bias", 64)]
    weights.append(numpy_helper.from_array(np.array(0.25, np.float32), "scale"))
    return saved(path, TEXT, nodes, weights)


MODELS = {"images": (images, IMAGE), "text": (text, TEXT)}
MACS = {
    "images": 2 * (32 * 144 * 32 * 9 + 32 * 36 * 9 + 16 * 32),
    "text": 2 * (3 * 8 * 32 * 32 + 2 * 8 * 8 * 32 + 8 * 32 * 64),
}


def counted(path: Path, shape: tuple[int, ...]) -> ModelWork:
    return count(ModelStructure("m", (), 0, None, path), {"x": shape})


def optimised(path: Path, level: str) -> Path:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 4
    target = path.with_suffix(f".{level}.onnx")
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return target


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("model", MODELS)
def test_optimising_changes_no_products(tmp_path: Path, model: str, level: str) -> None:
    make, shape = MODELS[model]
    path = make(tmp_path / "m.onnx")
    work = counted(optimised(path, level), shape)
    assert work.macs == counted(path, shape).macs == MACS[model]
    assert not work.unknown_ops
    # Another batch than the file was saved for: no shape inside of it is taken for granted.
    assert counted(optimised(path, level), (4, *shape[1:])).macs == 2 * MACS[model]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("model", MODELS)
def test_quantising_changes_no_products(tmp_path: Path, model: str, level: str) -> None:
    make, shape = MODELS[model]
    path = make(tmp_path / "m.onnx")
    quantize_dynamic(path, tmp_path / "dynamic.onnx")
    work = counted(optimised(tmp_path / "dynamic.onnx", level), shape)
    assert work.macs == MACS[model]
    assert not work.unknown_ops


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("form", [QuantFormat.QOperator, QuantFormat.QDQ])
@pytest.mark.parametrize("model", MODELS)
def test_calibrated_files_count_the_same(tmp_path: Path, model: str, form: QuantFormat, level: str) -> None:
    make, shape = MODELS[model]
    path = make(tmp_path / "m.onnx")
    quantize_static(path, tmp_path / "static.onnx", _Data(shape), quant_format=form)
    work = counted(optimised(tmp_path / "static.onnx", level), shape)
    assert work.macs == MACS[model]
    assert not work.unknown_ops


class _Data(CalibrationDataReader):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._left = iter([{"x": RANDOM.standard_normal(shape, dtype=np.float32)} for _ in range(2)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._left, None)
