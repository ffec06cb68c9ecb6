# SPDX-License-Identifier: Apache-2.0
"""Compiled models on a stream of a GPU: what a window holds, transfers, several streams, and what faults leave."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aoti_on_fake_gpu import TIMEOUT_NS, AotiGpu
from exact_gpu import quick_plan
from fake_aoti import Array, array, tensor
from fake_cuda_calls import ILLEGAL_ADDRESS

from pyperf_infer import _core
from pyperf_infer.errors import InputError, MeasurementError, UsageError

X = np.arange(6, dtype=np.float32).reshape(2, 3)
US = 1_000
RUN = "AOTInductorModelContainerRunSingleThreaded"
ALLOCATIONS = {"cuMemAlloc", "cuMemHostAlloc", "cuMemFree", "cuMemFreeHost"}
WAITS = {"cuStreamSynchronize", "cuEventSynchronize"}


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[AotiGpu]:
    with AotiGpu.loaded(tmp_path) as gpu:
        yield gpu
        assert gpu.aoti.count("misused") == 0


def _plan(**options: object) -> _core.StreamPlan:
    return _core.StreamPlan(**{"timeout_ns": TIMEOUT_NS, "gate_timeout_ns": TIMEOUT_NS // 4, **options})  # type: ignore[arg-type]


def _target(*bindings: _core.AotiStreamBinding, **options: object) -> _core.AotiStreamTarget:
    return _core.AotiStreamTarget(list(bindings), _plan(**options))


def _measured(target: _core.Target, mode: str = "latency", count: int = 30) -> _core.Samples:
    samples = _core.Samples()
    _core.measure(target, quick_plan(count), samples, mode=mode)
    return samples


def _value(binding: _core.AotiStreamBinding, index: int = 0) -> Array:
    return array(binding.outputs()[index])


def test_outputs_are_those_of_the_inputs_wherever_they_lie(gpu: AotiGpu) -> None:
    gpu.aoti.set(outputs=2, offset=3)
    binding = gpu.binding(X, X[::-1].copy())
    np.testing.assert_array_equal(_value(binding), X)
    np.testing.assert_array_equal(_value(binding, 1), X[::-1])


def test_inputs_are_read_where_they_are(gpu: AotiGpu) -> None:
    binding = gpu.binding(X)
    gpu.write(gpu.latest_input, X + 1)
    np.testing.assert_array_equal(_value(binding), X + 1)


def test_a_window_holds_one_run_and_nothing_else(gpu: AotiGpu) -> None:
    """No copy, no allocation, no wait, no handle: the driver sees a launch and events between two of them."""
    target = _target(gpu.binding(X))
    assert not target.needs_python
    _measured(target)
    gpu.aoti.log()
    gpu.cuda.log()
    _measured(target, count=3)
    calls = [call for call in gpu.cuda.log_lines() if not call.startswith("cuCtx") and call != "cuEventQuery"]
    assert calls == 3 * ["cuEventRecord", "cuGraphLaunch", "cuEventRecord", "cuEventElapsedTime"]
    assert gpu.aoti.log_lines() == 3 * ["RunSingleThreaded", "delete_tensor_object", "new_tensor_handle"]


def test_the_span_is_the_devices(gpu: AotiGpu) -> None:
    gpu.aoti.set(run_ns=500 * US)
    samples = _measured(_target(gpu.binding(X)))
    assert samples.columns == ["latency", "submit", "gpu"]
    np.testing.assert_allclose(samples.column("gpu"), 500 * US, atol=100)


def test_calls_queue_up_in_mode_throughput(gpu: AotiGpu) -> None:
    """The entry point that waits for the run before would leave one in the queue, and the period would grow by it."""
    gpu.aoti.set(run_ns=500 * US)
    binding = gpu.binding(X)
    before = gpu.left()
    gpu.cuda.log()
    samples = _measured(_target(binding, in_flight=8), "throughput")
    assert set(gpu.cuda.log_lines()) & (WAITS | ALLOCATIONS) <= {"cuMemAlloc"}  # outputs of calls in the queue
    np.testing.assert_allclose(samples.column("period"), 500 * US, atol=100)
    assert gpu.left()["handles"] == before["handles"]


def test_submit_that_returns_before_the_work_is_done_is_proved(gpu: AotiGpu) -> None:
    assert _target(gpu.binding(X)).probe_asynchrony() == "proved"


def test_a_model_that_waits_is_found_out_and_not_held_back(gpu: AotiGpu) -> None:
    gpu.aoti.set(waits=1)
    target = _target(gpu.binding(X))
    assert target.probe_asynchrony() == "sync_inside_submit"
    assert len(_measured(target, "cold", 10)) == 10
    assert not target.gated


def test_cold_launches_are_held_back(gpu: AotiGpu) -> None:
    gpu.aoti.set(run_ns=500 * US)
    target = _target(gpu.binding(X))
    samples = _measured(target, "cold")
    assert target.gated
    assert target.gate_timeouts == 0
    np.testing.assert_allclose(samples.column("gpu"), 500 * US, atol=100)


def test_several_streams_overlap(gpu: AotiGpu) -> None:
    gpu.aoti.set(run_ns=900 * US)
    bindings = [gpu.binding(X + i) for i in range(3)]
    samples = _measured(_target(*bindings), "throughput")
    assert np.median(samples.column("period")) < 400 * US
    for i, binding in enumerate(bindings):
        np.testing.assert_array_equal(_value(binding), X + i)


def test_work_lies_on_the_stream_that_is_given(gpu: AotiGpu) -> None:
    stream, another = _core.GpuStream(gpu.context), _core.GpuStream(gpu.context)
    binding = gpu.binding(X, stream=stream)
    gpu.cuda.hang(another.handle)
    binding.run()
    gpu.cuda.hang(stream.handle)
    with pytest.raises(MeasurementError, match="has not finished its work"):
        binding.run()
    gpu.cuda.unhang()


# ---- transfers


def test_transfers_have_columns_of_their_own(gpu: AotiGpu) -> None:
    """Through pinned memory, apart from the work: each takes its bytes over the bandwidth of its direction."""
    gpu.cuda.transfer_bandwidth(1e6)  # 24 bytes take 24 us
    binding = gpu.binding(X, transfers=True)
    target = _target(binding, include_transfers=True)
    gpu.cuda.log()
    samples = _measured(target)
    calls = gpu.cuda.log_lines()
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    np.testing.assert_allclose(samples.column("h2d"), 24 * US, atol=10)
    np.testing.assert_allclose(samples.column("d2h"), 24 * US, atol=10)
    assert calls.count("cuMemcpyHtoDAsync") == calls.count("cuMemcpyDtoHAsync") == calls.count("cuGraphLaunch")
    assert set(calls) & ALLOCATIONS == set()


def test_transfers_bring_to_the_device_what_was_bound(gpu: AotiGpu) -> None:
    strided = np.arange(24, dtype=np.float32).reshape(4, 6)[:, ::2]
    dense = np.ascontiguousarray(strided)
    binding = gpu.binding(dense, transfers=True)
    gpu.write(gpu.latest_input, np.zeros_like(dense))
    np.testing.assert_array_equal(_value(binding), np.zeros_like(dense))
    _measured(_target(binding, include_transfers=True), count=2)
    np.testing.assert_array_equal(_value(binding), dense)


def test_only_what_is_in_the_gpus_memory_is_transferred(gpu: AotiGpu) -> None:
    gpu.aoti.set(inputs=3, host_outputs=1)
    binding = _core.AotiStreamBinding(gpu.aoti.model("cuda:0"), _core.GpuStream(gpu.context), transfers=True)
    on_gpu, empty = gpu.tensor(X), gpu.tensor(np.empty((0, 3), np.float32))
    binding.bind([on_gpu, tensor(X), empty])
    gpu.cuda.log()
    _measured(_target(binding, include_transfers=True), count=2)
    calls = gpu.cuda.log_lines()
    assert (calls.count("cuMemcpyHtoDAsync"), calls.count("cuMemcpyDtoHAsync")) == (2, 0)
    assert binding.outputs()[0][2] == [2, 3]


def test_an_output_that_grows_is_refused_before_it_is_copied(gpu: AotiGpu) -> None:
    binding = gpu.binding(X, transfers=True)
    target = _target(binding, include_transfers=True)
    gpu.aoti.set(longer=1)
    with pytest.raises(MeasurementError, match=r"output 'y0' .* had 6 elements and now has 9"):
        _measured(target)
    gpu.aoti.set(longer=0)
    assert len(_measured(target)) == 30


def test_a_target_that_includes_transfers_takes_bindings_that_have_them(gpu: AotiGpu) -> None:
    binding = gpu.binding(X)
    with pytest.raises(UsageError, match="transfers are included"):
        _target(binding, include_transfers=True)
    with pytest.raises(UsageError, match="a binding is None"):
        _target(None)  # type: ignore[arg-type]


# ---- refusals and faults


def test_before_inputs_are_bound_nothing_runs_on_any_stream(gpu: AotiGpu) -> None:
    unbound = _core.AotiStreamBinding(gpu.aoti.model("cuda:0"), _core.GpuStream(gpu.context))
    target = _target(gpu.binding(X), unbound)
    for use in (unbound.run, unbound.outputs, lambda: _measured(target, "throughput")):
        with pytest.raises(UsageError, match="bind them first"):
            use()


def test_a_wrong_number_of_inputs_is_refused_and_the_old_ones_stay(gpu: AotiGpu) -> None:
    for transfers in (False, True):
        binding = gpu.binding(X, transfers=transfers)
        with pytest.raises(InputError, match=r"has 1 inputs \(x0\), and 2 were given"):
            binding.bind([gpu.tensor(X + 1), gpu.tensor(X + 1)])
        _measured(_target(binding, include_transfers=transfers), count=2)
        np.testing.assert_array_equal(_value(binding), X)


def test_a_timeout_that_is_none_is_refused(gpu: AotiGpu) -> None:
    with pytest.raises(UsageError, match="longer than 0"):
        _core.AotiStreamBinding(gpu.aoti.model("cuda:0"), _core.GpuStream(gpu.context), timeout_ns=0)


@pytest.mark.parametrize("mode", ["latency", "throughput", "cold"])
def test_after_a_run_that_failed_the_next_are_well(gpu: AotiGpu, mode: str) -> None:
    binding = gpu.binding(X)
    target = _target(binding)
    before = gpu.left()["handles"]
    gpu.aoti.fail(RUN, 5)
    with pytest.raises(MeasurementError, match=f"failed in {RUN}: {RUN} failed as it was told to"):
        _measured(target, mode)
    assert gpu.aoti.grad_mode()
    assert len(_measured(target, mode)) == 30
    np.testing.assert_array_equal(_value(binding), X)
    assert gpu.left()["handles"] == before


def test_gradients_are_off_on_every_stream_and_on_again_after(gpu: AotiGpu) -> None:
    target = _target(gpu.binding(X), gpu.binding(X))
    gpu.aoti.log()
    _measured(target, "throughput")
    runs = {line for line in gpu.aoti.log_lines() if line.startswith("Run")}
    assert runs == {"RunSingleThreaded"}
    assert gpu.aoti.grad_mode()


def test_a_broken_context_is_an_error_and_frees_nothing(gpu: AotiGpu) -> None:
    binding = gpu.binding(X, transfers=True)
    target = _target(binding)
    gpu.cuda.fail_from("cuGraphLaunch", ILLEGAL_ADDRESS)
    with pytest.raises(MeasurementError, match="failed in"):
        _measured(target)
    assert gpu.context.is_lost
    with pytest.raises(MeasurementError):
        binding.run()
    freed = gpu.cuda.calls("cuMemFreeHost")
    containers = gpu.aoti.count("containers")
    del binding, target
    gc.collect()
    assert gpu.cuda.calls("cuMemFreeHost") == freed
    assert gpu.aoti.count("containers") == containers


def test_a_binding_cannot_be_used_while_it_is_measured(gpu: AotiGpu) -> None:
    binding = gpu.binding(X)
    refused: list[str] = []

    def use(*_: object) -> None:
        if refused:
            return
        for call in (binding.run, binding.outputs, lambda: binding.bind([])):
            with pytest.raises(UsageError, match="in use already") as caught:
                call()
        refused.append(str(caught.value))

    plan = _core.StopPlan(min_duration_ns=300_000_000, max_duration_ns=600_000_000)
    _core.measure(_target(binding), plan, _core.Samples(), progress=use)
    assert refused
    np.testing.assert_array_equal(_value(binding), X)


def test_nothing_is_left_behind(gpu: AotiGpu) -> None:
    binding = gpu.binding(X, X, transfers=True)
    target = _target(binding, include_transfers=True)
    for mode in ("latency", "throughput", "cold"):
        _measured(target, mode)
    assert gpu.made()
    del target, binding
    assert gpu.made() == {}


def test_a_binding_that_goes_waits_for_what_uses_its_memory(gpu: AotiGpu) -> None:
    """Inputs and pinned memory are let go of when the stream is done with them, and not before."""
    gpu.aoti.set(run_ns=500 * US)
    binding = gpu.binding(X, transfers=True)
    target = _target(binding, include_transfers=True)
    gpu.aoti.fail(RUN, 4)
    with pytest.raises(MeasurementError):
        _measured(target, "throughput")  # three calls are on the stream
    gpu.cuda.log()
    del target, binding
    gc.collect()
    calls = gpu.cuda.log_lines()
    assert "cuMemFreeHost" in calls
    assert calls.index("cuEventRecord") < calls.index("cuMemFreeHost")
