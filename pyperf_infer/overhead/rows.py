# SPDX-License-Identifier: Apache-2.0
"""From rounds to the table of a batch size. Nothing is measured here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyperf_infer.models.inputs import batch_of
from pyperf_infer.overhead.sentence import sentence_of
from pyperf_infer.results.schema import Overhead, OverheadPath
from pyperf_infer.statistics.difference import DifferenceEstimate, SignedInterval, difference_of_rounds
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.overhead.blocks import Alone
    from pyperf_infer.overhead.case import Entry
    from pyperf_infer.overhead.paths import Shapes
    from pyperf_infer.overhead.plan import OverheadPlan
    from pyperf_infer.timing.comparison import Rounds

# What a schedule's reasons are called in a result.
_STOP_REASONS = {
    "converged": "interval reached",
    "max_duration": "time budget spent",
    "interrupted": "interrupted",
}


def overhead_of(
    model: LoadedModel,
    shapes: Shapes,
    entries: Sequence[Entry],
    rounds: Rounds | None,
    plan: OverheadPlan,
    *,
    budget_s: float,
) -> Overhead:
    """The table. `rounds` has the medians of every entry in turn, empty for those that have failed; None for none.

    `budget_s` is what the timing was granted.
    """
    medians = [rounds.medians_ns[index] if rounds else () for index in range(len(entries))]
    baselines = {
        entry.kind.runtime: index
        for index, entry in enumerate(entries)
        if entry.kind.is_baseline and entry.error is None
    }
    paths = []
    for index, entry in enumerate(entries):
        base = baselines.get(entry.kind.runtime)
        found = None
        if base is not None and entry.error is None and medians[index] and medians[base]:
            found = difference_of_rounds(medians[index], medians[base], confidence=plan.confidence)
        base_alone = entries[base].alone if base is not None and base != index else None
        paths.append(_path_of(entry, medians[index], found, base_alone, plan.margin))
    overhead = Overhead(
        model=model.name,
        batch_size=batch_of(model.inputs, shapes),
        shapes={name: list(shape) for name, shape in shapes.items()},
        precision=plan.options.precision,
        device=plan.options.device,
        threads=plan.options.threads,
        weights_source=model.weights.source,
        weights_sha256=model.weights.sha256,
        seed=plan.seed,
        paths=paths,
        rounds=max((len(one) for one in medians), default=0),
        discarded_calls=rounds.discarded_calls if rounds else 0,
        stop_reason=_STOP_REASONS[rounds.stop_reason] if rounds else "too few paths work to time them in turn",
        ci=plan.ci,
        max_duration_s=budget_s,
        confidence=plan.confidence,
        margin=plan.margin,
        sentence="",
    )
    overhead.sentence = sentence_of([overhead])
    return overhead


def _path_of(
    entry: Entry,
    medians_ns: Sequence[int],
    found: DifferenceEstimate | None,
    base_alone: Alone | None,
    margin: float,
) -> OverheadPath:
    kind, path = entry.kind, entry.path
    row = OverheadPath(
        runtime=kind.runtime,
        path=kind.name,
        does=kind.does,
        loop=kind.loop,
        process=kind.process,
        same_code=kind.same_code,
        parity=entry.parity.status if entry.parity is not None else None,
        failed=entry.error,
    )
    if path is not None:
        row.settings, row.remarks = dict(path.settings), list(path.remarks)
    if entry.parity is not None and entry.parity.status == "not checked" and entry.error is None:
        row.remarks.append(f"outputs not checked: {entry.parity.reason}")
    if entry.error is not None:
        return row
    row.alone_us = entry.alone.median_ns / 1e3 if entry.alone is not None else None
    if medians_ns:
        row.p50_us = sorted(medians_ns)[(len(medians_ns) - 1) // 2] / 1e3
    if found is None:
        return row
    row.difference_us, row.share = found.difference_ns / 1e3, found.share
    if found.interval_ns is not None:
        row.difference_interval_us = (found.interval_ns[0] / 1e3, found.interval_ns[1] / 1e3)
    row.share_interval = found.share_interval
    if entry.alone is not None and base_alone is not None:
        row.interference = _interference(found.share_interval, share_alone(entry.alone, base_alone), margin)
    return row


def share_alone(path: Alone, base: Alone) -> SignedInterval | None:
    """What the share of a path can be, from what it and its native loop take while nothing else runs."""
    if path.interval_ns is None or base.interval_ns is None:
        return None
    (path_low, path_high), (base_low, base_high) = path.interval_ns, base.interval_ns
    return 1 - base_high / max(1.0, path_low), 1 - base_low / max(1.0, path_high)


def _interference(in_turn: SignedInterval | None, alone: SignedInterval | None, margin: float) -> str | None:
    """Where the two intervals of the share are further apart than the margin, the paths disturb each other."""
    if in_turn is None or alone is None or max(alone[0] - in_turn[1], in_turn[0] - alone[1]) <= margin:
        return None
    return f"{format_percent(alone[0])} to {format_percent(alone[1])} when each runs alone"
