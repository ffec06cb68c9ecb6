# SPDX-License-Identifier: Apache-2.0
"""`timers.EventTimer`: the span of a block on its stream, on the fake driver."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exact_gpu import ExactGpu
from fake_cuda_calls import ILLEGAL_ADDRESS
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer import timers
from pyperf_infer.errors import MeasurementError, UsageError

US = 1_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExactGpu]:
    """One driver for the tests that do it no harm."""
    with (
        ExactGpu.loaded(tmp_path_factory.mktemp("driver")) as loaded,
        loaded.current(),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PYPERF_INFER_LIBCUDA", loaded.library)
        yield loaded


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExactGpu]:
    with ExactGpu.loaded(tmp_path) as loaded, loaded.current():
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", loaded.library)
        yield loaded


@given(lengths=st.lists(st.integers(0, 5_000 * US), max_size=5))
def test_the_span_is_the_work_of_the_block_in_ns_and_in_ms(shared: ExactGpu, lengths: list[int]) -> None:
    stream = timers.CudaStream()
    with timers.EventTimer(stream) as timer:
        for length in lengths:
            shared.work(stream.handle, length)()
    # The driver tells a float of milliseconds, whose last bit is up to 2 ns here.
    assert timer.ns == pytest.approx(sum(lengths), abs=2)
    assert timer.ms == timer.ns / 1e6


def test_work_before_and_after_the_block_is_no_part_of_it(shared: ExactGpu) -> None:
    stream = timers.CudaStream()
    work = shared.work(stream.handle, 70 * US)
    work()
    with timers.EventTimer(stream) as timer:
        shared.work(stream.handle, 5 * US)()
    work()
    assert timer.ns == 5 * US


def test_the_time_in_which_the_gpu_waits_for_the_host_is_part_of_it(shared: ExactGpu) -> None:
    stream = timers.CudaStream()
    with timers.EventTimer(stream) as timer:
        shared.work(stream.handle, 5 * US)()
        shared.fake.advance(100 * US)
        shared.work(stream.handle, 5 * US)()
    assert timer.ns == 105 * US


def test_it_is_done_when_the_stream_is_and_asking_does_not_wait(shared: ExactGpu) -> None:
    stream = timers.CudaStream()
    with timers.EventTimer(stream) as timer:
        shared.work(stream.handle, 50 * US)()
    assert not timer.is_done
    shared.fake.advance(50 * US)
    assert timer.is_done
    assert timer.ns == 50 * US


def test_it_can_be_used_again_and_then_reads_the_last_block(shared: ExactGpu) -> None:
    stream = timers.CudaStream()
    timer = timers.EventTimer(stream)
    for length in (5 * US, 9 * US, 1 * US):
        with timer:
            shared.work(stream.handle, length)()
        assert timer.ns == timer.ns == length


def test_without_a_block_that_has_ended_there_is_nothing_to_read(shared: ExactGpu) -> None:
    timer = timers.EventTimer(timers.CudaStream())
    for read in (lambda: timer.ns, lambda: timer.ms, lambda: timer.is_done):
        with pytest.raises(UsageError, match="started and stopped"):
            read()
    with timer, pytest.raises(UsageError, match="started and stopped"):
        _ = timer.ns
    with timer:
        pass
    assert timer.ns == 0
    with timer, pytest.raises(UsageError, match="started and stopped"):  # of the last block nothing is left
        _ = timer.ns


def test_an_error_in_the_block_comes_through_and_the_timer_is_well(shared: ExactGpu) -> None:
    stream = timers.CudaStream()
    timer = timers.EventTimer(stream)

    def block() -> None:
        with timer:
            shared.work(stream.handle, 3 * US)()
            raise LookupError("of the block")

    with pytest.raises(LookupError, match="of the block"):
        block()
    assert timer.ns == 3 * US


def test_timers_on_two_streams_do_not_see_each_other(shared: ExactGpu) -> None:
    one, other = timers.CudaStream(), timers.CudaStream()
    with timers.EventTimer(one) as first, timers.EventTimer(other) as second:
        shared.work(one.handle, 30 * US)()
        shared.work(other.handle, 20 * US)()
    assert (first.ns, second.ns) == (30 * US, 20 * US)


def test_an_empty_block_reads_the_overhead(gpu: ExactGpu) -> None:
    gpu.fake.record_cost(1_300)
    timer = timers.EventTimer(timers.CudaStream())
    assert timer.overhead_ns() == 1_300


def test_its_events_are_freed_with_it(gpu: ExactGpu) -> None:
    timer = timers.EventTimer(timers.CudaStream())
    assert gpu.fake.live("events") == 2
    with timer:
        pass
    del timer
    gc.collect()
    assert gpu.fake.live("events") == gpu.fake.live("streams") == 0


def test_work_that_failed_is_an_error_that_names_it(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    timer = timers.EventTimer(stream)
    with timer:
        gpu.fake.fail_from("cuEventQuery", ILLEGAL_ADDRESS)
    with pytest.raises(MeasurementError, match=r"cuEventQuery failed: CUDA_ERROR_ILLEGAL_ADDRESS \("):
        _ = timer.ns
    with pytest.raises(MeasurementError, match="was lost"), timer:
        pass


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan"), "1"])
def test_a_timeout_that_is_none_is_refused_and_the_device_is_well(gpu: ExactGpu, timeout: Any) -> None:
    stream = timers.CudaStream()
    gpu.work(stream.handle, 5 * US)()
    with pytest.raises(UsageError, match="timeout"):
        timers.EventTimer(stream, timeout=timeout)
    assert not gpu.context().is_lost


def test_work_that_hangs_is_an_error_within_the_timeout(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    gpu.fake.hang(stream.handle)
    with timers.EventTimer(stream, timeout=0.05) as timer:
        pass
    with pytest.raises(MeasurementError, match=r"Fake GPU 0.*after 50 ms"):
        _ = timer.ns
    with pytest.raises(MeasurementError, match="was lost"):  # at once
        _ = timer.ns
