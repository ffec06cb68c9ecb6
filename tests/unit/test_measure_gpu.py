# SPDX-License-Identifier: Apache-2.0
"""A run on a GPU, on the fake driver: what the rows say of how they were timed, and what becomes of faults."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from fake_backends import FakeBackend, executed
from fake_cuda import FakeCuda
from runs_on_fake_gpu import MS, graph_of, options, run_of

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError
from pyperf_infer.timing.cuda import open_gpu

ILLEGAL_ADDRESS = 700


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as fake:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(fake.path))
        yield fake
        gc.collect()  # what a failure's traceback holds of the driver goes before the driver does


def test_a_row_says_how_it_was_timed_on_its_gpu(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    fake.event_tick(1)
    job = run_of(monkeypatch, fake)
    (row,) = job.results
    method, summary = row.method.gpu, row.summary
    assert method is not None
    assert (method.device_index, method.streams, method.wait) == (0, 1, "spin")
    assert method.asynchronous == "proved"
    assert method.event_overhead_ns == 1000  # what the fake's second event takes
    assert (method.gated, method.gate_timeouts, method.flush_bytes) == (None, 0, None)
    assert summary.gpu is not None
    assert summary.submit is not None
    assert summary.latency is not None
    assert summary.gpu.p50_ms == pytest.approx(1.001, abs=0.002)  # work and event; a call of the driver takes 0.2 us
    assert summary.gpu.count == summary.submit.count == summary.latency.count
    assert list(job.samples[0] or {}) == ["latency", "submit", "gpu"]
    assert summary.launch_bound is False
    assert summary.launch_bound_evidence is not None
    assert row.method.clock == "steady_clock"
    assert job.document("complete").environment.gpus[0].index == 0
    assert row.integrity is not None
    assert row.integrity.status == "not checked"  # nothing is known of the model's work
    assert summary.gpu_busy_ms is None
    assert (summary.gpu_busy_method or "").startswith("not measured: ")
    assert job.exit_code == 0


def test_work_that_waits_inside_submit_withholds_what_it_cannot_say(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    fake.sync_inside_launch(True)
    (row,) = run_of(monkeypatch, fake).results
    assert row.method.gpu is not None
    assert row.method.gpu.asynchronous == "sync_inside_submit"
    assert row.summary.launch_bound is None
    assert (row.summary.launch_bound_evidence or "").startswith("withheld")
    (row,) = run_of(monkeypatch, fake, mode="throughput").results
    assert row.error is not None
    assert "waits for the GPU inside of submit" in row.error.message
    (row,) = run_of(monkeypatch, fake, mode="cold").results
    assert row.method.gpu is not None
    assert row.method.gpu.gated is False
    assert row.method.gpu.gate_reason == "submit waits for the work itself"


def test_a_cold_row_has_the_span_alone_and_says_what_was_flushed(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    (row,) = run_of(monkeypatch, fake, mode="cold").results
    assert row.summary.latency is None
    assert row.summary.timing is row.summary.gpu
    assert row.summary.throughput_per_s is None
    assert row.method.clock == "gpu_event"
    assert row.method.gpu is not None
    assert row.method.gpu.gated is True
    assert row.method.gpu.flush_bytes == 2 * open_gpu(0).facts.l2_bytes


def test_throughput_is_items_over_the_periods_of_the_device(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    (row,) = run_of(monkeypatch, fake, mode="throughput", batch_sizes=(4,)).results
    assert row.summary.period is not None
    assert row.summary.throughput_per_s == pytest.approx(4 / 1.001e-3, rel=0.005)
    assert row.integrity is not None
    assert row.integrity.status == "not checked"


def test_asynchrony_is_proved_without_the_gate_too(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    (row,) = run_of(monkeypatch, fake, asked=options(gate=False)).results
    assert fake.calls("cuStreamWaitValue32") == 0
    assert row.method.gpu is not None
    assert row.method.gpu.asynchronous == "proved"
    assert row.summary.launch_bound is False


def test_queued_work_of_which_nothing_is_proved_is_warned_of(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    """Without a gate, work that is shorter than its own launch has always ended when somebody looks."""
    short: dict[str, Any] = {"duration_ns": 1, "asked": options(gate=False)}
    (row,) = run_of(monkeypatch, fake, mode="throughput", **short).results
    assert row.method.gpu is not None
    assert row.method.gpu.asynchronous == "unknown"
    (notice,) = [one for one in row.warnings if one.code == "asynchrony_unknown"]
    assert row.method.gpu.asynchrony_evidence in notice.message
    assert "--no-gate" in notice.remedy
    (row,) = run_of(monkeypatch, fake, **short).results
    assert row.summary.launch_bound is None
    assert "asynchrony_unknown" not in {one.code for one in row.warnings}


def test_polling_without_nvml_says_so_and_costs_no_row(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    asked = options()
    backend = FakeBackend("torch-cudagraph", make_target=graph_of(fake, MS, asked))
    job = executed(monkeypatch, backend, options=asked, duration_s=0.3, max_duration_s=1.0)
    (row,) = job.results
    assert row.gpu_activity is not None
    assert row.gpu_activity.readings == 0
    assert row.gpu_activity.missing
    assert row.summary.gpu is not None


def test_a_gpu_that_is_lost_half_way_keeps_the_row_and_fails_the_rest(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    asked = options()
    backend = FakeBackend("torch-cudagraph", make_target=graph_of(fake, MS, asked))
    other = FakeBackend("onnxruntime-cudagraph", make_target=graph_of(fake, MS, asked))
    fake.fail_from("cuGraphLaunch", ILLEGAL_ADDRESS, nth_call=200)
    job = executed(
        monkeypatch,
        backend,
        other,
        options=asked,
        poll_gpu=False,
        iterations=10_000,
        max_duration_s=30.0,
        warmup_ms=0.0,
    )
    first, second = job.results
    assert first.error is not None
    assert "CUDA_ERROR_ILLEGAL_ADDRESS" in first.error.message
    assert "cuGraphLaunch" in first.error.message
    assert job.samples[0] is not None
    assert 0 < len(job.samples[0]["latency"]) < 200
    assert first.summary.latency is not None
    assert first.method.gpu is not None
    assert first.method.gpu.event_overhead_ns is not None
    assert first.summary.gpu_busy_method == "not measured: measuring broke off with an error"
    assert second.error is not None
    assert job.exit_code == 5


def test_no_such_gpu_is_said_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    backend = FakeBackend("torch", on_prepare=lambda _: pytest.fail("prepared"))
    with pytest.raises(BackendError, match="there is no GPU 7; this process sees 2, numbers 0 to 1"):
        executed(monkeypatch, backend, options=BackendOptions(threads=1, device="cuda:7"))
