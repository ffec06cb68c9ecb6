# SPDX-License-Identifier: Apache-2.0
"""The measurement itself, in tiny windows: what it gives, refuses, and how it is interrupted. No figure is judged."""

from __future__ import annotations

import os
import platform
import signal
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError, UsageError
from pyperf_infer.results.ceilings_schema import Ceilings, ComputeCeiling, MemoryCeiling
from pyperf_infer.roofline.ceilings import cpu
from pyperf_infer.roofline.ceilings.cpu import Effort, measure_cpu
from pyperf_infer.roofline.ceilings.microarchitectures import Identity, identify
from pyperf_infer.roofline.ceilings.quiet import Quiet
from pyperf_infer.system.cpu import cores

TINY = Effort(window_ns=200_000, compute_runs=2, stream_runs=2, trial_window_ns=100_000, trial_runs=1)
SIZES = {"L1": 16 * 2**10, "L2": 128 * 2**10}
UNKNOWN = identify(Identity(None, None, None, frozenset()))
HASWELL = identify(Identity("GenuineIntel", 6, 60, frozenset({"avx2", "fma"})))


def measured(threads: int = 1, **options: object) -> Ceilings:
    quiet = Quiet()
    quiet.measured = lambda _what, _cpus, measure: measure()  # type: ignore[method-assign]  # whatever else runs
    return measure_cpu(threads, cache_sizes=SIZES, effort=TINY, quiet=quiet, available_bytes=2**26, **options)  # type: ignore[arg-type]


@pytest.fixture
def unknown_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny windows on a busy machine may come out above what a core can do, where that is known."""
    monkeypatch.setattr(cpu, "identify", lambda _: UNKNOWN)


@pytest.mark.usefixtures("unknown_cpu")
def test_everything_is_measured_with_one_thread_and_with_all() -> None:
    threads = min(2, len(cores()))
    said: list[str] = []
    found = measured(threads, progress=said.append)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Ceilings) == found
    counts = sorted({1, threads})
    assert sorted({one.threads for one in found.compute}) == counts
    assert {one.precision for one in found.compute} == {precision for precision, _ in _core.ceiling_kernels()}
    assert {"float32", "float64"} <= {one.precision for one in found.compute}
    assert [(one.threads, one.level, one.pattern) for one in found.memory] == [
        (count, level, pattern)
        for count in counts
        for level in ("L1", "L2", "memory")
        for pattern in ("load", "copy", "triad")
    ]
    assert all(one.median_flops_per_s <= one.flops_per_s and one.runs == 2 for one in found.compute)
    assert all((one.clock_hz or 0) > 0 and one.share_of_theory is None for one in found.compute)
    assert [one.non_temporal for one in found.memory[:9]] == [False] * 7 + [True] * 2
    assert [(level.level, level.capacity_bytes) for level in found.levels] == [
        ("L1", threads * SIZES["L1"]),
        ("L2", threads * SIZES["L2"]),
        ("memory", None),
    ]
    lacking = {sentence.split(":")[0] for sentence in found.not_measured if "no instructions" in sentence}
    assert lacking == {"float64", "float32", "bfloat16", "float16", "int8"} - {one.precision for one in found.compute}
    assert len(said) == 2 * len(counts)
    assert "Sizes given by the user, a thread: L1 16.00 KiB, L2 128.0 KiB." in found.warnings[0]


def test_a_share_of_theory_is_of_all_threads_at_the_runs_own_clock() -> None:
    team = FakeTeam([(150e9, 3.0e9), (180e9, 3.1e9), (90e9, 2.9e9)])
    found = cpu._compute_ceiling(team, HASWELL, "float32", "avx2 fma", TINY)  # type: ignore[arg-type]
    assert found.flops_per_s == 180e9
    assert found.median_flops_per_s == 150e9
    assert found.spread == pytest.approx(90 / 150)
    assert found.clock_hz == 3.1e9
    assert found.share_of_theory == pytest.approx(180e9 / (2 * 32 * 3.1e9))


class FakeTeam:
    def __init__(self, runs: list[tuple[float, float]]) -> None:
        self.runs = runs

    def __len__(self) -> int:
        return 2

    def compute(self, precision: str, instructions: str, window_ns: int, runs: int) -> list[tuple[float, float]]:
        return self.runs


def compute_ceiling(share: float) -> ComputeCeiling:
    return ComputeCeiling(
        precision="float32", threads=1, instructions="avx2 fma", flops_per_s=1e11, median_flops_per_s=1e11, spread=0,
        runs=2, clock_hz=3e9, flops_per_cycle=32, share_of_theory=share, datasheet_flops_per_s=None,
    )  # fmt: skip


def memory_ceiling(level: str, bytes_per_s: float) -> MemoryCeiling:
    return MemoryCeiling(
        level=level, pattern="copy", threads=1, bytes_per_s=bytes_per_s, median_bytes_per_s=bytes_per_s, spread=0,
        runs=2, working_set_bytes=384, non_temporal=False, datasheet_bytes_per_s=None,
    )  # fmt: skip


def test_more_than_a_core_can_do_is_an_error() -> None:
    found = cpu._Found(compute=[compute_ceiling(1.04)])
    assert cpu._checked(found, HASWELL, virtual=False) is HASWELL
    with pytest.raises(MeasurementError, match=r"came to 106% of what 1 thread of Haswell .* cannot be"):
        cpu._checked(cpu._Found(compute=[compute_ceiling(1.06)]), HASWELL, virtual=False)


def test_a_virtual_machines_number_that_the_figures_contradict_costs_the_shares_and_no_rates() -> None:
    found = cpu._Found(compute=[compute_ceiling(0.97), compute_ceiling(1.9)])
    kind = cpu._checked(found, HASWELL, virtual=True)
    assert (kind.name, kind.row) == (None, None)
    assert "came to 190% of what 1 thread of Haswell can do" in kind.source
    assert "the number is not believed" in kind.source
    assert [(one.flops_per_s, one.flops_per_cycle, one.share_of_theory) for one in found.compute] == [
        (1e11, None, None)
    ] * 2
    assert "not its processor's" in found.warnings[0]
    fine = cpu._Found(compute=[compute_ceiling(0.97)])
    assert cpu._checked(fine, HASWELL, virtual=True) is HASWELL
    assert (fine.compute[0].share_of_theory, fine.warnings) == (0.97, [])


def test_a_level_faster_than_the_one_inside_it_is_warned_of() -> None:
    found = cpu._Found(
        memory=[memory_ceiling("L1", 2e11), memory_ceiling("L2", 1e11), memory_ceiling("memory", 1.2e11)]
    )
    cpu._checked(found, UNKNOWN, virtual=False)
    assert len(found.warnings) == 1
    assert "copy with 1 thread is faster in memory (120 GB/s) than in L2 inside it (100 GB/s)" in found.warnings[0]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="a multiplication's latency is known of x86 alone")
def test_two_chains_that_always_disagree_are_warned_of() -> None:
    def warnings(*pairs: tuple[float, float]) -> list[str]:
        found, told = cpu._Found(), iter(pairs * 5)
        cpu._check_clock(SimpleNamespace(clock=lambda _: next(told)), found)  # type: ignore[arg-type]
        return found.warnings

    assert warnings((4e9, 4.01e9)) == []
    assert warnings((4e9, 3.5e9), (3.5e9, 3.5e9)) == []  # the clock changed in between, once
    assert "33% apart (4.00 and 3.00 GHz)" in warnings((4e9, 3e9))[0]


def test_more_threads_than_cores_are_refused() -> None:
    for threads in (0, len(cores()) + 1):
        with pytest.raises(UsageError, match="a core of its own"):
            measure_cpu(threads, cache_sizes=SIZES)


def test_sizes_that_cannot_be_are_refused_before_anything_is_measured() -> None:
    with pytest.raises(UsageError, match="begin with L1"):
        measure_cpu(1, cache_sizes={"L2": 2**20})


def test_ctrl_c_ends_a_measurement_between_two_runs() -> None:
    team = _core.CeilingThreads(cores()[:1])
    began_s = time.monotonic()
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        team.compute("float32", next(name for kind, name in _core.ceiling_kernels() if kind == "float32"), 10**6, 10**6)
    assert time.monotonic() - began_s < 60  # of 1,000 s
    team.allocate(2**20)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        team.stream("triad", 2**20, True, 10**6, 10**6)
    assert len(team.compute("float64", _core.ceiling_kernels()[0][1], 10**5, 2)) == 2  # it can go on


def test_ctrl_c_ends_the_filling_of_memory() -> None:
    team = _core.CeilingThreads(cores()[:1])
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        team.allocate(2**30)
    with pytest.raises(UsageError, match="need memory first"):
        team.stream("load", 4096, False, 10**5, 1)


def test_other_threads_of_python_run_meanwhile() -> None:
    team = _core.CeilingThreads(cores()[:1])
    turns: list[None] = []
    over = threading.Event()

    def count() -> None:
        while not over.wait(0.001):
            turns.append(None)

    other = threading.Thread(target=count)
    other.start()
    try:
        team.compute("float64", _core.ceiling_kernels()[0][1], 5_000_000, 20)
    finally:
        over.set()
        other.join()
    assert len(turns) > 1


def test_wrong_names_are_refused_in_sentences() -> None:
    team = _core.CeilingThreads(cores()[:1])
    assert len(team) == 1
    with pytest.raises(UsageError, match="no kernel for float32 by magic"):
        team.compute("float32", "magic", 10**5, 1)
    with pytest.raises(UsageError, match="need memory first"):
        team.stream("load", 4096, False, 10**5, 1)
    team.allocate(8192)
    with pytest.raises(UsageError, match="no pattern add"):
        team.stream("add", 4096, False, 10**5, 1)
    with pytest.raises(UsageError, match="no processor"):
        _core.CeilingThreads([])


def test_the_clock_is_told_by_two_chains() -> None:
    assert all(hz > 0 for hz in _core.CeilingThreads(cores()[:1]).clock(100_000))
    assert _core.stream_instructions() in {"avx512", "avx2", "neon", "portable"}
