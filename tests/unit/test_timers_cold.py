# SPDX-License-Identifier: Apache-2.0
"""Mode cold on the CPU: what the caches are flushed with, and when there is no telling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyperf_infer import _core, timers
from pyperf_infer.errors import BackendError, OutOfMemoryError, UsageError
from pyperf_infer.system import cpu as system_cpu
from pyperf_infer.timing import cold

KB, MB = 1 << 10, 1 << 20
QUICK: dict[str, Any] = {"duration": 0, "max_duration": 5.0, "iterations": 40, "ci": 10.0, "warmup": 0.01}


def machine(root: Path, caches: Mapping[int, Sequence[tuple[int, str, str, str]]]) -> Path:
    """A system whose CPUs see these caches: level, type, size as the kernel writes it, and who shares it."""
    for cpu, seen in caches.items():
        for index, (level, kind, size, shared) in enumerate(seen):
            folder = root / f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
            folder.mkdir(parents=True)
            for name, text in (("level", str(level)), ("type", kind), ("size", size), ("shared_cpu_list", shared)):
                (folder / name).write_text(text + "\n")
    return root


def use(monkeypatch: pytest.MonkeyPatch, root: Path, usable: Sequence[int]) -> None:
    monkeypatch.setattr(system_cpu, "affinity", lambda: list(usable))
    parts = system_cpu.cache_parts
    monkeypatch.setattr(system_cpu, "cache_parts", lambda _, cpu, cpus: parts(root, cpu, cpus))


def shares_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the streams of this machine would be, without making them."""
    asked: list[list[tuple[int, int]]] = []
    monkeypatch.setattr(cold._core, "CacheFlush", asked.append)
    cold.cache_flush()
    return asked[0]


FOUR = {
    cpu: [(1, "Data", "48K", str(cpu)), (1, "Instruction", "64M", str(cpu)), (2, "Unified", "1M", str(cpu)),
          (3, "Unified", "8M", "0-3")]
    for cpu in range(4)
}  # fmt: skip


def test_every_cpu_streams_through_twice_its_part_of_a_shared_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, machine(tmp_path, FOUR), range(4))
    assert shares_of(monkeypatch) == [(cpu, 4 * MB) for cpu in range(4)]


def test_cpus_that_may_not_be_used_take_no_part_of_what_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process on one CPU of four has the whole of their cache to flush."""
    root = machine(tmp_path, FOUR)
    for usable in ([2], [0, 3], [0, 1, 2]):
        with monkeypatch.context() as patch:
            use(patch, root, usable)
            shares = shares_of(patch)
        assert [cpu for cpu, _ in shares] == usable
        assert 16 * MB <= sum(size for _, size in shares) < 16 * MB + 2 * len(usable)


def test_a_private_cache_that_is_larger_than_the_part_sets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {cpu: [(2, "Unified", "2M", str(cpu)), (3, "Unified", "4M", "0-3")] for cpu in range(4)}
    use(monkeypatch, machine(tmp_path, seen), range(4))
    assert shares_of(monkeypatch) == [(cpu, 4 * MB) for cpu in range(4)]


def test_instructions_are_not_flushed_and_an_unknown_sharing_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {3: [(1, "Instruction", "64M", "3"), (1, "Data", "32K", "")]}
    use(monkeypatch, machine(tmp_path, seen), [3])
    assert shares_of(monkeypatch) == [(3, 64 * KB)]


@pytest.mark.parametrize("seen", [[], [(1, "Instruction", "64K", "7")], [(1, "Data", "", "7")]])
def test_unknown_caches_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[tuple[int, str, str, str]]
) -> None:
    use(monkeypatch, machine(tmp_path, {0: [(2, "Unified", "1M", "0")], 7: seen}), [0, 7])
    with pytest.raises(BackendError, match=r"CPU 7's caches cannot be read \(/sys.*mode cold cannot be measured"):
        timers.measure(lambda: None, mode="cold", **QUICK)


def test_no_room_for_the_streams_is_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, machine(tmp_path, {0: [(3, "Unified", "4294967296G", "0")]}), [0])
    with pytest.raises(OutOfMemoryError, match="bytes are needed for processor 0"):
        timers.measure(lambda: None, mode="cold", **QUICK)


def test_a_cold_sample_is_the_latency_of_a_call_and_says_what_was_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, machine(tmp_path, {cpu: [(2, "Unified", "1M", str(cpu))] for cpu in (0, 1)}), [0, 1])
    samples = timers.measure(lambda: None, mode="cold", **QUICK)
    assert list(samples.columns) == ["latency"]
    assert samples.flush_bytes == 4 * MB
    assert len(samples.ns) >= 40
    assert samples.batched_ns_per_call is None  # many calls in a row would find warm caches
    assert timers.measure(lambda: None, mode="latency", **QUICK).flush_bytes is None


def test_nothing_is_flushed_in_other_modes(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_flush(*_: object) -> None:
        raise AssertionError("a flush was made")

    monkeypatch.setattr(cold._core, "CacheFlush", no_flush)
    for mode in ("latency", "throughput"):
        timers.measure(lambda: None, mode=mode, **QUICK)  # type: ignore[arg-type]


def test_native_cold_takes_something_to_flush_with() -> None:
    with pytest.raises(UsageError, match="takes something to flush the caches with"):
        _core.measure(_core.NoopTarget(), _core.StopPlan(), _core.Samples(), mode="cold")


@pytest.mark.parametrize(
    ("shares", "said"),
    [([], "no processor"), ([(-1, KB)], "no such processor"), ([(0, 10)], "at least one cache line")],
)
def test_shares_that_make_no_sense_are_refused(shares: list[tuple[int, int]], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        _core.CacheFlush(shares)
    with pytest.raises(TypeError):
        _core.CacheFlush([(0, -1)])


def test_this_machines_caches_are_known_or_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    usable = system_cpu.affinity()
    known = {cpu: system_cpu.caches(Path("/"), cpu) for cpu in usable}
    if all(known.values()):
        shares = dict(shares_of(monkeypatch))
        assert list(shares) == usable
        for cpu, seen in known.items():
            alone = [one.size_bytes for one in seen if one.shared_by_cpus == 1 and one.kind != "instruction"]
            assert shares[cpu] >= 2 * max(alone, default=1)
    else:
        with pytest.raises(BackendError, match="cannot be read"):
            cold.cache_flush()
