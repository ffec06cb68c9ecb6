# SPDX-License-Identifier: Apache-2.0
"""Copies of inputs and outputs with every call, through pinned memory."""

from __future__ import annotations

import pytest
import torch
from gpu_torch import capture, median, on_new_stream, take

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.timing.cuda import as_stream

FLOATS = 4 << 20


def copy_of(device: torch.Tensor, host: torch.Tensor) -> tuple[int, int, int]:
    return device.data_ptr(), host.data_ptr(), host.numel() * host.element_size()


def test_a_call_copies_the_input_in_and_the_output_out() -> None:
    with on_new_stream() as stream:
        host_in, host_out = (torch.zeros(FLOATS, pin_memory=True) for _ in range(2))
        x, y = (torch.zeros(FLOATS, device="cuda:0") for _ in range(2))
        graph = capture(lambda: torch.mul(x, 3.0, out=y), stream)
        lane = _core.GraphLane(
            graph.raw_cuda_graph_exec(), as_stream(stream), [copy_of(x, host_in)], [copy_of(y, host_out)]
        )
        target = _core.GraphTarget([lane], _core.StreamPlan(include_transfers=True), (graph, x, y))
        assert target.quantities("latency") == ["latency", "submit", "gpu", "h2d", "d2h"]
        for value in (2.0, 7.0):
            host_in.fill_(value)
            _core.run_batch(target, _core.Samples(), 1)
            assert torch.equal(host_out, torch.full((FLOATS,), 3 * value))
        samples = take(target, 30)
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    parts = median(samples, "gpu") + median(samples, "h2d") + median(samples, "d2h")
    assert all(median(samples, name) > 0 for name in ("gpu", "h2d", "d2h"))
    assert median(samples, "latency") > 0.95 * parts


def test_a_callable_without_copies_is_refused_where_they_are_asked_for() -> None:
    with on_new_stream() as stream:
        lane = _core.CallableLane(lambda: None, as_stream(stream))
        with pytest.raises(UsageError, match="h2d and d2h"):
            _core.StreamCallableTarget([lane], _core.StreamPlan(include_transfers=True))


def test_a_callable_brings_copies_of_its_own() -> None:
    with on_new_stream() as stream:
        host_in, host_out = (torch.zeros(FLOATS, pin_memory=True) for _ in range(2))
        x, y = (torch.zeros(FLOATS, device="cuda:0") for _ in range(2))
        host_in.fill_(4.0)
        lane = _core.CallableLane(
            lambda: torch.mul(x, 3.0, out=y),
            as_stream(stream),
            lambda: x.copy_(host_in, non_blocking=True),
            lambda: host_out.copy_(y, non_blocking=True),
        )
        target = _core.StreamCallableTarget([lane], _core.StreamPlan(include_transfers=True))
        samples = take(target, 20)
        assert float(host_out[0]) == 12
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
