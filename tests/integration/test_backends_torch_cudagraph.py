# SPDX-License-Identifier: Apache-2.0
"""Capturing in a CUDA graph, as far as it can be told without a GPU: what is refused, why, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from fake_torch_cuda import FakeTorchCuda
from tiny_models import X, loaded

from pyperf_infer.backends.base import Array, BackendOptions, PreparedBackend
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.torch_cudagraph import PreparedTorchGraph
from pyperf_infer.errors import InputError, MeasurementError, OutOfMemoryError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec, LoadedModel

MASK = InputSpec("mask", ("batch", 4), "float32")


@pytest.fixture
def world() -> Iterator[FakeTorchCuda]:
    with FakeTorchCuda.installed() as fake:
        yield fake


class Of(torch.nn.Module):
    """A module that is one function of its input and of itself."""

    def __init__(self, function: Callable[[Any, torch.Tensor], object]) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("anchor", torch.tensor([3, 5, 7]))

    def forward(self, x: torch.Tensor) -> object:
        return self.function(self, x)


def inputs_of(model: LoadedModel, seed: int, batch: int = 2) -> dict[str, Array]:
    return make_inputs(model.inputs, {spec.name: (batch, *spec.shape[1:]) for spec in model.inputs}, seed)


def prepared(model: LoadedModel, seed: int = 1, **asked: Any) -> PreparedBackend:
    backend = make_backend("torch-cudagraph", BackendOptions(threads=1, device="cuda", **asked))
    return backend.prepare(model, inputs_of(model, seed))


def refusal(model: LoadedModel, **asked: Any) -> str:
    with pytest.raises(MeasurementError) as caught:
        prepared(model, **asked)
    assert type(caught.value) is MeasurementError
    said = str(caught.value)
    assert said.startswith("tiny cannot run as a CUDA graph: ")
    assert said.endswith("; --allow-eager-fallback times it eagerly all the same")
    assert "\n" not in said
    return said


def assert_usable(world: FakeTorchCuda) -> None:
    """Nothing is being captured, for torch or its allocator, and the last capture ended well."""
    assert world.capturing is None
    assert not world.pools
    made = prepared(loaded(tiny_models.Perceptron(), X))
    assert isinstance(made, PreparedTorchGraph)


MODELS = {
    "one tensor": lambda: loaded(tiny_models.Perceptron(), X),
    "a dataclass": lambda: loaded(tiny_models.Structured(), X, MASK),
    "a mapping": lambda: loaded(tiny_models.Mapped(), X),
    "its own input": lambda: loaded(tiny_models.Passing(), X, MASK),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("asked", [{}, {"include_transfers": True}, {"streams": 2}], ids=str)
def test_replays_give_the_modules_outputs_for_whatever_is_bound(
    world: FakeTorchCuda, model: Callable[[], LoadedModel], asked: dict[str, Any]
) -> None:
    one = model()
    made = prepared(one, **asked)
    assert isinstance(made, PreparedTorchGraph)
    for seed in (1, 2, 3):
        made.bind(inputs_of(one, seed))
        before = world.replays
        there = made.outputs()
        assert world.replays == before + 1
        here = make_backend("torch", BackendOptions(threads=1)).prepare(one, inputs_of(one, seed)).outputs()
        assert list(there) == list(here)
        for name, array in here.items():
            np.testing.assert_allclose(there[name], array, rtol=1e-6)


def test_a_captured_row_says_so(world: FakeTorchCuda) -> None:
    facts = prepared(loaded(tiny_models.Perceptron(), X)).facts
    assert (facts.backend, facts.loop) == ("torch-cudagraph", "native")
    assert facts.settings["cudagraph"] == "captured"
    assert facts.settings["replay_check"] == "outputs follow the input"


def test_every_stream_has_a_graph_and_memory_of_its_own(world: FakeTorchCuda) -> None:
    made = prepared(loaded(tiny_models.Perceptron(), X), streams=3)
    lanes = made.target.lanes
    assert len({lane.graph for lane in lanes}) == len({lane.stream for lane in lanes}) == 3
    assert [entry for entry in world.log if entry.startswith("capture")] == [
        f"capture on {lane.stream:#x}" for lane in lanes
    ]


def test_transfers_are_copies_of_whole_inputs_and_outputs(world: FakeTorchCuda) -> None:
    """An output with gaps is made one piece inside of the graph, since one copy could not follow it."""
    model = loaded(Of(lambda self, x: {"gaps": (x * 2)[:, ::2], "whole": x + 1, "none": x[:0]}), X)
    made = prepared(model, include_transfers=True)
    (lane,) = made.target.lanes
    assert [size for *_, size in lane.inputs] == [32]
    assert [size for *_, size in lane.outputs] == [16, 32]
    made.target.run()
    (graph,) = made._graphs
    x = torch.from_numpy(inputs_of(model, 1)["x"])
    for host, expected in zip(graph._hosts, ((x * 2)[:, ::2], x + 1, x[:0]), strict=True):
        np.testing.assert_array_equal(host, expected)


# ---- replays that do not do their work


def test_a_graph_whose_outputs_are_stale_is_refused(world: FakeTorchCuda) -> None:
    world.stale = True
    said = refusal(loaded(tiny_models.Perceptron(), X))
    assert "the outputs of a graph that the native loop launches do not follow its inputs: output: differs by" in said


def test_a_launch_that_writes_nothing_is_found_by_the_poison(world: FakeTorchCuda) -> None:
    """Its outputs would otherwise be those of the launch before."""
    world.native_does_nothing = True
    assert "the native loop launches do not follow its inputs: output: 6 of 6 values from a replay are NaN" in refusal(
        loaded(tiny_models.Perceptron(), X)
    )


def test_a_constant_of_integers_is_found_overwritten_too(world: FakeTorchCuda) -> None:
    world.native_does_nothing = True
    model = loaded(Of(lambda self, x: (torch.arange(3), x)), X)
    assert "do not follow its inputs: output_0 differs" in refusal(model)


def test_a_constant_is_told_to_be_unchecked_and_not_refused(world: FakeTorchCuda) -> None:
    settings = prepared(loaded(Of(lambda self, x: x[:0].sum() + torch.arange(3)), X)).facts.settings
    assert str(settings["replay_check"]).startswith("not told: output: it does not depend on the input")


def test_outputs_that_are_no_numbers_are_told_to_be_unchecked(world: FakeTorchCuda) -> None:
    settings = prepared(loaded(Of(lambda self, x: x * float("nan")), X)).facts.settings
    assert settings["replay_check"] == "not told: the outputs of eager calls are not finite"


def test_the_poison_spares_what_the_model_keeps(world: FakeTorchCuda) -> None:
    """A buffer that is handed back is the model's, and not written by a launch."""
    model = loaded(Of(lambda self, x: (self.anchor, x * 2)), X)
    made = prepared(model)
    assert made.outputs()["output_0"].tolist() == [3, 5, 7]
    assert made._eager.module.anchor.tolist() == [3, 5, 7]


def test_an_input_that_the_model_changes_is_written_anew_for_every_check(world: FakeTorchCuda) -> None:
    made = prepared(loaded(Of(lambda self, x: x.mul_(2).clone()), X))
    assert made.facts.settings["replay_check"] == "outputs follow the input"


# ---- random numbers


def test_dropout_in_training_mode_is_refused_by_name(world: FakeTorchCuda) -> None:
    model = loaded(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5)), X)
    assert isinstance(prepared(model), PreparedTorchGraph)
    model.module[1].train()
    said = refusal(model)
    assert "dropout in training mode (1) draws random numbers, and a graph repeats the same ones" in said


def test_recurrent_layers_with_dropout_in_training_mode_are_refused(world: FakeTorchCuda) -> None:
    model = loaded(torch.nn.LSTM(4, 4, num_layers=2, dropout=0.5), InputSpec("x", ("batch", 3, 4), "float32"))
    model.module.train()
    assert "dropout in training mode (the model)" in refusal(model)


def test_random_numbers_of_the_cpu_are_found_by_its_generator(world: FakeTorchCuda) -> None:
    said = refusal(loaded(Of(lambda self, x: torch.nn.functional.dropout(x, training=True)), X))
    assert "a call draws random numbers (the generator of CPU moved on), and a graph repeats" in said


def test_random_numbers_of_the_gpu_are_found_by_its_generator(world: FakeTorchCuda) -> None:
    def draw(self: object, x: torch.Tensor) -> torch.Tensor:
        world.generator[8] += 4  # its offset
        return x * 2

    assert "(the generator of cuda:0 moved on)" in refusal(loaded(Of(draw), X))


# ---- captures that fail


def condition(self: object, x: torch.Tensor) -> torch.Tensor:
    if x.sum() > 0:  # the culprit
        return x * 2
    return x


def item(self: object, x: torch.Tensor) -> torch.Tensor:
    return x * x.sum().item()  # the culprit


def mask(self: object, x: torch.Tensor) -> torch.Tensor:
    return x[x > 0].sum()  # the culprit


def nonzero(self: object, x: torch.Tensor) -> torch.Tensor:
    return x.nonzero().sum()  # the culprit


@pytest.mark.parametrize(
    ("function", "does", "operation"),
    [
        (condition, "reads a value back from the GPU", "aten.is_nonzero"),
        (item, "reads a value back from the GPU", "aten.item"),
        (mask, "makes a result whose size depends on values on the GPU", "aten.index"),
        (nonzero, "makes a result whose size depends on values on the GPU", "aten.nonzero"),
    ],
)
def test_an_operation_that_waits_is_named_with_its_line(
    world: FakeTorchCuda, function: Callable[..., object], does: str, operation: str
) -> None:
    said = refusal(loaded(Of(function), X))
    assert "# the culprit` (" in said
    assert f"test_backends_torch_cudagraph.py:{function.__code__.co_firstlineno + 1}) {does} ({operation}): " in said
    assert "RuntimeError: CUDA error: operation not permitted when stream is capturing" in said
    assert world._sync_mode == 0
    assert_usable(world)


def test_a_model_that_only_fails_in_a_capture_is_named_with_its_line_and_words(world: FakeTorchCuda) -> None:
    def shy(self: object, x: torch.Tensor) -> torch.Tensor:
        if world.capturing is not None:
            raise NotImplementedError("not while watched\nby anybody")
        return x * 2

    said = refusal(loaded(Of(shy), X))
    assert "`raise NotImplementedError(" in said
    assert "): NotImplementedError: not while watched;" in said
    assert_usable(world)


def test_a_capture_that_only_fails_at_its_end_leaves_the_gpu_usable(world: FakeTorchCuda) -> None:
    def spoil(self: object, x: torch.Tensor) -> torch.Tensor:
        if world.capturing is not None:
            world.capturing.broken = True
        return x * 2

    assert "RuntimeError: CUDA error: operation failed due to a previous error" in refusal(loaded(Of(spoil), X))
    assert_usable(world)


def test_a_pool_that_torch_left_open_is_ended_and_released_once(world: FakeTorchCuda) -> None:
    refusal(loaded(Of(item), X))
    assert len(world.released) == 1
    assert not world.pools


def test_a_broken_capture_is_followed_by_a_good_one_on_the_same_stream(world: FakeTorchCuda) -> None:
    """Which is what sets the generator right in torch 2.9 to 2.11."""
    refusal(loaded(Of(item), X))
    captures = [entry for entry in world.log if entry.startswith("capture")]
    assert len(captures) == 2
    assert len(set(captures)) == 1


def test_running_out_of_memory_in_a_capture_is_that_and_no_fallback_hides_it(world: FakeTorchCuda) -> None:
    def greedy(self: object, x: torch.Tensor) -> torch.Tensor:
        if world.capturing is not None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return x * 2

    with pytest.raises(OutOfMemoryError, match="ran out of memory on tiny: CUDA out of memory"):
        prepared(loaded(Of(greedy), X), allow_eager_fallback=True)
    assert_usable(world)


def test_ctrl_c_in_a_capture_ends_it(world: FakeTorchCuda) -> None:
    def interrupted(self: object, x: torch.Tensor) -> torch.Tensor:
        if world.capturing is not None:
            raise KeyboardInterrupt
        return x * 2

    with pytest.raises(KeyboardInterrupt):
        prepared(loaded(Of(interrupted), X))
    assert_usable(world)


# ---- falling back


@pytest.mark.parametrize("function", [item, lambda self, x: torch.nn.functional.dropout(x, training=True)])
def test_the_fallback_is_eager_where_it_was_asked_for_and_says_why(
    world: FakeTorchCuda, function: Callable[..., object]
) -> None:
    model = loaded(Of(function), X)
    made = prepared(model, allow_eager_fallback=True)
    assert made.facts.backend == "torch-cudagraph"
    assert made.facts.loop == "native, Python callable (eager)"
    assert str(made.facts.settings["cudagraph"]).startswith("failed: ")
    assert "replay_check" not in made.facts.settings
    replays = world.replays
    torch.manual_seed(5)
    there = made.outputs()["output"]
    torch.manual_seed(5)
    with torch.inference_mode():
        np.testing.assert_array_equal(there, model.module(torch.from_numpy(inputs_of(model, 1)["x"])))
    assert world.replays == replays
    made.close()


def test_a_stale_graph_falls_back_too(world: FakeTorchCuda) -> None:
    world.stale = True
    made = prepared(loaded(tiny_models.Perceptron(), X), allow_eager_fallback=True)
    assert "do not follow its inputs" in str(made.facts.settings["cudagraph"])


def test_a_gpu_that_did_not_survive_the_capture_is_no_fallback(world: FakeTorchCuda) -> None:
    def fatal(self: Any, x: torch.Tensor) -> torch.Tensor:
        if world.capturing is not None:
            world.generator = None  # from now on
        if world.generator is None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return x * 2

    with pytest.raises(MeasurementError, match="failed on tiny: RuntimeError: CUDA error: an illegal memory access"):
        prepared(loaded(Of(fatal), X), allow_eager_fallback=True)


# ---- the end


def test_closing_resets_the_graphs_before_their_memory_is_given_back(world: FakeTorchCuda) -> None:
    made = prepared(loaded(tiny_models.Perceptron(), X), streams=2)
    graphs = [world.graphs[lane.graph] for lane in made.target.lanes]
    emptied = world.emptied
    assert all(graph.is_ready for graph in graphs)
    made.close()
    assert not any(graph.is_ready for graph in graphs)
    assert world.emptied > emptied
    with pytest.raises(InputError, match="closed"):
        _ = made.target
    made.close()


def test_measuring_a_graph_needs_nothing_of_torch(world: FakeTorchCuda) -> None:
    made = prepared(loaded(tiny_models.Perceptron(), X))
    default = world.current
    with made.measuring():
        assert world.current is default
        assert not torch.is_inference_mode_enabled()
