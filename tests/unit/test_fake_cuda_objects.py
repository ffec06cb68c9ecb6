# SPDX-License-Identifier: Apache-2.0
"""Rules of the fake driver: memory, devices, contexts, handles and the accounts of what lives."""

from __future__ import annotations

import ctypes
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_cuda import FakeCuda
from fake_cuda_calls import (
    CALL,
    CONTEXT_IS_DESTROYED,
    ILLEGAL_ADDRESS,
    INVALID_CONTEXT,
    INVALID_DEVICE,
    INVALID_HANDLE,
    INVALID_VALUE,
    LAUNCH_FAILED,
    NO_DEVICE,
    NOT_INITIALIZED,
    NOT_READY,
    OUT_OF_MEMORY,
    SUCCESS,
    Gpu,
)


@pytest.fixture
def fake() -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as loaded:
        yield loaded


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with Gpu.entered() as entered:
        yield entered


def test_copies_happen_when_they_end(gpu: Gpu) -> None:
    stream, size = gpu.stream(), 1 << 20
    device = gpu.made("cuMemAlloc", size)
    source, target = gpu.made("cuMemHostAlloc", size, 0), gpu.made("cuMemHostAlloc", size, 0)
    gpu.fake.transfer_bandwidth(1e9)
    ctypes.memset(source, 1, size)
    gpu("cuMemcpyHtoDAsync", device, source, size, stream)
    ctypes.memset(source, 2, size)  # too early, and it shows
    gpu("cuMemcpyDtoHAsync", target, device, size, stream)
    queued = gpu.fake.now_ns()
    gpu.fake.advance(size)
    assert ctypes.string_at(target, 1) == b"\0"
    gpu("cuStreamSynchronize", stream)
    assert gpu.fake.now_ns() == queued - CALL + 2 * size  # the first began a call earlier
    assert ctypes.string_at(target, size) == b"\2" * size


def test_copies_of_pageable_memory_take_their_bytes_at_once_and_return_when_they_are_done(gpu: Gpu) -> None:
    stream, device = gpu.stream(), gpu.made("cuMemAlloc", 8)
    source, target = ctypes.create_string_buffer(b"abcdefgh", 8), ctypes.create_string_buffer(8)
    gpu("cuMemcpyHtoDAsync", device, source, 8, stream)
    source.raw = b"********"
    gpu("cuMemcpyDtoHAsync", target, device, 8, stream)
    assert target.raw == b"abcdefgh"
    gpu("cuMemcpyHtoD", device + 4, source, 4)
    gpu("cuMemcpyDtoH", target, device, 8)
    assert target.raw == b"abcd****"


def test_a_memset_takes_its_bandwidth_and_fills_in_part_or_whole(gpu: Gpu) -> None:
    stream, words = gpu.stream(), 1_000
    device, target = gpu.made("cuMemAlloc", 4 * words), (ctypes.c_uint32 * words)()
    gpu.fake.memory_bandwidth(4e9)
    gpu("cuMemsetD32Async", device, 0xABCD, words, stream)
    queued = gpu.fake.now_ns()
    gpu("cuMemsetD32Async", device + 40, 7, 2, stream)
    gpu("cuStreamSynchronize", stream)
    assert gpu.fake.now_ns() == queued + words + 2
    gpu("cuMemcpyDtoH", target, device, 4 * words)
    assert list(target) == [0xABCD] * 10 + [7, 7] + [0xABCD] * (words - 12)


def test_outputs_of_a_graph_follow_its_inputs_only_by_a_copy(gpu: Gpu) -> None:
    stream = gpu.stream()
    given, stale, follows = (gpu.made("cuMemAlloc", 4) for _ in range(3))
    graph = gpu.fake.graph(1_000)
    gpu.fake.graph_copy(graph, follows, given, 4)
    for text in (b"once", b"then"):
        gpu("cuMemcpyHtoD", given, text, 4)
        gpu("cuGraphLaunch", graph, stream)
        gpu("cuStreamSynchronize", stream)
        seen = ctypes.create_string_buffer(4)
        gpu("cuMemcpyDtoH", seen, follows, 4)
        assert seen.raw == text
        gpu("cuMemcpyDtoH", seen, stale, 4)
        assert seen.raw not in (text, b"\0\0\0\0")  # fresh memory is garbage that shows
    gpu("cuMemFree", follows)
    gpu("cuGraphLaunch", graph, stream)
    assert gpu.code("cuStreamSynchronize", stream) == ILLEGAL_ADDRESS


def test_memory_runs_out_at_the_limit_of_each_device(gpu: Gpu) -> None:
    gpu.fake.memory_limit(1_000)
    first = gpu.made("cuMemAlloc", 600)
    out, total = ctypes.c_uint64(), ctypes.c_uint64()
    assert gpu.code("cuMemAlloc", ctypes.byref(out), 600) == OUT_OF_MEMORY
    gpu("cuMemGetInfo", ctypes.byref(out), ctypes.byref(total))
    assert (out.value, total.value) == (400, 80 << 30)
    gpu.enter(1)
    gpu.made("cuMemAlloc", 600)
    gpu("cuCtxPopCurrent", None)
    gpu("cuMemFree", first)
    gpu.made("cuMemAlloc", 1_000)


def test_addresses_outside_of_what_is_allocated_are_refused(gpu: Gpu) -> None:
    device, stream, bytes_ = gpu.made("cuMemAlloc", 100), gpu.stream(), ctypes.create_string_buffer(200)
    assert gpu.code("cuMemcpyHtoD", device + 1, bytes_, 100) == INVALID_VALUE
    assert gpu.code("cuMemcpyDtoH", bytes_, device, 101) == INVALID_VALUE
    assert gpu.code("cuMemsetD32Async", device, 0, 26, stream) == INVALID_VALUE
    assert gpu.code("cuMemsetD32Async", device + 2, 0, 1, stream) == INVALID_VALUE
    assert gpu.code("cuMemFree", device + 4) == INVALID_VALUE
    gpu("cuMemFree", device)
    assert gpu.code("cuMemFree", device) == INVALID_VALUE
    assert gpu.code("cuMemFreeHost", bytes_) == INVALID_VALUE


def test_before_cuinit_nothing_works_and_without_a_device_it_fails(fake: FakeCuda) -> None:
    gpu = Gpu(fake)
    fake.forget_init()
    count = ctypes.c_int()
    assert gpu.code("cuDeviceGetCount", ctypes.byref(count)) == NOT_INITIALIZED
    assert gpu.made("cuDriverGetVersion") == 13000
    fake.device_count(0)
    assert gpu.code("cuInit", 0) == NO_DEVICE
    fake.device_count(1)
    gpu("cuInit", 0)
    assert gpu.made("cuDeviceGetCount") == 1
    assert gpu.code("cuDeviceGet", ctypes.byref(count), 1) == INVALID_DEVICE


def test_what_a_device_tells_can_be_set(gpu: Gpu) -> None:
    gpu.fake.device_name(1, "A long name of a GPU")
    gpu.fake.device_memory(1, 1 << 30)
    gpu.fake.device_attribute(1, 38, 4 << 20)
    name = ctypes.create_string_buffer(7)
    gpu("cuDeviceGetName", name, len(name), 1)
    assert name.value == b"A long"
    assert gpu.made("cuDeviceTotalMem", 1) == 1 << 30
    assert gpu.made("cuDeviceGetAttribute", 38, 1) == 4 << 20
    assert gpu.made("cuDeviceGetAttribute", 38, 0) == 50 << 20
    bus = ctypes.create_string_buffer(13)
    gpu("cuDeviceGetPCIBusId", bus, len(bus), 1)
    assert bus.value == b"0000:02:00.0"
    assert gpu.code("cuDeviceGetPCIBusId", bus, 12, 1) == INVALID_VALUE
    with pytest.raises(KeyError):
        gpu.fake.device_name(16, "")


def test_a_thread_has_its_own_current_context(gpu: Gpu) -> None:
    context = gpu.made("cuCtxGetCurrent")
    codes = []
    thread = threading.Thread(target=lambda: codes.append(gpu.code("cuCtxSynchronize")))
    thread.start()
    thread.join()
    assert codes == [INVALID_CONTEXT]
    other = gpu.enter(1)
    assert other != context
    assert gpu.made("cuCtxPopCurrent") == other
    assert gpu.made("cuCtxGetCurrent") == context


def test_handles_and_events_are_refused_as_the_driver_does(gpu: Gpu) -> None:
    stream, never, untimed = gpu.stream(), gpu.event(), gpu.event(2)
    done = gpu.recorded(stream)
    gpu("cuEventRecord", untimed, stream)
    ms = ctypes.byref(ctypes.c_float())
    assert gpu.code("cuEventElapsedTime", ms, done, done) == NOT_READY
    gpu("cuCtxSynchronize")
    assert gpu.code("cuEventElapsedTime", ms, done, never) == INVALID_HANDLE
    assert gpu.code("cuEventElapsedTime", ms, done, untimed) == INVALID_HANDLE
    assert gpu.code("cuEventQuery", never) == SUCCESS
    gpu.enter(1)
    assert gpu.code("cuEventRecord", gpu.event(), stream) == INVALID_HANDLE  # of another device
    gpu("cuCtxPopCurrent", None)
    gpu("cuEventDestroy", never)
    assert gpu.code("cuEventRecord", never, stream) == INVALID_HANDLE
    gpu("cuStreamDestroy", stream)
    assert gpu.code("cuStreamDestroy", stream) == INVALID_HANDLE
    graph = gpu.fake.graph(1)
    gpu.fake.graph_destroy(graph)
    assert gpu.code("cuGraphLaunch", graph, 0) == INVALID_HANDLE


def test_an_event_recorded_again_tells_of_the_last_record_only(gpu: Gpu) -> None:
    stream, event = gpu.stream(), gpu.event()
    gpu("cuEventRecord", event, stream)
    gpu.fake.enqueue(stream, 100_000)
    gpu("cuEventRecord", event, stream)
    gpu.fake.advance(10_000)
    assert gpu.code("cuEventQuery", event) == NOT_READY
    gpu("cuEventSynchronize", event)
    assert gpu.fake.pending(stream) == 0


def test_a_destroyed_stream_still_works_off_what_it_has(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu.fake.enqueue(stream, 100_000)
    event = gpu.recorded(stream)
    gpu("cuStreamDestroy", stream)
    assert gpu.fake.live("streams") == 0
    gpu("cuEventSynchronize", event)


def test_accounts_go_back_to_zero_when_all_is_released_also_by_calls_that_fail(gpu: Gpu) -> None:
    stream, event = gpu.stream(), gpu.event()
    device, host = gpu.made("cuMemAlloc", 100), gpu.made("cuMemHostAlloc", 50, 0)
    kinds = ("streams", "events", "device_bytes", "host_bytes", "contexts")
    assert [gpu.fake.live(kind) for kind in kinds] == [1, 1, 100, 50, 1]
    gpu.fake.fail("cuStreamDestroy", INVALID_VALUE)
    assert gpu.code("cuStreamDestroy", stream) == INVALID_VALUE
    gpu.fake.fail_from("cuEventDestroy", LAUNCH_FAILED)
    assert gpu.code("cuEventDestroy", event) == LAUNCH_FAILED
    assert gpu.code("cuMemFree", device) == LAUNCH_FAILED
    assert gpu.code("cuMemFreeHost", host) == LAUNCH_FAILED
    gpu("cuDevicePrimaryCtxRelease", 0)
    assert [gpu.fake.live(kind) for kind in kinds] == [0, 0, 0, 0, 0]
    assert gpu.code("cuDevicePrimaryCtxRelease", 0) == INVALID_CONTEXT
    with pytest.raises(KeyError):
        gpu.fake.live("graphs")


def test_what_outlives_its_context_is_dead_and_stays_a_leak(gpu: Gpu) -> None:
    event, stream, memory = gpu.event(), gpu.stream(), gpu.made("cuMemAlloc", 8)
    gpu.made("cuDevicePrimaryCtxRetain", 0)
    gpu("cuDevicePrimaryCtxRelease", 0)
    gpu("cuEventDestroy", gpu.event())  # the context is retained still
    gpu("cuDevicePrimaryCtxRelease", 0)
    assert gpu.code("cuEventQuery", event) == CONTEXT_IS_DESTROYED
    assert gpu.code("cuCtxSynchronize") == CONTEXT_IS_DESTROYED  # it is current still
    gpu.enter(1)
    assert gpu.code("cuEventDestroy", event) == CONTEXT_IS_DESTROYED
    assert gpu.code("cuStreamQuery", stream) == CONTEXT_IS_DESTROYED
    assert gpu.code("cuStreamDestroy", stream) == CONTEXT_IS_DESTROYED
    assert gpu.code("cuMemFree", memory) == CONTEXT_IS_DESTROYED
    assert [gpu.fake.live(kind) for kind in ("events", "streams", "device_bytes")] == [1, 1, 8]


def test_calls_are_counted_and_logged_in_order(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu.fake.log()
    gpu.fake.fail("cuProfilerStop", INVALID_VALUE)
    gpu("cuProfilerStart")
    gpu.fake.enqueue(stream, 1)
    assert gpu.code("cuProfilerStop") == INVALID_VALUE
    gpu.fake.log(False)
    gpu("cuProfilerStop")
    assert gpu.fake.log_lines() == ["cuProfilerStart", "fake_enqueue", "cuProfilerStop"]
    assert gpu.fake.calls("cuProfilerStop") == 2
    assert gpu.fake.calls("cuStreamQuery") == 0


def test_a_copy_of_the_library_is_a_second_driver(fake: FakeCuda, tmp_path: Path) -> None:
    with FakeCuda.loaded(Path(shutil.copy(fake.path, tmp_path / "libcuda.so.1"))) as second:
        second.advance(1_000)
        assert fake.now_ns() == 0
