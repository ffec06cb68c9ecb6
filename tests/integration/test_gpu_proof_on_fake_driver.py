# SPDX-License-Identifier: Apache-2.0
"""Whole rows of the GPU proof on the fake driver: what they ask of the product is there, and their verdicts follow what
the device does. Only what torch and NVRTC put on a GPU is made up.
"""

from __future__ import annotations

import functools
import gc
from argparse import Namespace
from collections.abc import Iterator

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from fake_cuda import FakeCuda
from fake_gpu_rows import FakeGpu, FakeSpinner, FakeWork, install
from gpu import aa, beside, cold, device, host_cost, polling, replay_period, spin_kernel
from gpu.common import NotYet, Row

from pyperf_infer import _core
from pyperf_infer.system.gpu_monitor import GpuMonitor

CORE = Namespace(core=True, device=0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as loaded:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(loaded.path))
        yield loaded
        # What still holds a context of the driver goes before the driver forgets it.
        monkeypatch.undo()
        gc.collect()


def failures(row: Row) -> list[str]:
    return [figure.name for figure in row.figures if figure.status == "fail"]


@pytest.mark.parametrize(("mode", "columns"), [("latency", 3), ("throughput", 1), ("cold", 2)])
def test_samples_are_taken_in_every_mode(fake: FakeCuda, mode: str, columns: int) -> None:
    gpu = FakeGpu(fake)
    target = gpu.graph_target(gpu.capture(FakeWork(gpu, 20_000)))
    samples = device.take(target, 30, mode)
    assert len(samples) == 30
    assert len(samples.columns) == columns
    if mode != "throughput":
        assert min(device.column_us(samples, "gpu")) >= 21.5  # the work and what a launch takes


def spin_row(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, *, profiler_adds_ns: float = 1_100) -> Row:
    install(monkeypatch, fake, spin_kernel)
    spins_ns = [1000.0 * spin for spin in (0, *spin_kernel.SPINS_US)]
    seen = [spin + (profiler_adds_ns if spin else 1_100) for spin in spins_ns for _ in range(spin_kernel.RUNS)]
    monkeypatch.setattr(
        spin_kernel, "profiled_ns", lambda work, kernel, stream: (work(), stream.synchronize(), seen)[2]
    )
    row = Row()
    spin_kernel.run(row, CORE)
    return row


def test_the_spin_row_passes_where_spans_are_the_devices_time(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    row = spin_row(monkeypatch, fake)
    assert failures(row) == []
    assert [figure.status for figure in row.figures].count("pass") == 2 * 2 * len(spin_kernel.SPINS_US)


def test_the_spin_row_fails_where_the_devices_clock_disagrees(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    monkeypatch.setattr(FakeSpinner, "error_ns", 1_500)
    wrong = failures(spin_row(monkeypatch, fake))
    assert len(wrong) == 2 * 2  # at 5 and 20 us, in both modes; 2% of the longer ones is more
    assert all("device's clock" in name for name in wrong)


def test_the_spin_row_fails_where_the_profiler_disagrees(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    wrong = failures(spin_row(monkeypatch, fake, profiler_adds_ns=2_600))
    assert len(wrong) == 2 * 2
    assert all("profiler" in name for name in wrong)


def test_the_row_of_replays_compares_two_periods(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    fake.call_cost(20)  # so that the device is never waited for
    install(monkeypatch, fake, replay_period)
    monkeypatch.setattr(replay_period, "REPLAYS", 100)
    row = Row()
    replay_period.run(row, CORE)
    assert len(row.figures) == 5
    own, apart, period, *_ = row.figures
    assert own.value == pytest.approx(120.0, rel=0.02)
    assert float(period.value or 0) == pytest.approx(121.5, rel=0.05)
    assert apart.name.startswith("period of replays")


def test_the_row_of_host_cost_runs_both_sides_on_one_graph(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    install(monkeypatch, fake, device)
    monkeypatch.setattr(host_cost, "Spinner", FakeSpinner)
    monkeypatch.setattr(host_cost, "LIBRARY", str(fake.path))
    monkeypatch.setattr(host_cost, "ROUNDS", 2)
    row = Row()
    host_cost.run(row, CORE)
    assert {figure.name for figure in row.figures} >= {"submit p50 - the launch itself", "the launch itself, in a row"}


def test_the_cold_row_tells_who_waits_and_what_was_held_back(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    gpu = install(monkeypatch, fake, cold)
    monkeypatch.delenv(cold.LIBRARY_VARIABLE, raising=False)
    monkeypatch.setattr(cold, "SAMPLES", 20)
    monkeypatch.setattr(cold, "Reads", lambda gpu, size: FakeWork(gpu, round(1e9 * size / 2e12), bytes_read=size))
    monkeypatch.setattr(cold, "products", lambda gpu: FakeWork(gpu, 100_000))
    row = Row()
    cold.run(row, CORE)
    by_name = {figure.name: figure for figure in row.figures}
    assert by_name["graph: who waits"].value == "proved"
    assert by_name["a callable that calls torch.cuda.synchronize: who waits"].value == "sync_inside_submit"
    assert by_name["graph: held back in mode cold"].status == "pass"
    assert by_name["eager: launches let go by the watchdog"].value == 0
    assert by_name["graph: flushed before each"].value == pytest.approx(2 * gpu.facts.l2_bytes / 1e6)
    assert by_name["ONNX Runtime on its stream: who waits"].status == "not yet"
    # This driver's caches hold nothing, so warm and cold spans are alike; 2 TB/s are below what it says of its memory.
    assert [name for name in failures(row) if "watchdog" in name or "who waits" in name] == []
    assert by_name[f"graph: cold span of {gpu.facts.l2_bytes // 4 / 1e6:.4g} MB"].status == "pass"


def test_the_cold_row_fails_where_a_span_is_too_short_for_its_bytes(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    install(monkeypatch, fake, cold)
    monkeypatch.setattr(cold, "SAMPLES", 20)
    monkeypatch.setattr(cold, "Reads", lambda gpu, size: FakeWork(gpu, 10, bytes_read=size))
    monkeypatch.setattr(cold, "products", lambda gpu: FakeWork(gpu, 100_000))
    row = Row()
    cold.run(row, CORE)
    assert any(name.startswith("graph beyond L2: cold span of") for name in failures(row))


def test_identical_work_is_compared_with_itself(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    install(monkeypatch, fake, aa)
    monkeypatch.setattr(aa, "products", lambda gpu: FakeWork(gpu, 100_000))
    for name, count in (("SHORT_CORE", 2), ("LONG_CORE", 2)):
        monkeypatch.setattr(aa, name, count)
    monkeypatch.setattr(aa, "LONG_S", 1.0)
    row = Row()
    aa.run(row, CORE)
    hows = ("2 comparisons of 0.5 s", "2 comparisons of 1 s")
    assert [figure.name for figure in row.figures] == [
        f"{how}: {what}" for how in hows for what in ("called different", "undecided")
    ]
    assert all(sum(int(part.split()[0]) for part in figure.reason.split(", ")) in (2, 4) for figure in row.figures[::2])


def polling_row(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, reader: str | None) -> Row:
    install(monkeypatch, fake, polling)
    monkeypatch.setattr(polling, "products", lambda gpu: FakeWork(gpu, 100_000))
    monkeypatch.setattr(polling, "ROUNDS_CORE", 7)
    monkeypatch.setattr(polling, "BLOCK_NS", 30_000_000)
    if reader is not None:
        monkeypatch.setattr(polling, "GpuMonitor", functools.partial(GpuMonitor, reader=reader))
    row = Row()
    polling.run(row, CORE)
    return row


def test_polling_is_switched_on_and_off_in_turn(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    row = polling_row(monkeypatch, fake, "fake_gpu_reader:steady")
    assert row.figures[0].name == "p50 with polling on and off apart"
    assert "7 rounds" in row.figures[0].reason
    readings = int(row.lines[0].rsplit(": ", 1)[1].split()[0])
    assert readings >= 7


def test_polling_that_cannot_be_had_is_not_yet(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    with pytest.raises(NotYet, match="cannot be watched"):
        polling_row(monkeypatch, fake, "no_such_module:reader")


def test_the_product_stands_beside_the_other_timers(fake: FakeCuda) -> None:
    gpu = FakeGpu(fake)
    target = gpu.graph_target(gpu.capture(FakeWork(gpu, 50_000)))
    assert isinstance(target, _core.StreamTarget)
    found = dict(beside.by_product(target))
    assert set(found) == {"gpu span", "latency", "cold gpu span", "period"}
    assert found["gpu span"] == pytest.approx(0.0515, rel=0.2)
    assert min(found.values()) > 0


def test_torchs_own_timer_gives_a_median() -> None:
    ((what, ms),) = beside.by_torch(lambda: sum(range(1000)))
    assert what == "median"
    assert 0 < ms < 100
