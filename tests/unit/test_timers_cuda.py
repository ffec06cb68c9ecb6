# SPDX-License-Identifier: Apache-2.0
"""Streams and devices through `timers`, on the fake driver: what is accepted as a stream, and what it keeps alive."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from exact_gpu import ExactGpu

from pyperf_infer import timers
from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.timing.cuda import as_stream, open_gpu, parse_device


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExactGpu]:
    with ExactGpu.loaded(tmp_path) as loaded:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", loaded.library)
        yield loaded


class Method:
    """Speaks the protocol as cuda.core does."""

    def __init__(self, handle: int, version: int = 0) -> None:
        self.answer = (version, handle)

    def __cuda_stream__(self) -> tuple[int, int]:
        return self.answer


class Attribute:
    """Speaks it as a property."""

    def __init__(self, handle: int) -> None:
        self.__cuda_stream__ = (0, handle)


def test_a_stream_is_made_and_freed_with_its_last_user(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    assert gpu.live() == {"streams": 1, "contexts": 1}
    assert stream.handle != 0
    assert stream.__cuda_stream__() == (0, stream.handle)
    timer = timers.EventTimer(stream)
    del stream
    gc.collect()
    assert gpu.fake.live("streams") == 1
    del timer
    gc.collect()
    assert gpu.live() == {}


def test_a_stream_is_waited_for(gpu: ExactGpu) -> None:
    stream = timers.CudaStream()
    with gpu.current():
        gpu.work(stream.handle, 7_000)()
    begin = gpu.fake.now_ns()
    stream.synchronize()
    assert gpu.fake.now_ns() == begin + 7_000


def test_gpus_are_counted_and_chosen_by_index(gpu: ExactGpu) -> None:
    gpu.fake.device_count(3)
    gpu.fake.device_name(2, "The Third")
    assert timers.gpu_count() == 3
    assert open_gpu(2).facts.name == "The Third"
    streams = [timers.CudaStream(device) for device in (0, 2)]
    assert [as_stream(stream).context.facts.ordinal for stream in streams] == [0, 2]
    with pytest.raises(BackendError, match="no GPU 3; this process sees 3, numbers 0 to 2"):
        timers.CudaStream(3)


@pytest.mark.parametrize("kind", [Method, Attribute])
def test_whatever_speaks_the_protocol_is_taken_and_kept_alive(gpu: ExactGpu, kind: Any) -> None:
    owned = timers.CudaStream()
    other = kind(owned.handle)
    watched = weakref.ref(other)
    stream = as_stream(other)
    assert stream.handle == owned.handle
    del other
    gc.collect()
    assert watched() is not None
    target = timers.on_stream(lambda: None, stream)
    del stream
    gc.collect()
    assert watched() is not None
    del target
    gc.collect()
    assert watched() is None


def test_a_stream_that_is_ours_already_is_not_wrapped_again(gpu: ExactGpu) -> None:
    ours = as_stream(timers.CudaStream())
    assert as_stream(ours) is ours


def test_the_default_stream_is_one_too(gpu: ExactGpu) -> None:
    """torch's default stream has the handle 0."""
    assert as_stream(Method(0)).handle == 0


def test_a_stream_that_knows_its_gpu_need_not_be_told(gpu: ExactGpu) -> None:
    owned = timers.CudaStream(1)
    torch_like = Method(owned.handle)
    torch_like.device = SimpleNamespace(type="cuda", index=1)  # type: ignore[attr-defined]
    assert as_stream(torch_like).context.facts.ordinal == 1
    with timers.EventTimer(torch_like) as timer:
        pass
    assert timer.ns == 0


def test_a_stream_of_another_gpu_is_refused_by_name(gpu: ExactGpu) -> None:
    owned = timers.CudaStream(1)
    elsewhere = Method(owned.handle)
    with pytest.raises(InputError, match=r"not one of GPU 0 \(Fake GPU 0\)"):
        as_stream(elsewhere)
    assert as_stream(elsewhere, device=1).handle == owned.handle


def test_a_version_of_the_protocol_that_is_not_known_is_refused(gpu: ExactGpu) -> None:
    with pytest.raises(InputError, match="version 7 of __cuda_stream__"):
        as_stream(Method(timers.CudaStream().handle, version=7))


def test_a_torch_stream_from_before_the_protocol_is_taken_by_its_own_name_for_it(gpu: ExactGpu) -> None:
    class Older:
        def __init__(self, handle: int) -> None:
            self.cuda_stream = handle

    made = timers.CudaStream(0)
    assert as_stream(Older(made.handle)).handle == made.handle


def test_what_is_no_stream_is_a_type_error_that_names_it(gpu: ExactGpu) -> None:
    with pytest.raises(TypeError, match=r"__cuda_stream__.*'a stream'"):
        as_stream("a stream")


@pytest.mark.parametrize(
    "answer", [None, 5, "0x5", (0,), (0, 5, 5), (0, "five"), (0, -1), (0, None), (None, 5), (0, 2**64)]
)
def test_an_answer_that_is_no_version_and_address_is_a_type_error(gpu: ExactGpu, answer: object) -> None:
    stream = Method(0)
    stream.answer = answer  # type: ignore[assignment]
    with pytest.raises(TypeError, match=r"__cuda_stream__ is \(version, address of the stream\), and not"):
        as_stream(stream)


def test_an_error_inside_of_the_protocol_comes_through(gpu: ExactGpu) -> None:
    class Failing:
        def __cuda_stream__(self) -> tuple[int, int]:
            raise LookupError("the stream is gone")

    with pytest.raises(LookupError, match="the stream is gone"):
        as_stream(Failing())
    assert gpu.live() == {}


@pytest.mark.parametrize(("text", "index"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)])
def test_devices_are_parsed(text: str, index: int | None) -> None:
    assert parse_device(text) == index


@pytest.mark.parametrize(
    "text", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999", "cpu:0", " cuda", "cuda\n"]
)
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="can be cpu, cuda or cuda:N"):
        parse_device(text)
