# SPDX-License-Identifier: Apache-2.0
"""Mode cold, its gate, and what the product finds out about who waits inside of submit."""

from __future__ import annotations

import pytest
import torch
from gpu_torch import graph_target, median, on_new_stream, take, up_to_speed

from pyperf_infer import _core, timers
from pyperf_infer.errors import MeasurementError
from pyperf_infer.timing.cuda import as_stream, open_gpu

SHORT_GATE_NS = 50_000_000


def reader() -> tuple[object, int]:
    """Work that reads a quarter of the L2 cache, and how much that is."""
    x = torch.randn(open_gpu(0).facts.l2_bytes // 16, device="cuda:0")
    y = torch.empty_like(x)
    return lambda: torch.add(x, 1.0, out=y), 4 * x.numel()


def test_a_cold_read_takes_longer_than_a_warm_one_and_than_its_bytes_need() -> None:
    with on_new_stream() as stream:
        work, bytes_read = reader()
        target = graph_target(work, stream)  # type: ignore[arg-type]
        up_to_speed()
        warm_ns = median(take(target, 100), "gpu")
        cold_ns = median(take(target, 100, "cold"), "gpu")
    assert cold_ns > warm_ns
    assert cold_ns >= bytes_read / open_gpu(0).facts.memory_bandwidth_bytes_per_s * 1e9


def test_a_graph_is_held_back_and_says_what_was_flushed() -> None:
    with on_new_stream() as stream:
        target = graph_target(reader()[0], stream)  # type: ignore[arg-type]
        assert target.quantities("cold") == ["gpu", "submit"]
        samples = take(target, 30, "cold")
    assert samples.columns == ["gpu", "submit"]
    assert (target.gated, target.gate_reason, target.gate_timeouts) == (True, "", 0)
    assert target.flush_bytes == 2 * open_gpu(0).facts.l2_bytes


def test_the_gate_can_be_left_away() -> None:
    with on_new_stream() as stream:
        target = graph_target(reader()[0], stream, gate=False)  # type: ignore[arg-type]
        samples = take(target, 30, "cold")
    assert len(samples) == 30
    assert (target.gated, target.gate_reason) == (False, "switched off")


def test_a_graph_is_proved_to_be_asynchronous() -> None:
    with on_new_stream() as stream:
        target = graph_target(reader()[0], stream)  # type: ignore[arg-type]
        take(target, 5)
        assert target.asynchrony == "unknown"
        assert target.probe_asynchrony() == "proved"
        assert "while the stream was held back" in target.asynchrony_evidence


def test_a_callable_that_synchronises_is_seen_and_not_held_back() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")

        def call() -> None:
            torch.add(x, 1.0, out=x)
            torch.cuda.synchronize()

        target = timers.on_stream(call, stream)
        take(target, 5)
        assert target.probe_asynchrony() == "sync_inside_submit"
        samples = take(target, 10, "cold")
        assert len(samples) == 10
        assert (target.gated, target.gate_reason) == (False, "submit waits for the work itself")


def test_work_that_begins_to_synchronise_later_ends_in_an_error_and_the_gpu_stays_usable() -> None:
    with on_new_stream() as stream:
        x = torch.zeros(1024, device="cuda:0")
        waits = [False]

        def call() -> None:
            torch.add(x, 1.0, out=x)
            if waits[0]:
                float(x[0])

        plan = _core.StreamPlan(gate_timeout_ns=SHORT_GATE_NS)
        target = _core.StreamCallableTarget([_core.CallableLane(call, as_stream(stream))], plan)
        take(target, 5)
        assert len(take(target, 5, "cold")) == 5
        waits[0] = True
        with pytest.raises(MeasurementError, match="could not be held back"):
            take(target, 5, "cold")
        assert target.gate_timeouts > 0
        waits[0] = False
        assert len(take(target, 5)) == 5
    assert not open_gpu(0).is_lost
