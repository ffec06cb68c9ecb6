# SPDX-License-Identifier: Apache-2.0
"""The torch backends in the real native loop, over a fake driver: streams, lanes and quantities fit together."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from fake_cuda import FakeCuda, built_library
from fake_torch_cuda import GRAPH_NS, FakeGraph, FakeTorchCuda
from tiny_models import X, loaded

from pyperf_infer import _core
from pyperf_infer.backends import torch_device
from pyperf_infer.backends.base import BackendOptions, PreparedBackend
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.torch_cuda import Lane
from pyperf_infer.backends.torch_cudagraph import PreparedTorchGraph, _Graph
from pyperf_infer.errors import MeasurementError, OutOfMemoryError
from pyperf_infer.models.inputs import make_inputs

INPUTS = make_inputs((X,), {"x": (2, 4)}, 1)


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[FakeCuda]:
    """One for each test: a context lives as long as its last user, which may be the traceback of a test that failed."""
    with FakeCuda.loaded(Path(shutil.copy(built_library(), tmp_path))) as fake:
        yield fake


@pytest.fixture
def world(driver: FakeCuda) -> Iterator[FakeTorchCuda]:
    with FakeTorchCuda.installed(driver) as fake:
        yield fake


def prepared(backend: str = "torch", module: torch.nn.Module | None = None, **asked: Any) -> PreparedBackend:
    model = loaded(module or tiny_models.Perceptron(), X)
    return make_backend(backend, BackendOptions(threads=1, device="cuda", **asked)).prepare(model, INPUTS)


def samples_of(made: PreparedBackend, mode: Any, count: int = 40) -> _core.Samples:
    samples = _core.Samples()
    plan = _core.StopPlan(min_samples=count, min_duration_ns=0, max_duration_ns=5_000_000_000, relative_half_width=1.0)
    with made.measuring():
        _core.measure(made.target, plan, samples, mode=mode)
    return samples


def test_an_eager_call_has_the_three_quantities_of_a_call_on_a_gpu(world: FakeTorchCuda) -> None:
    made = prepared()
    assert made.target.quantities("latency") == ["latency", "submit", "gpu"]
    samples = samples_of(made, "latency")
    assert (samples.column("submit") <= samples.column("latency")).all()
    assert isinstance(made.target, _core.StreamCallableTarget)
    with made.measuring():
        assert made.target.probe_asynchrony() == "proved"


def test_transfers_are_quantities_of_their_own_and_really_copy(world: FakeTorchCuda) -> None:
    made = prepared(include_transfers=True)
    (lane,) = made.lanes
    with torch.inference_mode():
        for tensor in lane.host_outputs:
            tensor.fill_(7)
    samples = samples_of(made, "latency")
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    np.testing.assert_array_equal(lane.host_outputs[0], made.outputs()["output"])


def test_several_streams_share_the_calls_of_mode_throughput(world: FakeTorchCuda) -> None:
    class Noting(tiny_models.Perceptron):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            streams.append(world.current.cuda_stream)
            return super().forward(x)

    streams: list[int] = []
    made = prepared(module=Noting(), streams=3)
    streams.clear()
    assert samples_of(made, "throughput").columns == ["period"]
    counts = {stream: streams.count(stream) for stream in set(streams)}
    assert set(counts) == {lane.stream.cuda_stream for lane in made.lanes}
    assert max(counts.values()) - min(counts.values()) <= len(counts)


def test_what_a_module_raises_in_the_loop_is_known_as_running_out_of_memory(world: FakeTorchCuda) -> None:
    class Greedy(tiny_models.Perceptron):
        left = 10

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Greedy.left -= 1
            if Greedy.left < 0:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            return super().forward(x)

    from pyperf_infer.system.memory import is_out_of_memory

    with pytest.raises(torch.OutOfMemoryError) as caught:
        samples_of(prepared(module=Greedy()), "latency")
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError("in other words"))


def test_a_graph_is_launched_by_the_driver_alone(
    driver: FakeCuda, world: FakeTorchCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake driver does not run the tensors' operations, so that the check of replays cannot hold here."""
    monkeypatch.setattr(PreparedTorchGraph, "_check_that_it_follows", lambda self, inputs: "not looked at")
    made = prepared("torch-cudagraph")
    assert isinstance(made.target, _core.GraphTarget)
    launches, replays = driver.calls("cuGraphLaunch"), world.replays
    samples = samples_of(made, "latency")
    assert driver.calls("cuGraphLaunch") - launches >= len(samples) >= 40
    assert world.replays == replays
    # The span of one launch and of the two events around it: 1 us for the record's own work on the device.
    assert np.median(samples.column("gpu")) == pytest.approx(GRAPH_NS, abs=2_000)


def test_nothing_of_the_driver_is_left_when_all_is_closed(driver: FakeCuda) -> None:
    with FakeTorchCuda.installed(driver):
        made = prepared(streams=2, include_transfers=True)
        samples_of(made, "throughput")
        assert driver.live("streams") > 0
        assert driver.live("events") > 0
        made.close()
        del made
    gc.collect()
    assert (driver.live("streams"), driver.live("events")) == (0, 0)


def test_no_memory_for_the_loop_itself_is_no_crash(driver: FakeCuda, world: FakeTorchCuda) -> None:
    driver.memory_limit(1)
    made = prepared()
    with pytest.raises(OutOfMemoryError):
        samples_of(made, "cold")


@pytest.mark.parametrize(
    ("backend", "owner", "name"),
    [
        ("torch", Lane, "write"),
        ("torch", tiny_models.Perceptron, "forward"),
        ("torch-cudagraph", tiny_models.Perceptron, "forward"),
        ("torch-cudagraph", _Graph, "poison"),
        ("torch-cudagraph", FakeGraph, "replay"),
    ],
)
def test_a_gpu_that_hangs_while_a_model_is_prepared_is_an_error(
    driver: FakeCuda, world: FakeTorchCuda, monkeypatch: pytest.MonkeyPatch, backend: str, owner: type, name: str
) -> None:
    """From that call on nothing on the GPU ends. What it holds is left there: freeing it would wait for ever."""
    really = getattr(owner, name)
    hung: list[str] = []

    def hang(self: object, *arguments: object) -> object:
        hung.append(name)
        driver.hang()
        return really(self, *arguments)

    def not_behind_it(step: Callable[[_Graph], object]) -> Callable[[_Graph], object]:
        def call(graph: _Graph) -> object:
            assert not hung
            return step(graph)

        return call

    monkeypatch.setattr(_Graph, "launch", not_behind_it(_Graph.launch))
    monkeypatch.setattr(_Graph, "read", not_behind_it(_Graph.read))
    monkeypatch.setattr(owner, name, hang)
    monkeypatch.setattr(torch_device, "WAIT_TIMEOUT_NS", 20_000_000)
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(world.gpu.context.is_lost))
    with pytest.raises(MeasurementError, match="has not finished its work after 20 ms"):
        prepared(backend)
    assert world.gpu.context.is_lost
    assert True not in emptied
    assert hung == [name]


def test_nothing_is_copied_behind_work_that_hangs(
    driver: FakeCuda, world: FakeTorchCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's own copy would wait for it."""
    made = prepared()
    (lane,) = made.lanes
    before = [tensor.clone() for tensor in lane.inputs]
    driver.hang(lane.stream.cuda_stream)
    driver.enqueue(lane.stream.cuda_stream, 1_000)
    monkeypatch.setattr(torch_device, "WAIT_TIMEOUT_NS", 20_000_000)
    for _ in range(2):  # the second time it is lost
        with pytest.raises(MeasurementError):
            made.bind(make_inputs((X,), {"x": (2, 4)}, 2))
    for tensor, then in zip(lane.inputs, before, strict=True):
        assert torch.equal(tensor, then)
    made.close()
