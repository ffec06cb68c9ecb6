# SPDX-License-Identifier: Apache-2.0
"""How much is streamed through to measure each level, and what is said where that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.errors import InputError
from pyperf_infer.roofline.ceilings.levels import (
    GRAIN_BYTES,
    LEAST_OF_MEMORY,
    MEMORY,
    Cache,
    caches_of,
    given_sizes_note,
    plan,
    told_caches,
)
from pyperf_infer.system import cpu

KIB, MIB, GIB = 2**10, 2**20, 2**30


def sets(caches: list[Cache], threads: int = 1, available_bytes: int = 100 * GIB) -> dict[str, int]:
    return {one.level: one.bytes_a_thread for one in plan(caches, threads, available_bytes).working_sets}


def machine(root: Path, *, threads_a_core: int = 1, l3: str = "32M") -> Path:
    """Four CPUs with an L1 and an L2 each (or each two), and an L3 for all."""
    for number in range(4):
        folder = root / f"sys/devices/system/cpu/cpu{number}"
        siblings = f"{number}" if threads_a_core == 1 else f"{number // 2 * 2}-{number // 2 * 2 + 1}"
        (folder / "topology").mkdir(parents=True)
        (folder / "topology/core_cpus_list").write_text(siblings)
        caches = [(1, "48K", "Data", siblings), (1, "32K", "Instruction", siblings), (2, "2M", "Unified", siblings)]
        for index, (level, size, kind, shared) in enumerate([*caches, (3, l3, "Unified", "0-3")]):
            cache = folder / f"cache/index{index}"
            cache.mkdir(parents=True)
            for name, text in {"level": level, "size": size, "type": kind, "shared_cpu_list": shared}.items():
                (cache / name).write_text(str(text))
    return root


def test_caches_are_those_that_the_threads_share(tmp_path: Path) -> None:
    root = machine(tmp_path)
    assert caches_of([0], None, root) == [
        Cache("L1", 48 * KIB, False),
        Cache("L2", 2 * MIB, False),
        Cache("L3", 32 * MIB, True),
    ]
    assert caches_of([0, 1, 2, 3], None, root)[2] == Cache("L3", 8 * MIB, True)


def test_hardware_threads_of_one_core_do_not_make_a_cache_a_shared_one(tmp_path: Path) -> None:
    root = machine(tmp_path, threads_a_core=2)
    assert [cache.shared for cache in caches_of([0, 2], None, root)] == [False, False, True]
    assert caches_of([0, 2], None, root)[1].bytes_a_thread == 2 * MIB  # its sibling does not run


def test_each_thread_gets_a_core_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "affinity", lambda: [1, 2, 3])
    assert cpu.cores(machine(tmp_path, threads_a_core=2)) == [1, 2]


def test_without_sizes_the_error_says_how_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read .* --caches L1=48KiB,L2=2MiB,L3=32MiB"):
        caches_of([0], None, tmp_path)


def test_given_sizes_take_the_place_of_the_machines(tmp_path: Path) -> None:
    given_sizes = {"L1": 32 * KIB, "L2": MIB, "L3": 16 * MIB}
    assert [cache.bytes_a_thread for cache in caches_of([0, 1], given_sizes, tmp_path)] == [32 * KIB, MIB, 8 * MIB]


def test_a_working_set_is_half_of_a_cores_own_caches_and_eight_times_the_inner_one_of_a_shared_one() -> None:
    found = sets([Cache("L1", 48 * KIB, False), Cache("L2", 2 * MIB, False), Cache("L3", 480 * MIB, True)])
    assert found["L1"] == 24 * KIB
    assert MIB - GRAIN_BYTES < found["L2"] <= MIB
    assert 16 * MIB - GRAIN_BYTES < found["L3"] <= 16 * MIB
    assert 1920 * MIB - GRAIN_BYTES < found[MEMORY] <= 1920 * MIB


def test_a_level_hardly_larger_than_the_one_inside_it_is_not_measured() -> None:
    caches = [Cache("L1", 32 * KIB, False), Cache("L2", MIB, False), Cache("L3", 1408 * KIB, True)]
    chosen = plan(caches, 8, 100 * GIB)
    assert [one.level for one in chosen.working_sets] == ["L1", "L2", MEMORY]
    assert "L3 with 8 threads: half of the" in chosen.not_measured[0]
    assert not chosen.warnings


def test_little_memory_makes_a_smaller_working_set_and_a_warning() -> None:
    caches = [Cache("L1", 32 * KIB, False), Cache("L2", MIB, False)]
    enough, less, little = (plan(caches, 2, size) for size in (5 * GIB, 32 * MIB, 12 * MIB))
    assert enough.working_sets[-1].bytes_a_thread * 2 >= GIB
    assert not enough.warnings
    assert less.working_sets[-1].bytes_a_thread * 2 * 4 <= 32 * MIB
    assert "less than 1.000 GiB: a cache that the system does not tell of may hold part of it" in less.warnings[0]
    assert little.working_sets[-1].bytes_a_thread <= 12 * MIB // 4 // 2
    assert "less than twice the 2.000 MiB of the last cache" in little.warnings[0]


def test_no_working_set_takes_more_than_a_quarter_of_the_memory() -> None:
    caches = [Cache("L1", 32 * KIB, False), Cache("L2", 4 * GIB, False)]
    assert [one.level for one in plan(caches, 2, MIB).working_sets] == ["L1", "L2", MEMORY]
    assert plan(caches, 2, MIB).working_sets[1].bytes_a_thread <= MIB // 8
    none = plan(caches, 2, 100)
    assert none.working_sets == []
    assert [sentence.split(":")[0] for sentence in none.not_measured] == [
        "L1 with 2 threads",
        "L2 with 2 threads",
        "The memory",
    ]
    assert "a quarter of the memory that is available is 24 B" in none.not_measured[0]


def test_short_sizes_that_a_user_gives_make_no_memory_of_a_cache(tmp_path: Path) -> None:
    root = machine(tmp_path, l3="480M")
    given_l1 = caches_of([0], {"L1": 48 * KIB}, root)
    chosen = plan(given_l1, 1, 100 * GIB, told_caches([0], root))
    assert chosen.working_sets[-1].bytes_a_thread >= 4 * 480 * MIB - GRAIN_BYTES
    hidden = plan(given_l1, 1, 100 * GIB)
    assert hidden.working_sets[-1].bytes_a_thread >= LEAST_OF_MEMORY
    assert not chosen.warnings + hidden.warnings


def test_sizes_of_the_user_are_called_that_beside_those_of_the_machine(tmp_path: Path) -> None:
    told = told_caches([0, 1], machine(tmp_path))
    short = given_sizes_note(caches_of([0, 1], {"L1": 32 * KIB}), told)
    assert short.startswith(
        "Sizes given by the user, a thread: L1 32.00 KiB. The machine tells others: L1 48.00 KiB, L2 "
    )
    assert "may lie in one inside it" in short
    same = {"L1": 48 * KIB, "L2": 2 * MIB, "L3": 32 * MIB}
    assert "tells others" not in given_sizes_note(caches_of([0, 1], same), told)
    assert "inside it" not in given_sizes_note(caches_of([0, 1], {**same, "L3": 64 * MIB}), told)
    assert given_sizes_note(caches_of([0], {"L1": 32 * KIB}), []) == "Sizes given by the user, a thread: L1 32.00 KiB."


@given(
    st.lists(st.tuples(st.integers(1024, 2**30), st.booleans()), min_size=1, max_size=4),
    st.integers(1, 256),
    st.integers(0, 2**40),
)
def test_a_working_set_lies_in_its_level_and_not_in_the_one_inside(
    drawn: list[tuple[int, bool]], threads: int, available_bytes: int
) -> None:
    caches = [Cache(f"L{number}", size, shared) for number, (size, shared) in enumerate(drawn, 1)]
    chosen = plan(caches, threads, available_bytes)
    by_level = {cache.level: cache for cache in caches}
    named = {one.level for one in chosen.working_sets}
    for one in chosen.working_sets:
        assert one.bytes_a_thread % GRAIN_BYTES == 0
        assert one.bytes_a_thread > 0
        if one.level == MEMORY:
            last = max(size for size, _ in drawn)
            assert one.bytes_a_thread * threads <= available_bytes // 4
            least = max(2 * last, LEAST_OF_MEMORY // threads)
            assert one.bytes_a_thread >= least - GRAIN_BYTES or chosen.warnings
            continue
        assert one.bytes_a_thread * threads <= available_bytes // 4
        inner = max((size for size, _ in drawn[: caches.index(by_level[one.level])]), default=0)
        assert 2 * inner - GRAIN_BYTES < one.bytes_a_thread <= by_level[one.level].bytes_a_thread // 2
    for cache in caches:
        assert cache.level in named or any(sentence.startswith(cache.level) for sentence in chosen.not_measured)
