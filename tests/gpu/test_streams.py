# SPDX-License-Identifier: Apache-2.0
"""Streams of others: torch's, cuda.core's, and anything that speaks the protocol."""

from __future__ import annotations

import gc
import importlib
import weakref
from typing import Any

import pytest
import torch
from gpu_torch import graph_target, on_new_stream, take

from pyperf_infer import _core, timers
from pyperf_infer.errors import InputError
from pyperf_infer.timing.cuda import as_stream, open_gpu


def cuda_core_device() -> Any:
    try:
        module = importlib.import_module("cuda.core")
        if not hasattr(module, "Device"):
            module = importlib.import_module("cuda.core.experimental")
    except ImportError as error:
        pytest.skip(f"cuda.core is not installed: {error}")
    device = module.Device(0)
    device.set_current()
    return device


class Owner:
    """Speaks the protocol for a stream that something else has made."""

    def __init__(self, handle: int, version: int = 0) -> None:
        self._answer = (version, handle)

    def __cuda_stream__(self) -> tuple[int, int]:
        return self._answer


def test_a_stream_of_torch_is_taken_as_it_is() -> None:
    stream = torch.cuda.Stream(0)
    assert as_stream(stream).handle == stream.cuda_stream


def test_work_runs_on_a_stream_of_cuda_core_whose_only_owner_is_the_view() -> None:
    torch.cuda.init()
    device = cuda_core_device()
    stream = device.create_stream()
    external = torch.cuda.ExternalStream(int(stream.handle), device=torch.device("cuda", 0))
    view = _core.GpuStream.view(open_gpu(0), stream)
    x = torch.zeros(1024, device="cuda:0")
    torch.cuda.synchronize()

    def call() -> None:
        with torch.cuda.stream(external):
            torch.add(x, 1.0, out=x)

    lane = _core.CallableLane(call, view)
    target = _core.StreamCallableTarget([lane], _core.StreamPlan())
    del stream, view, lane
    gc.collect()
    samples = take(target, 20)
    torch.cuda.synchronize()
    assert len(samples) == 20
    assert float(x[0]) == 25  # with the 5 that take() runs before


def test_the_owner_of_a_stream_lives_as_long_as_its_view() -> None:
    stream = torch.cuda.Stream(0)
    owner = Owner(stream.cuda_stream)
    alive = weakref.ref(owner)
    view = _core.GpuStream.view(open_gpu(0), owner)
    del owner
    gc.collect()
    assert alive() is not None
    del view
    gc.collect()
    assert alive() is None


def test_a_stream_of_ours_is_taken_by_torch() -> None:
    stream = timers.CudaStream()
    external = torch.cuda.ExternalStream(stream.handle, device=torch.device("cuda", 0))
    with torch.cuda.stream(external):
        x = torch.ones(1024, device="cuda:0").mul_(3)
    stream.synchronize()
    assert float(x.sum()) == 3072


def test_what_is_no_stream_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="__cuda_stream__"):
        as_stream(object())


def test_another_version_of_the_protocol_is_refused() -> None:
    stream = torch.cuda.Stream(0)
    with pytest.raises(InputError, match="version 7"):
        as_stream(Owner(stream.cuda_stream, version=7))


@pytest.mark.skipif("torch.cuda.device_count() < 2")
def test_a_stream_of_another_gpu_is_refused() -> None:
    stream = torch.cuda.Stream(1)
    with pytest.raises(InputError, match="not one of GPU 0"):
        as_stream(Owner(stream.cuda_stream), device=0)


def test_several_streams_overlap_in_mode_throughput() -> None:
    with on_new_stream() as one, on_new_stream() as other:
        tensors = [torch.zeros(1024, device="cuda:0") for _ in range(2)]
        torch.cuda.synchronize()
        lanes = []
        for stream, tensor in zip((one, other), tensors, strict=True):

            def call(stream: torch.cuda.Stream = stream, tensor: torch.Tensor = tensor) -> None:
                with torch.cuda.stream(stream):
                    torch.add(tensor, 1.0, out=tensor)

            lanes.append(_core.CallableLane(call, as_stream(stream)))
        target = _core.StreamCallableTarget(lanes, _core.StreamPlan())
        samples = take(target, 40, "throughput")
        torch.cuda.synchronize()
    assert samples.columns == ["period"]
    assert len(samples) == 40
    assert all(float(tensor[0]) >= 20 for tensor in tensors)


def test_the_default_stream_is_not_waited_for() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")
        target = graph_target(lambda: torch.add(x, 1.0, out=x), stream)
    torch.cuda._sleep(3_000_000_000)  # some seconds on the default stream
    busy = torch.cuda.Event()
    busy.record(torch.cuda.default_stream(0))
    assert len(take(target, 20)) == 20
    assert not busy.query()
    torch.cuda.synchronize()
