# SPDX-License-Identifier: Apache-2.0
"""What is counted of .onnx files, and which files cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import save, value

from pyperf_infer.errors import InputError
from pyperf_infer.models.spec import ModelStructure
from pyperf_infer.roofline.work.count import count
from pyperf_infer.roofline.work.counts import ModelWork  # noqa: TC001

Shapes = dict[str, tuple[int, ...]]


def counted(path: Path, **shapes: tuple[int, ...]) -> ModelWork:
    return count(ModelStructure("m.onnx", (), 0, None, path), shapes)


def weight(name: str, *shape: int, element: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, element), name)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the {op}", **attributes)


def one(path: Path, made: onnx.NodeProto, shapes: Shapes, *weights: onnx.TensorProto, **options: Any) -> ModelWork:
    inputs = [value(name, ["batch", *shape[1:]]) for name, shape in shapes.items()]
    save(path / "m.onnx", [made], inputs, [value("y", None)], weights, **options)  # type: ignore[arg-type]
    return counted(path / "m.onnx", **shapes)


X4 = {"x": (2, 6, 5, 7)}
CASES: dict[str, tuple[onnx.NodeProto, Shapes, tuple[onnx.TensorProto, ...], int]] = {
    "grouped": (
        node("Conv", "x w b", group=3, pads=[1, 1, 1, 1]), X4, (weight("w", 9, 2, 3, 3), weight("b", 9)),
        2 * 9 * 35 * 18,
    ),
    "depthwise": (node("Conv", "x w", group=6, strides=[2, 2]), X4, (weight("w", 6, 1, 3, 3),), 2 * 6 * 2 * 3 * 9),
    "dilated": (node("Conv", "x w", dilations=[2, 2]), X4, (weight("w", 4, 6, 2, 2),), 2 * 4 * 3 * 5 * 24),
    "transposed": (node("ConvTranspose", "x w", strides=[2, 2]), X4, (weight("w", 6, 4, 3, 3),), 2 * 6 * 35 * 4 * 9),
    "gemm": (node("Gemm", "x w b", transB=1), {"x": (3, 8)}, (weight("w", 5, 8), weight("b", 5)), 3 * 5 * 8),
    "matmul": (node("MatMul", "x w"), {"x": (2, 3, 4, 8)}, (weight("w", 3, 8, 5),), 2 * 3 * 4 * 5 * 8),
    "vector": (node("MatMul", "x w"), {"x": (2, 8)}, (weight("w", 8),), 16),
    "einsum": (node("Einsum", "x w", equation="bij,jk->bik"), {"x": (2, 3, 4)}, (weight("w", 4, 5),), 120),
    "lstm": (
        node("LSTM", "x w r b", hidden_size=4, direction="bidirectional"), {"x": (5, 2, 3)},
        (weight("w", 2, 16, 3), weight("r", 2, 16, 4), weight("b", 2, 32)), 5 * 2 * 2 * 16 * 7,
    ),
    "gru": (
        node("GRU", "x w r", hidden_size=4), {"x": (5, 2, 3)}, (weight("w", 1, 12, 3), weight("r", 1, 12, 4)),
        5 * 2 * 12 * 7,
    ),
    "embedding": (node("Gather", "w x"), {"x": (2, 3)}, (weight("w", 100, 4),), 0),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_products_are_counted_by_their_definitions(tmp_path: Path, case: str) -> None:
    made, shapes, weights, macs = CASES[case]
    if case == "embedding":
        save(tmp_path / "m.onnx", [made], [value("x", ["b", 3], TensorProto.INT64)], [value("y", None)], weights)
        work = counted(tmp_path / "m.onnx", **shapes)
        assert work.bytes_min_layer == 2 * 3 * 8 + 2 * (2 * 3 * 4 * 4)
    else:
        work = one(tmp_path, made, shapes, *weights)
    assert work.macs == macs
    assert not work.unknown_ops


@pytest.mark.parametrize(
    ("op", "attributes", "extra", "flops"),
    [
        ("Relu", {}, "", 420),
        ("BatchNormalization", {}, "s s s s", 840),
        ("InstanceNormalization", {}, "s s", 2100),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [1, 1]}, "", 2 * 6 * 4 * 6 * 4),
        ("GlobalAveragePool", {}, "", 420),
        ("Softmax", {}, "", 2100),
        ("ReduceMean", {}, "", 420),
        ("Transpose", {"perm": [0, 2, 3, 1]}, "", 0),
        ("Identity", {}, "", 0),
        ("QuantizeLinear", {}, "q z", 840),
    ],
)
def test_the_rest_has_its_price(tmp_path: Path, op: str, attributes: dict[str, Any], extra: str, flops: int) -> None:
    weights = [weight("s", 6)] if "s" in extra else []
    if op == "QuantizeLinear":
        weights = [weight("q"), weight("z", element=np.uint8)]
    work = one(tmp_path, node(op, f"x {extra}".strip(), **attributes), X4, *weights)
    assert (work.macs, work.flops_all) == (0, flops)
    assert not work.unknown_ops


def test_quantised_products_count_and_their_tensors_have_their_own_sizes(tmp_path: Path) -> None:
    made = node("MatMulInteger", "x w")
    save(
        tmp_path / "m.onnx", [made], [value("x", ["b", 8], TensorProto.UINT8)], [value("y", None, TensorProto.INT32)],
        [weight("w", 8, 5, element=np.int8)],
    )  # fmt: skip
    work = counted(tmp_path / "m.onnx", x=(3, 8))
    assert work.macs == 3 * 5 * 8
    assert work.bytes_min_layer == 3 * 8 + 8 * 5 + 3 * 5 * 4


@pytest.mark.parametrize(("opset", "op_domain"), [(23, "")])
def test_fused_attention_counts_both_products_for_each_head_of_queries(
    tmp_path: Path, opset: int, op_domain: str
) -> None:
    made = helper.make_node("Attention", ["q", "k", "v"], ["y"], name="a", domain=op_domain)
    shapes = {"q": (2, 8, 5, 16), "k": (2, 2, 7, 16), "v": (2, 2, 7, 12)}
    inputs = [value(name, shape) for name, shape in shapes.items()]
    path = save(tmp_path / "m.onnx", [made], inputs, [value("y", None)], opset=opset)  # type: ignore[arg-type]
    assert counted(path, **shapes).macs == 2 * 8 * 5 * 7 * (16 + 12)


def test_an_operator_without_a_formula_is_listed_and_never_silent(tmp_path: Path) -> None:
    made = [node("TopK", "x k", "y i"), node("Relu", "y", "z")]
    save(
        tmp_path / "m.onnx", made, [value("x", ["b", 8])], [value("z", None)],
        [numpy_helper.from_array(np.array([3], np.int64), "k")],
    )  # fmt: skip
    work = counted(tmp_path / "m.onnx", x=(2, 8))
    assert work.unknown_ops == {"TopK": 1}
    assert work.flops_all == 6


def test_quantised_weights_and_activations_move_as_they_are_stored(tmp_path: Path) -> None:
    made = [
        node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
        node("DequantizeLinear", "w s z", "v"), node("MatMul", "d v", "p"), node("QuantizeLinear", "p s z", "y"),
    ]  # fmt: skip
    constants = [weight("s"), weight("z", element=np.uint8), weight("w", 8, 16, element=np.uint8)]
    outputs = [value("y", None, TensorProto.UINT8)]  # type: ignore[arg-type]
    save(tmp_path / "m.onnx", made, [value("x", ["b", 8])], outputs, constants)
    work = counted(tmp_path / "m.onnx", x=(4, 8))
    assert work.macs == 4 * 8 * 16
    (product,) = (one for one in work.kernels if one.operations[0].op == "MatMul")
    assert (product.read_bytes, product.written_bytes) == (4 * 8 + 8 * 16 + 4 + 1, 4 * 16)


def test_what_is_made_of_weights_alone_is_made_when_the_model_is_loaded(tmp_path: Path) -> None:
    made = [node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t")]
    save(tmp_path / "m.onnx", made, [value("x", ["b", 8])], [value("y", None)], [weight("w", 5, 8)])  # type: ignore[arg-type]
    (kernel,) = counted(tmp_path / "m.onnx", x=(2, 8)).kernels
    assert kernel.read_bytes == 4 * (16 + 40)


def test_a_file_that_fixes_its_batch_inside_is_refused_for_another(tmp_path: Path) -> None:
    made = [node("Reshape", "x t", "h"), node("MatMul", "h w")]
    constants = [numpy_helper.from_array(np.array([1, 8], np.int64), "t"), weight("w", 8, 4)]
    save(tmp_path / "m.onnx", made, [value("x", ["b", 8])], [value("y", None)], constants)  # type: ignore[arg-type]
    assert counted(tmp_path / "m.onnx", x=(1, 8)).macs == 32
    with pytest.raises(InputError, match=r"'the Reshape' \(Reshape\) makes 8 elements of 256"):
        counted(tmp_path / "m.onnx", x=(32, 8))


def test_shapes_that_the_file_states_are_taken_where_none_can_be_inferred(tmp_path: Path) -> None:
    made = [node("Nobody", "x", "h", domain="elsewhere"), node("MatMul", "h w")]
    inputs, outputs = [value("x", ["batch", 3])], [value("y", None)]  # type: ignore[arg-type]
    path = save(tmp_path / "m.onnx", made, inputs, outputs, [weight("w", 8, 4)], domain="elsewhere")
    model = onnx.load(path)
    model.graph.value_info.append(value("h", ["batch", 8]))
    onnx.save(model, path)
    work = counted(path, x=(5, 3))
    assert work.macs == 5 * 8 * 4
    assert work.unknown_ops == {"elsewhere.Nobody": 1}


def test_packed_keys_and_values_are_no_packed_queries(tmp_path: Path) -> None:
    made = node("MultiHeadAttention", "q k", num_heads=2, domain="com.microsoft")
    shapes = {"q": (1, 5, 8), "k": (1, 7, 2, 2, 4)}
    inputs = [value(name, shape) for name, shape in shapes.items()]
    path = save(tmp_path / "m.onnx", [made], inputs, [value("y", [1, 5, 8])], domain="com.microsoft")
    model = onnx.load(path)
    model.graph.value_info.append(value("y", [1, 5, 8]))
    onnx.save(model, path)
    assert counted(path, **shapes).macs == 2 * 5 * 7 * 8


def test_a_weight_in_two_places_counts_once_in_the_bytes_of_the_model(tmp_path: Path) -> None:
    made = [node("MatMul", "x w", "h"), node("MatMul", "h w", "y")]
    save(tmp_path / "m.onnx", made, [value("x", ["b", 8])], [value("y", None)], [weight("w", 8, 8)])
    work = counted(tmp_path / "m.onnx", x=(2, 8))
    assert work.macs == 2 * 2 * 64
    assert work.bytes_min_model == 4 * (64 + 16 + 16)


def test_what_no_output_needs_does_not_count(tmp_path: Path) -> None:
    made = [node("MatMul", "x w", "y"), node("MatMul", "x w", "unused")]
    save(tmp_path / "m.onnx", made, [value("x", ["b", 8])], [value("y", None)], [weight("w", 8, 8)])
    assert counted(tmp_path / "m.onnx", x=(2, 8)).macs == 128


def test_shapes_that_are_computed_are_followed(tmp_path: Path) -> None:
    made = [
        node("Shape", "x", "s"), node("Gather", "s zero", "b"), node("Concat", "b rest", "t", axis=0),
        node("Reshape", "x t", "h"), node("MatMul", "h w"),
    ]  # fmt: skip
    constants = [
        numpy_helper.from_array(np.array([0], np.int64), "zero"),
        numpy_helper.from_array(np.array([2, 4], np.int64), "rest"),
        weight("w", 4, 3),
    ]
    save(tmp_path / "m.onnx", made, [value("x", ["batch", 8])], [value("y", None)], constants)
    assert counted(tmp_path / "m.onnx", x=(5, 8)).macs == 5 * 2 * 4 * 3


def test_nothing_at_all_is_a_size_too(tmp_path: Path) -> None:
    work = one(tmp_path, node("MatMul", "x w"), {"x": (0, 8)}, weight("w", 8, 5))
    assert (work.macs, work.activations) == (0, 0)


def test_functions_of_the_file_are_looked_into(tmp_path: Path) -> None:
    inner = helper.make_function(
        "local", "Twice", ["a", "w"], ["c"],
        [helper.make_node("MatMul", ["a", "w"], ["b"]), helper.make_node("MatMul", ["b", "w"], ["c"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Twice", ["x", "w"], ["y"], domain="local")], "g", [value("x", ["b", 8])],
        [value("y", ["b", 8])], [weight("w", 8, 8)],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=[inner])
    onnx.save(model, tmp_path / "m.onnx")
    assert counted(tmp_path / "m.onnx", x=(2, 8)).macs == 2 * 128


def test_control_flow_is_refused_by_name(tmp_path: Path) -> None:
    branch = helper.make_graph([node("Identity", "x", "b")], "branch", [], [value("b", None)])  # type: ignore[arg-type]
    made = node("If", "c", then_branch=branch, else_branch=branch)
    save(
        tmp_path / "m.onnx",
        [made],
        [value("x", [2]), value("c", [], TensorProto.BOOL)],
        [value("y", None)],  # type: ignore[arg-type]
    )
    with pytest.raises(InputError, match=r"m\.onnx has control flow: If \(the If\)"):
        counted(tmp_path / "m.onnx", x=(2,), c=())


def test_operators_of_onnx_runtime_are_known(tmp_path: Path) -> None:
    made = [
        node("MatMul", "x w", "h"),
        node("SkipLayerNormalization", "h s g", "n", domain="com.microsoft"),
        node("MultiHeadAttention", "n n n", "y", num_heads=4, domain="com.microsoft"),
    ]
    weights = [weight("w", 8, 16), weight("s", 2, 5, 16), weight("g", 16)]
    inputs, outputs = [value("x", ["b", 5, 8])], [value("y", None)]  # type: ignore[arg-type]
    path = save(tmp_path / "m.onnx", made, inputs, outputs, weights, domain="com.microsoft")
    work = counted(path, x=(2, 5, 8))
    assert [one.work.macs for one in work.operations] == [2 * 5 * 16 * 8, 0, 2 * 4 * 5 * 5 * 8]
    assert not work.unknown_ops
    assert not list(Path.cwd().glob("sym_shape*"))


def test_a_shape_that_nobody_knows_names_the_node(tmp_path: Path) -> None:
    made = [node("Nobody", "x", "h", domain="elsewhere"), node("Relu", "h")]
    save(tmp_path / "m.onnx", made, [value("x", [2, 3])], [value("y", None)], domain="elsewhere")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"the shape of 'h' at node 'the Nobody'.*--shape"):
        counted(tmp_path / "m.onnx", x=(2, 3))


def test_operands_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"m\.onnx.*(inferred|known)"):
        one(tmp_path, node("MatMul", "x w"), {"x": (2, 7)}, weight("w", 8, 5))


def test_weights_put_together_when_the_model_is_loaded_are_weights(tmp_path: Path) -> None:
    """As the exporter of PyTorch lays out those of an LSTM: views of weights, then one tensor of them."""
    nodes = [
        node("Unsqueeze", "w0 axes", "v0"), node("Unsqueeze", "w1 axes", "v1"),
        helper.make_node("Concat", ["v0", "v1"], ["w"], name="together", axis=0), node("MatMul", "x w"),
    ]  # fmt: skip
    axes = numpy_helper.from_array(np.array([0]), "axes")
    save(
        tmp_path / "m.onnx", nodes, [value("x", [2, 3, 4])], [value("y", None)],
        [weight("w0", 4, 5), weight("w1", 4, 5), axes],
    )  # fmt: skip
    work = counted(tmp_path / "m.onnx", x=(2, 3, 4))
    assert [one.op for one in work.operations] == ["MatMul"]
    (kernel,) = work.kernels
    assert (kernel.weight_bytes, work.weight_bytes, work.macs) == (160, 160, 2 * 3 * 4 * 5)
