# SPDX-License-Identifier: Apache-2.0
"""OnnxSession on a stream of a GPU: what is passed, what is bound and where, and that a window holds a run alone."""

from __future__ import annotations

import gc
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fake_cuda import FakeCuda
from fake_ort import FakeOrt
from ort_on_fake_gpu import OTHER_X, FakeGpu, X, fake_gpu

from pyperf_infer import _core, timers
from pyperf_infer.errors import InputError, MeasurementError, UsageError
from pyperf_infer.ort_session import several_streams

COPIES = {"cuMemcpyHtoD", "cuMemcpyDtoH", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync"}
ALLOCATIONS = {"cuMemAlloc", "cuMemHostAlloc", "cuMemFree", "cuMemFreeHost"}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeGpu]:
    with fake_gpu(monkeypatch, tmp_path) as gpu:
        yield gpu


def _exact(gpu: FakeGpu) -> None:
    """Nothing but the work takes time, so that a span is the work's to the last digit of the driver's float."""
    gpu.cuda.call_cost(0)
    gpu.cuda.record_cost(0)
    gpu.cuda.event_tick(1)


def test_outputs_are_those_of_the_inputs(gpu: FakeGpu) -> None:
    session = gpu.session()
    np.testing.assert_array_equal(session.run({"x": X})["y"], X)
    np.testing.assert_array_equal(session.run({"x": OTHER_X})["y"], OTHER_X)
    np.testing.assert_array_equal(session.run()["y"], OTHER_X)


def test_the_stream_the_device_and_the_settings_reach_onnx_runtime(gpu: FakeGpu) -> None:
    session = gpu.session(device=1, use_tf32=True, conv_search="heuristic", provider_options={"gpu_mem_limit": "99"})
    session.bind({"x": X})
    assert session.stream is not None
    assert session.stream.context.facts.ordinal == 1
    calls = gpu.ort.log()
    options = next(call for call in calls if call.startswith("UpdateCUDAProviderOptions "))
    assert set(options.split()[1:]) == {
        "gpu_mem_limit=99", "use_tf32=1", "cudnn_conv_algo_search=HEURISTIC", "enable_cuda_graph=0", "device_id=1",
    }  # fmt: skip
    # The text sets all else to its default: the stream must come after it.
    assert calls.index(options) < calls.index("UpdateCUDAProviderOptionsWithValue user_compute_stream")
    assert "AddRunConfigEntry disable_synchronize_execution_providers=1" in calls
    assert "BindOutputToDevice y Cuda" in calls
    assert session.provider_options == {
        "gpu_mem_limit": "99", "use_tf32": "1", "cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": "0",
        "device_id": "1",
    }  # fmt: skip


def test_float32_means_it(gpu: FakeGpu) -> None:
    assert gpu.session().provider_options["use_tf32"] == "0"


def test_work_lies_on_the_stream_that_is_given(gpu: FakeGpu) -> None:
    stream, another = timers.CudaStream(), timers.CudaStream()
    session = gpu.session(stream=stream)
    session.bind({"x": X})
    gpu.cuda.hang(another.handle)
    session.run()
    gpu.cuda.hang(stream.handle)
    with pytest.raises(MeasurementError, match="has not finished its work"):
        session.run()
    gpu.cuda.unhang()


def test_somebody_elses_stream_lives_as_long_as_the_session(gpu: FakeGpu) -> None:
    class Owner:
        def __init__(self) -> None:
            self.stream = timers.CudaStream()

        def __cuda_stream__(self) -> tuple[int, int]:
            return self.stream.__cuda_stream__()

    owner = Owner()
    alive = weakref.ref(owner)
    session = gpu.session(stream=owner)
    session.bind({"x": X})
    target = session.target
    del owner, session
    gc.collect()
    assert alive() is not None
    del target
    gc.collect()
    assert alive() is None
    assert gpu.left() == {}


def test_a_window_holds_one_run_and_nothing_else(gpu: FakeGpu) -> None:
    """No binding, no copy, no allocation: ONNX Runtime sees runs, the driver launches and events."""
    session = gpu.session()
    session.bind({"x": X})
    target = session.target
    timers.measure(target, duration=0.001, max_duration=0.05)
    gpu.ort.log()
    gpu.cuda.log()
    samples = timers.measure(target, duration=0.001, max_duration=0.05)
    assert set(gpu.ort.log()) == {"RunWithBinding"}
    calls = set(gpu.cuda.log_lines())
    assert calls & (COPIES | ALLOCATIONS) == set()
    assert "cuGraphLaunch" in calls
    assert list(samples.columns) == ["latency", "submit", "gpu"]
    assert not target.needs_python


def test_the_span_is_the_devices(gpu: FakeGpu) -> None:
    gpu.ort.set("run_ns", 500_000)
    _exact(gpu)
    session = gpu.session()
    session.bind({"x": X})
    samples = timers.measure(session.target, duration=0.001, max_duration=0.05)
    # The float of milliseconds keeps seven digits.
    np.testing.assert_allclose(samples.columns["gpu"], 500_000, atol=100)


def test_submit_that_returns_before_the_work_is_done_is_proved(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    assert session.target.probe_asynchrony() == "proved"


@pytest.mark.parametrize("cuda_graph", [False, True])
def test_a_session_that_synchronises_inside_submit_is_found_out(gpu: FakeGpu, cuda_graph: bool) -> None:
    gpu.ort.set("synchronises", 1)
    session = gpu.session(cuda_graph=cuda_graph)
    session.bind({"x": X})
    assert session.target.probe_asynchrony() == "sync_inside_submit"


def test_transfers_have_columns_of_their_own(gpu: FakeGpu) -> None:
    """Through pinned memory, apart from the work: each takes its bytes over the bandwidth of its direction."""
    gpu.cuda.transfer_bandwidth(1e6)  # 32 bytes take 32 us
    _exact(gpu)
    session = gpu.session(include_transfers=True)
    session.bind({"x": X})
    assert gpu.cuda.live("host_bytes") >= 2 * X.nbytes
    gpu.cuda.log()
    samples = timers.measure(session.target, duration=0.001, max_duration=0.05)
    calls = gpu.cuda.log_lines()
    assert list(samples.columns) == ["latency", "submit", "gpu", "h2d", "d2h"]
    np.testing.assert_allclose(samples.columns["h2d"], 32_000, atol=10)
    np.testing.assert_allclose(samples.columns["d2h"], 32_000, atol=10)
    assert calls.count("cuMemcpyHtoDAsync") == calls.count("cuMemcpyDtoHAsync") == calls.count("cuGraphLaunch")
    np.testing.assert_array_equal(session.run()["y"], X)


def test_transfers_bring_what_is_bound_to_the_device(gpu: FakeGpu) -> None:
    session = gpu.session(include_transfers=True)
    session.bind({"x": X})
    session.write({"x": OTHER_X})
    timers.measure(session.target, duration=0.001, max_duration=0.02)  # copies the pinned values over
    np.testing.assert_array_equal(session.run()["y"], OTHER_X)


def test_a_target_that_includes_transfers_takes_bindings_that_have_them(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    with pytest.raises(UsageError, match="transfers are included"):
        _core.OrtStreamTarget([session._binding], _core.StreamPlan(include_transfers=True))


def test_inputs_and_outputs_of_one_shape_stay_where_they_are(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    before = session.addresses
    gpu.ort.log()
    session.bind({"x": OTHER_X})
    assert session.addresses == before
    assert gpu.ort.log() == ["BindInput x", "RunWithBinding"]
    larger = np.ones((5, 4), np.float32)
    np.testing.assert_array_equal(session.run({"x": larger})["y"], larger)
    np.testing.assert_array_equal(session.run({"x": X})["y"], X)


def test_outputs_are_bound_anew_where_their_shape_depends_on_values(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    gpu.ort.fail("RunWithBinding", "OrtValue shape verification failed. Current shape:{2,4} Requested shape:{3,4}")
    gpu.ort.log()
    np.testing.assert_array_equal(session.run({"x": OTHER_X})["y"], OTHER_X)
    assert "BindOutputToDevice y Cuda" in gpu.ort.log()


def test_values_are_written_in_place_without_a_run(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    before = session.addresses
    gpu.ort.log()
    session.write({"x": OTHER_X})
    assert session.addresses == before
    assert "RunWithBinding" not in gpu.ort.log()
    np.testing.assert_array_equal(session.run()["y"], OTHER_X)
    with pytest.raises(UsageError, match="of the shape that is bound"):
        session.write({"x": X[:1]})
    np.testing.assert_array_equal(session.run()["y"], OTHER_X)


def test_an_empty_batch_is_bound_too(gpu: FakeGpu) -> None:
    assert gpu.session(include_transfers=True).run({"x": np.empty((0, 4), np.float32)})["y"].shape == (0, 4)


def test_a_captured_graph_keeps_its_addresses_and_its_shapes(gpu: FakeGpu) -> None:
    session = gpu.session(cuda_graph=True)
    assert session.provider_options["enable_cuda_graph"] == "1"
    np.testing.assert_array_equal(session.run({"x": X})["y"], X)
    before = session.addresses
    gpu.ort.log()
    np.testing.assert_array_equal(session.run({"x": OTHER_X})["y"], OTHER_X)
    assert session.addresses == before
    assert not [call for call in gpu.ort.log() if call.startswith("BindOutput")]
    with pytest.raises(UsageError, match="captured with another shape of input 'x'"):
        session.bind({"x": X[:1]})
    np.testing.assert_array_equal(session.run()["y"], OTHER_X)


def test_poisoned_outputs_show_where_a_run_does_not_write(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    session.poison_outputs()
    assert {data for _, _, _, data in session._binding.outputs()} == {b"\xff" * X.nbytes}
    np.testing.assert_array_equal(session.run()["y"], X)


def test_an_output_that_is_made_in_the_hosts_memory_is_asked_for_there(gpu: FakeGpu) -> None:
    """Asked for on the device, it would be copied there in every run."""
    gpu.ort.set("host_output", 1)
    session = gpu.session(include_transfers=True)
    outputs = session.run({"x": X})
    assert "BindOutputToDevice h Cpu" in gpu.ort.log()
    assert session.host_outputs == ("h",)
    assert session.unbound_outputs == ()
    assert set(session.addresses) == {"x", "y"}
    np.testing.assert_array_equal(outputs["h"], X)
    session.poison_outputs()
    np.testing.assert_array_equal(session.run()["h"], X)


def test_an_output_that_is_no_tensor_is_left_to_the_library(gpu: FakeGpu) -> None:
    gpu.ort.set("other_output", 1)
    session = gpu.session()
    assert set(session.run({"x": X})) == {"y"}
    assert session.unbound_outputs == ("s",)


def test_a_library_that_does_not_tell_where_outputs_are_made_gives_all_on_the_device(
    gpu: FakeGpu, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(gpu.ort.path.parent, folder)
    with FakeOrt.loaded(gpu.cuda, folder / gpu.ort.path.name) as old:
        old.set("version", 20)
        old.set("host_output", 1)
        session = gpu.session(library=old.path)
        session._binding.bind_input("x", X)
        session._binding.bind_outputs()
        assert session.version == "1.20.0"
        assert {"BindOutputToDevice y Cuda", "BindOutputToDevice h Cuda"} <= set(old.log())
        del session
        gc.collect()


def test_several_sessions_make_one_target(gpu: FakeGpu) -> None:
    sessions = [gpu.session() for _ in range(3)]
    with pytest.raises(UsageError, match="bind the inputs"):
        several_streams(sessions)
    for session in sessions:
        session.bind({"x": X})
    target = several_streams(sessions)
    samples = timers.measure(target, mode="throughput", duration=0.001, max_duration=0.05)
    assert list(samples.columns) == ["period"]
    assert gpu.cuda.live("streams") == 3


def test_sessions_of_two_gpus_make_no_target(gpu: FakeGpu) -> None:
    sessions = [gpu.session(device=device) for device in (0, 1)]
    for session in sessions:
        session.bind({"x": X})
    with pytest.raises(UsageError, match="not of one GPU"):
        several_streams(sessions)


def test_a_session_cannot_be_used_while_it_is_measured(gpu: FakeGpu) -> None:
    session = gpu.session()
    session.bind({"x": X})
    refused: list[str] = []

    def use(*_: object) -> None:
        if refused:
            return
        with pytest.raises(UsageError, match="in use already") as caught:
            session.run()
        refused.append(str(caught.value))

    timers.measure(session.target, duration=0.3, max_duration=0.6, progress=use)
    assert refused
    np.testing.assert_array_equal(session.run()["y"], X)


def test_a_session_without_inputs_has_no_target(gpu: FakeGpu) -> None:
    session = gpu.session()
    with pytest.raises(UsageError, match="bind the inputs first"):
        _ = session.target
    with pytest.raises(InputError, match="no array was given for input 'x'"):
        session.bind({})


def test_nothing_is_left_behind(gpu: FakeGpu) -> None:
    gpu.ort.set("host_output", 1)
    session = gpu.session(include_transfers=True, cuda_graph=True)
    session.run({"x": X})
    timers.measure(session.target, duration=0.001, max_duration=0.02)
    assert gpu.left()
    del session
    assert gpu.left() == {}


def test_the_fake_driver_is_the_one_in_use(gpu: FakeGpu) -> None:
    """Else the accounts above would be empty whatever happens."""
    with FakeCuda.loaded() as again:
        assert again.path == gpu.cuda.path
    session = gpu.session()
    assert session.stream is not None
    assert gpu.cuda.live("streams") == 1
