# SPDX-License-Identifier: Apache-2.0
"""Several paths in turn, in blocks: by the native schedule where all are in this process, else by one like it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

from pyperf_infer import _core
from pyperf_infer.overhead.blocks import BlockPlan, Lane, LocalLane
from pyperf_infer.timing.comparison import Rounds, block_length_ns
from pyperf_infer.timing.target import to_ns

if TYPE_CHECKING:
    from pyperf_infer.timing.target import Progress

_JITTER_NS = 10_000_000
_STRETCH = 0.25  # a block is up to a quarter longer than asked
_MOST_CALLS = 10  # that a block must have, where the budget has room for them
_LEAST_ROUNDS = 8
_GROWTH_BETWEEN_LOOKS = 1.3
_DISCARDED_CALLS = 3  # at least, after a switch
# Where no budget is given: this, and more where calls are slow.
DEFAULT_BUDGET_S, MOST_BUDGET_S = 20.0, 120.0
_ROUNDS_THEN = 24
_ROUND_CALLS = _MOST_CALLS + 2 * _DISCARDED_CALLS


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long blocks are, and when it is enough: the half-width of the interval of each path's ratio to the first."""

    budget_ns: int
    block_ns: int
    calls: int
    ci: float
    confidence: float
    seed: int

    @classmethod
    def within(cls, budget_s: float, calls_ns: Sequence[float], *, ci: float, confidence: float, seed: int) -> Schedule:
        """One that has room for rounds enough. `calls_ns`: about how long a call of each path takes."""
        budget_ns = to_ns("max_duration", budget_s)
        a_call_each_ns = max(1.0, sum(calls_ns)) * (1 + _STRETCH)
        room = budget_ns / (_LEAST_ROUNDS * a_call_each_ns)
        return cls(
            budget_ns=budget_ns,
            block_ns=block_length_ns(budget_ns, len(calls_ns)),
            calls=max(1, min(_MOST_CALLS, int(room) - _DISCARDED_CALLS)),
            ci=ci,
            confidence=confidence,
            seed=seed,
        )

    @property
    def jitter_ns(self) -> int:
        """The most, before each block, so that blocks do not lock to the timer's tick."""
        return min(_JITTER_NS, self.block_ns // 4)


def time_for(calls_ns: Sequence[float]) -> float:
    """Seconds that rounds enough of whole blocks take, where no budget is given; not more than MOST_BUDGET_S."""
    return min(MOST_BUDGET_S, _ROUNDS_THEN * _ROUND_CALLS * (1 + _STRETCH) * sum(calls_ns) / 1e9)


def run_in_turn(lanes: Sequence[Lane], schedule: Schedule, progress: Progress | None = None) -> Rounds:
    """The medians of the blocks of complete rounds. Raises what a target raises."""
    targets = [lane.target for lane in lanes if isinstance(lane, LocalLane)]
    if len(targets) == len(lanes):
        return _native(targets, schedule, progress)
    return alternate(lanes, schedule, progress)


def _native(targets: Sequence[_core.Target], schedule: Schedule, progress: Progress | None) -> Rounds:
    plan = _core.SchedulePlan(
        min_block_calls=schedule.calls,
        min_block_ns=schedule.block_ns,
        max_jitter_ns=schedule.jitter_ns,
        min_rounds=_LEAST_ROUNDS,
        max_duration_ns=schedule.budget_ns,
        relative_half_width=schedule.ci,
        confidence=schedule.confidence,
        seed=schedule.seed,
    )
    outcome = _core.interleave(targets, plan, [_core.Samples() for _ in targets], progress=progress)
    medians: list[list[int]] = [[0] * outcome.rounds for _ in targets]
    for block in outcome.blocks:
        medians[block.target][block.round] = max(1, block.median_ns)
    return Rounds(tuple(map(tuple, medians)), sum(one.discarded for one in outcome.blocks), outcome.reason)


def alternate(lanes: Sequence[Lane], schedule: Schedule, progress: Progress | None = None) -> Rounds:
    """As the native schedule, for lanes of which some are in other processes. One runs at a time.

    The order is drawn anew in every round. Where the budget is spent within a round, that round does not count.
    """
    draw = random.Random(schedule.seed)  # noqa: S311  an order, no secret
    begin_ns = perf_counter_ns()
    medians: list[tuple[int, ...]] = []  # one tuple a round
    discarded, next_look = 0, _LEAST_ROUNDS
    while True:
        order = draw.sample(range(len(lanes)), len(lanes))
        found, thrown_away = dict[int, int](), 0
        for index in order:
            left_ns = schedule.budget_ns - (perf_counter_ns() - begin_ns)
            block = lanes[index].block(
                BlockPlan(
                    jitter_ns=draw.randint(0, schedule.jitter_ns),
                    length_ns=schedule.block_ns + draw.randint(0, int(_STRETCH * schedule.block_ns)),
                    calls=schedule.calls,
                    budget_ns=left_ns,
                )
            )
            if block.median_ns is None:
                known = len(medians) >= _LEAST_ROUNDS and ratios_known(medians, schedule)
                return Rounds(_by_lane(medians, len(lanes)), discarded, "converged" if known else "max_duration")
            found[index] = block.median_ns
            thrown_away += block.discarded
            if progress is not None:
                spent_ns = perf_counter_ns() - begin_ns
                progress("interleave", len(medians), spent_ns, schedule.budget_ns, block.median_ns)
        medians.append(tuple(found[index] for index in range(len(lanes))))
        discarded += thrown_away
        if len(medians) >= next_look:
            next_look = max(next_look + 1, int(next_look * _GROWTH_BETWEEN_LOOKS))
            if ratios_known(medians, schedule):
                return Rounds(_by_lane(medians, len(lanes)), discarded, "converged")


def ratios_known(medians: Sequence[Sequence[int]], schedule: Schedule) -> bool:
    """Whether the interval of every path's ratio to the first is as narrow as asked, on the scale of logarithms."""
    for other in range(1, len(medians[0])):
        log_ratios = [math.log(one[0] / one[other]) for one in medians]
        estimate = _core.estimate_quantile(log_ratios, 0.5, schedule.confidence)
        if estimate is None or (estimate[2] - estimate[1]) / 2 > schedule.ci:
            return False
    return True


def _by_lane(medians: Sequence[tuple[int, ...]], lanes: int) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(one[index] for one in medians) for index in range(lanes))
