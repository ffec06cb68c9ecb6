# SPDX-License-Identifier: Apache-2.0
"""A busy machine is waited for, and then refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.roofline.ceilings.quiet import Quiet, other_load

SECOND_NS = 10**9


@dataclass(frozen=True)
class FakeActivity:
    wall_ns: int = SECOND_NS
    user_cpu_ns: int = 0
    system_cpu_ns: int = 0
    steal_ns: int | None = 0
    machine_busy_ns: int | None = 0

    def __sub__(self, begin: FakeActivity) -> FakeActivity:
        def less(name: str) -> int | None:
            mine, its = getattr(self, name), getattr(begin, name)
            return None if mine is None or its is None else mine - its

        values: dict[str, Any] = {one.name: less(one.name) for one in fields(self)}
        return FakeActivity(**values)


@dataclass
class Machine:
    """Every block takes a second of one of two CPUs; `others` is what else runs in each, in CPU seconds."""

    others: list[float]
    now_s: float = 0.0
    slept_s: float = 0.0
    busy_s: float = 0.0
    own_s: float = 0.0
    told: bool = True

    def block(self) -> str:
        self.now_s += 1
        self.own_s += 1
        self.busy_s += 1 + (self.others.pop(0) if len(self.others) > 1 else self.others[0])
        return "measured"

    def snapshot(self) -> Any:
        busy_ns = round(self.busy_s * SECOND_NS) if self.told else None
        return FakeActivity(round(self.now_s * SECOND_NS), round(self.own_s * SECOND_NS), 0, 0, busy_ns)

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_s += seconds

    def quiet(self, **options: float) -> Quiet:
        clock: Callable[[], float] = lambda: self.now_s  # noqa: E731
        return Quiet(2, snapshot=self.snapshot, clock=clock, sleep=self.sleep, **options)


def test_other_load_is_what_this_process_did_not_use_of_the_processors() -> None:
    assert other_load(FakeActivity(user_cpu_ns=SECOND_NS // 2, machine_busy_ns=SECOND_NS), 2) == 0.25
    assert other_load(FakeActivity(system_cpu_ns=SECOND_NS, machine_busy_ns=SECOND_NS), 2) == 0
    assert other_load(FakeActivity(steal_ns=SECOND_NS // 5), 2) == pytest.approx(0.1)
    assert other_load(FakeActivity(steal_ns=None, machine_busy_ns=SECOND_NS), 4) == 0.25
    assert other_load(FakeActivity(user_cpu_ns=SECOND_NS, machine_busy_ns=0), 2) == 0  # the counters' own steps
    assert other_load(FakeActivity(machine_busy_ns=None), 2) is None


def test_a_quiet_machine_measures_once_and_tells_the_highest_load() -> None:
    machine = Machine([0.02, 0.08, 0.04])
    quiet = machine.quiet()
    assert [quiet.measured("it", machine.block) for _ in range(3)] == ["measured"] * 3
    assert quiet.highest == pytest.approx(0.04)
    assert machine.now_s == 3


def test_what_was_disturbed_is_measured_again() -> None:
    machine = Machine([1.0, 0.5, 0.0])
    quiet = machine.quiet()
    assert quiet.measured("it", machine.block) == "measured"
    assert quiet.highest == 0
    assert machine.own_s == 3
    assert machine.slept_s > 0


def test_a_machine_that_stays_busy_is_refused_by_how_much() -> None:
    machine = Machine([1.0])
    with pytest.raises(MeasurementError, match=r"busy: while the memory was measured.* took 50% .*and 5% is the most"):
        machine.quiet(patience_s=15).measured("the memory", machine.block)
    assert machine.own_s == 15


def test_patience_is_for_all_blocks_together() -> None:
    machine = Machine([1.0, 1.0, 1.0, 0.0, 1.0])
    quiet = machine.quiet(patience_s=5)
    quiet.measured("it", machine.block)
    with pytest.raises(MeasurementError):
        quiet.measured("it", machine.block)
    assert machine.own_s == 6


def test_a_system_that_does_not_tell_is_no_reason_to_refuse() -> None:
    machine = Machine([1.0], told=False)
    quiet = machine.quiet()
    assert quiet.measured("it", machine.block) == "measured"
    assert quiet.highest is None


def test_the_systems_own_snapshots_are_understood() -> None:
    begin = _core.take_activity_snapshot()
    load = other_load(_core.take_activity_snapshot() - begin, 1)
    assert load is None or load >= 0
