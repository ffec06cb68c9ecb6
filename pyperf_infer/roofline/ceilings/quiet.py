# SPDX-License-Identifier: Apache-2.0
"""Measures while the cores in use do nothing else, or says that they did.

What other programs take is the busy time of these cores' CPUs, hardware threads beside the measured ones too, less this
process's own, and what the hypervisor gave to others. What runs elsewhere on a large machine is not looked at.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyperf_infer.errors import MeasurementError
from pyperf_infer.system.cpu import siblings_of
from pyperf_infer.system.files import read_text
from pyperf_infer.units import format_percent

MOST_OTHER_LOAD = 0.05
PATIENCE_S = 15.0
_PAUSE_S = 0.25
# Of a line of /proc/stat, behind its name (proc(5)): time of guests is part of user's and nice's.
_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL = 0, 1, 2, 5, 6, 7

Value = TypeVar("Value")


class Moment(NamedTuple):
    """Counters in seconds: since some moment in the past, busy and stolen ones of some CPUs, own ones of this process
    and of children that have ended. `taken_s` is None where the system does not tell.
    """

    wall_s: float
    taken_s: float | None
    own_s: float


def taken_s(cpus: Iterable[int], root: Path = Path("/")) -> float | None:
    """What `cpus` were busy, and what the hypervisor kept of them, since the system began."""
    wanted = {f"cpu{number}" for number in cpus}
    ticks = 0
    for line in (read_text(root / "proc/stat") or "").splitlines():
        name, *numbers = line.split()
        if name not in wanted:
            continue
        try:
            counts = [int(number) for number in numbers]
        except ValueError:
            return None
        if len(counts) <= _SOFTIRQ:
            return None
        ticks += sum(counts[at] for at in (_USER, _NICE, _SYSTEM, _IRQ, _SOFTIRQ, _STEAL) if at < len(counts))
        wanted.discard(name)
    return None if wanted else ticks / os.sysconf("SC_CLK_TCK")


def own_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def of_their_cores(cpus: Iterable[int], root: Path = Path("/")) -> list[int]:
    """These CPUs and all others that are hardware threads of the same cores."""
    return sorted({sibling for number in cpus for sibling in siblings_of(number, root)})


def other_load(begin: Moment, end: Moment, cpus: int) -> float | None:
    """Of the time of `cpus` processors, the share that other programs and virtual machines took.

    None where the system does not tell. The kernel counts in steps of 10 ms a processor: over less than a second or
    so this says little.
    """
    wall = end.wall_s - begin.wall_s
    if begin.taken_s is None or end.taken_s is None or wall <= 0:
        return None
    return max(0.0, end.taken_s - begin.taken_s - (end.own_s - begin.own_s)) / (wall * cpus)


class Quiet:
    """Repeats what was disturbed, for `patience_s` in all.

    `highest` is the largest share of other load in anything that counted; None while that is not known. `root`,
    `clock`, `own` and `sleep` are exchanged by tests.
    """

    def __init__(
        self,
        *,
        patience_s: float = PATIENCE_S,
        root: Path = Path("/"),
        clock: Callable[[], float] = time.monotonic,
        own: Callable[[], float] = own_s,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience_s = patience_s
        self._root, self._clock, self._own, self._sleep = root, clock, own, sleep
        self.highest: float | None = None

    def load_of(self, cpus: Sequence[int], measure: Callable[[], Value]) -> tuple[Value, float | None]:
        """What `measure`, which runs on `cpus`, returns, and the share of their cores' time that others took."""
        watched = of_their_cores(cpus, self._root)
        begin = self._moment(watched)
        value = measure()
        return value, other_load(begin, self._moment(watched), len(watched))

    def measured(self, what: str, cpus: Sequence[int], measure: Callable[[], Value]) -> Value:
        """What `measure` returns of a time in which nothing else took more than 5% of the cores of `cpus`.

        Raises:
            MeasurementError: there was no such time.
        """
        while True:
            began_s = self._clock()
            value, load = self.load_of(cpus, measure)
            if load is None or load <= MOST_OTHER_LOAD:
                self.highest = max((known for known in (self.highest, load) if known is not None), default=None)
                return value
            self._patience_s -= self._clock() - began_s
            if self._patience_s <= 0:
                raise MeasurementError(
                    f"The machine is busy: while {what} was measured, other programs or virtual machines took "
                    f"{format_percent(load)} of the time of the cores in use, and {format_percent(MOST_OTHER_LOAD)} is "
                    "the most that a ceiling stands. End what else runs (top shows it), or come back later."
                )
            self._sleep(_PAUSE_S)

    def _moment(self, cpus: Sequence[int]) -> Moment:
        return Moment(self._clock(), taken_s(cpus, self._root), self._own())
