# SPDX-License-Identifier: Apache-2.0
"""Models that AOTInductor compiled for the GPU, on our stream: outputs, what waits, what is freed, transfers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_torch import median, on_new_stream, take, up_to_speed

from pyperf_infer import timers
from pyperf_infer.aoti_model import several_streams
from pyperf_infer.convert.aoti import compile_to_package
from pyperf_infer.timers import AotiModel

WIDTH = 512


class Chain(torch.nn.Module):
    """Some launches, an intermediate in memory of its own, and two outputs, of which one is a transposed view."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(8)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = self.layers(x).softmax(1)
        return y, (y + 1).t()


@pytest.fixture(scope="module")
def chain() -> Chain:
    return Chain().eval().to("cuda:0")


@pytest.fixture(scope="module")
def package(chain: Chain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("aoti") / "chain.pt2"
    with torch.no_grad():
        program = torch.export.export(chain, (inputs(),))
        compile_to_package("chain", program, path, threads=1, device="cuda:0")
    return path


def inputs(seed: int = 0) -> torch.Tensor:
    return torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(seed)).to("cuda:0")


def check_outputs(model: AotiModel, chain: Chain, x: torch.Tensor) -> None:
    with torch.inference_mode():
        wanted = [one.cpu().numpy() for one in chain(x)]
    for got, want in zip(model.run(), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


def test_outputs_are_those_of_the_module_for_each_input(package: Path, chain: Chain) -> None:
    model = AotiModel(package, device="cuda:0")
    for seed in (1, 2):
        x = inputs(seed)
        model.bind(x)
        check_outputs(model, chain, x)


def test_inputs_are_read_where_they_are_in_every_call(package: Path, chain: Chain) -> None:
    model, x = AotiModel(package, device="cuda:0"), inputs(1)
    model.bind(x)
    model.run()
    x.copy_(inputs(2))
    torch.cuda.synchronize()
    take(model.target)
    check_outputs(model, chain, x)


def test_work_lies_on_the_stream_that_is_given(package: Path, chain: Chain) -> None:
    with on_new_stream() as stream:
        model, x = AotiModel(package, device="cuda:0", stream=stream), inputs(3)
        model.bind(x)
        check_outputs(model, chain, x)
        samples = take(model.target)
    assert 0 < median(samples, "gpu") < median(samples, "latency")


def test_submit_returns_before_the_work_is_done(package: Path) -> None:
    model = AotiModel(package, device="cuda:0")
    model.bind(inputs())
    model.run()
    assert timers.measure(model, duration=0.01, max_duration=0.2).columns.keys() == {"latency", "submit", "gpu"}
    target = model.target
    assert target.probe_asynchrony() == "proved"  # type: ignore[attr-defined]


def test_cold_launches_are_held_back(package: Path) -> None:
    model = AotiModel(package, device="cuda:0")
    model.bind(inputs())
    model.run()
    samples = take(model.target, 20, "cold")
    assert model.target.gated  # type: ignore[attr-defined]
    assert len(samples) == 20
    assert samples.column("gpu").min() > 0


@pytest.mark.parametrize("streams", [1, 3])
def test_a_full_queue_leaves_no_memory_behind_and_wrong_outputs_nowhere(
    package: Path, chain: Chain, streams: int
) -> None:
    """Outputs are freed while their runs are queued, and what is allocated next may be the same memory."""
    models = [AotiModel(package, device="cuda:0") for _ in range(streams)]
    tensors = [inputs(seed) for seed in range(streams)]
    for model, x in zip(models, tensors, strict=True):
        model.bind(x)
        model.run()
    target = models[0].target if streams == 1 else several_streams(models)
    up_to_speed()
    take(target, 500, "throughput")
    before = torch.cuda.memory_allocated(0), torch.cuda.memory_reserved(0)
    samples = take(target, 2_000, "throughput")
    assert len(samples) == 2_000
    assert (torch.cuda.memory_allocated(0), torch.cuda.memory_reserved(0)) == before
    for model, x in zip(models, tensors, strict=True):
        check_outputs(model, chain, x)


def test_a_call_copies_the_input_in_and_the_outputs_out(package: Path, chain: Chain) -> None:
    model, x = AotiModel(package, device="cuda:0", include_transfers=True), inputs(4)
    kept = x.clone()
    model.bind(x)
    model.run()
    x.zero_()  # what was bound comes back with the copies
    torch.cuda.synchronize()
    samples = take(model.target)
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    assert all(median(samples, name) > 0 for name in ("gpu", "h2d", "d2h"))
    check_outputs(model, chain, kept)
    assert torch.equal(x, kept)
