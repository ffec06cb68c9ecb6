# SPDX-License-Identifier: Apache-2.0
"""The extension's GPU objects, on the fake driver: contexts, plans, targets, and the samples they fill."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact_gpu import ExactGpu, quick_plan
from fake_cuda_calls import ILLEGAL_ADDRESS, OUT_OF_MEMORY

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, MeasurementError, OutOfMemoryError, UsageError

US = 1_000
PATIENT = _core.StreamPlan(gate_timeout_ns=60_000_000_000)


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[ExactGpu]:
    with ExactGpu.loaded(tmp_path) as loaded:
        yield loaded


class Thing:
    """What a call returns; unlike None it can be watched."""


def graph_target(gpu: ExactGpu, *lengths: int, plan: _core.StreamPlan = PATIENT) -> _core.GraphTarget:
    return _core.GraphTarget([_core.GraphLane(gpu.fake.graph(*lengths), _core.GpuStream(gpu.context()))], plan)


def measured(target: _core.Target, mode: str = "latency", count: int = 40) -> _core.Samples:
    samples = _core.Samples()
    _core.measure(target, quick_plan(count), samples, mode=mode)
    return samples


def test_facts_are_the_devices(gpu: ExactGpu) -> None:
    context = gpu.context(1)
    facts = context.facts
    assert (facts.ordinal, facts.name, facts.uuid[:8]) == (1, "Fake GPU 1", "GPU-f1f1")
    assert facts.pci_bus_id == "0000:02:00.0"
    assert (facts.compute_major, facts.compute_minor, facts.multiprocessors) == (9, 0, 132)
    assert (facts.memory_bytes, facts.l2_bytes) == (80 << 30, 50 << 20)
    assert facts.memory_bandwidth_bytes_per_s == 2 * facts.memory_clock_khz * 1e3 * facts.memory_bus_bits / 8
    assert context.driver_version == 13_000
    assert not context.is_lost


def test_memory_is_counted_for_the_device(gpu: ExactGpu) -> None:
    context = gpu.context()
    assert (context.free_memory_bytes(), context.used_memory_bytes()) == (80 << 30, 0)
    gpu.fake.memory_limit(1 << 30)
    assert context.free_memory_bytes() == 1 << 30
    assert context.used_memory_bytes() == 79 << 30


def test_no_such_gpu_is_an_error_of_the_backend(gpu: ExactGpu) -> None:
    assert _core.gpu_count(gpu.library) == 2
    with pytest.raises(BackendError, match="no GPU 9"):
        gpu.context(9)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"wait": "nap"}, "'nap' is unknown; it can be spin or block"),
        ({"timeout_ns": 0}, "longer than 0"),
        ({"timeout_ns": -5}, "longer than 0"),
        ({"timeout_ns": 2**63 - 1}, "31 years"),
        ({"gate_timeout_ns": 0}, "longer than 0"),
        ({"timeout_ns": 100, "gate_timeout_ns": 100}, "shorter than that of a call"),
        ({"in_flight": 0}, "at least one"),
        ({"in_flight": 2**62}, "at most 10000"),
    ],
)
def test_plans_that_contradict_themselves_are_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _core.StreamPlan(**changed)


def test_a_plan_holds_what_it_was_given() -> None:
    plan = _core.StreamPlan(
        wait="block", include_transfers=True, gate=False, timeout_ns=9, gate_timeout_ns=8, in_flight=7
    )
    assert (plan.wait, plan.include_transfers, plan.gate) == ("block", True, False)
    assert (plan.timeout_ns, plan.gate_timeout_ns, plan.in_flight) == (9, 8, 7)
    with pytest.raises(TypeError):
        _core.StreamPlan("block")  # type: ignore[misc]


def test_a_target_says_what_a_sample_of_each_mode_holds(gpu: ExactGpu) -> None:
    plain = graph_target(gpu, US)
    both = graph_target(gpu, US, plan=_core.StreamPlan(include_transfers=True))
    assert plain.quantities("latency") == ["latency", "submit", "gpu"]
    assert plain.quantities("throughput") == ["period"]
    assert plain.quantities("cold") == ["gpu", "submit"]
    assert both.quantities("latency") == ["latency", "submit", "gpu", "h2d", "d2h"]
    assert both.quantities("cold") == ["gpu", "submit", "h2d", "d2h"]
    assert _core.NoopTarget().quantities("cold") == ["latency"]
    with pytest.raises(UsageError, match="mode 'warm' is unknown"):
        plain.quantities("warm")


def test_the_columns_are_read_only_and_as_long_as_the_samples(gpu: ExactGpu) -> None:
    samples = measured(graph_target(gpu, 10 * US, 20 * US), count=50)
    assert samples.columns == ["latency", "submit", "gpu"]
    for name in samples.columns:
        column = samples.column(name)
        assert (column.dtype, column.shape) == (np.int64, (50,))
        assert not column.flags.writeable
        assert not column.flags.owndata
    np.testing.assert_array_equal(samples.ns, samples.column("latency"))
    np.testing.assert_array_equal(samples.column("gpu"), [10 * US, 20 * US] * 25)
    with pytest.raises(UsageError, match="hold no 'period'"):
        samples.column("period")


def test_a_column_stays_as_it_is_while_the_samples_grow(gpu: ExactGpu) -> None:
    target, samples = graph_target(gpu, 10 * US), _core.Samples()
    _core.run_batch(target, samples, 10)
    early = samples.column("gpu")
    for _ in range(5):
        _core.run_batch(target, samples, 1_000)
    assert len(early) == 10
    assert set(early.tolist()) == {10 * US}
    assert len(samples.column("gpu")) == len(samples.column("submit")) == 5_010
    assert set(samples.column("gpu").tolist()) == {10 * US}


@pytest.mark.parametrize(
    ("first", "second"), [("latency", "cold"), ("cold", "throughput"), ("throughput", "latency"), ("latency", "host")]
)
def test_samples_of_one_mode_take_no_others(gpu: ExactGpu, first: str, second: str) -> None:
    target = graph_target(gpu, 10 * US)
    samples = measured(target, first)
    columns = samples.columns
    other, mode = (_core.NoopTarget(), "latency") if second == "host" else (target, second)
    with pytest.raises(UsageError, match="hold other quantities already"):
        _core.measure(other, quick_plan(), samples, mode=mode)
    assert samples.columns == columns
    assert len(samples) == 40


def test_periods_and_latencies_of_the_host_do_not_mix_either() -> None:
    samples = measured(_core.NoopTarget(), "throughput")
    with pytest.raises(UsageError, match="hold other quantities already"):
        _core.run_batch(_core.NoopTarget(), samples, 10)


def test_interleaved_samples_have_their_columns_too(gpu: ExactGpu) -> None:
    targets, samples = [graph_target(gpu, 10 * US), graph_target(gpu, 20 * US)], [_core.Samples(), _core.Samples()]
    plan = _core.SchedulePlan(min_block_ns=1_000_000, max_jitter_ns=0, min_rounds=1, max_duration_ns=50_000_000)
    _core.interleave(targets, plan, samples)
    assert samples[0].columns == samples[1].columns == ["latency", "submit", "gpu"]
    assert set(samples[0].column("gpu").tolist()) == {10 * US}
    assert set(samples[1].column("gpu").tolist()) == {20 * US}


def test_a_failed_first_call_leaves_samples_that_can_be_of_another_mode(gpu: ExactGpu) -> None:
    target, samples = graph_target(gpu, 10 * US), _core.Samples()
    gpu.fake.fail("cuGraphLaunch", OUT_OF_MEMORY)
    with pytest.raises(OutOfMemoryError):
        _core.measure(target, quick_plan(), samples, mode="latency")
    _core.measure(target, quick_plan(), samples, mode="throughput")
    assert samples.columns == ["period"]
    assert set(samples.ns.tolist()) == {10 * US}


def test_several_lanes_share_the_work_of_throughput(gpu: ExactGpu) -> None:
    context = gpu.context()
    lanes = [_core.GraphLane(gpu.fake.graph(40 * US), _core.GpuStream(context)) for _ in range(4)]
    samples = measured(_core.GraphTarget(lanes, _core.StreamPlan(in_flight=4)), "throughput")
    assert set(samples.ns.tolist()) == {10 * US}
    assert gpu.fake.calls("cuGraphLaunch") % 4 == 0


def test_lanes_of_two_gpus_and_no_lanes_are_refused(gpu: ExactGpu) -> None:
    lanes = [_core.GraphLane(gpu.fake.graph(US), _core.GpuStream(gpu.context(ordinal))) for ordinal in (0, 1)]
    with pytest.raises(UsageError, match="not of one GPU"):
        _core.GraphTarget(lanes, PATIENT)
    with pytest.raises(UsageError, match="no work to run"):
        _core.GraphTarget([], PATIENT)
    with pytest.raises(UsageError, match="no work to run"):
        _core.StreamCallableTarget([], PATIENT)


def test_transfers_of_a_callable_stand_apart(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    work, h2d, d2h = (gpu.work(stream.handle, length) for length in (9 * US, 2 * US, 4 * US))
    target = _core.StreamCallableTarget(
        [_core.CallableLane(work, stream, h2d, d2h)], _core.StreamPlan(include_transfers=True)
    )
    samples = measured(target)
    for name, length in (("gpu", 9 * US), ("h2d", 2 * US), ("d2h", 4 * US)):
        assert set(samples.column(name).tolist()) == {length}
    without = _core.StreamCallableTarget([_core.CallableLane(work, stream, h2d, d2h)], PATIENT)
    assert set(measured(without).column("gpu").tolist()) == {9 * US}


def test_transfers_that_nobody_queues_are_refused(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    for lane in (_core.CallableLane(Thing, stream), _core.CallableLane(Thing, stream, Thing)):
        with pytest.raises(UsageError, match="no callables h2d and d2h"):
            _core.StreamCallableTarget([lane], _core.StreamPlan(include_transfers=True))


def test_a_result_is_kept_until_the_call_is_measured_and_no_longer(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    watched: list[weakref.ref[Thing]] = []

    def submit() -> Thing:
        assert all(one() is None for one in watched)
        thing = Thing()
        watched.append(weakref.ref(thing))
        return thing

    def d2h() -> None:
        assert watched[-1]() is not None

    target = _core.StreamCallableTarget(
        [_core.CallableLane(submit, stream, Thing, d2h)], _core.StreamPlan(include_transfers=True)
    )
    assert len(measured(target)) == 40
    assert all(one() is None for one in watched)


def test_what_a_failed_call_returned_is_freed_when_the_target_runs_again(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    watched: list[weakref.ref[Thing]] = []

    def submit() -> Thing:
        thing = Thing()
        watched.append(weakref.ref(thing))
        return thing

    failures = iter([True])

    def d2h() -> None:
        if next(failures, False):
            raise LookupError("the copy failed")

    target = _core.StreamCallableTarget(
        [_core.CallableLane(submit, stream, Thing, d2h)], _core.StreamPlan(include_transfers=True)
    )
    with pytest.raises(LookupError):
        measured(target)
    measured(target)
    assert len(watched) == 41
    assert all(one() is None for one in watched)


def test_what_was_measured_before_an_error_stays(gpu: ExactGpu) -> None:
    target, samples = graph_target(gpu, 10 * US), _core.Samples()
    gpu.fake.fail_from("cuGraphLaunch", ILLEGAL_ADDRESS, nth_call=8)
    with pytest.raises(MeasurementError, match=r"cuGraphLaunch failed: CUDA_ERROR_ILLEGAL_ADDRESS \("):
        _core.measure(target, quick_plan(), samples)
    assert samples.column("gpu").tolist() == [10 * US] * 7


def test_out_of_memory_is_typed_and_leaves_the_device_well(gpu: ExactGpu) -> None:
    gpu.fake.memory_limit(1 << 20)
    target = graph_target(gpu, 10 * US)
    with pytest.raises(OutOfMemoryError, match=r"bytes were asked for, and 1048576 are free on Fake GPU 0"):
        measured(target, "cold")
    gpu.fake.fail("cuStreamCreate", OUT_OF_MEMORY)
    with pytest.raises(OutOfMemoryError, match=r"cuStreamCreate failed: CUDA_ERROR_OUT_OF_MEMORY \(out of memory\)"):
        _core.GpuStream(gpu.context())
    assert not gpu.context().is_lost
    assert set(measured(target).column("gpu").tolist()) == {10 * US}


def use_a_device_that_gets_lost(gpu: ExactGpu) -> None:
    context = gpu.context()
    target, stream = graph_target(gpu, 10 * US), _core.GpuStream(context)
    measured(target, "cold")
    gpu.fake.device_lost()
    with pytest.raises(MeasurementError, match="CUDA_ERROR_DEVICE_UNAVAILABLE"):
        measured(target)
    assert context.is_lost
    for use in (
        lambda: measured(target),
        target.probe_asynchrony,
        target.measure_overhead,
        lambda: _core.run_batched(target, 5),
        stream.synchronize,
        context.free_memory_bytes,
        lambda: _core.GpuStream(context),
        lambda: _core.EventPair(stream, 1_000),
    ):
        with pytest.raises(MeasurementError, match="was lost to an earlier error"):
            use()


def test_a_lost_device_is_an_error_for_ever_and_nothing_is_freed_on_it(gpu: ExactGpu) -> None:
    use_a_device_that_gets_lost(gpu)
    gc.collect()
    for function in ("cuEventDestroy", "cuStreamDestroy", "cuMemFree", "cuMemFreeHost", "cuDevicePrimaryCtxRelease"):
        assert gpu.fake.calls(function) == 0, function


def test_everything_is_freed_with_its_last_user(gpu: ExactGpu) -> None:
    target = graph_target(gpu, 10 * US)
    for mode in ("latency", "throughput", "cold"):
        measured(target, mode)
    assert gpu.live().keys() == {"streams", "events", "device_bytes", "host_bytes", "contexts"}
    del target
    gc.collect()
    assert gpu.live() == {}


@pytest.mark.parametrize("timeout_ns", [0, -1, 2**63 - 1])
def test_a_timeout_that_is_none_is_refused_and_the_device_is_well(gpu: ExactGpu, timeout_ns: int) -> None:
    stream = _core.GpuStream(gpu.context())
    with gpu.current():
        gpu.work(stream.handle, 10 * US)()
    for use in (lambda: stream.synchronize(timeout_ns), lambda: _core.EventPair(stream, timeout_ns)):
        with pytest.raises(UsageError, match="a timeout is"):
            use()
    assert not gpu.context().is_lost


def test_none_is_neither_a_context_nor_a_stream(gpu: ExactGpu) -> None:
    for make in (
        lambda: _core.GpuStream(None),  # type: ignore[arg-type]
        lambda: _core.GraphLane(16, None),  # type: ignore[arg-type]
        lambda: _core.CallableLane(Thing, None),  # type: ignore[arg-type]
        lambda: _core.EventPair(None, 1),  # type: ignore[arg-type]
    ):
        with pytest.raises(TypeError):
            make()
