# SPDX-License-Identifier: Apache-2.0
"""A captured graph through the product's own loop: what a sample is, and that it really runs."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from gpu_torch import capture, graph_target, median, on_new_stream, sleep, take, up_to_speed

from pyperf_infer import _core, timers
from pyperf_infer.errors import UsageError

WAITS = ("spin", "block")


@pytest.mark.parametrize("wait", WAITS)
def test_a_sample_is_latency_submit_and_gpu(wait: str) -> None:
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")
        target = graph_target(lambda: torch.add(x, 1.0, out=x), stream, wait=wait)
        assert target.quantities("latency") == ["latency", "submit", "gpu"]
        samples = take(target, 50)
    assert samples.columns == ["latency", "submit", "gpu"]
    latency, submit, gpu = (samples.column(name) for name in samples.columns)
    assert len(latency) == len(submit) == len(gpu) == 50
    assert (submit > 0).all()
    assert (submit <= latency).all()
    assert (gpu > 0).all()


@pytest.mark.parametrize("wait", WAITS)
def test_a_latency_holds_work_that_takes_longer_than_its_launch(wait: str) -> None:
    with on_new_stream() as stream:
        target = graph_target(lambda: sleep(5), stream, wait=wait)
        samples = take(target, 20)
    assert median(samples, "gpu") > median(samples, "submit")
    assert median(samples, "latency") > 0.95 * median(samples, "gpu")  # what one waits for is inside of the wait


def test_every_launch_runs_the_graph() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")
        target = graph_target(lambda: torch.add(x, 1.0, out=x), stream)
        stream.synchronize()
        before = float(x[0])
        _core.run_batch(target, _core.Samples(), 7)
        assert float(x[0]) - before == 7


def test_a_replay_follows_its_input() -> None:
    with on_new_stream() as stream:
        x, y = torch.zeros(1024, device="cuda:0"), torch.zeros(1024, device="cuda:0")
        target = graph_target(lambda: torch.mul(x, 3.0, out=y), stream)
        for value in (2.0, 5.0):
            x.fill_(value)
            y.fill_(float("nan"))
            stream.synchronize()
            _core.run_batch(target, _core.Samples(), 1)
            assert torch.equal(y.cpu(), torch.full((1024,), 3 * value))


def test_our_spans_are_those_of_torchs_events() -> None:
    with on_new_stream() as stream:
        graph = capture(lambda: sleep(2), stream)
        up_to_speed()
        spans_ms = []
        for _ in range(20):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            spans_ms.append(begin.elapsed_time(end))
        target = timers.cuda_graph(graph.raw_cuda_graph_exec(), stream, keep=graph)
        ours_ms = median(take(target, 20), "gpu") / 1e6
    assert ours_ms == pytest.approx(sorted(spans_ms)[10], rel=0.1)


def test_queued_calls_of_short_work_have_a_shorter_period_than_latency() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(64, device="cuda:0")
        target = graph_target(lambda: torch.add(x, 1.0, out=x), stream)
        up_to_speed()
        latency_ns = median(take(target, 500), "latency")
        periods = take(target, 500, "throughput")
    assert periods.columns == ["period"]
    assert len(periods) == 500
    assert 0 < median(periods, "period") < latency_ns


def test_what_the_graph_needs_lives_as_long_as_the_target() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(64, device="cuda:0")
        graph = capture(lambda: torch.add(x, 1.0, out=x), stream)
        target = timers.cuda_graph(graph.raw_cuda_graph_exec(), stream, keep=graph)
        alive = weakref.ref(graph)
        del graph
        gc.collect()
        assert alive() is not None
        assert len(take(target, 5)) == 5
        del target
        gc.collect()
        assert alive() is None


def test_a_null_graph_is_refused() -> None:
    with on_new_stream() as stream, pytest.raises(UsageError, match="graph is null"):
        timers.cuda_graph(0, stream)


def test_the_overhead_is_of_nothing_and_less_than_of_work() -> None:
    with on_new_stream() as stream:
        target = graph_target(lambda: sleep(1), stream)
        overhead = target.measure_overhead()
        work_ns = median(take(target, 20), "gpu")
    assert 0 <= overhead.span_ns < work_ns
    assert overhead.latency_ns > 0
