# SPDX-License-Identifier: Apache-2.0
"""Several backends on one case, timed in turn for their speed-ups."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from pyperf_infer.results.schema import Comparison
from pyperf_infer.statistics.compare import compare_rounds
from pyperf_infer.timing.comparison import interleave, ratio_interval
from pyperf_infer.timing.target import garbage_collection

if TYPE_CHECKING:
    from pyperf_infer.measure.case import Contestant, Surroundings
    from pyperf_infer.measure.entry import Case
    from pyperf_infer.measure.plan import RunPlan


def time_interleaved(case: Case, contestants: Sequence[Contestant], around: Surroundings) -> list[Comparison]:
    """The speed-up of every backend over the first, from blocks in random order."""
    plan, first = around.plan, contestants[0]
    with ExitStack() as held, around.phases.timed("interleave"):
        for one in contestants:
            held.enter_context(one.prepared.measuring())
        held.enter_context(garbage_collection(enabled=False))
        rounds = interleave(
            tuple(one.prepared for one in contestants),
            max_duration=plan.max_duration_s,
            ci=plan.ci,
            confidence=plan.confidence,
            seed=plan.seed,
            progress=around.observer.progress,
        )
    comparisons = []
    for index, one in enumerate(contestants[1:], start=1):
        assert first.samples is not None  # noqa: S101  timed alone before
        assert one.samples is not None  # noqa: S101
        found = compare_rounds(
            rounds.medians_ns[0],
            rounds.medians_ns[index],
            alone_interval=ratio_interval(first.samples, one.samples),
            margin=plan.margin,
            confidence=plan.confidence,
        )
        verdict, reason = found.verdict, found.reason
        if unlike := _unlike(first, one, plan):
            verdict, reason = "undecided", unlike
        comparisons.append(
            Comparison(
                model=case.model.name,
                batch_size=case.batch_size,
                precision=plan.precision,
                baseline=first.name,
                contender=one.name,
                ratio=found.ratio,
                interval=found.interval,
                confidence=plan.confidence,
                margin=plan.margin,
                verdict=verdict,
                reason=reason,
                rounds=found.rounds,
                discarded_calls=rounds.discarded_calls,
            )
        )
    return comparisons


def _unlike(first: Contestant, other: Contestant, plan: RunPlan) -> str | None:
    """Why the two did not run what their names say, so that a speed-up would be another's; None where they did."""
    reasons = []
    if _threads(first, plan) != _threads(other, plan):
        reasons.append(f"{first.name} ran {_threads(first, plan)} threads and {other.name} {_threads(other, plan)}")
    reasons += [f"{one.name} ran eagerly and is no graph" for one in (first, other) if one.no_graph]
    return "; ".join(reasons) or None


def _threads(one: Contestant, plan: RunPlan) -> int:
    return plan.options.threads if one.prepared.facts.threads is None else one.prepared.facts.threads
