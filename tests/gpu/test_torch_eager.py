# SPDX-License-Identifier: Apache-2.0
"""Backend torch on a GPU: the same outputs as on the CPU, on its own streams, and memory that comes back."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from gpu_models import error, inputs_of, network, on_the_cpu, prepared, rows, sleeping
from gpu_torch import median, take
from tiny_models import loaded

from pyperf_infer import _core
from pyperf_infer.backends.torch_cuda import PreparedTorchCuda
from pyperf_infer.backends.torch_device import release_memory
from pyperf_infer.errors import OutOfMemoryError
from pyperf_infer.models.spec import InputSpec
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from pyperf_infer.backends.base import PreparedBackend

SAME = 1e-4  # of float32 against double precision


def samples_of(made: PreparedBackend, calls: int = 50, mode: str = "latency") -> _core.Samples:
    with made.measuring():
        return take(made.target, calls, mode)


def stream_target(made: PreparedBackend) -> _core.StreamTarget:
    assert isinstance(made.target, _core.StreamTarget)
    return made.target


def allocated() -> int:
    gc.collect()
    return torch.cuda.memory_allocated(0)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """128 MiB beyond what this process holds already."""
    release_memory()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(0) + (128 << 20)) / total, 0)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, 0)


def test_float32_gives_what_the_cpu_gives_on_whatever_was_bound_last() -> None:
    model = network()
    made = prepared(model)
    for seed in (1, 2, 1):
        made.bind(inputs_of(model, seed))
        assert error(made.outputs(), on_the_cpu(model, inputs_of(model, seed))) < SAME


def test_the_module_on_the_cpu_stays_there_and_as_it_is() -> None:
    model = network()
    assert model.module is not None
    prepared(model, precision="float16", channels_last=True)
    assert {(tensor.device.type, tensor.dtype) for tensor in model.module.parameters()} == {("cpu", torch.float32)}


def test_a_call_has_its_three_quantities_and_its_work_lies_between_the_events() -> None:
    made = prepared(rows(sleeping(5)))
    samples = samples_of(made, 20)
    assert samples.columns == ["latency", "submit", "gpu"]
    assert median(samples, "gpu") > median(samples, "submit")
    assert median(samples, "latency") > 0.95 * median(samples, "gpu")


def test_a_module_that_only_queues_is_proved_to_be_asynchronous() -> None:
    made = prepared(network())
    with made.measuring():
        assert stream_target(made).probe_asynchrony() == "proved", stream_target(made).asynchrony_evidence


def test_a_module_that_reads_a_value_back_is_found_out() -> None:
    made = prepared(rows(lambda x: x * x.sum().item()))
    with made.measuring():
        assert stream_target(made).probe_asynchrony() == "sync_inside_submit"


def test_mode_cold_runs_and_holds_the_launch_back() -> None:
    made = prepared(network())
    samples = samples_of(made, 20, "cold")
    assert samples.columns == ["gpu", "submit"]
    assert (stream_target(made).gated, stream_target(made).gate_timeouts) == (True, 0)


def test_transfers_are_apart_and_bring_the_outputs_to_the_host() -> None:
    made = prepared(network(), include_transfers=True)
    assert isinstance(made, PreparedTorchCuda)
    samples = samples_of(made, 20)
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    assert all(median(samples, name) > 0 for name in samples.columns)
    (lane,) = made.lanes
    assert all(tensor.is_pinned() for tensor in (*lane.host_inputs, *lane.host_outputs))
    for host, expected in zip(lane.host_outputs, made.outputs().values(), strict=True):
        assert torch.allclose(host.float(), torch.from_numpy(expected), rtol=1e-3, atol=1e-4)


def test_several_streams_really_overlap_and_give_the_same() -> None:
    """Sleeps keep one multiprocessor busy, so that four of them fit beside each other."""
    single, four = (prepared(rows(sleeping(2)), streams=streams) for streams in (1, 4))
    assert isinstance(four, PreparedTorchCuda)
    assert len({lane.stream.cuda_stream for lane in four.lanes}) == 4
    periods = [median(samples_of(made, 100, "throughput"), "period") for made in (single, four)]
    assert periods[1] < periods[0]
    with four.measuring():
        for lane in four.lanes:
            assert torch.equal(lane.run(), lane.inputs[0] * 2)  # type: ignore[arg-type]


def test_the_first_inference_is_timed_to_its_end() -> None:
    made = prepared(rows(sleeping(50)))
    sample_ms = median(samples_of(made, 10), "latency") / 1e6
    assert made.facts.first_inference_ms > 0.9 * sample_ms


def test_closing_gives_the_memory_back() -> None:
    prepared(network(), streams=2).close()  # what the libraries keep for a stream is there after this
    before = allocated()
    made = prepared(network(), streams=2)
    assert allocated() > before
    made.close()
    del made
    assert allocated() == before


def test_inputs_that_do_not_fit_are_out_of_memory_and_leave_nothing_behind(little_memory: None) -> None:
    before = allocated()
    with pytest.raises(OutOfMemoryError, match="PyTorch ran out of memory on tiny: CUDA out of memory"):
        prepared(rows(lambda x: x * 2), batch=48 << 10)  # of 4 KiB each
    assert allocated() == before
    assert error(prepared(network(), batch=1).outputs(), on_the_cpu(network(), inputs_of(network(), batch=1))) < SAME


def test_weights_that_do_not_fit_are_named(little_memory: None) -> None:
    before = allocated()
    model = loaded(torch.nn.Linear(8192, 8192), InputSpec("x", ("batch", 8192), "float32"))
    with pytest.raises(OutOfMemoryError, match=r"moving its .* of weights to cuda:0: CUDA out of memory"):
        prepared(model)
    assert allocated() == before


def test_running_out_of_memory_while_it_is_measured_leaves_the_process_usable(little_memory: None) -> None:
    hoard: list[torch.Tensor] = []

    def hoarding(x: torch.Tensor) -> torch.Tensor:
        hoard.append(torch.empty(4 << 20, device=x.device))
        return x

    made = prepared(rows(hoarding))
    with pytest.raises(Exception, match="CUDA out of memory") as caught:
        samples_of(made, 100)
    assert is_out_of_memory(caught.value)
    hoard.clear()
    made.close()
    release_memory(caught.value)
    assert samples_of(prepared(rows(lambda x: x * 2), batch=1), 10).columns[0] == "latency"


def test_the_second_gpu_is_used_where_it_is_named() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("this machine has one GPU")
    model = network()
    made = prepared(model, device="cuda:1")
    assert isinstance(made, PreparedTorchCuda)
    assert made.lanes[0].inputs[0].device == torch.device("cuda", 1)
    assert error(made.outputs(), on_the_cpu(model, inputs_of(model))) < SAME
    assert samples_of(made, 10).columns == ["latency", "submit", "gpu"]
