# SPDX-License-Identifier: Apache-2.0
"""From pairs of rows to ratios, intervals and verdicts, all rows judged together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pyperf_infer.results.schema import StoredRow
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.statistics.holm import judge_together
from pyperf_infer.stored.environment import differences
from pyperf_infer.stored.figures import figures, member
from pyperf_infer.stored.rows import quantity_of
from pyperf_infer.stored.spread import spread_of
from pyperf_infer.stored.unlike import compare_methods

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pyperf_infer.statistics.holm import Judged
    from pyperf_infer.stored.align import Pair
    from pyperf_infer.stored.rows import Pool
    from pyperf_infer.stored.spread import Spread

    FilesOf = Callable[[Pool], list[int]]  # the numbers of its documents among its side's


_NARROWER = "More processes (--processes) or a quieter machine make the interval narrower."
_NO_END = "the processes of a side lie so far apart that the interval has no end"


@dataclass(frozen=True)
class _Draft:
    """A row before all are judged."""

    row: StoredRow
    spread: Spread | None  # None where it is refused


def judge(pairs: Sequence[tuple[Pair, FilesOf, FilesOf]], *, margin: float, force: bool) -> list[StoredRow]:
    """A row for each pair, in order. Verdicts are corrected for the number of rows that have an interval (Holm).

    Args:
        pairs: with what gives the numbers of the files of the baseline's side, and of the contender's.
        margin: the relative difference that counts as none, above 0.
        force: compare also where a field of the method that must match does not; the row then names it.
    """
    drafts = [_draft(pair, of_baseline, of_contender, force=force) for pair, of_baseline, of_contender in pairs]
    spreads = [one.spread for one in drafts if one.spread is not None and one.spread.source is not None]
    together = iter(judge_together([one.interval for one in spreads], margin=margin, confidence=CONFIDENCE))
    return [_judged(one, together, len(spreads)) for one in drafts]


def _draft(pair: Pair, of_baseline: FilesOf, of_contender: FilesOf, *, force: bool) -> _Draft:
    baseline, contender = pair.baseline, pair.contender
    subject = baseline.result.subject
    binding, noted = compare_methods(baseline.result, contender.result)
    members = member(baseline, of_baseline(baseline)), member(contender, of_contender(contender))
    refused = bool(binding) and not force
    row = StoredRow(
        model=subject.model,
        batch_size=subject.batch_size,
        precision=subject.precision,
        shapes=subject.shapes,
        baseline=members[0],
        contender=members[1],
        quantity=quantity_of(baseline.result),
        ratio=None if refused else members[0].p50_ms / members[1].p50_ms,
        verdict=None if refused else "undecided",
        refused=binding if refused else [],
        forced=[] if refused else binding,
        noted=noted,
        environment=differences(baseline, contender),
        figures=[] if refused else figures(baseline, contender),
    )
    return _Draft(row, None if refused else spread_of(baseline, contender))


def _judged(draft: _Draft, together: Iterator[Judged], compared: int) -> StoredRow:
    spread = draft.spread
    if spread is None:
        return draft.row
    if spread.source is None:
        return replace(draft.row, reason=spread.reason, remedy=spread.remedy)
    judged = next(together)
    no_end = judged.interval is None  # it has a source, so that it is for no want of processes
    return replace(
        draft.row,
        interval=judged.interval,
        confidence=judged.confidence,
        compared=compared,
        spread=spread.source,
        verdict=judged.verdict,
        reason=_NO_END if no_end else judged.reason,
        remedy=spread.remedy or _NARROWER if judged.verdict == "undecided" else None,
    )
