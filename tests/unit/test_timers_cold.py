# SPDX-License-Identifier: Apache-2.0
"""Mode cold on the CPU: what the caches are flushed with, and when there is no telling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pyperf_infer import _core, timers
from pyperf_infer.errors import BackendError, OutOfMemoryError, UsageError
from pyperf_infer.results.schema import Cache
from pyperf_infer.system import cpu as system_cpu
from pyperf_infer.timing import cold

KB, MB = 1 << 10, 1 << 20
QUICK: dict[str, Any] = {"duration": 0, "max_duration": 5.0, "iterations": 40, "ci": 10.0, "warmup": 0.01}


def cache(level: int, size: int, shared: int | None = 1, kind: Any = "unified") -> Cache:
    return Cache(level=level, kind=kind, size_bytes=size, shared_by_cpus=shared)


def machine(monkeypatch: pytest.MonkeyPatch, seen: Mapping[int, Sequence[Cache]]) -> None:
    monkeypatch.setattr(system_cpu, "affinity", lambda: list(seen))
    monkeypatch.setattr(system_cpu, "caches", lambda root, number: list(seen[number]))


def shares_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the streams of this machine would be, without making them."""
    asked: list[list[tuple[int, int]]] = []
    monkeypatch.setattr(cold._core, "CacheFlush", asked.append)
    cold.cache_flush()
    return asked[0]


def test_every_cpu_streams_through_twice_its_part_of_a_shared_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [cache(1, 48 * KB, kind="data"), cache(2, 1 * MB), cache(3, 8 * MB, shared=2)]
    machine(monkeypatch, {0: both, 1: both})
    assert shares_of(monkeypatch) == [(0, 8 * MB), (1, 8 * MB)]


def test_a_private_cache_that_is_larger_than_the_part_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, {cpu: [cache(2, 2 * MB), cache(3, 4 * MB, shared=4)] for cpu in range(4)})
    assert shares_of(monkeypatch) == [(cpu, 4 * MB) for cpu in range(4)]


def test_instructions_are_not_flushed_and_an_unknown_sharing_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, {3: [cache(1, 64 * MB, kind="instruction"), cache(1, 32 * KB, kind="data", shared=None)]})
    assert shares_of(monkeypatch) == [(3, 64 * KB)]


@pytest.mark.parametrize("seen", [[], [cache(1, 64 * KB, kind="instruction")]])
def test_unknown_caches_cannot_be_flushed(monkeypatch: pytest.MonkeyPatch, seen: list[Cache]) -> None:
    machine(monkeypatch, {0: [cache(2, 1 * MB)], 7: seen})
    with pytest.raises(BackendError, match=r"CPU 7's caches cannot be read \(/sys.*mode cold cannot be measured"):
        timers.measure(lambda: None, mode="cold", **QUICK)


def test_no_room_for_the_streams_is_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, {0: [cache(3, 1 << 62)]})
    with pytest.raises(OutOfMemoryError, match="bytes are needed for processor 0"):
        timers.measure(lambda: None, mode="cold", **QUICK)


def test_a_cold_sample_is_the_latency_of_a_call_and_says_what_was_flushed(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, {0: [cache(2, 1 * MB)], 1: [cache(2, 1 * MB)]})
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
    known = {number: system_cpu.caches(Path("/"), number) for number in system_cpu.affinity()}
    if all(known.values()):
        for number, size in shares_of(monkeypatch):
            assert size >= 2 * max((one.size_bytes for one in known[number] if one.shared_by_cpus == 1), default=1)
    else:
        with pytest.raises(BackendError, match="cannot be read"):
            cold.cache_flush()
