# SPDX-License-Identifier: Apache-2.0
"""Measures the ceilings of the processor: multiply-adds from registers, and streams through each level of the memory.

The kernels and the timing are native (csrc/ceilings). Every run lasts some ten milliseconds; the highest counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from pyperf_infer import __version__, _core
from pyperf_infer.errors import MeasurementError, UsageError
from pyperf_infer.results.ceilings_schema import Ceilings, ComputeCeiling, MemoryCeiling, MemoryLevel, Precision
from pyperf_infer.roofline.ceilings.cache_sizes import check_cache_sizes
from pyperf_infer.roofline.ceilings.levels import (
    MEMORY,
    Cache,
    Plan,
    WorkingSet,
    caches_of,
    given_sizes_note,
    plan,
    told_caches,
)
from pyperf_infer.roofline.ceilings.machine import ceilings_machine
from pyperf_infer.roofline.ceilings.microarchitectures import Microarchitecture, identify, read_identity
from pyperf_infer.roofline.ceilings.quiet import Quiet
from pyperf_infer.system import cpu
from pyperf_infer.system.cgroup import cpu_limit_cores
from pyperf_infer.units import format_percent

# No core does more than its execution units allow: a share beyond this is an error, in the clock, in the table or, in a
# virtual machine, in the model number that it was told.
MOST_OF_THEORY = 1.05
_SLACK = 1.05  # of a level against the one inside it
_CLOCK_NS = 500_000
_CLOCK_PAIRS = 5
_CLOCKS_APART = 0.02
_PATTERNS: tuple[Literal["load", "copy", "triad"], ...] = ("load", "copy", "triad")
_PRECISIONS: tuple[Precision, ...] = ("float64", "float32", "bfloat16", "float16", "int8")


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long and how often things run. `trial_runs` choose among the kernels of one precision."""

    window_ns: int = 20_000_000
    compute_runs: int = 15
    stream_runs: int = 6
    trial_window_ns: int = 5_000_000
    trial_runs: int = 3


@dataclass
class _Found:
    compute: list[ComputeCeiling] = field(default_factory=list)
    memory: list[MemoryCeiling] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def measure_cpu(
    threads: int,
    *,
    cache_sizes: Mapping[str, int] | None = None,
    progress: Callable[[str], None] | None = None,
    effort: Effort | None = None,
    quiet: Quiet | None = None,
    available_bytes: int | None = None,
) -> Ceilings:
    """Ceilings with one thread and with `threads`, each on a core of its own; some 13 seconds.

    `cache_sizes`: bytes by level ("L1") in place of what the machine tells. The rest is for tests.

    Raises:
        UsageError: more threads than cores, or sizes that cannot be.
        InputError: the machine does not tell the sizes of its caches, and none are given.
        MeasurementError: the cores are too busy, or a figure lies above what they can do.
    """
    began_s = time.monotonic()
    say, effort = progress or (lambda _: None), effort or Effort()
    sizes = None if cache_sizes is None else check_cache_sizes(dict(cache_sizes))
    cpus = _cpus(threads)
    quiet = quiet or Quiet()
    kind = identify(read_identity())
    found = _Found()
    if (allowed := cpu_limit_cores()) is not None and allowed < threads:
        found.warnings.append(
            f"The control group's quota allows {allowed:g} processors of time for {_counted(threads)}: within a run "
            "they may do more than they could over long."
        )
    # Before anything is measured: that the caches are known, for one thread and for all.
    levels = {count: caches_of(cpus[:count], sizes) for count in (1, threads)}
    if sizes is not None:
        found.warnings.append(given_sizes_note(levels[threads], told_caches(cpus)))
    # All threads first: pages that a hypervisor has to find for the first time are then found by all of them at once.
    for count in sorted(levels, reverse=True):
        _measure(cpus[:count], levels[count], kind, say, effort, quiet, available_bytes, found)
    found.compute.sort(key=lambda ceiling: ceiling.threads)
    found.memory.sort(key=lambda ceiling: ceiling.threads)
    kind = _checked(found, kind, virtual=cpu.virtualisation(Path("/"))[0] is True)
    return _document(threads, levels[threads], kind, found, quiet.highest, time.monotonic() - began_s)


def _measure(
    cpus: Sequence[int],
    caches: Sequence[Cache],
    kind: Microarchitecture,
    say: Callable[[str], None],
    effort: Effort,
    quiet: Quiet,
    available_bytes: int | None,
    found: _Found,
) -> None:
    team, threads = _core.CeilingThreads(list(cpus)), _counted(len(cpus))
    say(f"Measuring what {threads} can compute.")
    found.compute += quiet.measured(f"what {threads} can compute", cpus, lambda: _compute_ceilings(team, kind, effort))
    _check_clock(team, found)
    if available_bytes is None:
        from pyperf_infer.system.memory import available_memory_bytes

        available_bytes = available_memory_bytes()
    chosen = plan(caches, len(cpus), available_bytes, told_caches(cpus))
    found.not_measured += chosen.not_measured
    found.warnings += chosen.warnings
    say(f"Measuring how fast {threads} can read and write.")
    found.memory += _memory_ceilings(team, cpus, chosen, effort, quiet)


def _compute_ceilings(team: _core.CeilingThreads, kind: Microarchitecture, effort: Effort) -> list[ComputeCeiling]:
    ceilings = []
    for precision in _PRECISIONS:
        names = [instructions for known, instructions in _core.ceiling_kernels() if known == precision]
        if names:
            ceilings.append(_compute_ceiling(team, kind, precision, _fastest(team, precision, names, effort), effort))
    return ceilings


def _fastest(team: _core.CeilingThreads, precision: str, names: Sequence[str], effort: Effort) -> str:
    def rate(instructions: str) -> float:
        runs = team.compute(precision, instructions, effort.trial_window_ns, effort.trial_runs)
        return max(flops_per_s for flops_per_s, _ in runs)

    return names[0] if len(names) == 1 else max(names, key=rate)


def _compute_ceiling(
    team: _core.CeilingThreads, kind: Microarchitecture, precision: Precision, instructions: str, effort: Effort
) -> ComputeCeiling:
    runs = team.compute(precision, instructions, effort.window_ns, effort.compute_runs)
    rates, clock_hz = [flops_per_s for flops_per_s, _ in runs], max(hz for _, hz in runs)
    flops_per_cycle = kind.flops_per_cycle(precision, instructions)
    return ComputeCeiling(
        precision=precision,
        threads=len(team),
        instructions=instructions,
        flops_per_s=max(rates),
        median_flops_per_s=statistics.median(rates),
        spread=_spread(rates),
        runs=len(rates),
        clock_hz=clock_hz,
        flops_per_cycle=flops_per_cycle,
        share_of_theory=max(rates) / (len(team) * flops_per_cycle * clock_hz) if flops_per_cycle else None,
        datasheet_flops_per_s=None,
    )


def _check_clock(team: _core.CeilingThreads, found: _Found) -> None:
    """Two chains of other instructions, each with a latency of its own, have to tell the same clock."""
    import platform

    if platform.machine() not in ("x86_64", "AMD64"):
        return  # a multiplication's latency is known of x86 alone
    # The clock may change between the two. A chain with another latency than is thought would be off in every pair.
    pairs = [team.clock(_CLOCK_NS) for _ in range(_CLOCK_PAIRS)]
    additions_hz, multiplications_hz = min(pairs, key=lambda pair: abs(pair[0] / pair[1] - 1))
    apart = abs(additions_hz / multiplications_hz - 1)
    if apart > _CLOCKS_APART:
        found.warnings.append(
            f"Chains of additions and of multiplications tell clocks that are {format_percent(apart)} apart "
            f"({additions_hz / 1e9:.2f} and {multiplications_hz / 1e9:.2f} GHz): shares of theory are that uncertain."
        )


def _memory_ceilings(
    team: _core.CeilingThreads, cpus: Sequence[int], chosen: Plan, effort: Effort, quiet: Quiet
) -> list[MemoryCeiling]:
    if not chosen.working_sets:
        return []
    team.allocate(max(working_set.bytes_a_thread for working_set in chosen.working_sets))
    try:
        return quiet.measured(
            f"how fast {_counted(len(team))} can read and write",
            cpus,
            lambda: [
                _memory_ceiling(team, working_set, pattern, effort)
                for working_set in chosen.working_sets
                for pattern in _PATTERNS
            ],
        )
    finally:
        team.allocate(0)


def _memory_ceiling(
    team: _core.CeilingThreads, working_set: WorkingSet, pattern: Literal["load", "copy", "triad"], effort: Effort
) -> MemoryCeiling:
    non_temporal = working_set.level == MEMORY and pattern != "load"
    rates = team.stream(pattern, working_set.bytes_a_thread, non_temporal, effort.window_ns, effort.stream_runs)
    return MemoryCeiling(
        level=working_set.level,
        pattern=pattern,
        threads=len(team),
        bytes_per_s=max(rates),
        median_bytes_per_s=statistics.median(rates),
        spread=_spread(rates),
        runs=len(rates),
        working_set_bytes=working_set.bytes_a_thread * len(team),
        non_temporal=non_temporal,
        datasheet_bytes_per_s=None,
    )


def _checked(found: _Found, kind: Microarchitecture, *, virtual: bool) -> Microarchitecture:
    """The microarchitecture, as far as it is believed after the measurement; warns of what is odd.

    Raises:
        MeasurementError: a figure cannot be, outside of a virtual machine.
    """
    _warn_of_levels(found)
    most = max(found.compute, key=lambda ceiling: ceiling.share_of_theory or 0.0, default=None)
    if most is None or most.share_of_theory is None or most.share_of_theory <= MOST_OF_THEORY:
        return kind
    said = (
        f"{most.precision} by {most.instructions} came to {format_percent(most.share_of_theory)} of what "
        f"{_counted(most.threads)} of {kind.name} can do, which cannot be"
    )
    if not virtual:
        raise MeasurementError(
            f"{said}: the clock changed, or this is another processor ({kind.source}). Measure again; where it stays, "
            "it is an error of ours."
        )
    found.compute = [
        msgspec.structs.replace(ceiling, flops_per_cycle=None, share_of_theory=None) for ceiling in found.compute
    ]
    found.warnings.append(
        f"{said}: the model number that this virtual machine was given is not its processor's, or the clock changed. "
        "The rates stand; what this processor does in a cycle is not known, so that there are no shares of theory."
    )
    return replace(kind, name=None, source=f"{said}: the number is not believed ({kind.source})", row=None)


def _warn_of_levels(found: _Found) -> None:
    measured = {(one.threads, one.pattern, one.level): one for one in found.memory}
    for (threads, pattern, _), outer in measured.items():
        inner = [one for key, one in measured.items() if key[:2] == (threads, pattern)]
        before = inner[inner.index(outer) - 1] if inner.index(outer) else None
        if before is not None and outer.bytes_per_s > _SLACK * before.bytes_per_s:
            found.warnings.append(
                f"{pattern} with {_counted(threads)} is faster in {outer.level} ({outer.bytes_per_s / 1e9:.4g} GB/s) "
                f"than in {before.level} inside it ({before.bytes_per_s / 1e9:.4g} GB/s): one of the two is off."
            )


def _document(
    threads: int,
    caches: Sequence[Cache],
    kind: Microarchitecture,
    found: _Found,
    other_load: float | None,
    duration_s: float,
) -> Ceilings:
    from pyperf_infer.system.environment import collect

    environment = collect()
    has = {ceiling.precision for ceiling in found.compute}
    lacking = [
        f"{precision}: this processor has no instructions for it, or there is no kernel for those that it has."
        for precision in _PRECISIONS
        if precision not in has
    ]
    if "amx_fp16" in read_identity().features:
        lacking.append("float16 by AMX, which this processor has: there is no kernel for it.")
    levels = [MemoryLevel(level=cache.level, capacity_bytes=cache.bytes_a_thread * threads) for cache in caches]
    return Ceilings(
        device="cpu",
        device_name=environment.cpu_model or environment.architecture,
        machine=ceilings_machine("cpu", environment),
        measured_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        tool_version=__version__,
        threads=threads,
        microarchitecture=kind.name,
        microarchitecture_source=kind.source,
        levels=[*levels, MemoryLevel(level=MEMORY, capacity_bytes=None)],
        compute=found.compute,
        memory=found.memory,
        not_measured=lacking + found.not_measured,
        other_load=other_load,
        warnings=found.warnings,
        duration_s=duration_s,
    )


def _cpus(threads: int) -> list[int]:
    available = cpu.cores()
    if not 1 <= threads <= len(available):
        raise UsageError(
            f"Ceilings with {_counted(threads)} cannot be measured: each has to have a core of its own, and this "
            f"process may use {len(available)}. Ask for 1 to {len(available)} threads."
        )
    return available[:threads]


def _spread(rates: Sequence[float]) -> float:
    return (max(rates) - min(rates)) / statistics.median(rates)


def _counted(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"
