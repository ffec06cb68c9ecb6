# SPDX-License-Identifier: Apache-2.0
"""How far two processes of identical code lie apart: from the processes of both sides, or from the machine's floor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.statistics.stored import LEAST_PROCESSES, ratio_of_processes, spread_exceeds_floor
from pyperf_infer.system.floor_file import find_floor, machine_key

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyperf_infer.statistics.floor import Floor
    from pyperf_infer.statistics.holm import Interval
    from pyperf_infer.stored.rows import Pool, Row

# Options that a command to measure again is told without: where results went, how many processes there were, a gate.
_WITH_VALUE = frozenset({"--processes", "--results-file", "--results-format", "--export-samples", "--fail-if-slower"})
_WITHOUT_VALUE = frozenset({"-q", "--quiet"})

Source = Literal["processes", "floor", "processes and floor"]


@dataclass(frozen=True)
class Spread:
    """The interval of a ratio at any confidence and where it comes from; or why there is none.

    `remedy`: what to do where nothing is decided; None where more of the same is all there is.
    """

    interval: Callable[[float], Interval | None]
    source: Source | None
    reason: str | None = None
    remedy: str | None = None


def spread_of(baseline: Pool, contender: Pool) -> Spread:
    """What is known of the spread between the processes of both sides."""
    medians = baseline.medians_ms, contender.medians_ms
    enough = min(map(len, medians)) >= LEAST_PROCESSES
    floor, why_not = _floor(baseline, contender)
    within = _within(baseline), _within(contender)
    if floor is not None and not enough:
        if None in within:
            floor, why_not = None, "A median has no interval of its own to add to this machine's floor."
        elif floor.relative_sd == 0:
            floor, why_not = None, "This machine's floor is 0: its few processes agreed by chance, which is no guide."
        elif spread_exceeds_floor(*medians, floor):
            floor, why_not = None, "These lie further apart than the floor of this machine, which is no guide then."
    interval = ratio_of_processes(
        *medians,
        floor=floor,
        within=sum(one or 0.0 for one in within),
        resolution=max(_resolution(row) for pool in (baseline, contender) for row in pool),
    )
    if enough:
        return Spread(interval, "processes and floor" if floor else "processes")
    if floor is not None:
        return Spread(interval, "floor", remedy=_remedy(baseline, contender))
    return Spread(
        interval,
        None,
        reason=f"{_counts(*map(len, medians))} cannot tell how far runs of identical code lie apart, "
        f"{LEAST_PROCESSES} a side can. {why_not}",
        remedy=_remedy(baseline, contender),
    )


def _counts(baseline: int, contender: int) -> str:
    if baseline == contender:
        return f"{baseline} {'process' if baseline == 1 else 'processes'} a side"
    return f"{baseline} and {contender} processes"


def _floor(baseline: Pool, contender: Pool) -> tuple[Floor | None, str]:
    """That of the machine that measured both, or why there is none."""
    machines = {machine_key(row.environment) for pool in (baseline, contender) for row in pool}
    if len(machines) > 1:
        return None, "The sides were measured on unlike machines, and a machine's floor covers it alone."
    found = find_floor(machines.pop())
    return found.floor, found.reason or ""


def _remedy(baseline: Pool, contender: Pool) -> str:
    short = [pool for pool in (baseline, contender) if len(pool.medians_ms) < LEAST_PROCESSES]
    whose = "both sides" if len(short) == 2 else "that side"
    if any(row.result.side is not None for pool in short for row in pool):  # --vs, which takes one process
        return f"Measure {whose} in fresh processes: without --vs, each side in a run of its own with --processes 5."
    commands = dict.fromkeys(_command_with_processes(pool.rows[0].file.command) for pool in short)
    return f"Measure {whose} in fresh processes: {' and '.join(commands)}."


def _command_with_processes(command: Sequence[str]) -> str:
    """The command that measured, its output left out."""
    import shlex

    words: list[str] = []
    value_of_dropped = False
    for one in command:
        if value_of_dropped:
            value_of_dropped = False
        elif one in _WITH_VALUE:
            value_of_dropped = True
        elif one not in _WITHOUT_VALUE and one.partition("=")[0] not in _WITH_VALUE:
            words.append(one)
    return f"{shlex.join(words)} --processes {LEAST_PROCESSES}"


def _within(pool: Pool) -> float | None:
    """The variance of the mean log median that iterations leave. None where a median has no interval."""
    variances = [_variance(interval, _confidence(row)) for row in pool for interval in _intervals(row)]
    known = [one for one in variances if one is not None]
    return sum(known) / len(known) ** 2 if len(known) == len(variances) else None


def _intervals(row: Row) -> list[tuple[float, float] | None]:
    processes = row.result.processes
    if processes and processes.runs:
        return [one.p50_interval_ms for one in processes.runs]
    return [row.block.p50_interval_ms]


def _variance(interval: tuple[float, float] | None, confidence: float) -> float | None:
    """Of a log median: half its interval is as many standard errors as the confidence has."""
    level = 0.5 + confidence / 2
    if interval is None or interval[0] <= 0 or not 0.5 < level < 1:
        return None
    half = (math.log(interval[1]) - math.log(interval[0])) / 2
    return (half / NormalDist().inv_cdf(level)) ** 2


def _confidence(row: Row) -> float:
    stop = row.result.method.stop
    return stop.confidence if stop else CONFIDENCE


def _resolution(row: Row) -> float:
    """The clock's step over the time."""
    return (row.result.method.clock_step_ns or 0) / 1e6 / row.block.p50_ms
