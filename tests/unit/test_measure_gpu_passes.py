# SPDX-License-Identifier: Apache-2.0
"""What a run on a GPU does beside timing: GPU-busy passes at its end, the check of integrity. Neither harms a row."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from fake_backends import FakeBackend, executed
from fake_cuda import FakeCuda
from runs_on_fake_gpu import MS, graph_of, options, run_of

from pyperf_infer.backends import busy as profiler
from pyperf_infer.backends.busy import Busy
from pyperf_infer.measure import alone, integrity
from pyperf_infer.measure import run as module
from pyperf_infer.roofline.least import LeastBytes

BOTH = ("torch-cudagraph", "onnxruntime-cudagraph")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as fake:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(fake.path))
        yield fake
        gc.collect()  # what a failure's traceback holds of the driver goes before the driver does


@pytest.fixture
def order(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened: "alone" and "interleaved" are timed, "busy" is the profiler, which finds 0.5 ms."""
    happened: list[str] = []

    def gpu_busy(run_calls: Callable[[int], object], calls: int, *, device: int) -> Busy:
        happened.append("busy")
        run_calls(calls)
        return Busy(0.5, 1.0)

    for name, function in (("alone", "time_alone"), ("interleaved", "time_interleaved")):
        real = getattr(module, function)

        def spy(*args: Any, name: str = name, real: Any = real) -> Any:
            happened.append(name)
            return real(*args)

        monkeypatch.setattr(module, function, spy)
    monkeypatch.setattr(profiler, "gpu_busy", gpu_busy)
    return happened


def backends_on(fake: FakeCuda, **more: Any) -> list[FakeBackend]:
    return [FakeBackend(name, make_target=graph_of(fake, MS, options()), **more) for name in BOTH]


def run_both(monkeypatch: pytest.MonkeyPatch, *backends: FakeBackend, **plan: Any) -> Any:
    return executed(monkeypatch, *backends, options=options(), poll_gpu=False, **plan)


def test_nothing_is_timed_after_the_profiler_has_run(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, order: list[str]
) -> None:
    backends = backends_on(fake)
    job = run_both(monkeypatch, *backends, batch_sizes=(1, 2))
    assert order == ["alone", "alone", "interleaved"] * 2 + ["busy"] * 4
    for row in job.results:
        assert row.summary.gpu_busy_ms == 0.5
        assert row.summary.gpu_busy_method.endswith("30 calls one after the other on one stream (mode latency)")
    assert [one.prepared for one in backends] == [one.closed for one in backends] == [4, 4]
    assert "GPU-busy pass" in [one.name for one in job.document("complete").phases]


def test_rows_of_a_model_that_others_follow_say_why_the_profiler_was_kept_away(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, order: list[str]
) -> None:
    job = run_both(monkeypatch, backends_on(fake)[0], models=("m", "n"))
    assert order == ["alone", "alone", "busy"]
    first, last = (row.summary for row in job.results)
    assert first.gpu_busy_ms is None
    assert first.gpu_busy_method == (
        "not measured: other models are timed after it in this process, which the profiler may slow down; run it alone"
    )
    assert last.gpu_busy_ms == 0.5


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError])
@pytest.mark.parametrize("moment", ["profiling", "preparing"])
def test_a_pass_that_fails_leaves_the_row_as_it_was(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, order: list[str], kind: type[Exception], moment: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise kind("no CUPTI\nof it")

    (backend, _) = backends_on(fake)
    if moment == "profiling":
        monkeypatch.setattr(profiler, "gpu_busy", fail)
    else:
        backend.on_prepare = lambda _: fail() if backend.prepared else None
    job = run_both(monkeypatch, backend, batch_sizes=(4,))
    (row,) = job.results
    assert row.error is None
    assert row.subject.batch_size == 4
    assert row.summary.latency is not None
    assert (row.summary.gpu_busy_ms, row.summary.gpu_busy_method) == (None, "not measured: no CUPTI")
    assert job.exit_code == 0
    assert backend.prepared == backend.closed


def test_ctrl_c_in_a_pass_keeps_every_row(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, order: list[str]) -> None:
    found = [Busy(0.5, 1.0)]

    def interrupted(*_: object, **__: object) -> Busy:
        if not found:
            raise KeyboardInterrupt
        return found.pop()

    monkeypatch.setattr(profiler, "gpu_busy", interrupted)
    backends = backends_on(fake)
    job = run_both(monkeypatch, *backends, raises=KeyboardInterrupt)
    first, second = (row.summary for row in job.results)
    assert (first.gpu_busy_ms, second.gpu_busy_ms) == (0.5, None)
    assert (second.gpu_busy_method or "").startswith("not measured: the run ended before its pass")
    assert len(job.document("interrupted").comparisons) == 1
    assert [one.prepared for one in backends] == [one.closed for one in backends]


def test_with_a_profile_range_the_profiler_is_left_to_nsight(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, order: list[str]
) -> None:
    monkeypatch.setattr(alone, "profile_range", lambda name, enabled: nullcontext())
    (row,) = run_both(monkeypatch, backends_on(fake)[0], profile_range=True).results
    assert order == ["alone"]
    assert row.summary.gpu_busy_method == "not measured: --profile-range leaves the profiler to Nsight"


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError])
def test_a_check_of_integrity_that_fails_leaves_the_row_as_it_was(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, kind: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise kind("odd\nmore")

    monkeypatch.setattr(integrity, "peaks_of", fail)
    job = run_of(monkeypatch, fake, batch_sizes=(4,))
    (row,) = job.results
    assert row.error is None
    assert row.subject.batch_size == 4
    assert row.integrity is not None
    assert row.integrity.status == "not checked"
    assert row.integrity.reason == f"the check failed: {kind.__name__}: odd"
    assert job.exit_code == 0


def test_a_period_on_one_stream_is_held_against_what_a_request_must_move(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    """On several streams requests share the device, and none has a time of its own."""
    work = LeastBytes(weights=10**15, inputs=0, outputs=0), None
    monkeypatch.setattr(integrity, "_least_work", lambda *_: work)
    job = run_of(monkeypatch, fake, mode="throughput")
    (row,) = job.results
    assert row.integrity is not None
    assert row.integrity.status == "impossible"
    assert row.integrity.measured_ms == pytest.approx(1.001, rel=0.005)
    assert (row.integrity.reason or "").startswith("the median period, 1.001 ms, is shorter than the ")
    assert job.exit_code == 1
    (row,) = run_of(monkeypatch, fake, mode="throughput", asked=options(streams=2)).results
    assert row.integrity is not None
    assert row.integrity.status == "not checked"
