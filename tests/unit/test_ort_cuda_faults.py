# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on a GPU under ONNX Runtime: the right error, nothing left behind, no release on a lost device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ort_on_fake_gpu import FakeGpu, X, fake_gpu

from pyperf_infer import timers
from pyperf_infer.errors import BackendError, MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.ort_session import OnnxSession

INVALID_VALUE, OUT_OF_MEMORY, ILLEGAL_ADDRESS = 1, 2, 700  # CUresult

DRIVER_CALLS = (
    "cuDevicePrimaryCtxRetain", "cuStreamCreate", "cuMemAlloc", "cuMemHostAlloc", "cuMemcpyHtoDAsync", "cuMemcpyDtoH",
    "cuMemcpyDtoHAsync", "cuEventCreate", "cuEventRecord", "cuEventQuery", "cuEventElapsedTime", "cuGraphLaunch",
    "cuCtxPushCurrent",
)  # fmt: skip
ORT_CALLS = (
    "AddSessionConfigEntry", "UpdateCUDAProviderOptions", "UpdateCUDAProviderOptionsWithValue",
    "SessionOptionsAppendExecutionProvider_CUDA_V2", "CreateSession", "AddRunConfigEntry",
    "CreateTensorWithDataAsOrtValue", "BindInput", "BindOutputToDevice", "BindOutput", "RunWithBinding",
)  # fmt: skip


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGpu]:
    with fake_gpu(monkeypatch, tmp_path) as gpu:
        yield gpu


def _everything(gpu: FakeGpu) -> None:
    session = gpu.session(include_transfers=True)
    session.bind({"x": X})
    timers.measure(session.target, duration=0.0005, max_duration=0.001, warmup=0.001)
    session.bind({"x": np.ones((3, 4), np.float32)})
    session.poison_outputs()
    session.run()


def _fails(gpu: FakeGpu) -> bool:
    try:
        _everything(gpu)
    except PyperfInferError as error:
        assert str(error)  # noqa: PT017  whether there is an error depends on the call
        return True
    return False


def test_without_a_fault_all_is_well_and_freed(gpu: FakeGpu) -> None:
    assert not _fails(gpu)
    assert gpu.left() == {}


@pytest.mark.parametrize("nth_call", [1, 2, 3, 6])
@pytest.mark.parametrize("function", DRIVER_CALLS)
def test_a_call_of_the_driver_that_fails_leaves_nothing_behind(gpu: FakeGpu, function: str, nth_call: int) -> None:
    gpu.cuda.fail(function, INVALID_VALUE, nth_call)
    failed = _fails(gpu)
    reached = gpu.cuda.calls(function) >= nth_call
    assert failed or not reached or function == "cuEventQuery"
    assert gpu.left() == {}


@pytest.mark.parametrize("nth_call", [1, 2, 3])
@pytest.mark.parametrize("function", ORT_CALLS)
def test_a_call_of_onnx_runtime_that_fails_leaves_nothing_behind(gpu: FakeGpu, function: str, nth_call: int) -> None:
    gpu.ort.fail(function, "something broke", nth_call)
    failed = _fails(gpu)
    reached = sum(call.split()[0] == function for call in gpu.ort.log()) >= nth_call
    assert failed == reached
    assert gpu.left() == {}


@pytest.mark.parametrize(
    "message",
    [
        "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size)",
        "Available memory of 1024 is smaller than requested bytes of 4096",
        "Failed to allocate memory for requested buffer of size 4096",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0",
    ],
)
def test_onnx_runtime_out_of_memory(gpu: FakeGpu, message: str) -> None:
    gpu.ort.fail("RunWithBinding", message)
    with pytest.raises(OutOfMemoryError, match="ran out of memory"):
        gpu.session().bind({"x": X})
    assert gpu.left() == {}
    gpu.session().bind({"x": X})  # the device is as it was


def test_inputs_that_do_not_fit_are_out_of_memory_with_the_numbers(gpu: FakeGpu) -> None:
    gpu.cuda.memory_limit(1 << 20)
    session = gpu.session()
    with pytest.raises(OutOfMemoryError, match="1600000 bytes were asked for, and 1048576 are free"):
        session.bind({"x": np.ones((100_000, 4), np.float32)})
    session.bind({"x": X})
    np.testing.assert_array_equal(session.run()["y"], X)


def test_memory_that_runs_out_in_the_middle_keeps_what_was_measured(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    measurement = timers.Measurement(session.target, duration=0.05, max_duration=0.2)
    measurement.warm_up()
    calls = len(gpu.ort.log())
    gpu.ort.fail("RunWithBinding", "CUDA failure 2: out of memory", nth_call=1000)
    with pytest.raises(OutOfMemoryError):
        measurement.run()
    assert calls > 0
    assert measurement.samples is not None
    assert measurement.samples.stop_reason != "converged"


@pytest.mark.parametrize("is_first_run", [True, False])
def test_a_broken_context_is_given_up_and_nothing_of_it_is_released(gpu: FakeGpu, is_first_run: bool) -> None:
    """After an illegal address every call fails, and a release by ONNX Runtime might wait for ever."""
    session = gpu.session()
    if not is_first_run:
        session.bind({"x": X})
    context = session.stream.context if session.stream else None
    assert context is not None
    gpu.cuda.fail_from("cuGraphLaunch", ILLEGAL_ADDRESS)
    with pytest.raises(MeasurementError, match="CUDA failure 700"):
        session.run({"x": X} if is_first_run else None)
    assert context.is_lost
    gpu.cuda.log()
    del session, context
    left = gpu.left()
    assert left["onnxruntime"] > 0
    assert set(gpu.cuda.log_lines()) <= {"cuGetErrorName", "cuGetErrorString"}


def test_a_device_that_is_lost_while_it_is_measured_ends_in_an_error(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    gpu.cuda.device_lost()
    with pytest.raises(MeasurementError):
        timers.measure(session.target, duration=0.01, max_duration=0.05)
    with pytest.raises(MeasurementError):
        session.run()
    del session
    gpu.left()


@pytest.mark.parametrize("when", ["first run", "later run"])
def test_a_run_that_never_ends_is_given_up(gpu: FakeGpu, when: str) -> None:
    session = gpu.session()
    if when == "later run":
        session.bind({"x": X})
    gpu.cuda.hang()
    with pytest.raises(MeasurementError, match="has not finished its work after 200 ms"):
        session.run({"x": X})
    assert session.stream is not None
    assert session.stream.context.is_lost
    del session  # must not wait for what hangs
    assert gpu.left()["onnxruntime"] > 0
    gpu.cuda.unhang()


def test_work_that_hangs_while_it_is_measured_is_given_up(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    measurement = timers.Measurement(session.target, duration=0.01, max_duration=0.05)
    measurement.warm_up()
    gpu.cuda.hang()
    with pytest.raises(MeasurementError, match="has not finished its work after 200 ms"):
        measurement.run()
    del session, measurement
    assert gpu.left()["onnxruntime"] > 0
    gpu.cuda.unhang()


@pytest.mark.parametrize(
    "message",
    [
        "This session cannot use the graph capture feature as requested by the user",
        "CUDA failure 900: operation not permitted when stream is capturing",
    ],
)
@pytest.mark.parametrize("function", ["CreateSession", "RunWithBinding"])
def test_a_model_that_cannot_be_captured(gpu: FakeGpu, function: str, message: str) -> None:
    gpu.ort.fail(function, message)
    with pytest.raises(BackendError, match="cannot capture this model in a CUDA graph") as caught:
        gpu.session(cuda_graph=True).bind({"x": X})
    assert message in str(caught.value)
    del caught
    assert gpu.left() == {}


def test_a_dependency_that_onnx_runtime_cannot_load_is_named_with_its_package(gpu: FakeGpu) -> None:
    gpu.ort.fail(
        "UpdateCUDAProviderOptions",
        "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.13: cannot open shared "
        "object file: No such file or directory",
    )
    with pytest.raises(BackendError, match=r"needs libcublasLt.so.13, .*pip install 'nvidia-cublas==13.\*'"):
        gpu.session()


def test_the_cpu_is_not_touched_by_any_of_this(gpu: FakeGpu) -> None:
    gpu.cuda.device_lost()
    np.testing.assert_allclose(OnnxSession(gpu.model).run({"x": X})["y"], 3 * X)
