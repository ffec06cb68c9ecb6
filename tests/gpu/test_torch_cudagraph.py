# SPDX-License-Identifier: Apache-2.0
"""Backend torch-cudagraph on a GPU: replays that give what the module gives, and captures that are refused."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch
from gpu_models import error, inputs_of, network, on_the_cpu, prepared, rows
from gpu_torch import median, take

from pyperf_infer import _core
from pyperf_infer.backends import torch_cudagraph
from pyperf_infer.backends.torch_cuda import PreparedTorchCuda
from pyperf_infer.backends.torch_cudagraph import PreparedTorchGraph
from pyperf_infer.backends.torch_device import release_memory
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.errors import MeasurementError, OutOfMemoryError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import PreparedBackend
    from pyperf_infer.models.spec import LoadedModel

GRAPH = "torch-cudagraph"
SAME = 1e-4  # of float32 against double precision


def captured(model: LoadedModel, **asked: Any) -> PreparedTorchGraph:
    made = prepared(model, GRAPH, **asked)
    assert isinstance(made, PreparedTorchGraph)
    return made


def samples_of(made: PreparedBackend, calls: int = 50, mode: str = "latency") -> _core.Samples:
    with made.measuring():
        return take(made.target, calls, mode)


def reserved() -> int:
    release_memory()
    return torch.cuda.memory_reserved(0)


@pytest.mark.parametrize("asked", [{}, {"include_transfers": True}, {"streams": 2}, {"channels_last": True}], ids=str)
def test_replays_give_what_the_cpu_gives_on_whatever_was_bound_last(asked: dict[str, object]) -> None:
    model = network()
    made = captured(model, **asked)
    assert made.facts.settings["replay_check"] == "outputs follow the input"
    for seed in (1, 2, 3, 1):
        made.bind(inputs_of(model, seed))
        assert error(made.outputs(), on_the_cpu(model, inputs_of(model, seed))) < SAME


def test_the_native_loop_launches_it_and_proves_it_asynchronous() -> None:
    made = captured(network())
    assert isinstance(made.target, _core.GraphTarget)
    assert made.facts.loop == "native"
    samples = samples_of(made)
    assert samples.columns == ["latency", "submit", "gpu"]
    assert (samples.column("gpu") > 0).all()
    assert made.target.probe_asynchrony() == "proved", made.target.asynchrony_evidence
    assert samples_of(made, 20, "cold").columns == ["gpu", "submit"]
    assert made.target.gated


def test_measuring_leaves_the_outputs_right() -> None:
    model = network()
    made = captured(model)
    samples_of(made)
    samples_of(made, 200, "throughput")
    assert error(made.outputs(), on_the_cpu(model, inputs_of(model))) < SAME


def test_transfers_are_apart_and_bring_the_outputs_to_the_host() -> None:
    made = captured(network(), include_transfers=True)
    samples = samples_of(made, 20)
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    assert all(median(samples, name) > 0 for name in samples.columns)
    (graph,) = made._graphs
    assert all(tensor.is_pinned() for tensor in graph._hosts)
    for host, expected in zip(graph._hosts, made.outputs().values(), strict=True):
        assert torch.equal(host, torch.from_numpy(expected))


def test_several_streams_have_graphs_that_run_beside_each_other() -> None:
    made = captured(network(), streams=3)
    assert samples_of(made, 200, "throughput").columns == ["period"]
    for graph in made._graphs:
        graph.poison()
        graph.launch()
        assert error(graph.read(), made.outputs()) < SAME


def test_the_graphs_memory_comes_back() -> None:
    captured(network()).close()  # what the libraries keep for good is there after this
    gc.collect()
    before = reserved()
    made = captured(network(), batch=256)
    assert torch.cuda.memory_reserved(0) > before
    made.close()
    del made
    gc.collect()
    assert reserved() <= before


def test_a_launch_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its outputs were overwritten before."""
    monkeypatch.setattr(torch_cudagraph._Graph, "launch", lambda self: None)
    with pytest.raises(MeasurementError, match="the native loop launches do not follow its inputs"):
        captured(network())


def test_a_graph_that_reads_other_inputs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was captured on copies would."""

    def on_copies(lane: object, gpu: object, *, contiguous: bool) -> object:
        copies = [tensor.clone() for tensor in lane.inputs]  # type: ignore[attr-defined]
        graph, result = torch_cudagraph.capture(lambda: lane.call.func(*copies), lane.stream, gpu.index)  # type: ignore[attr-defined]
        return graph, named_outputs(result)

    monkeypatch.setattr(torch_cudagraph, "_capture_outputs", on_copies)
    with pytest.raises(MeasurementError, match="do not follow its inputs"):
        captured(network())


# ---- refused


def random_on_the_gpu(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.dropout(x, 0.5, training=True)


def read_back(x: torch.Tensor) -> torch.Tensor:
    return x * x.sum().item()  # the culprit


def condition(x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 0:  # the culprit
        return x * 2
    return x


def mask(x: torch.Tensor) -> torch.Tensor:
    return x[x > 0].sum()  # the culprit


def nonzero(x: torch.Tensor) -> torch.Tensor:
    return x.nonzero().sum()  # the culprit


def from_the_host(x: torch.Tensor) -> torch.Tensor:
    return x * torch.full((1024,), 3.0).to(x.device)  # the culprit


def to_the_host(x: torch.Tensor) -> torch.Tensor:
    return x * float(x.cpu().sum())  # the culprit


def wait_for_all(x: torch.Tensor) -> torch.Tensor:
    torch.cuda.synchronize()  # the culprit
    return x * 2


def assert_usable() -> None:
    """Eager work, random numbers, memory and another capture: each is known to break after a failed capture."""
    torch.cuda.synchronize(0)
    assert float((torch.ones(8, device="cuda:0") * 2).sum()) == 16
    assert torch.rand(1000, device="cuda:0").std() > 0
    torch.manual_seed(0)
    release_memory()
    captured(network()).close()


def test_random_numbers_of_the_gpu_are_refused_by_its_generator() -> None:
    with pytest.raises(MeasurementError, match=r"draws random numbers \(the generator of cuda:0 moved on\)"):
        captured(rows(random_on_the_gpu))
    assert_usable()


@pytest.mark.parametrize(
    ("function", "does"),
    [
        (read_back, "reads a value back from the GPU"),
        (condition, "reads a value back from the GPU"),
        (mask, "makes a result whose size depends on values on the GPU"),
        (nonzero, "makes a result whose size depends on values on the GPU"),
        (from_the_host, "copies a tensor between CPU and GPU"),
        (to_the_host, "copies a tensor between CPU and GPU"),
        (wait_for_all, ""),
    ],
)
def test_a_model_that_waits_is_refused_with_its_line_and_what_it_does(
    function: Callable[[torch.Tensor], torch.Tensor], does: str
) -> None:
    with pytest.raises(MeasurementError) as caught:
        captured(rows(function))
    said = str(caught.value)
    assert said.startswith("tiny cannot run as a CUDA graph: `"), said
    assert "# the culprit` (" in said
    assert f") {does}" in said or not does, said
    assert said.endswith("; --allow-eager-fallback times it eagerly all the same")
    assert "\n" not in said
    assert_usable()


def test_a_failed_capture_gives_its_memory_back() -> None:
    def late(x: torch.Tensor) -> torch.Tensor:
        large = x.repeat(64, 16)
        return large.sum() * large[0, 0].item()

    with pytest.raises(MeasurementError):
        captured(rows(late))
    gc.collect()
    before = reserved()
    for _ in range(3):
        with pytest.raises(MeasurementError):
            captured(rows(late))
        gc.collect()
    assert reserved() <= before


@pytest.mark.parametrize("function", [read_back, random_on_the_gpu])
def test_the_fallback_is_eager_and_says_why(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    made = prepared(rows(function), GRAPH, allow_eager_fallback=True)
    assert isinstance(made, PreparedTorchCuda)
    assert made.facts.backend == GRAPH
    assert made.facts.loop == "native, Python callable (eager)"
    assert str(made.facts.settings["cudagraph"]).startswith("failed: ")
    assert samples_of(made, 10).columns == ["latency", "submit", "gpu"]


def test_running_out_of_memory_in_a_capture_is_that_and_the_process_goes_on() -> None:
    def greedy(x: torch.Tensor) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            torch.empty(1 << 60, dtype=torch.uint8, device=x.device)
        return x * 2

    with pytest.raises(OutOfMemoryError, match="ran out of memory on tiny: CUDA out of memory"):
        prepared(rows(greedy), GRAPH, allow_eager_fallback=True)
    assert_usable()
