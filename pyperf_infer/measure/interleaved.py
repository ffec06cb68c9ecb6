# SPDX-License-Identifier: Apache-2.0
"""Several prepared backends, timed in turn for their speed-ups: of one case, or of a contest's sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer.results.schema import Comparison
from pyperf_infer.statistics.alone import alone_hull, apart
from pyperf_infer.statistics.compare import ClockLimits, RatioEstimate, compare_all_rounds
from pyperf_infer.timing.comparison import Rounds, interleave, is_within, ratio_interval
from pyperf_infer.timing.measurement import Measurement
from pyperf_infer.timing.target import garbage_collection

if TYPE_CHECKING:
    from pyperf_infer.measure.case import Contestant, Surroundings
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.statistics.compare import Interval
    from pyperf_infer.timing.samples import Samples

# Of the budget, for all that are measured alone once more where alone and interleaved part.
_SHARE_AGAIN = 0.15


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """One of those that are timed in turn. It has been timed alone: `contestant.samples` and `contestant.row`."""

    label: str  # what the comparison calls it
    case: Case
    contestant: Contestant
    plan: RunPlan  # what it was asked for itself; how all are measured is the surroundings' plan

    @property
    def alone(self) -> Samples:
        assert self.contestant.samples is not None  # noqa: S101  timed alone before
        return self.contestant.samples

    @property
    def threads(self) -> int:
        facts = self.contestant.prepared.facts
        return self.plan.options.threads if facts.threads is None else facts.threads


def time_interleaved(entrants: Sequence[Entrant], around: Surroundings) -> list[Comparison]:
    """The speed-up of every one over the first, from blocks in random order.

    Where that is another than when each ran alone, those are measured alone once more, so that a machine that has
    become slower or faster meanwhile is not taken for targets that disturb each other.
    """
    rounds = _rounds_of(entrants, around)
    first, *others = entrants
    alone = [ratio_interval(first.alone, one.alone) for one in others]
    clocks = [ClockLimits.of(one.alone) for one in entrants]
    found = _compared(rounds, alone, clocks, around.plan)
    parted = [
        number
        for number, (one, known) in enumerate(zip(found, alone, strict=True))
        if one.interval is not None and apart(one.interval, known) > around.plan.margin
    ]
    if parted:
        baseline, *again = _measured_again([first, *(others[number] for number in parted)], around)
        for number, samples in zip(parted, again, strict=True):
            alone[number] = alone_hull(alone[number], ratio_interval(baseline, samples))
        found = _compared(rounds, alone, clocks, around.plan)
    return [
        _comparison(first, other, one, rounds, around.plan, len(others))
        for other, one in zip(others, found, strict=True)
    ]


def _rounds_of(entrants: Sequence[Entrant], around: Surroundings) -> Rounds:
    plan = around.plan
    with ExitStack() as held, around.phases.timed("interleave"):
        for one in entrants:
            held.enter_context(one.contestant.prepared.measuring())
        held.enter_context(garbage_collection(enabled=False))
        return interleave(
            tuple(one.contestant.prepared for one in entrants),
            max_duration=_budget_s(plan, len(entrants)),
            ci=_asked_ci(plan),
            confidence=plan.confidence,
            seed=plan.seed,
            progress=around.observer.progress,
        )


def _compared(
    rounds: Rounds, alone: Sequence[Interval], clocks: Sequence[ClockLimits], plan: RunPlan
) -> list[RatioEstimate]:
    return compare_all_rounds(
        rounds.medians_ns, alone=alone, clocks=clocks, margin=plan.margin, confidence=plan.confidence
    )


def _measured_again(entrants: Sequence[Entrant], around: Surroundings) -> list[Samples]:
    plan = around.plan
    each_s = _SHARE_AGAIN * plan.max_duration_s / len(entrants)
    measured = []
    for one in entrants:
        prepared = one.contestant.prepared
        measurement = Measurement(
            prepared, duration=each_s / 2, max_duration=each_s, ci=plan.ci, confidence=plan.confidence, mode=plan.mode
        )
        with (
            around.phases.timed("measure alone again"),
            prepared.measuring(),
            garbage_collection(enabled=False),
        ):
            measurement.warm_up(budget=each_s / 2, progress=around.observer.progress)
            measured.append(measurement.run(batched=False, progress=around.observer.progress))
    return measured


def _comparison(
    first: Entrant, other: Entrant, found: RatioEstimate, rounds: Rounds, plan: RunPlan, compared: int
) -> Comparison:
    verdict, reason = found.verdict, found.reason
    if unlike := _unlike(first, other):
        verdict, reason = "undecided", unlike
    items = other.case.batch_size / first.case.batch_size
    return Comparison(
        model=first.case.model.name,
        batch_size=first.case.batch_size,
        precision=first.plan.precision,
        baseline=first.label,
        contender=other.label,
        baseline_row=first.contestant.row,
        contender_row=other.contestant.row,
        ratio=found.ratio,
        interval=found.interval,
        items_ratio=None if items == 1 else found.ratio * items,
        confidence=found.confidence,
        margin=plan.margin,
        verdict=verdict,
        reason=reason,
        rounds=found.rounds,
        discarded_calls=rounds.discarded_calls,
        compared=compared,
        converged=rounds.converged and is_within(found.interval, _asked_ci(plan)),
        needed_duration_s=_needed_s(found, rounds, plan, compared),
    )


def _asked_ci(plan: RunPlan) -> float:
    """How narrow the ratio's interval is to become: any wider than this, and a verdict would be luck."""
    return min(plan.ci, plan.margin / 2)


def _budget_s(plan: RunPlan, entrants: int) -> float:
    """Each of many has the turns that it has in a pair."""
    return plan.max_duration_s * entrants / 2


def _needed_s(found: RatioEstimate, rounds: Rounds, plan: RunPlan, compared: int) -> float | None:
    """What the asked width would have taken. None where it was reached, or there is no interval to tell from."""
    if rounds.converged or rounds.needed_duration_s is not None or found.interval is None:
        return rounds.needed_duration_s
    # The rounds ended between two looks. Widths shrink with the root of the time.
    half_width = math.log(found.interval[1] / found.interval[0]) / 2
    return _budget_s(plan, compared + 1) * max(1.0, half_width / _asked_ci(plan)) ** 2


def _unlike(first: Entrant, other: Entrant) -> str | None:
    """Why the two did not run what their names say, so that a speed-up would be another's; None where they did."""
    reasons = []
    ran, asked = (first.threads, other.threads), (first.plan.options.threads, other.plan.options.threads)
    if ran[0] != ran[1] and ran != asked:
        reasons.append(f"{first.label} ran {ran[0]} threads and {other.label} {ran[1]}")
    reasons += [f"{one.label} ran eagerly and is no graph" for one in (first, other) if one.contestant.no_graph]
    return "; ".join(reasons) or None
