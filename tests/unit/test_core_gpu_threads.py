# SPDX-License-Identifier: Apache-2.0
"""Threads around a target on a GPU: the gate's watchdog, the waiter that sleeps, the GIL, Ctrl-C, one user at once."""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from exact_gpu import ExactGpu, quick_plan
from holding_the_gil import no_thread_switches, wait_holding_the_gil

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError, UsageError

US, MS = 1_000, 1_000_000
GENEROUS_S = 60.0
LONG_NS = 30_000_000_000
FOR_EVER = _core.StopPlan(min_duration_ns=LONG_NS, max_duration_ns=LONG_NS)

waits = pytest.mark.parametrize("wait", ["spin", "block"])


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[ExactGpu]:
    with ExactGpu.loaded(tmp_path) as loaded:
        yield loaded


def graph_target(gpu: ExactGpu, length: int, **plan: object) -> _core.GraphTarget:
    lane = _core.GraphLane(gpu.fake.graph(length), _core.GpuStream(gpu.context()))
    return _core.GraphTarget([lane], _core.StreamPlan(**plan))  # type: ignore[arg-type]


def finishes_while_the_gil_is_held_elsewhere(target: _core.Target, calls: int) -> bool:
    """Starts a batch in another thread, sees it under way, and keeps the GIL from it until it is done."""
    for growing in (calls, 8 * calls, 64 * calls):
        samples = _core.Samples()
        worker = threading.Thread(target=_core.run_batch, args=(target, samples, growing))
        with no_thread_switches():
            worker.start()  # returns once the worker has given up the GIL, and it is not given back to it
            under_way = len(samples) == 0
            finished = wait_holding_the_gil(lambda: len(samples) > 0, GENEROUS_S)  # noqa: B023 - called here only
        worker.join()
        assert len(samples) == growing
        if under_way:
            return finished
    return False


@waits
def test_a_graph_is_launched_without_the_gil(gpu: ExactGpu, wait: str) -> None:
    target = graph_target(gpu, 10 * US, wait=wait)
    assert not target.needs_python
    assert finishes_while_the_gil_is_held_elsewhere(target, 5_000)


def test_a_callable_on_a_stream_holds_it(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    entered, leave = threading.Event(), threading.Event()

    def submit() -> None:
        entered.set()
        leave.wait()

    target = _core.StreamCallableTarget([_core.CallableLane(submit, stream)], _core.StreamPlan())
    assert target.needs_python
    samples = _core.Samples()
    worker = threading.Thread(target=_core.run_batch, args=(target, samples, 1))
    worker.start()
    entered.wait()
    with no_thread_switches():
        leave.set()
        finished = wait_holding_the_gil(lambda: len(samples) == 1, 0.2)
    worker.join()
    assert not finished
    assert len(samples) == 1


@waits
def test_the_watchdog_lets_a_blocked_submit_go_and_the_sample_is_thrown_away(gpu: ExactGpu, wait: str) -> None:
    target = graph_target(gpu, 10 * US, wait=wait, gate_timeout_ns=20 * MS)
    target.probe_asynchrony()
    gpu.fake.block_submit_behind_gate(True)
    samples = _core.Samples()
    with pytest.raises(MeasurementError, match=r"5 times .* submit did not return while the stream waited"):
        _core.measure(target, quick_plan(), samples, mode="cold")
    assert target.gate_timeouts == 5
    assert len(samples) == 0
    gpu.fake.block_submit_behind_gate(False)
    _core.measure(target, quick_plan(), samples, mode="cold")
    assert set(samples.column("gpu").tolist()) == {10 * US}


def test_a_callable_that_waits_for_its_own_work_is_found_and_not_held_back(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    work = gpu.work(stream.handle, 10 * US)

    def synchronising() -> None:
        work()
        stream.synchronize()

    lane = _core.CallableLane(synchronising, stream)
    target = _core.StreamCallableTarget([lane], _core.StreamPlan(gate_timeout_ns=20 * MS))
    assert target.asynchrony == "unknown"
    assert target.probe_asynchrony() == target.asynchrony == "sync_inside_submit"
    assert "within 20 ms" in target.asynchrony_evidence
    samples = _core.Samples()
    _core.measure(target, quick_plan(), samples, mode="cold")
    assert not target.gated
    assert target.gate_reason == "submit waits for the work itself"
    assert set(samples.column("gpu").tolist()) == {10 * US}


def test_an_error_of_a_callable_opens_the_gate_at_once(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    error = LookupError("in submit")

    def failing() -> None:
        raise error

    lane = _core.CallableLane(failing, stream)
    target = _core.StreamCallableTarget([lane], _core.StreamPlan(gate_timeout_ns=100_000 * MS))
    begin = time.monotonic()
    with pytest.raises(LookupError) as caught:
        _core.measure(target, quick_plan(), _core.Samples(), mode="cold")
    assert caught.value is error
    stream.synchronize()  # which a closed gate would keep for its timeout
    assert time.monotonic() - begin < GENEROUS_S


@waits
def test_work_that_hangs_ends_in_an_error_and_nothing_waits_for_it(gpu: ExactGpu, wait: str) -> None:
    target = graph_target(gpu, 10 * US, wait=wait, timeout_ns=100 * MS, gate_timeout_ns=20 * MS)
    samples = _core.Samples()
    _core.run_batch(target, samples, 5)
    gpu.fake.hang()
    begin = time.monotonic()
    with pytest.raises(MeasurementError, match="after 100 ms: it hangs"):
        _core.measure(target, FOR_EVER, samples)
    with pytest.raises(MeasurementError, match="was lost"):
        _core.measure(target, FOR_EVER, samples)
    assert len(samples) == 5
    del target
    gc.collect()
    assert time.monotonic() - begin < LONG_NS / 2e9
    assert gpu.fake.calls("cuEventDestroy") == 0


@waits
def test_ctrl_c_is_heard_while_work_hangs(gpu: ExactGpu, wait: str) -> None:
    target, samples = graph_target(gpu, 10 * US, wait=wait), _core.Samples()
    _core.run_batch(target, samples, 5)
    gpu.fake.hang()
    pressed = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    pressed.start()
    begin_ns = time.monotonic_ns()
    with pytest.raises(KeyboardInterrupt):
        _core.measure(target, FOR_EVER, samples)
    assert time.monotonic_ns() - begin_ns < LONG_NS / 2
    pressed.join()
    assert len(samples) == 5
    gpu.fake.unhang()
    _core.run_batch(target, samples, 5)  # it was no hang, and the target is as good as before
    assert samples.column("gpu").tolist()[5:] == [10 * US] * 5


@waits
def test_other_python_threads_run_while_a_callable_waits_for_its_work(gpu: ExactGpu, wait: str) -> None:
    stream = _core.GpuStream(gpu.context())
    submitted = threading.Event()
    work = gpu.work(stream.handle, 10 * US)

    def submit() -> None:
        work()
        submitted.set()

    target = _core.StreamCallableTarget([_core.CallableLane(submit, stream)], _core.StreamPlan(wait=wait))
    gpu.fake.hang(stream.handle)
    samples = _core.Samples()
    worker = threading.Thread(target=_core.run_batch, args=(target, samples, 1))
    worker.start()
    assert submitted.wait(GENEROUS_S)
    assert worker.is_alive()
    gpu.fake.unhang()  # takes the GIL, which a wait that kept it would never give
    worker.join(GENEROUS_S)
    assert len(samples) == 1


@waits
@pytest.mark.parametrize("mode", ["latency", "throughput", "cold"])
def test_ctrl_c_is_heard_between_batches_and_samples_stay(gpu: ExactGpu, wait: str, mode: str) -> None:
    target, samples = graph_target(gpu, 10 * US, wait=wait), _core.Samples()
    pressed = threading.Timer(0.3, lambda: signal.raise_signal(signal.SIGINT))
    pressed.start()
    begin_ns = time.monotonic_ns()
    with pytest.raises(KeyboardInterrupt):
        _core.measure(target, FOR_EVER, samples, mode=mode)
    assert time.monotonic_ns() - begin_ns < LONG_NS / 2
    pressed.join()
    judged = samples.column("period" if mode == "throughput" else "gpu")
    assert len(judged) > 0
    assert set(judged.tolist()) == {10 * US}


def test_one_target_in_two_threads_is_refused(gpu: ExactGpu) -> None:
    stream = _core.GpuStream(gpu.context())
    entered, leave = threading.Event(), threading.Event()

    def submit() -> None:
        entered.set()
        leave.wait()

    target = _core.StreamCallableTarget([_core.CallableLane(submit, stream)], _core.StreamPlan())
    worker = threading.Thread(target=_core.run_batch, args=(target, _core.Samples(), 1))
    worker.start()
    entered.wait()
    for use in (
        target.probe_asynchrony,
        target.measure_overhead,
        lambda: _core.run_batch(target, _core.Samples(), 1),
        lambda: _core.run_batched(target, 1),
    ):
        with pytest.raises(UsageError, match="in use already"):
            use()
    leave.set()
    worker.join()
    _core.run_batch(target, _core.Samples(), 1)  # and free again


def test_what_a_target_found_can_be_asked_while_it_measures(gpu: ExactGpu) -> None:
    target, samples = graph_target(gpu, 10 * US), _core.Samples()
    plan = _core.StopPlan(min_samples=10**6, min_duration_ns=0, max_duration_ns=300 * MS)
    worker = threading.Thread(target=_core.measure, args=(target, plan, samples), kwargs={"mode": "cold"})
    worker.start()
    while worker.is_alive():
        assert target.asynchrony in ("unknown", "proved")
        assert target.asynchrony_evidence
        assert target.gate_reason in ("", "no cold sample was taken")
        assert target.flush_bytes in (0, 2 * (50 << 20))
        assert len(samples.columns) in (0, 2)
    worker.join()
    assert target.gated


def test_several_threads_measure_on_one_gpu_at_once(gpu: ExactGpu) -> None:
    targets = [graph_target(gpu, 10 * US, wait=wait) for wait in ("spin", "block", "spin", "block")]
    samples = [_core.Samples() for _ in targets]
    threads = [
        threading.Thread(target=_core.measure, args=(target, quick_plan(300), into))
        for target, into in zip(targets, samples, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for into in samples:
        assert len(into) == 300
        # The clock is everybody's: between its begin and its launch another thread may have moved it.
        assert (into.column("gpu") >= 10 * US).all()


def test_a_cache_flush_can_be_shared_by_threads() -> None:
    flush = _core.CacheFlush([(0, 1 << 16), (1, 1 << 16)])
    threads = [
        threading.Thread(
            target=_core.measure,
            args=(_core.NoopTarget(), quick_plan(200), _core.Samples()),
            kwargs={"mode": "cold", "flush": flush},
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(GENEROUS_S)
        assert not thread.is_alive()
