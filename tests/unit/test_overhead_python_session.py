# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as Python uses it: the session that was asked for, the inputs of everybody, errors in plain words."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx_cases
import onnxruntime
import pytest
from onnx import TensorProto
from onnx_graphs import save_scale_model

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError, InputError, MeasurementError, OutOfMemoryError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo
from pyperf_infer.overhead import python_session
from pyperf_infer.overhead.blocks import ONE_CALL, LocalLane
from pyperf_infer.overhead.onnx_ladder import session_spec
from pyperf_infer.overhead.paths import Request
from pyperf_infer.overhead.python_session import Input, PythonSession, SessionSpec, open_session

CPU = "CPUExecutionProvider"
X = InputSpec("x", ("batch", 4), "float32")


def spec(model: Path, **fields: Any) -> SessionSpec:
    given: dict[str, Any] = {
        "model": str(model), "inputs": [Input("x", (2, 4), "float32")], "seed": 5, "threads": 1, "inter_op_threads": 1,
        "opt_level": "all", "execution_mode": "sequential", "provider": CPU, "provider_options": {},
        "session_options": {}, "device": None,
    }  # fmt: skip
    return SessionSpec(**{**given, **fields})


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    return save_scale_model(tmp_path / "scale.onnx", factor=3.0)


@pytest.mark.parametrize("path", PythonSession.paths)
def test_both_paths_compute_on_the_inputs_that_all_get(scale: Path, path: str) -> None:
    session = PythonSession(spec(scale))
    for _ in range(2):  # the first inputs are in place again
        for outputs, seed in zip(session.outputs(path), (5, 6), strict=True):
            np.testing.assert_allclose(outputs["y"], 3 * make_inputs([X], {"x": (2, 4)}, seed)["x"], rtol=1e-6)
    assert LocalLane(session.target(path)).block(ONE_CALL).median_ns is not None


def test_the_session_is_the_one_that_was_asked_for(scale: Path) -> None:
    asked = spec(
        scale,
        threads=3,
        inter_op_threads=2,
        opt_level="basic",
        execution_mode="parallel",
        session_options={"session.intra_op.allow_spinning": "0"},
    )
    session = PythonSession(asked)
    options = session._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert options.execution_mode == onnxruntime.ExecutionMode.ORT_PARALLEL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    settings = session.settings
    assert settings["onnxruntime"] == onnxruntime.__version__
    assert settings["session:session.intra_op.allow_spinning"] == "0"


def test_another_process_makes_the_same_from_the_text(scale: Path) -> None:
    session = open_session(msgspec.json.encode(spec(scale)).decode())
    assert session._spec == spec(scale)


def test_bound_outputs_stay_where_they_are(scale: Path) -> None:
    session = PythonSession(spec(scale))
    (before,) = session._binding.get_outputs()
    LocalLane(session.target("run_with_iobinding")).block(ONE_CALL)
    (after,) = session._binding.get_outputs()
    assert before.data_ptr() == after.data_ptr()


def test_floats_are_cast_to_what_the_model_takes(tmp_path: Path) -> None:
    onnx_cases.one_node(tmp_path / "half.onnx", "Identity", (2, 4), element=TensorProto.FLOAT16)
    first, _ = PythonSession(spec(tmp_path / "half.onnx")).outputs("session.run")
    (output,) = first.values()
    assert output.dtype == np.float16


def test_bfloat16_is_refused_by_name(tmp_path: Path) -> None:
    onnx_cases.one_node(tmp_path / "short.onnx", "Identity", (2, 4), element=TensorProto.BFLOAT16)
    with pytest.raises(InputError, match="input 'x' is bfloat16"):
        PythonSession(spec(tmp_path / "short.onnx", inputs=[Input("x", (2, 4), "bfloat16")]))


def test_what_onnxruntime_raises_names_the_model(tmp_path: Path, scale: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(MeasurementError, match=r"Python's onnxruntime failed on .*bad\.onnx: .*INVALID_PROTOBUF"):
        PythonSession(spec(tmp_path / "bad.onnx"))
    with pytest.raises(MeasurementError, match="Got invalid dimensions"):
        PythonSession(spec(scale, inputs=[Input("x", (2, 5), "float32")]))


def test_a_provider_that_is_not_loaded_is_said(scale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime itself warns, and goes on with the CPU."""
    monkeypatch.setattr(onnxruntime.InferenceSession, "get_providers", lambda _: ["OtherExecutionProvider"])
    with pytest.raises(BackendError, match="did not load CPUExecutionProvider; it runs on OtherExecutionProvider"):
        PythonSession(spec(scale))


def test_memory_that_runs_out_is_known_as_that(scale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 12")

    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        PythonSession(spec(scale))


def test_without_onnxruntime_it_says_what_to_install(scale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> None:
        raise ImportError("no module")

    monkeypatch.setattr(python_session, "import_module", fail)
    with pytest.raises(BackendError, match="pip install onnxruntime"):
        PythonSession(spec(scale))


def test_a_level_that_an_older_version_lacks_is_refused(scale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = types.SimpleNamespace(ORT_ENABLE_ALL=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    monkeypatch.setattr(onnxruntime, "GraphOptimizationLevel", levels)
    with pytest.raises(BackendError, match="no optimisation level 'layout'"):
        PythonSession(spec(scale, opt_level="layout"))


def test_on_a_gpu_it_gets_the_options_of_the_native_session() -> None:
    model = LoadedModel("m", "onnx", (X,), WeightsInfo("embedded", None, "0" * 64), 0, None, None)
    request = Request(model=model, shapes={"x": (2, 4)}, first={}, second={}, seed=9)
    options = BackendOptions(threads=2, device="cuda:1", provider_options={"gpu_mem_limit": "5"}, precision="tf32")
    made = session_spec(request, options, "m.onnx", "CUDAExecutionProvider")
    assert made.device == 1
    assert made.provider_options == {
        "device_id": "1", "use_tf32": "1", "cudnn_conv_algo_search": "EXHAUSTIVE", "gpu_mem_limit": "5",
    }  # fmt: skip
    assert made.inputs == [Input("x", (2, 4), "float32")]
    tensorrt = session_spec(request, options, "m.onnx", "TensorrtExecutionProvider")
    assert tensorrt.provider_options == {"device_id": "1", "gpu_mem_limit": "5"}
    on_cpu = session_spec(request, BackendOptions(threads=2), "m.onnx", CPU)
    assert (on_cpu.device, on_cpu.provider_options) == (None, {})
