# SPDX-License-Identifier: Apache-2.0
"""One comparison whose answer is known, made through the public interface as a user would."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from pyperf_infer import _core, timers
from pyperf_infer.selftest.records import Trial
from pyperf_infer.selftest.work import slowed, steps_for

if TYPE_CHECKING:
    from pyperf_infer.selftest.plan import Cell
    from pyperf_infer.statistics.compare import Interval
    from pyperf_infer.statistics.holm import Verdict


class Compared(Protocol):
    """What `timers.compare` returns, as far as it is looked at."""

    @property
    def ratio(self) -> float: ...
    @property
    def interval(self) -> Interval | None: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def rounds(self) -> int: ...


Compare = Callable[..., Compared]


def run_trial(
    cell: Cell,
    number: int,
    *,
    step_ns: float,
    trial_s: float,
    margin: float,
    confidence: float,
    seed: int,
    progress: Callable[..., object] | None = None,
    compare: Compare = timers.compare,
) -> Trial:
    """Compares work of `cell.work_s` with as much work, or with a share of `cell.slow_down` more, in `trial_s` seconds.

    Each trial has a seed of its own, drawn from `seed` and what trial it is: the order of the blocks differs.
    """
    steps = steps_for(cell.work_s, step_ns)
    own_seed = _seed_of(cell, number, seed)
    sides: list[Any] = [_core.SpinTarget(steps), _core.SpinTarget(slowed(steps, cell.slow_down))]
    begin, before = perf_counter(), _core.take_activity_snapshot()
    found = compare(
        *sides, max_duration=trial_s, margin=margin, confidence=confidence, seed=own_seed, progress=progress
    )
    activity = _core.take_activity_snapshot() - before
    return Trial(
        kind=cell.kind,
        work_s=cell.work_s,
        slow_down=cell.slow_down,
        neighbour=cell.neighbour,
        number=number,
        seed=own_seed,
        verdict=found.verdict,
        reason=found.reason,
        ratio=found.ratio,
        interval=found.interval,
        rounds=found.rounds,
        wall_s=perf_counter() - begin,
        other_cpus=_other_cpus(activity),
    )


def _other_cpus(activity: _core.Activity) -> float | None:
    """The kernel counts whole ticks, so that little may come out as a bit below nothing."""
    if activity.machine_busy_ns is None or activity.wall_ns <= 0:
        return None
    others_ns = activity.machine_busy_ns - activity.user_cpu_ns - activity.system_cpu_ns
    return max(0.0, others_ns / activity.wall_ns)


def gate_fires(trial: Trial, gate: float) -> bool:
    """Whether `--fail-if-slower` at `gate` would have failed a build: all of the interval lies beyond."""
    return trial.interval is not None and trial.interval[1] < 1 / (1 + gate)


def _seed_of(cell: Cell, number: int, seed: int) -> int:
    """The same for the same trial in every call. Sums of unlike multiples, which no two trials of a plan share."""
    which = round(cell.work_s * 1e9) * 7919 + round(cell.slow_down * 1e4) * 104_729 + cell.neighbour * 1_299_709
    return (seed * 15_485_863 + which * 1_000_003 + number) % 2**63
