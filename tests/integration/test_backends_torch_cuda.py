# SPDX-License-Identifier: Apache-2.0
"""The eager backend on a GPU, as far as it can be told without one: what is placed, called, copied and put back."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from fake_torch_cuda import FakeTorchCuda
from tiny_models import X, loaded

from pyperf_infer.backends.base import Array, BackendOptions
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.torch_cuda import PreparedTorchCuda
from pyperf_infer.errors import InputError, MeasurementError, OutOfMemoryError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec, LoadedModel

IMAGE = InputSpec("x", ("batch", 3, 8, 8), "float32")
TOKENS = InputSpec("tokens", ("batch", 5), "int64")


@pytest.fixture
def world() -> Iterator[FakeTorchCuda]:
    with FakeTorchCuda.installed() as fake:
        yield fake


class Counting(tiny_models.Perceptron):
    """Notes on which stream and in which state it is called."""

    def __init__(self, world: FakeTorchCuda) -> None:
        super().__init__()
        self.world = world
        self.calls: list[tuple[int, bool, object]] = []

    def __deepcopy__(self, memo: dict[int, object]) -> Counting:
        copied = Counting(self.world)
        copied.load_state_dict(self.state_dict())
        copied.calls = self.calls
        return copied

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv: Any = torch.backends.cudnn.conv
        state = (self.world.current.cuda_stream, torch.is_inference_mode_enabled(), conv.fp32_precision)
        self.calls.append(state)
        return super().forward(x)


class Convolution(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x)
        return result


class Embedding(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Embedding(2, 3)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(tokens), tokens + 1


def inputs_of(model: LoadedModel, seed: int, batch: int = 2) -> dict[str, Array]:
    return make_inputs(model.inputs, {spec.name: (batch, *spec.shape[1:]) for spec in model.inputs}, seed)


def prepared(model: LoadedModel, inputs: dict[str, Array], **asked: Any) -> PreparedTorchCuda:
    made = make_backend("torch", BackendOptions(threads=1, device="cuda", **asked)).prepare(model, inputs)
    assert isinstance(made, PreparedTorchCuda)
    return made


def on_the_cpu(model: LoadedModel, inputs: dict[str, Array]) -> dict[str, Array]:
    return make_backend("torch", BackendOptions(threads=1)).prepare(model, inputs).outputs()


@pytest.mark.parametrize("streams", [1, 3])
def test_outputs_are_those_of_the_cpu_on_whatever_was_bound_last(world: FakeTorchCuda, streams: int) -> None:
    model = loaded(tiny_models.Structured(), X, InputSpec("mask", ("batch", 4), "float32"))
    first, second = inputs_of(model, 1), inputs_of(model, 2)
    made = prepared(model, first, streams=streams)
    for inputs in (first, second, first):
        made.bind(inputs)
        there, here = made.outputs(), on_the_cpu(model, inputs)
        assert list(there) == list(here)
        for name, array in here.items():
            np.testing.assert_array_equal(there[name], array)


def test_binding_copies_into_the_same_memory(world: FakeTorchCuda) -> None:
    """A graph replays addresses, and a transfer goes by them."""
    model = loaded(tiny_models.Perceptron(), X)
    made = prepared(model, inputs_of(model, 1), include_transfers=True, streams=2)
    before = [tensor.data_ptr() for lane in made.lanes for tensor in (*lane.inputs, *lane.host_inputs)]
    target = made.target
    made.bind(inputs_of(model, 2))
    assert [tensor.data_ptr() for lane in made.lanes for tensor in (*lane.inputs, *lane.host_inputs)] == before
    assert made.target is target
    for lane in made.lanes:
        for tensor in (*lane.inputs, *lane.host_inputs):
            np.testing.assert_array_equal(tensor, inputs_of(model, 2)["x"])


def test_the_inputs_are_copies(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    inputs = inputs_of(model, 1)
    made = prepared(model, inputs)
    before = made.outputs()["output"]
    inputs["x"][:] = 0
    np.testing.assert_array_equal(made.outputs()["output"], before)


def test_another_shape_is_refused_and_not_repeated(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    made = prepared(model, inputs_of(model, 1, batch=4))
    with pytest.raises(InputError, match=r"shape \[4, 4\] is bound, and not \[1, 4\]"):
        made.bind(inputs_of(model, 1, batch=1))


def test_the_module_is_run_at_least_three_times_on_every_stream_before_it_is_timed(world: FakeTorchCuda) -> None:
    model = loaded(Counting(world), X)
    made = prepared(model, inputs_of(model, 1), streams=2)
    streams = [stream for stream, _, _ in model.module.calls]
    assert [streams.count(lane.stream.cuda_stream) >= 3 for lane in made.lanes] == [True, True]
    assert len({lane.stream.cuda_stream for lane in made.lanes}) == 2
    assert set(streams) == {lane.stream.cuda_stream for lane in made.lanes}  # never the default one
    assert made.facts.first_inference_ms > 0


def test_the_callable_is_the_module_itself_without_python_around_it(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    made = prepared(model, inputs_of(model, 1))
    (lane,) = made.target.lanes
    assert isinstance(lane.submit, functools.partial)
    assert lane.submit.func is made.module
    assert lane.stream == made.lanes[0].stream.cuda_stream
    assert made.facts.loop == "native, Python callable"


def test_measuring_holds_what_the_calls_need_and_nothing_stays_behind(world: FakeTorchCuda) -> None:
    model = loaded(Counting(world), X)
    made = prepared(model, inputs_of(model, 1))
    calls = model.module.calls
    default = world.current
    conv: Any = torch.backends.cudnn.conv
    before = conv.fp32_precision
    with made.measuring():
        made.target.lanes[0].submit()
    assert calls[-1] == (made.lanes[0].stream.cuda_stream, True, "ieee")
    assert (world.current, torch.is_inference_mode_enabled(), conv.fp32_precision) == (default, False, before)


def test_two_that_are_measured_in_turn_run_on_the_stream_of_their_targets(world: FakeTorchCuda) -> None:
    model = loaded(Counting(world), X)
    one, other = (prepared(model, inputs_of(model, seed)) for seed in (1, 2))
    with one.measuring(), other.measuring():
        for made in (one, other):
            (lane,) = made.target.lanes
            lane.submit()
            assert model.module.calls[-1][0] == lane.stream


def test_with_several_streams_each_call_enters_its_own(world: FakeTorchCuda) -> None:
    model = loaded(Counting(world), X)
    made = prepared(model, inputs_of(model, 1), streams=3, include_transfers=True)
    with made.measuring():
        for lane in made.target.lanes:
            lane.h2d()
            lane.submit()
            lane.d2h()
            assert model.module.calls[-1][0] == lane.stream
    assert len({id(lane.inputs[0]) for lane in made.lanes}) == 3


def test_transfers_bring_the_hosts_inputs_in_and_the_last_outputs_out(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Structured(), X, InputSpec("mask", ("batch", 4), "float32"))
    made = prepared(model, inputs_of(model, 1), include_transfers=True)
    (mine,), (lane,) = made.lanes, made.target.lanes
    expected = on_the_cpu(model, inputs_of(model, 2))
    with made.measuring():
        for tensor, array in zip(mine.host_inputs, inputs_of(model, 2).values(), strict=True):
            tensor.copy_(torch.from_numpy(array))
        lane.h2d()
        lane.submit()
        for tensor in mine.host_outputs:
            tensor.fill_(7)
        lane.d2h()
    for tensor, array in zip(mine.host_outputs, expected.values(), strict=True):
        np.testing.assert_array_equal(tensor, array)
    assert made.target.plan.include_transfers is True


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_short_precisions_are_of_weights_and_inputs_and_the_module_on_the_cpu_stays(
    world: FakeTorchCuda, precision: str
) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    inputs = inputs_of(model, 1)
    made = prepared(model, inputs, precision=precision)
    dtype = getattr(torch, precision)
    assert {tensor.dtype for tensor in (*made.module.parameters(), *made.module.buffers(), *made.lanes[0].inputs)} == {
        dtype
    }
    assert model.module is not None
    assert {tensor.dtype for tensor in (*model.module.parameters(), *model.module.buffers())} == {torch.float32}
    output = made.outputs()["output"]
    assert output.dtype.name == precision
    np.testing.assert_allclose(output.astype(np.float32), on_the_cpu(model, inputs)["output"], atol=0.05)


def test_integers_stay_integers_in_a_short_precision(world: FakeTorchCuda) -> None:
    model = loaded(Embedding(), TOKENS)
    made = prepared(model, inputs_of(model, 1), precision="float16")
    assert made.lanes[0].inputs[0].dtype is torch.int64
    assert [array.dtype.name for array in made.outputs().values()] == ["float16", "int64"]


@pytest.mark.filterwarnings("ignore:CUDA is not available")  # which switches it off, and is not asked here
def test_under_autocast_the_weights_stay_float32(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    made = prepared(model, inputs_of(model, 1), precision="float16", autocast=True)
    assert {tensor.dtype for tensor in (*made.module.parameters(), *made.lanes[0].inputs)} == {torch.float32}


def test_channels_last_is_of_images_and_of_their_weights(world: FakeTorchCuda) -> None:
    model = loaded(Convolution(), IMAGE)
    inputs = inputs_of(model, 1)
    made = prepared(model, inputs, channels_last=True, include_transfers=True)
    for tensor in (made.module.layer.weight, *made.lanes[0].inputs, *made.lanes[0].host_inputs):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
        assert not tensor.is_contiguous()
    np.testing.assert_allclose(made.outputs()["output"], on_the_cpu(model, inputs)["output"], rtol=1e-4, atol=1e-5)
    assert made.facts.settings["channels_last"] is True
    flat = loaded(tiny_models.Perceptron(), X)
    assert prepared(flat, inputs_of(flat, 1), channels_last=True).facts.settings["channels_last"] is False


def test_the_settings_are_read_while_they_hold(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    settings = prepared(model, inputs_of(model, 1), precision="tf32", conv_search="heuristic").facts.settings
    assert settings["matmul_tf32"] is True
    assert settings["cudnn_conv_tf32"] is True
    assert settings["cudnn_benchmark"] is False
    assert settings["inference_mode"] is True
    settings = prepared(model, inputs_of(model, 1)).facts.settings
    assert settings["cudnn_conv_tf32"] is False
    assert settings["cudnn_benchmark"] is True


def test_a_model_that_ran_on_this_gpu_before_is_warm(world: FakeTorchCuda) -> None:
    model, other = (loaded(tiny_models.Perceptron(), X) for _ in range(2))
    on_the_cpu(model, inputs_of(model, 1))
    assert [
        prepared(one, inputs_of(one, 1)).facts.first_inference_warm for one in (model, model, other, model)
    ] == [False, True, False, False]  # fmt: skip


class Broken(tiny_models.Perceptron):
    def __init__(self, error: Exception, after: int = 0) -> None:
        super().__init__()
        self.error, self.left = error, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().forward(x)


def test_running_out_of_memory_is_said_as_such_and_everything_is_given_back(world: FakeTorchCuda) -> None:
    model = loaded(Broken(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")), X)
    with pytest.raises(OutOfMemoryError, match=r"ran out of memory on tiny: CUDA out of memory\. .* 2\.00 GiB\.$"):
        prepared(model, inputs_of(model, 1))
    assert world.emptied


def test_weights_that_do_not_fit_are_named_with_their_size(
    world: FakeTorchCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 90.00 GiB.")

    model = loaded(torch.nn.Linear(1024, 256), InputSpec("x", ("batch", 1024), "float32"))
    monkeypatch.setattr(torch.nn.Module, "to", refuse)
    with pytest.raises(OutOfMemoryError, match=r"tiny, moving its 1.* of weights to cpu: CUDA out of memory"):
        prepared(model, inputs_of(model, 1))
    assert world.emptied


@pytest.mark.parametrize("after", [0, 2])
def test_a_failing_module_is_a_failed_measurement_in_one_line(world: FakeTorchCuda, after: int) -> None:
    model = loaded(Broken(ValueError("a wrong\nturn"), after), X)
    with pytest.raises(MeasurementError, match=r"PyTorch failed on tiny: ValueError: a wrong$"):
        prepared(model, inputs_of(model, 1))


def test_a_module_that_cannot_be_copied_is_said_to_be_that(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    assert model.module is not None
    model.module.lock = open(__file__)  # noqa: SIM115, PTH123  what a module may hold and pickle does not know
    with pytest.raises(MeasurementError, match=r"copying its module \(copy.deepcopy\): TypeError"):
        prepared(model, inputs_of(model, 1))


def test_an_onnx_file_is_refused(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    model.module = None
    with pytest.raises(InputError, match="is an ONNX file"):
        prepared(model, {})


def test_closing_gives_everything_back(world: FakeTorchCuda) -> None:
    model = loaded(tiny_models.Perceptron(), X)
    made = prepared(model, inputs_of(model, 1))
    emptied = world.emptied
    made.close()
    assert world.emptied > emptied
    with pytest.raises(InputError, match="closed"):
        _ = made.target
    made.close()
