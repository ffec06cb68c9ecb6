# SPDX-License-Identifier: Apache-2.0
"""Levels of the memory, and how much is streamed through to measure each.

A working set for a level is to lie in it and not in the one inside: half of what the threads can use of the level, and
at least twice what they can use of the next inner one. Of a cache that other cores share, and perhaps other virtual
machines, only part may be ours: eight times the next inner one is enough there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pyperf_infer.errors import InputError
from pyperf_infer.roofline.ceilings.cache_sizes import EXAMPLE
from pyperf_infer.system import cpu
from pyperf_infer.system.files import parse_cpu_list, read_text
from pyperf_infer.units import format_bytes

MEMORY = "memory"
_OF_A_SHARED_CACHE = 8  # times the level inside it
_OF_THE_INNER = 2
_OF_THE_LAST = 4  # a working set in memory
_LEAST_OF_THE_LAST = 2
_LINE_BYTES = 64
# Divides into one, two and three arrays of whole lines.
GRAIN_BYTES = 6 * _LINE_BYTES


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


def cores(root: Path = Path("/")) -> list[int]:
    """The first CPU of each physical core among those that this process may use."""
    first: dict[str, int] = {}
    for number in cpu.affinity():
        topology = root / "sys/devices/system/cpu" / f"cpu{number}" / "topology"
        names = ("core_cpus_list", "thread_siblings_list")
        siblings = next((text for name in names if (text := read_text(topology / name))), str(number))
        first.setdefault(siblings, number)
    return list(first.values())


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
    found = [cache for cache in cpu.caches(root, cpus[0]) if cache.kind != "instruction"]
    parts = cpu.cache_parts(root, cpus[0], cpus)
    if not found or len(found) != len(parts):
        raise InputError(
            "The sizes of this machine's caches cannot be read (/sys/devices/system/cpu/cpu*/cache), so that no "
            f"working sets can be chosen to measure its bandwidths. Give them: --caches {EXAMPLE}."
        )
    siblings = _hardware_threads(cpus[0], root)
    return [
        Cache(f"L{cache.level}", part, (cache.shared_by_cpus or 1) > siblings)
        for cache, part in zip(found, parts, strict=True)
    ]


def plan(caches: Sequence[Cache], threads: int, available_bytes: int) -> Plan:
    """Working sets for every level and for the memory, of which a quarter of `available_bytes` may be used."""
    working_sets, not_measured, warnings = [], [], []
    inner = 0
    for cache in caches:
        size = cache.bytes_a_thread // 2
        if cache.shared and inner:
            size = min(size, _OF_A_SHARED_CACHE * inner)
        if size < max(_OF_THE_INNER * inner, GRAIN_BYTES):
            whole, within = format_bytes(cache.bytes_a_thread), format_bytes(inner)
            not_measured.append(
                f"{cache.level} with {_threads(threads)}: half of the {whole} of it that a thread can use is less than "
                f"twice the {within} of the level inside it, so that nothing would be read from {cache.level} alone."
            )
        else:
            working_sets.append(WorkingSet(cache.level, _whole_grains(size)))
        inner = max(inner, cache.bytes_a_thread)
    wanted, most = _OF_THE_LAST * inner, available_bytes // 4 // threads
    size = _whole_grains(min(wanted, most))
    if size < _LEAST_OF_THE_LAST * inner:
        warnings.append(
            f"The memory's bandwidth with {_threads(threads)} is measured over {format_bytes(size * threads)}, a "
            f"quarter of what is available, which is less than twice the {format_bytes(inner * threads)} of the last "
            "cache: part of it may come from that."
        )
    if size:
        working_sets.append(WorkingSet(MEMORY, size))
    else:
        not_measured.append("The memory: there is none left for a working set.")
    return Plan(working_sets, not_measured, warnings)


def _whole_grains(size: int) -> int:
    return size // GRAIN_BYTES * GRAIN_BYTES


def _threads(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


def _hardware_threads(number: int, root: Path) -> int:
    topology = root / "sys/devices/system/cpu" / f"cpu{number}" / "topology"
    text = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
    return len(parse_cpu_list(text)) or 1
