# SPDX-License-Identifier: Apache-2.0
"""Rules of the fake driver: faults, lost devices, hung work and the reset."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest
from fake_cuda import FakeCuda
from fake_cuda_calls import (
    DEINITIALIZED,
    DEVICE_UNAVAILABLE,
    ILLEGAL_ADDRESS,
    INVALID_CONTEXT,
    INVALID_HANDLE,
    INVALID_VALUE,
    LAUNCH_FAILED,
    NOT_FOUND,
    NOT_READY,
    OUT_OF_MEMORY,
    SUCCESS,
    Background,
    CudaError,
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


def test_a_fault_strikes_the_nth_call_of_its_function_once(gpu: Gpu) -> None:
    stream, graph = gpu.stream(), gpu.fake.graph(1_000)
    gpu.fake.fail("cuGraphLaunch", LAUNCH_FAILED, nth_call=2)
    gpu.fake.fail("fake_enqueue", OUT_OF_MEMORY)
    assert [gpu.code("cuGraphLaunch", graph, stream) for _ in range(3)] == [SUCCESS, LAUNCH_FAILED, SUCCESS]
    assert gpu.fake.pending(stream) == 2  # the failed launch queued nothing
    assert [gpu.fake.enqueue(stream, 1) for _ in range(2)] == [OUT_OF_MEMORY, SUCCESS]


def test_a_sticky_fault_is_what_every_later_call_in_the_context_returns(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu.fake.fail_from("cuEventCreate", ILLEGAL_ADDRESS)
    assert gpu.code("cuStreamQuery", stream) == SUCCESS
    with pytest.raises(CudaError, match=str(ILLEGAL_ADDRESS)):
        gpu.event()
    assert gpu.code("cuStreamQuery", stream) == ILLEGAL_ADDRESS
    assert gpu.code("cuCtxSynchronize") == ILLEGAL_ADDRESS
    assert gpu.made("cuDeviceGetCount") == 2


def test_a_graph_that_faults_shows_only_when_it_ends(gpu: Gpu) -> None:
    stream, graph = gpu.stream(), gpu.fake.graph(10_000)
    gpu.fake.graph_fault(graph, LAUNCH_FAILED, nth_launch=2)
    gpu("cuGraphLaunch", graph, stream)
    gpu("cuStreamSynchronize", stream)
    gpu("cuGraphLaunch", graph, stream)
    assert gpu.code("cuStreamQuery", stream) == NOT_READY
    assert gpu.code("cuStreamSynchronize", stream) == LAUNCH_FAILED
    assert gpu.code("cuGraphLaunch", graph, stream) == LAUNCH_FAILED


def test_a_lost_device_answers_nothing_but_texts_and_ends_waits(gpu: Gpu) -> None:
    stream, flag = gpu.stream(), gpu.flag()
    gpu.gate(stream, flag)
    wait = Background(gpu, lambda: gpu.code("cuStreamSynchronize", stream))
    assert wait.is_blocked()
    gpu.fake.device_lost()
    assert wait.ends_with() == DEVICE_UNAVAILABLE
    assert gpu.code("cuDeviceGetCount", ctypes.byref(ctypes.c_int())) == DEVICE_UNAVAILABLE
    assert gpu.code("cuInit", 0) == DEVICE_UNAVAILABLE
    text = ctypes.c_char_p()
    gpu("cuGetErrorName", DEVICE_UNAVAILABLE, ctypes.byref(text))
    assert text.value == b"CUDA_ERROR_DEVICE_UNAVAILABLE"
    assert gpu.code("cuGetErrorString", 12345, ctypes.byref(text)) == INVALID_VALUE


@pytest.mark.parametrize("call", ["cuStreamSynchronize", "cuCtxSynchronize", "cuMemFree"])
def test_hung_work_blocks_waits_and_frees_until_it_is_let_go(gpu: Gpu, call: str) -> None:
    stream, other = gpu.stream(), gpu.stream()
    memory = gpu.made("cuMemAlloc", 16)
    gpu.fake.hang(stream)
    gpu.fake.enqueue(stream, 1_000)
    gpu.fake.enqueue(other, 1_000)
    gpu("cuStreamSynchronize", other)
    arguments = {"cuStreamSynchronize": (stream,), "cuCtxSynchronize": (), "cuMemFree": (memory,)}[call]
    gpu.fake.advance(10**12)
    wait = Background(gpu, lambda: gpu.code(call, *arguments))
    assert wait.is_blocked()
    assert gpu.code("cuStreamQuery", stream) == NOT_READY
    gpu.fake.unhang()
    assert wait.ends_with() == SUCCESS
    assert gpu.code("cuStreamQuery", stream) == SUCCESS


def test_a_reset_ends_a_wait_for_hung_work_and_forgets_everything(gpu: Gpu) -> None:
    stream = gpu.stream()
    gpu.fake.hang()
    gpu.fake.enqueue(stream, 1_000)
    gpu.fake.fail("cuInit", INVALID_VALUE)
    wait = Background(gpu, lambda: gpu.code("cuStreamSynchronize", stream))
    assert wait.is_blocked()
    gpu.fake.reset()
    assert wait.ends_with() == DEINITIALIZED
    assert gpu.fake.now_ns() == 0
    assert gpu.code("cuInit", 0) == SUCCESS
    assert gpu.code("cuStreamQuery", stream) == INVALID_CONTEXT  # no context is current any more
    gpu.enter()
    assert gpu.code("cuStreamQuery", stream) == INVALID_HANDLE
    gpu.fake.enqueue(fresh := gpu.stream(), 1_000)
    gpu("cuStreamSynchronize", fresh)


def test_functions_that_are_missing_hidden_or_newer_than_the_driver_are_not_found(fake: FakeCuda) -> None:
    with pytest.raises(LookupError, match=f"CUresult {NOT_FOUND}, symbol status 1"):
        fake.driver_function("cuLaunchKernel")
    fake.hide("cuMemAlloc")
    with pytest.raises(LookupError, match=f"CUresult {NOT_FOUND}"):
        fake.driver_function("cuMemAlloc")
    fake.driver_version(11080)
    with pytest.raises(LookupError, match=f"CUresult {INVALID_VALUE}"):
        fake.driver_function("cuMemFree", cuda_version=12000)
