# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as a backend on a GPU: providers, precisions, streams, graphs whose replays follow, copies found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from ort_on_fake_gpu import OTHER_X, FakeGpu, X, fake_gpu

from pyperf_infer import _core, ort_session, timers
from pyperf_infer.backends import provider as provider_module
from pyperf_infer.backends.assignment import copies_logged
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.onnxruntime import OnnxRuntime, OnnxRuntimeCudaGraph
from pyperf_infer.backends.prepared_session import OnnxFile, PreparedSession
from pyperf_infer.backends.provider import provider_named
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.replay_check import other_values
from pyperf_infer.errors import BackendError, InputError, MeasurementError, UsageError
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo
from pyperf_infer.ort_device import CUDA_PROVIDER

INPUTS = {"x": X}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGpu]:
    with fake_gpu(monkeypatch, tmp_path) as gpu:
        for module in (ort_session, provider_module):
            monkeypatch.setattr(module, "find_library", lambda: gpu.ort.path)
        yield gpu


def _options(**options: Any) -> BackendOptions:
    return BackendOptions(threads=1, **{"device": "cuda", "provider": "cuda", **options})


def _prepared(gpu: FakeGpu, *, cuda_graph: bool = False, **options: Any) -> PreparedSession:
    file = OnnxFile(gpu.model, {"opset": 17})
    return PreparedSession("onnxruntime", file, CUDA_PROVIDER, _options(**options), INPUTS, cuda_graph=cuda_graph)


def _model(gpu: FakeGpu) -> LoadedModel:
    weights = WeightsInfo("embedded", None, "0" * 64)
    return LoadedModel("scale", "onnx", (InputSpec("x", ("batch", 4), "float32"),), weights, 1, None, gpu.model)


def test_a_backend_runs_binds_and_closes(gpu: FakeGpu) -> None:
    backend = make_backend("onnxruntime", _options())
    model = _model(gpu)
    backend.convert(model, {"x": (2, 4)})
    prepared = backend.prepare(model, INPUTS)
    np.testing.assert_array_equal(prepared.outputs()["y"], X)
    prepared.bind({"x": OTHER_X})
    np.testing.assert_array_equal(prepared.outputs()["y"], OTHER_X)
    assert isinstance(prepared.target, _core.StreamTarget)
    prepared.close()
    with pytest.raises(InputError, match="closed"):
        prepared.outputs()
    assert gpu.left() == {}


def test_the_settings_tell_what_was_passed_and_what_came_of_it(gpu: FakeGpu) -> None:
    settings = _prepared(gpu, conv_search="heuristic", channels_last=True).facts.settings
    assert {
        "user_compute_stream": True,
        "cuda_graph": False,
        "streams": 1,
        "use_tf32": False,
        "cudnn_conv_algo_search": "HEURISTIC",
        "memcpy_nodes": 0,
        "host_outputs": None,
        "channels_last": "not applicable: the layout is ONNX Runtime's own",
        "provider:use_tf32": "0",
        "provider:device_id": "0",
        "opset": 17,
    }.items() <= dict(settings).items()
    assert not any("stream" in key and key.startswith("provider:") for key in settings)


@pytest.mark.parametrize(("precision", "use_tf32"), [("float32", "0"), ("tf32", "1"), ("float16", "0")])
def test_tf32_is_on_where_it_is_asked_for_and_nowhere_else(gpu: FakeGpu, precision: str, use_tf32: str) -> None:
    assert _prepared(gpu, precision=precision).facts.settings["provider:use_tf32"] == use_tf32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bfloat16"}, "--precision bfloat16 is not for ONNX Runtime"),
        ({"precision": "float16", "autocast": True}, "--autocast is PyTorch's"),
    ],
)
def test_what_onnx_runtime_has_no_equal_for_is_refused(gpu: FakeGpu, options: dict[str, Any], message: str) -> None:
    backend = OnnxRuntime(_options(**options))
    with pytest.raises(UsageError, match=message):
        backend.convert(_model(gpu), {"x": (2, 4)})


def test_an_onnx_file_keeps_its_types(gpu: FakeGpu) -> None:
    with pytest.raises(InputError, match="keeps the element types that it has"):
        OnnxRuntime(_options(precision="float16")).convert(_model(gpu), {"x": (2, 4)})


def test_several_streams_are_several_sessions(gpu: FakeGpu) -> None:
    prepared = _prepared(gpu, streams=3)
    assert gpu.cuda.live("streams") == 3
    samples = timers.measure(prepared.target, mode="throughput", duration=0.001, max_duration=0.05)
    assert samples.quantity == "period"
    assert prepared.facts.settings["streams"] == 3
    prepared.bind({"x": OTHER_X})
    np.testing.assert_array_equal(prepared.outputs()["y"], OTHER_X)
    del samples
    prepared.close()
    assert gpu.left() == {}


def test_a_graphs_replays_are_compared_with_a_session_without_one(gpu: FakeGpu) -> None:
    prepared = _prepared(gpu, cuda_graph=True)
    assert prepared.facts.settings["replay_check"] == "outputs follow the input"
    assert prepared.facts.settings["cuda_graph"] is True
    assert prepared.facts.first_inference_warm
    np.testing.assert_array_equal(prepared.outputs()["y"], X)  # the inputs asked for are back in place
    opened = [call for call in gpu.ort.log() if call.startswith("UpdateCUDAProviderOptions ")]
    assert ["enable_cuda_graph=1" in call for call in opened] == [False, True]
    assert gpu.cuda.live("streams") == 1  # the other session is gone


def test_stale_outputs_of_a_graph_are_an_error(gpu: FakeGpu) -> None:
    gpu.ort.set("stale", 1)
    with pytest.raises(MeasurementError, match="replayed outputs do not follow the input: y: differs") as caught:
        _prepared(gpu, cuda_graph=True)
    del caught
    assert gpu.left() == {}


def test_a_replay_that_writes_nothing_is_an_error(gpu: FakeGpu) -> None:
    gpu.ort.set("idle", 1)
    with pytest.raises(MeasurementError, match="a replay does not write y"):
        _prepared(gpu, cuda_graph=True)


def test_outputs_that_do_not_move_prove_nothing(gpu: FakeGpu) -> None:
    gpu.ort.set("constant", 1)
    found = _prepared(gpu, cuda_graph=True).facts.settings["replay_check"]
    assert str(found).startswith("not told: y: it does not depend on the input")


def test_the_graph_backend_has_a_name_of_its_own(gpu: FakeGpu) -> None:
    backend = make_backend("onnxruntime-cudagraph", _options())
    assert isinstance(backend, OnnxRuntimeCudaGraph)
    model = _model(gpu)
    backend.convert(model, {"x": (2, 4)})
    prepared = backend.prepare(model, INPUTS)
    assert prepared.facts.backend == "onnxruntime-cudagraph"


def test_nodes_on_the_cpu_are_refused_by_name(gpu: FakeGpu) -> None:
    gpu.ort.set("cpu_nodes", 2)
    with pytest.raises(BackendError, match="2 nodes do not run on CUDAExecutionProvider: Identity 'node_1'") as caught:
        _prepared(gpu)
    del caught
    assert gpu.left() == {}
    assert _prepared(gpu, allow_cpu_fallback=True).facts.providers is not None


def test_copies_that_every_run_makes_are_refused_though_no_node_shows(gpu: FakeGpu) -> None:
    gpu.ort.set("memcpy_nodes", 3)
    with pytest.raises(BackendError, match=r"every run copies 3 tensors .*--allow-cpu-fallback") as caught:
        _prepared(gpu)
    del caught
    assert gpu.left() == {}
    assert _prepared(gpu, allow_cpu_fallback=True).facts.settings["memcpy_nodes"] == 3


@given(st.lists(st.integers(1, 500), max_size=4))
def test_copies_are_summed_over_the_graphs_that_are_logged(counts: list[int]) -> None:
    text = "Memcpy nodes are added to the graph main graph 7 for CUDAExecutionProvider. It might have"
    log = ["Some nodes were not assigned to the preferred providers", *(f"{count} {text}" for count in counts)]
    assert copies_logged(log) == sum(counts)


def test_the_provider_is_that_of_the_device(gpu: FakeGpu) -> None:
    assert provider_named("cuda", "cuda:1") == CUDA_PROVIDER
    assert provider_named("cpu", "cpu") == "CPUExecutionProvider"
    with pytest.raises(BackendError, match="runs on a GPU; use it with --device cuda"):
        provider_named("cuda", "cpu")
    with pytest.raises(UsageError, match="--provider cpu contradicts --device cuda"):
        provider_named("cpu", "cuda")
    with pytest.raises(
        BackendError, match=r"'tensorrt' is not in this build .* it has CUDAExecutionProvider, .*pip install"
    ):
        provider_named("tensorrt", "cuda")


_ELEMENTS = st.sampled_from([np.float32, np.float16, np.int64, np.uint8, np.bool_])


@given(_ELEMENTS.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=4))))
def test_other_values_have_the_same_shape_and_type_and_stay_valid_indices(array: np.ndarray[Any, Any]) -> None:
    other = other_values({"x": array})["x"]
    assert (other.shape, other.dtype) == (array.shape, array.dtype)
    assert other.flags.c_contiguous
    if array.dtype.kind != "f":
        assert sorted(other.reshape(-1).tolist()) == sorted(array.reshape(-1).tolist())


def test_other_values_differ_where_floats_are_all_alike() -> None:
    for dtype in (np.float32, np.dtype(ml_dtypes.bfloat16)):
        array = np.zeros((2, 3), dtype)
        assert not np.array_equal(other_values({"x": array})["x"], array)
