# SPDX-License-Identifier: Apache-2.0
"""Figures of a row on a GPU: energy a request, the window they are of, launch-bound, clocks, and which GPU it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_backends import FakeBackend, executed
from fake_cuda import FakeCuda
from runs_on_fake_gpu import MS, graph_of, options, run_of

from pyperf_infer import _core, timers
from pyperf_infer.errors import UsageError
from pyperf_infer.measure import alone
from pyperf_infer.measure import gpu as module
from pyperf_infer.measure.entry import failed_result, unloaded_subject
from pyperf_infer.measure.gpu import GpuSide, launch_bound
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.results.schema import Gpu, GpuMethod
from pyperf_infer.system.gpu_reader import Reading
from pyperf_infer.timing import measurement
from pyperf_infer.timing.samples import Samples

S = 1_000_000_000


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as fake:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(fake.path))
        yield fake
        gc.collect()  # what a failure's traceback holds of the driver goes before the driver does


def plan_of(mode: Any, **more: Any) -> RunPlan:
    return RunPlan(models=("m",), backends=(), options=options(**more), mode=mode)


@pytest.mark.parametrize(("mode", "streams", "requests"), [("latency", 1, 100), ("throughput", 4, 400)])
def test_energy_is_a_requests_and_not_a_samples(fake: FakeCuda, mode: str, streams: int, requests: int) -> None:
    side, samples = watched(), SimpleNamespace(ns=np.zeros(100), median_ns=1e6)
    found = side.activity(1 * S, 3 * S, samples, plan_of(mode, streams=streams))  # type: ignore[arg-type]
    assert found is not None
    assert found.energy_j == pytest.approx(600)
    assert found.energy_j_per_request == pytest.approx(600 / requests)
    assert found.samples_covered == requests


def test_a_cold_request_has_no_energy_of_its_own(fake: FakeCuda) -> None:
    samples: Any = SimpleNamespace(ns=np.zeros(100), median_ns=1e6)
    found = watched().activity(1 * S, 3 * S, samples, plan_of("cold"))
    assert found is not None
    assert found.energy_j == pytest.approx(600)
    assert found.energy_j_per_request is None
    assert (found.energy_method or "").endswith(
        "; none per request, as flushing the caches and waiting took part of it"
    )
    found = watched().activity(1 * S, 1 * S + 10, samples, plan_of("cold"))  # too short for any energy
    assert found is not None
    assert found.energy_method is None


def watched() -> GpuSide:
    """A GPU that takes 300 W, read every 100 ms."""
    readings = [Reading(monotonic_ns=at, energy_mj=at * 300 // MS) for at in range(0, 4 * S + 1, S // 10)]
    side = GpuSide(0, poll=False)
    side._monitor = SimpleNamespace(readings=lambda *_: readings, interval_ms=100.0, why_not=None)  # type: ignore[assignment]
    return side


@pytest.mark.parametrize("breaks_off", [False, True])
def test_the_window_is_the_loops_and_nothing_that_comes_later(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, breaks_off: bool
) -> None:
    windows: list[tuple[int, int]] = []
    loops: list[tuple[int, int]] = []
    later: list[int] = []
    run_batched, on_gpu = _core.run_batched, alone._on_gpu

    def spy(one: Any, measured: timers.Measurement, around: Any) -> Any:
        loops.append((measured.begin_ns, measured.end_ns))
        return on_gpu(one, measured, around)

    monkeypatch.setattr(alone, "_on_gpu", spy)
    monkeypatch.setattr(GpuSide, "activity", lambda _, begin, end, *__: windows.append((begin, end)))
    monkeypatch.setattr(_core, "run_batched", lambda *args: later.append(_core.now_ns()) or run_batched(*args))
    if breaks_off:
        fake.fail_from("cuGraphLaunch", 700, nth_call=200)
    before_ns = _core.now_ns()
    (row,) = run_of(monkeypatch, fake, duration_ns=1000, iterations=10_000 if breaks_off else 30, warmup_ms=0.0).results
    assert (row.error is not None) is breaks_off
    assert windows == loops
    ((begin_ns, end_ns),) = windows
    assert before_ns < begin_ns < end_ns < _core.now_ns()
    assert bool(later) is not breaks_off  # a short call, so that many between two clock reads come after
    assert all(end_ns <= at for at in later)


def samples_of(**columns: list[int]) -> Samples:
    arrays = {name: np.array(values, dtype=np.int64) for name, values in columns.items()}
    return Samples(
        columns=arrays, stop_reason="converged", looks=1, duration_ns=1, warmup=None, confidence=0.95,
        batched_ns_per_call=None,
    )  # fmt: skip


def test_submit_is_held_against_all_that_it_queues() -> None:
    """Medians of sums are not sums of medians: the copies and the span of one request belong together."""
    method = GpuMethod(
        device_index=0, device_name="x", streams=1, wait="spin", asynchronous="proved", asynchrony_evidence="returned"
    )
    timed = {"latency": [9 * MS] * 3, "submit": [1 * MS] * 3, "gpu": [1 * MS, 1 * MS, 2 * MS]}
    bound, evidence = launch_bound(samples_of(**timed), method)
    assert (bound, evidence) == (True, "submit p50 1 ms is 1.00 of gpu p50 1 ms")
    copied = samples_of(**timed, h2d=[1 * MS, 0, 0], d2h=[1 * MS, 1 * MS, 2 * MS])
    assert launch_bound(copied, method) == (False, "submit p50 1 ms is 0.33 of h2d + gpu + d2h p50 3 ms")


def test_the_clock_is_looked_at_once_and_when_the_gpu_is_warm(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    fake.event_tick(1)
    target = graph_of(fake, MS, options())(None)
    one = timers.Measurement(target, mode="cold", duration=0, max_duration=0.05)
    assert one.event_overhead is None
    assert fake.calls("cuEventRecord") == 0
    modes: list[str] = []
    warm_up = _core.warm_up

    def spy(*args: Any, **more: Any) -> Any:
        assert one.event_overhead is None
        modes.append(more["mode"])
        return warm_up(*args, **more)

    monkeypatch.setattr(measurement._core, "warm_up", spy)
    one.warm_up(budget=0.01)
    overhead = one.event_overhead
    assert overhead is not None
    samples = one.run()
    assert one.event_overhead is overhead
    assert (samples.timer_overhead_ns, samples.clock_step_ns) == (overhead.span_ns, max(1, overhead.step_ns))
    assert modes == ["latency"]


def test_a_warm_up_for_throughput_runs_as_throughput_does(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    modes: list[str] = []
    warm_up = _core.warm_up
    monkeypatch.setattr(_core, "warm_up", lambda *args, **more: modes.append(more["mode"]) or warm_up(*args, **more))
    for mode in ("throughput", "cold", "latency"):
        run_of(monkeypatch, fake, mode=mode)
    assert modes == ["throughput", "latency", "latency"]


def test_a_plan_that_contradicts_itself_is_refused_before_the_gpu_is_asked(fake: FakeCuda) -> None:
    target = graph_of(fake, MS, options())(None)
    with pytest.raises(UsageError):
        timers.Measurement(target, duration=2, max_duration=1)
    assert fake.calls("cuEventRecord") == 0


def test_a_gpu_is_found_by_what_is_behind_its_prefix(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    """NVML calls an instance of a partitioned GPU "MIG-...", and the driver calls it "GPU-..."."""
    uuid = GpuSide(0, poll=False).facts.uuid
    assert uuid.startswith("GPU-")
    others = [Gpu(name="other", uuid="GPU-1", power_limit_w=100), Gpu(name="none", power_limit_w=200)]
    for known in (uuid, uuid.replace("GPU-", "MIG-")):
        listed = [*others, Gpu(name="this", uuid=known, power_limit_w=700)]
        monkeypatch.setattr(module, "describe_gpus", lambda listed=listed: listed)
        assert GpuSide(0, poll=False).described.power_limit_w == 700
    monkeypatch.setattr(module, "describe_gpus", lambda: others)
    assert GpuSide(0, poll=False).described.power_limit_w is None


def test_a_graph_that_fell_back_is_warned_of_and_leaves_the_verdict_open(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    one, other = (FakeBackend(name, make_target=graph_of(fake, MS, options())) for name in ("torch", "torch-cudagraph"))
    other.settings = {"cudagraph": "failed: it synchronises\nmore"}
    job = executed(monkeypatch, one, other, options=options(), poll_gpu=False)
    plain, fallen = ([notice for notice in row.warnings if notice.code == "eager_fallback"] for row in job.results)
    assert plain == []
    assert "failed: it synchronises" in fallen[0].message
    assert "--allow-eager-fallback" in fallen[0].remedy
    (comparison,) = job.document("complete").comparisons
    assert (comparison.verdict, comparison.reason) == ("undecided", "torch-cudagraph ran eagerly and is no graph")


@pytest.mark.parametrize(("backend", "settings"), [("onnxruntime-cudagraph", {"opt_level": "all"}), ("torch", {})])
def test_a_failed_row_of_either_onnx_runtime_says_how_far_it_optimises(backend: str, settings: dict[str, str]) -> None:
    plan = plan_of("latency")
    row = failed_result(unloaded_subject("m", "factory", plan, 1), backend, plan, UsageError("no"), 2)
    assert row.method.settings == settings
