# SPDX-License-Identifier: Apache-2.0
"""Measures while the machine does nothing else, or says that it did.

What other programs take is all processors' busy time less this process's own, and what the hypervisor gave to others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.units import format_percent

MOST_OTHER_LOAD = 0.05
PATIENCE_S = 15.0
_PAUSE_S = 0.25

Value = TypeVar("Value")


class Counted(Protocol):
    """What of `_core.Activity` is looked at."""

    @property
    def wall_ns(self) -> int: ...
    @property
    def user_cpu_ns(self) -> int: ...
    @property
    def system_cpu_ns(self) -> int: ...
    @property
    def steal_ns(self) -> int | None: ...
    @property
    def machine_busy_ns(self) -> int | None: ...


def other_load(activity: Counted, cpus: int) -> float | None:
    """Of the time of `cpus` processors, the share that other programs and virtual machines took.

    None where the system does not tell. The kernel counts in steps of 10 ms a processor: over less than a second or
    so this says little.
    """
    if activity.machine_busy_ns is None or activity.wall_ns <= 0:
        return None
    others_ns = max(0, activity.machine_busy_ns - activity.user_cpu_ns - activity.system_cpu_ns)
    return (others_ns + (activity.steal_ns or 0)) / (activity.wall_ns * cpus)


class Quiet:
    """Repeats what was disturbed, for `patience_s` in all.

    `highest` is the largest share of other load in anything that counted; None while that is not known. `snapshot`,
    `clock` and `sleep` are exchanged by tests.
    """

    def __init__(
        self,
        cpus: int,
        *,
        patience_s: float = PATIENCE_S,
        snapshot: Callable[[], _core.Activity] = _core.take_activity_snapshot,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cpus = cpus
        self._patience_s = patience_s
        self._snapshot, self._clock, self._sleep = snapshot, clock, sleep
        self.highest: float | None = None

    def measured(self, what: str, measure: Callable[[], Value]) -> Value:
        """What `measure` returns of a time in which nothing else took more than 5% of the processors.

        Raises:
            MeasurementError: there was no such time.
        """
        while True:
            began_s, begin = self._clock(), self._snapshot()
            value = measure()
            load = other_load(self._snapshot() - begin, self._cpus)
            if load is None or load <= MOST_OTHER_LOAD:
                self.highest = max((known for known in (self.highest, load) if known is not None), default=None)
                return value
            self._patience_s -= self._clock() - began_s
            if self._patience_s <= 0:
                raise MeasurementError(
                    f"The machine is busy: while {what} was measured, other programs or virtual machines took "
                    f"{format_percent(load)} of the processors' time, and {format_percent(MOST_OTHER_LOAD)} is the "
                    "most that a ceiling stands. End what else runs (top shows it), or come back later."
                )
            self._sleep(_PAUSE_S)
