# SPDX-License-Identifier: Apache-2.0
"""`timers.measure` of work on a GPU: callables on a stream and CUDA graphs, on the fake driver."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact_gpu import ExactGpu

from pyperf_infer import _core, timers
from pyperf_infer.errors import UsageError

US = 1_000
QUICK: dict[str, Any] = {"duration": 0, "max_duration": 1.0, "iterations": 40, "ci": 10.0, "warmup": 0.02}


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExactGpu]:
    with ExactGpu.loaded(tmp_path) as loaded:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", loaded.library)
        yield loaded


def target_of(kind: str, gpu: ExactGpu, stream: timers.CudaStream, *lengths: int, **options: Any) -> _core.StreamTarget:
    if kind == "callable":
        return timers.on_stream(gpu.work(stream.handle, *lengths), stream, **options)
    return timers.cuda_graph(gpu.fake.graph(*lengths), stream, **options)


kinds = pytest.mark.parametrize("kind", ["callable", "graph"])
waits = pytest.mark.parametrize("wait", ["spin", "block"])


@kinds
@waits
def test_a_call_has_its_latency_its_submit_and_its_span(gpu: ExactGpu, kind: str, wait: str) -> None:
    stream = timers.CudaStream()
    samples = timers.measure(target_of(kind, gpu, stream, 50 * US, wait=wait), **QUICK)
    assert list(samples.columns) == ["latency", "submit", "gpu"]
    assert samples.quantity == "latency"
    assert samples.gpu_ns is not None
    assert samples.submit_ns is not None
    assert set(samples.gpu_ns.tolist()) == {50 * US}
    assert (samples.submit_ns <= samples.ns).all()
    assert (samples.submit_ns > 0).all()
    assert samples.summarise(quantity="gpu").p50_ns == 50 * US
    assert samples.clock.name == "steady_clock"


@kinds
def test_throughput_is_the_period_on_the_device(gpu: ExactGpu, kind: str) -> None:
    stream = timers.CudaStream()
    samples = timers.measure(target_of(kind, gpu, stream, 50 * US), mode="throughput", **QUICK)
    assert list(samples.columns) == ["period"]
    assert set(samples.ns.tolist()) == {50 * US}
    assert samples.clock.name == "gpu_event"


@kinds
@waits
def test_cold_is_the_span_behind_the_gate(gpu: ExactGpu, kind: str, wait: str) -> None:
    stream = timers.CudaStream()
    target = target_of(kind, gpu, stream, 50 * US, wait=wait, timeout=100.0)
    samples = timers.measure(target, mode="cold", **QUICK)
    assert list(samples.columns) == ["gpu", "submit"]
    assert set(samples.ns.tolist()) == {50 * US}
    assert (target.gated, target.gate_reason) == (True, "")
    assert target.asynchrony == "proved"
    assert target.flush_bytes == 2 * (50 << 20)
    assert samples.flush_bytes is None  # of the processors', which were left alone
    assert samples.clock.name == "gpu_event"
    assert samples.clock.overhead_ns == 0


def test_cold_without_a_gate_where_it_is_switched_off(gpu: ExactGpu) -> None:
    target = target_of("graph", gpu, timers.CudaStream(), 50 * US, gate=False)
    timers.measure(target, mode="cold", **QUICK)
    assert (target.gated, target.gate_reason) == (False, "switched off")
    assert gpu.fake.calls("cuStreamWaitValue32") == 0


def test_a_span_that_differs_is_told_in_the_order_of_the_calls(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    target = target_of("graph", gpu, stream, 10 * US, 20 * US, 40 * US)
    samples = _core.Samples()
    _core.run_batch(target, samples, 9)
    np.testing.assert_array_equal(samples.column("gpu"), [10 * US, 20 * US, 40 * US] * 3)


def test_the_errors_of_a_callable_come_through(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    error = LookupError("the very object")

    def failing() -> None:
        raise error

    for mode in ("latency", "throughput", "cold"):
        with pytest.raises(LookupError) as caught:
            timers.measure(timers.on_stream(failing, stream), mode=mode, **QUICK)  # type: ignore[arg-type]
        assert caught.value is error


def test_what_cannot_be_called_or_launched_is_refused(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    with pytest.raises(TypeError, match="this is a int"):
        timers.on_stream(5, stream)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="graph is null"):
        timers.cuda_graph(0, stream)
    with pytest.raises(UsageError, match="can be spin or block"):
        timers.cuda_graph(16, stream, wait="nap")  # type: ignore[arg-type]
    for timeout in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="timeout"):
            timers.cuda_graph(16, stream, timeout=timeout)
    with pytest.raises(TypeError, match="__cuda_stream__"):
        timers.cuda_graph(16, None)


def test_what_a_graph_needs_is_kept_as_long_as_its_target(gpu: ExactGpu) -> None:
    class Kept:
        pass

    kept = Kept()
    watched = weakref.ref(kept)
    target = timers.cuda_graph(gpu.fake.graph(US), timers.CudaStream(), keep=[kept])
    del kept
    gc.collect()
    assert watched() is not None
    assert timers.measure(target, **QUICK).gpu_ns is not None
    del target
    gc.collect()
    assert watched() is None
    assert gpu.live() == {}


def test_a_graph_and_a_callable_are_compared_like_any_targets(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    graph = target_of("graph", gpu, stream, 10 * US)
    result = timers.compare(graph, target_of("callable", gpu, stream, 10 * US), max_duration=0.3)
    assert result.ratio > 0
    assert [samples.quantity for samples in result.alone] == ["latency", "latency"]


def test_the_overhead_in_a_result_was_measured_on_the_streams_own_device(gpu: ExactGpu) -> None:
    gpu.fake.record_cost(1_700)
    samples = timers.measure(target_of("graph", gpu, timers.CudaStream(), 50 * US), mode="cold", **QUICK)
    assert samples.clock.overhead_ns == 1_700
    assert set(samples.ns.tolist()) == {51_700}
