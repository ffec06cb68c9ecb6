# SPDX-License-Identifier: Apache-2.0
"""Blocks in turn across processes: the order, what counts, when it is enough, and that the lanes may be anywhere."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.overhead.blocks import ONE_CALL, Alone, Block, BlockPlan, Lane, LocalLane
from pyperf_infer.overhead.remote import ChildProcess, RemoteLane
from pyperf_infer.overhead.schedule import MOST_BUDGET_S, Schedule, alternate, ratios_known, run_in_turn, time_for

if TYPE_CHECKING:
    from pyperf_infer.timing.target import Progress

Log = list[tuple[str, BlockPlan]]


class Scripted:
    """A lane whose blocks are told; it runs nothing."""

    def __init__(self, name: str, log: Log, medians: list[int | None]) -> None:
        self._name, self._log, self._medians = name, log, medians

    def alone(self, budget_s: float, ci: float, progress: Progress | None) -> Alone:
        raise AssertionError("not asked for")

    def block(self, plan: BlockPlan) -> Block:
        self._log.append((self._name, plan))
        mine = sum(name == self._name for name, _ in self._log)
        return Block(self._medians[min(mine, len(self._medians)) - 1], 7)


def schedule(budget_s: float = 1000.0, ci: float = 0.01, seed: int = 1) -> Schedule:
    return Schedule.within(budget_s, [1000.0] * 3, ci=ci, confidence=0.95, seed=seed)


def lanes(log: Log, *medians: list[int | None]) -> list[Lane]:
    return [Scripted(name, log, listed) for name, listed in zip("abc", medians, strict=False)]


def test_every_round_has_each_lane_once_in_an_order_that_is_drawn_anew() -> None:
    log: Log = []
    rounds = alternate(lanes(log, [100, 200], [130], [150]), schedule(ci=0.0001))
    assert rounds.stop_reason == "converged"
    count = len(rounds.medians_ns[0])
    assert [len(one) for one in rounds.medians_ns] == [count] * 3
    assert len(log) == 3 * count
    names = [name for name, _ in log]
    orders = ["".join(names[at : at + 3]) for at in range(0, len(names), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)
    assert len(set(orders)) > 1
    assert rounds.medians_ns[0][:2] == (100, 200)
    assert set(rounds.medians_ns[1]) == {130}
    assert rounds.discarded_calls == 7 * len(log)


def test_the_seed_decides_the_order() -> None:
    def order(seed: int) -> list[str]:
        log: Log = []
        alternate(lanes(log, [100], [130], [150]), schedule(seed=seed))
        return [name for name, _ in log]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_blocks_are_as_long_as_planned_with_jitter_and_a_stretch() -> None:
    log: Log = []
    plan = schedule()
    alternate(lanes(log, [100], [130], [150]), plan)
    lengths, jitters = {one.length_ns for _, one in log}, {one.jitter_ns for _, one in log}
    assert plan.block_ns <= min(lengths) < max(lengths) <= 1.25 * plan.block_ns
    assert 0 <= min(jitters) < max(jitters) <= plan.jitter_ns
    assert {one.calls for _, one in log} == {plan.calls}
    assert all(0 < one.budget_ns <= plan.budget_ns for _, one in log)


def test_it_goes_on_until_the_ratios_are_known() -> None:
    log: Log = []
    noisy: list[int | None] = [100, 150] * 6
    calm = alternate(lanes(log, [*noisy, 120], [*noisy, 120]), schedule(ci=0.001))
    assert calm.stop_reason == "converged"
    assert len(calm.medians_ns[0]) == 8  # both move together: their ratio does not
    apart = alternate(lanes(log := [], [*noisy, *[100] * 200], [100] * 300), schedule(ci=0.001))
    assert apart.stop_reason == "converged"
    assert len(apart.medians_ns[0]) > 8


def test_a_round_that_the_budget_ends_does_not_count() -> None:
    log: Log = []
    rounds = alternate(lanes(log, [100] * 4, [130, 130, 130, None]), schedule())
    assert rounds.stop_reason == "max_duration"
    assert rounds.medians_ns == ((100, 100, 100), (130, 130, 130))
    assert rounds.discarded_calls == 7 * 6


def test_no_round_at_all_is_no_error() -> None:
    rounds = alternate(lanes([], [None], [None]), schedule())
    assert rounds.medians_ns == ((), ())


def test_ratios_are_looked_at_on_the_scale_of_logarithms() -> None:
    steady = [(100, 200)] * 8
    assert ratios_known(steady, schedule(ci=0.001))
    assert not ratios_known(steady[:5], schedule(ci=0.5))  # too few rounds for an interval
    assert not ratios_known([(100, 200 + 20 * (index % 5)) for index in range(8)], schedule(ci=0.001))


@pytest.mark.parametrize(
    ("budget_s", "call_ns", "calls"),
    [(20.0, 1e4, 10), (20.0, 1e8, 3), (20.0, 1e10, 1), (0.0, 1e6, 1)],
)
def test_slow_calls_get_shorter_blocks_so_that_there_are_rounds(budget_s: float, call_ns: float, calls: int) -> None:
    plan = Schedule.within(budget_s, [call_ns] * 3, ci=0.01, confidence=0.95, seed=1)
    assert plan.calls == calls


def test_without_a_budget_slow_calls_get_more_time_within_bounds() -> None:
    assert time_for([1e4] * 7) < 1
    assert 20 < time_for([3e7] * 7) < MOST_BUDGET_S
    assert time_for([1e10] * 7) == MOST_BUDGET_S


def test_progress_is_told_between_blocks() -> None:
    told: list[tuple[str, int]] = []
    alternate(
        lanes([], [100], [130]), schedule(), lambda phase, rounds, spent, budget, last: told.append((phase, rounds))
    )
    assert told[:2] == [("interleave", 0)] * 2
    assert told[2:4] == [("interleave", 1)] * 2


def counting(calls: Counter[str], name: str, spin_ns: int = 0) -> LocalLane:
    def call() -> None:
        calls[name] += 1
        until_ns = _core.now_ns() + spin_ns
        while _core.now_ns() < until_ns:
            pass

    return LocalLane(_core.CallableTarget(call))


def test_a_block_of_this_process_calls_as_often_as_it_says() -> None:
    calls: Counter[str] = Counter()
    lane = counting(calls, "a", spin_ns=100_000)
    block = lane.block(BlockPlan(jitter_ns=0, length_ns=0, calls=25, budget_ns=10**10))
    assert block.median_ns is not None
    assert block.median_ns >= 100_000
    assert calls["a"] - block.discarded >= 25
    assert block.discarded >= 3


def test_one_call_is_enough_to_see_that_a_path_fails() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        LocalLane(_core.CallableTarget(fail)).block(ONE_CALL)


def test_lanes_of_this_process_are_left_to_the_native_schedule() -> None:
    calls: Counter[str] = Counter()
    told: list[str] = []
    plan = Schedule.within(0.3, [20_000.0, 40_000.0], ci=0.5, confidence=0.95, seed=1)
    rounds = run_in_turn(
        [counting(calls, "a", 20_000), counting(calls, "b", 40_000)], plan, lambda phase, *_: told.append(phase)
    )
    assert len(rounds.medians_ns[0]) >= 8
    assert min(rounds.medians_ns[0]) >= 20_000
    assert min(rounds.medians_ns[1]) >= 40_000
    assert set(told) <= {"interleave"}


def test_a_lane_of_another_process_takes_its_turn_and_neither_runs_meanwhile(tmp_path: Path) -> None:
    """Each call here and there adds its letter to one file: within a block there is no other letter."""
    file = tmp_path / "calls"
    process = ChildProcess("the test", "hosted_paths:make", json.dumps({"calls": str(file)}))

    def here() -> None:
        with file.open("a") as opened:
            opened.write("H")

    try:
        plan = Schedule.within(2.0, [20_000.0] * 2, ci=0.5, confidence=0.95, seed=3)
        rounds = run_in_turn([LocalLane(_core.CallableTarget(here)), RemoteLane(process, "short")], plan)
    finally:
        process.close()
    count = len(rounds.medians_ns[0])
    assert count >= 8
    assert min(rounds.medians_ns[1]) >= 20_000
    letters = file.read_text()
    switches = sum(one != other for one, other in pairwise(letters))
    assert switches <= 2 * count + 1
    assert set(letters) == {"H", "s"}


def test_what_a_lane_of_another_process_raises_ends_it(tmp_path: Path) -> None:
    process = ChildProcess("the test", "hosted_paths:make", "{}")
    try:
        plan = Schedule.within(1.0, [20_000.0] * 2, ci=0.5, confidence=0.95, seed=3)
        with pytest.raises(MeasurementError, match="ValueError: broken"):
            run_in_turn([counting(Counter(), "a"), RemoteLane(process, "break")], plan)
    finally:
        process.close()
