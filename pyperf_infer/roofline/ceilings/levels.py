# SPDX-License-Identifier: Apache-2.0
"""Levels of the memory, and how much is streamed through to measure each.

A working set for a level is to lie in it and not in the one inside: half of what the threads can use of the level, and
at least twice what they can use of the next inner one. Of a cache that other cores share, and perhaps other virtual
machines, only part may be ours: eight times the next inner one is enough there. What is streamed from the memory has a
least size of its own, for sizes of caches that are wrong or not all told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pyperf_infer import _core
from pyperf_infer.errors import InputError
from pyperf_infer.roofline.ceilings.cache_sizes import EXAMPLE
from pyperf_infer.system import cpu
from pyperf_infer.units import format_bytes

MEMORY = "memory"
_OF_A_SHARED_CACHE = 8  # times the level inside it
_OF_THE_INNER = 2
_OF_THE_LAST = 4  # a working set in memory
_LEAST_OF_THE_LAST = 2
LEAST_OF_MEMORY = 2**30  # of all threads together: more than a last cache holds that the system hides
_SHARE_OF_AVAILABLE = 4  # a quarter
# Divides into one, two and three arrays of whole blocks of every kernel: tails would go a double at a time.
GRAIN_BYTES = _core.STREAM_GRAIN_BYTES


class Cache(NamedTuple):
    """A cache as the threads that are to run see it."""

    level: str
    bytes_a_thread: int  # where only these threads use it
    shared: bool  # by more than the hardware threads of one core


class WorkingSet(NamedTuple):
    level: str
    bytes_a_thread: int


class Plan(NamedTuple):
    working_sets: list[WorkingSet]
    not_measured: list[str]
    warnings: list[str]


def caches_of(cpus: Sequence[int], sizes: Mapping[str, int] | None, root: Path = Path("/")) -> list[Cache]:
    """The caches of data that threads on `cpus` use, innermost first; `sizes` in place of what the machine tells.

    Raises:
        InputError: the machine does not tell, and there are no `sizes`.
    """
    if sizes is not None:
        private = {"L1", "L2"}
        return [
            Cache(level, size if level in private else size // len(cpus), level not in private)
            for level, size in sizes.items()
        ]
    if told := told_caches(cpus, root):
        return told
    raise InputError(
        "The sizes of this machine's caches cannot be read (/sys/devices/system/cpu/cpu*/cache), so that no "
        f"working sets can be chosen to measure its bandwidths. Give them: --caches {EXAMPLE}."
    )


def told_caches(cpus: Sequence[int], root: Path = Path("/")) -> list[Cache]:
    """The caches of data that the machine tells of; none where it does not."""
    found = [cache for cache in cpu.caches(root, cpus[0]) if cache.kind != "instruction"]
    parts = cpu.cache_parts(root, cpus[0], cpus)
    if len(found) != len(parts):
        return []
    siblings = len(cpu.siblings_of(cpus[0], root))
    return [
        Cache(f"L{cache.level}", part, (cache.shared_by_cpus or 1) > siblings)
        for cache, part in zip(found, parts, strict=True)
    ]


def given_sizes_note(caches: Sequence[Cache], told: Sequence[Cache]) -> str:
    """What to say of ceilings over `caches` that the user gave, where the machine tells of those in `told`."""

    def listed(these: Sequence[Cache]) -> str:
        return ", ".join(f"{cache.level} {format_bytes(cache.bytes_a_thread)}" for cache in these)

    note = f"Sizes given by the user, a thread: {listed(caches)}."
    given, own = ({cache.level: cache.bytes_a_thread for cache in these} for these in (caches, told))
    if not own or given == own:
        return note
    smaller = any(given.get(level, 0) < size for level, size in own.items())
    return (
        f"{note} The machine tells others: {listed(told)}."
        f"{' Where those are right, what a cache was measured over may lie in one inside it.' * smaller}"
    )


def plan(caches: Sequence[Cache], threads: int, available_bytes: int, told: Sequence[Cache] = ()) -> Plan:
    """Working sets for every level and for the memory, of which a quarter of `available_bytes` may be used.

    `told`: what the machine tells of its caches where `caches` are the user's. The memory is not looked for in those.
    """
    working_sets, not_measured, warnings = [], [], []
    inner, most = 0, available_bytes // _SHARE_OF_AVAILABLE // threads
    for cache in caches:
        size = cache.bytes_a_thread // 2
        if cache.shared and inner:
            size = min(size, _OF_A_SHARED_CACHE * inner)
        least = max(_OF_THE_INNER * inner, GRAIN_BYTES)
        if size >= least > most:
            not_measured.append(
                f"{cache.level} with {_threads(threads)}: {format_bytes(least * threads)} at least have to be streamed "
                f"through, and a quarter of the memory that is available is {format_bytes(most * threads)}."
            )
        elif size < least:
            whole, within = format_bytes(cache.bytes_a_thread), format_bytes(inner)
            not_measured.append(
                f"{cache.level} with {_threads(threads)}: half of the {whole} of it that a thread can use is less than "
                f"twice the {within} of the level inside it, so that nothing would be read from {cache.level} alone."
            )
        else:
            working_sets.append(WorkingSet(cache.level, _whole_grains(min(size, most))))
        inner = max(inner, cache.bytes_a_thread)
    last = max([inner, *(cache.bytes_a_thread for cache in told)])
    floor = -(-LEAST_OF_MEMORY // threads)
    size = _whole_grains(min(max(_OF_THE_LAST * last, floor + GRAIN_BYTES), most))
    if size and (than := _too_little(size, last, floor, threads)):
        warnings.append(
            f"The memory's bandwidth with {_threads(threads)} is measured over {format_bytes(size * threads)}, a "
            f"quarter of what is available, which is less than {than}."
        )
    if size:
        working_sets.append(WorkingSet(MEMORY, size))
    else:
        not_measured.append("The memory: there is none left for a working set.")
    return Plan(working_sets, not_measured, warnings)


def _too_little(size: int, last: int, floor: int, threads: int) -> str | None:
    if size < _LEAST_OF_THE_LAST * last:
        return f"twice the {format_bytes(last * threads)} of the last cache: part of it may come from that"
    if size < floor:
        return f"{format_bytes(LEAST_OF_MEMORY)}: a cache that the system does not tell of may hold part of it"
    return None


def _whole_grains(size: int) -> int:
    return size // GRAIN_BYTES * GRAIN_BYTES


def _threads(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
