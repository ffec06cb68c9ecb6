# SPDX-License-Identifier: Apache-2.0
"""OnnxSession against NumPy: element types, shapes, options, mistakes, assignment, and older ONNX Runtimes."""

from __future__ import annotations

import gc
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx_cases
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import save_scale_model

from pyperf_infer import timers
from pyperf_infer.backends.assignment import assignment_of, check_assignment
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.ort_session import CPU_PROVIDER, OnnxSession, find_library

ELEMENTS = {
    "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE, "int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32,
    "int64": TensorProto.INT64, "uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16,
    "uint32": TensorProto.UINT32, "uint64": TensorProto.UINT64, "bool": TensorProto.BOOL,
}  # fmt: skip
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def _dtype(name: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    return save_scale_model(tmp_path / "scale.onnx")


@pytest.mark.parametrize("name", ELEMENTS)
def test_every_element_type_goes_in_and_comes_out(tmp_path: Path, name: str) -> None:
    """Through Identity as it is, and through Cast against NumPy's own conversion."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Cast", ["x"], ["double"], to=TensorProto.DOUBLE),
    ]
    outputs = [onnx_cases.value("same", ("n", 3), ELEMENTS[name]), onnx_cases.value("double", ("n", 3), 11)]
    path = onnx_cases.save(tmp_path / "m.onnx", nodes, [onnx_cases.value("x", ("n", 3), ELEMENTS[name])], outputs)
    x = np.array([[0, 1, 100], [3, 1, 0]]).astype(_dtype(name))
    session = OnnxSession(path)
    assert session.inputs[0].dtype == name
    outputs_by_name = session.run({"x": x})
    assert outputs_by_name["same"].dtype == x.dtype
    np.testing.assert_array_equal(outputs_by_name["same"].view(np.uint8), x.view(np.uint8))
    np.testing.assert_array_equal(outputs_by_name["double"], x.astype(np.float64))


def test_strings_are_refused_by_name(tmp_path: Path) -> None:
    path = onnx_cases.one_node(tmp_path / "m.onnx", "Identity", element=TensorProto.STRING)
    session = OnnxSession(path)
    with pytest.raises(InputError, match="input 'x' holds strings"):
        session.bind({"x": np.array([["a"] * 4])})


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "no array was given for input 'x'"),
        ({"x": X, "z": X}, "the model has no input 'z'; it has x"),
        ({"x": X.astype(np.float64)}, "input 'x' takes float32, and the array is float64"),
        ({"x": X.astype(">f8")}, "takes float32"),
        ({"x": X.tolist()}, "takes a NumPy array, and list was given"),
        ({"x": X[0]}, r"takes shape \[\?, 4\], and \[4\] was given"),
        ({"x": X.T}, r"takes shape \[\?, 4\], and \[4, 2\] was given"),
    ],
)
def test_inputs_that_do_not_fit_are_named(scale: Path, inputs: dict[str, np.ndarray], said: str) -> None:
    session = OnnxSession(scale)
    with pytest.raises(InputError, match=said):
        session.bind(inputs)
    with pytest.raises(UsageError, match="bind the inputs first"):
        _ = session.target


def test_views_and_other_byte_orders_are_read_as_they_are_meant(scale: Path) -> None:
    session = OnnxSession(scale)
    for x in (X[::-1], np.asfortranarray(X), X.astype(">f4"), np.broadcast_to(X[:1], (3, 4))):
        np.testing.assert_array_equal(session.run({"x": x})["y"], x * 3)


def test_inputs_are_copies_and_so_are_outputs(scale: Path) -> None:
    session = OnnxSession(scale)
    x = X.copy()
    first = session.run({"x": x})["y"]
    x[:] = -1
    first[:] = -1
    np.testing.assert_array_equal(session.run()["y"], X * 3)


def test_another_batch_binds_other_outputs(scale: Path) -> None:
    session = OnnxSession(scale)
    for batch in (2, 5, 1, 0, 3):
        x = np.ones((batch, 4), np.float32)
        y = session.run({"x": x})["y"]
        assert y.shape == (batch, 4)
        np.testing.assert_array_equal(y, x * 3)


def test_a_bind_that_fails_leaves_the_last_one_in_place(scale: Path) -> None:
    session = OnnxSession(scale)
    session.bind({"x": X})
    with pytest.raises(InputError):
        session.bind({"x": X.astype(np.int32)})
    np.testing.assert_array_equal(session.run()["y"], X * 3)


def test_outputs_that_are_no_tensors_are_told_and_left_out(tmp_path: Path) -> None:
    session = OnnxSession(onnx_cases.strange_outputs(tmp_path / "m.onnx"))
    outputs = session.run({"x": X})
    assert session.unbound_outputs == ("list",)
    assert session.outputs[0].dtype == "not a tensor"
    np.testing.assert_array_equal(outputs["places"], np.array(np.nonzero(X)))
    assert timers.measure(session, duration=0, max_duration=0.02, iterations=3, warmup=0.01).ns.size >= 1
    assert session.run({"x": np.zeros((1, 4), np.float32)})["places"].shape == (2, 0)


def test_a_model_without_inputs_runs(tmp_path: Path) -> None:
    constant = numpy_helper.from_array(np.ones(3, np.float32), "c")
    path = onnx_cases.save(
        tmp_path / "m.onnx", [helper.make_node("Neg", ["c"], ["y"])], [], [onnx_cases.value("y", (3,))], [constant]
    )
    np.testing.assert_array_equal(OnnxSession(path).run({})["y"], -np.ones(3))


def test_it_is_a_target_of_the_timers(scale: Path) -> None:
    session = OnnxSession(scale, threads=1)
    session.bind({"x": X})
    samples = timers.measure(session, duration=0.01, max_duration=0.05, warmup=0.01)
    assert samples.ns.size >= 1
    assert session.create_ns > 0
    assert session.first_run_ns > 0


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "layout", "all"])
@pytest.mark.parametrize("mode", ["sequential", "parallel"])
def test_options_are_taken(scale: Path, level: str, mode: str) -> None:
    session = OnnxSession(
        scale, opt_level=level, execution_mode=mode, threads=2, inter_op_threads=2,
        session_options={"session.intra_op.allow_spinning": "0"},
    )  # fmt: skip
    np.testing.assert_array_equal(session.run({"x": X})["y"], X * 3)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"opt_level": "most"}, UsageError, "optimisation level 'most' is unknown; it can be all, basic"),
        ({"execution_mode": "any"}, UsageError, "execution mode 'any' is unknown"),
        ({"threads": -1}, UsageError, "a number of threads is 0"),
        ({"provider": "XExecutionProvider"}, BackendError, "is not in this build of ONNX Runtime"),
        ({"provider_options": {"a": "b"}}, UsageError, "CPUExecutionProvider has no provider options, and 'a'"),
        ({"library": "/nowhere/libonnxruntime.so"}, BackendError, "does not load"),
        ({"library": find_library().with_name("libonnxruntime_providers_shared.so")}, BackendError, "OrtGetApiBase"),
    ],
)
def test_options_that_nobody_knows_are_refused(scale: Path, options: dict, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        OnnxSession(scale, **options)


def test_files_that_do_not_load_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    for path in (tmp_path / "text.onnx", onnx_cases.one_node(tmp_path / "op.onnx", "Frobnicate"), tmp_path):
        with pytest.raises(InputError, match=path.name):
            OnnxSession(path)


def test_nodes_and_providers_are_told(scale: Path) -> None:
    (node,) = OnnxSession(scale).assigned_nodes()
    assert (node.provider, node.op_type, node.name) == (CPU_PROVIDER, "Mul", "scale")


def test_the_profile_of_a_second_session_tells_nodes_too(scale: Path) -> None:
    """The way of libraries that do not tell their nodes."""
    session = OnnxSession(scale)
    session._records_assignment = False
    found = assignment_of(session, scale, BackendOptions(threads=1), CPU_PROVIDER, {"x": X})
    assert found.stage == "after fusion"
    assert [(node.provider, node.op_type) for node in found.nodes] == [(CPU_PROVIDER, "Mul")]
    assert check_assignment(found, scale, CPU_PROVIDER, allow=False) == 0
    assert list(scale.parent.iterdir()) == [scale]


def test_sessions_and_runs_leave_no_memory_behind(scale: Path) -> None:
    x = np.ones((64, 4), np.float32)

    def sessions(count: int) -> None:
        for _ in range(count):
            session = OnnxSession(scale, threads=1)
            for _ in range(20):
                session.run({"x": x})

    sessions(40)
    gc.collect()
    before = psutil.Process().memory_info().rss
    sessions(150)
    gc.collect()
    # A leak of one session or of its bound inputs would be tens of KiB a session: 150 of them are many MiB.
    assert psutil.Process().memory_info().rss - before < 3 << 20
