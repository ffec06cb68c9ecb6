# SPDX-License-Identifier: Apache-2.0
"""While the host waits for the GPU: Ctrl-C and other threads get their turn, and a hang ends when it was told to."""

from __future__ import annotations

import _thread
import threading
from collections.abc import Iterator

import pytest
from fake_cuda import FakeCuda

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.timing.cuda import open_gpu

LONG_NS, SHORT_NS = 60_000_000_000, 300_000_000


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as fake:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(fake.path))
        yield fake
        fake.unhang()


def plan(timeout_ns: int, wait: str = "spin") -> _core.StreamPlan:
    return _core.StreamPlan(wait=wait, timeout_ns=timeout_ns, gate_timeout_ns=timeout_ns // 4)


def graph_target(fake: FakeCuda, timeout_ns: int, wait: str = "spin") -> _core.GraphTarget:
    lane = _core.GraphLane(fake.graph(10_000), _core.GpuStream(open_gpu()))
    return _core.GraphTarget([lane], plan(timeout_ns, wait))


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_ctrl_c_ends_the_wait_for_work_that_does_not_end(fake: FakeCuda, wait: str) -> None:
    target = graph_target(fake, LONG_NS, wait)
    fake.hang()
    timer = threading.Timer(0.3, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        _core.run_batch(target, _core.Samples(), 1)
    timer.join()
    fake.unhang()
    samples = _core.Samples()
    _core.run_batch(target, samples, 3)  # the target is as good as before
    assert len(samples) == 3


@pytest.mark.parametrize("wait", ["spin", "block"])
def test_other_threads_run_while_a_python_target_waits(fake: FakeCuda, wait: str) -> None:
    """With the GIL held, the thread that lets the work end would never get to it."""
    stream = _core.GpuStream(open_gpu())
    lane = _core.CallableLane(lambda: fake.enqueue(stream.handle, 10_000), stream)
    target = _core.StreamCallableTarget([lane], plan(LONG_NS, wait))
    fake.hang()
    timer = threading.Timer(0.3, fake.unhang)
    timer.start()
    samples = _core.Samples()
    _core.run_batch(target, samples, 1)
    timer.join()
    assert len(samples) == 1


def test_what_an_empty_pair_reads_is_given_up_after_the_targets_own_timeout(fake: FakeCuda) -> None:
    target = graph_target(fake, SHORT_NS)
    fake.hang()
    with pytest.raises(MeasurementError, match="has not finished its work after 300 ms"):
        target.measure_overhead()


def test_a_stream_is_waited_for_with_a_timeout(fake: FakeCuda) -> None:
    stream = _core.GpuStream(open_gpu())
    stream.synchronize()
    fake.hang()
    with pytest.raises(MeasurementError, match="after 300 ms"):
        stream.synchronize(SHORT_NS)


def test_without_the_gate_an_event_proves_that_submit_does_not_wait(fake: FakeCuda) -> None:
    lane = _core.GraphLane(fake.graph(10_000_000), _core.GpuStream(open_gpu()))
    target = _core.GraphTarget([lane], _core.StreamPlan(gate=False))
    assert target.probe_asynchrony() == "proved"
    assert fake.calls("cuStreamWaitValue32") == 0
    fake.sync_inside_launch(True)
    waiting = _core.GraphTarget([lane], _core.StreamPlan(gate=False))
    assert waiting.probe_asynchrony() == "unknown"


def test_warming_up_in_mode_throughput_launches_on_every_stream(fake: FakeCuda) -> None:
    streams = [_core.GpuStream(open_gpu()) for _ in range(3)]
    graphs = [fake.graph(1_000_000) for _ in streams]
    lanes = [_core.GraphLane(graph, stream) for graph, stream in zip(graphs, streams, strict=True)]
    target = _core.GraphTarget(lanes, _core.StreamPlan())
    _core.warm_up(target, min_calls=2, budget_ns=0, mode="throughput")
    launches = fake.calls("cuGraphLaunch")
    assert launches >= 6
    assert launches % 3 == 0
