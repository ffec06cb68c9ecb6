# SPDX-License-Identifier: Apache-2.0
"""Speed-ups that several processes found, as one: a ratio of each, and their spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pyperf_infer.statistics.holm import judge_together, verdict_of
from pyperf_infer.statistics.processes import location_of

if TYPE_CHECKING:
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.results.schema import Comparison
    from pyperf_infer.statistics.holm import Interval, Judged

_INTERFERENCE = "interference"
_CORRECTED = "another comparison"  # Holm's correction left it open, which is about the process's own interval only
_Contest = tuple[str, int, str | None, str, int]
_Pair = tuple[str, int, str | None, str, str]


def merged_comparisons(of_each: Sequence[Sequence[Comparison]], plan: RunPlan) -> list[Comparison]:
    """The comparisons of each process, the numbers of whose rows are those of the merged document.

    The ratio is the geometric mean of the processes' with Student's t interval of the logarithms. Contenders of one
    baseline are judged together, as within a process. What more processes do not mend stays undecided: sides that did
    not run what their names say in any of them, or that disturbed each other in half of them or more.
    """
    pairs: dict[tuple[_Pair, int], list[Comparison]] = {}
    for listed in of_each:
        seen: Counter[_Pair] = Counter()
        for one in listed:
            pair = one.model, one.batch_size, one.precision, one.baseline, one.contender
            seen[pair] += 1  # a model that is named twice has two comparisons, which are not two processes
            pairs.setdefault((pair, seen[pair]), []).append(one)
    contests: dict[_Contest, list[list[Comparison]]] = {}
    for ((*contest, _), nth), found in pairs.items():
        contests.setdefault((*contest, nth), []).append(found)  # type: ignore[arg-type]
    return [one for contest in contests.values() for one in _judged(contest, plan)]


def _judged(contest: Sequence[Sequence[Comparison]], plan: RunPlan) -> list[Comparison]:
    # Without a round, the ratio is that of two separate measurements: another quantity.
    with_rounds = [[one for one in found if one.rounds] for found in contest]
    intervals = [_interval_at([one.ratio for one in found]) for found in with_rounds]
    judged = judge_together(intervals, margin=plan.margin, confidence=plan.confidence)
    return [
        _merged(found, interleaved, one, compared=len(contest))
        for found, interleaved, one in zip(contest, with_rounds, judged, strict=True)
    ]


def _interval_at(ratios: Sequence[float]) -> Callable[[float], Interval | None]:
    # The search for the level that decides asks for confidences so near 1 that they are 1: no interval holds then.
    return lambda confidence: location_of(ratios, confidence).interval if ratios and 0 < confidence < 1 else None


def _merged(
    every: Sequence[Comparison], interleaved: Sequence[Comparison], judged: Judged, *, compared: int
) -> Comparison:
    found = interleaved or every
    verdict, reason = judged.verdict, judged.reason
    if judged.interval is None and len(every) == 1 == len(interleaved):
        reason = "one process tells nothing of the spread between processes; give --processes 5 or more"
    elif judged.interval is None:
        reason = f"a round was complete in {len(interleaved)} of {len(every)} processes only; give more time"
    if blocked := _blocked(found):
        verdict, reason = "undecided", blocked
    ratio = location_of([one.ratio for one in found]).value
    items = found[0].items_ratio
    return replace(
        found[0],
        ratio=ratio,
        interval=judged.interval,
        confidence=judged.confidence,
        verdict=verdict,
        reason=reason,
        rounds=sum(one.rounds for one in found),
        discarded_calls=sum(one.discarded_calls for one in found),
        items_ratio=None if items is None else items / found[0].ratio * ratio,
        compared=compared,
        converged=_all_converged(found),
        needed_duration_s=None,  # more turns in a process do not narrow what lies between processes
    )


def _all_converged(found: Sequence[Comparison]) -> bool | None:
    known = [one.converged for one in found]
    return None if None in known else all(known)


def _blocked(found: Sequence[Comparison]) -> str | None:
    disturbed, unlike = [], []
    for one in found:
        if one.verdict != "undecided" or one.interval is None or one.reason is None:
            continue
        if one.reason.startswith(_INTERFERENCE):
            disturbed.append(one.reason)
        elif one.reason != verdict_of(*one.interval, one.margin)[1] and not one.reason.startswith(_CORRECTED):
            unlike.append(one.reason)
    if unlike:
        return unlike[0]
    if 2 * len(disturbed) >= len(found):
        return f"{disturbed[0]} (in {len(disturbed)} of {len(found)} processes)"
    return None
