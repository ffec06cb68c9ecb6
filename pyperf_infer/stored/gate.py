# SPDX-License-Identifier: Apache-2.0
"""`--fail-if-slower`: which rows are slower beyond doubt, and which nobody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pyperf_infer.results.schema import Gate
from pyperf_infer.statistics.gate import gate_clears, gate_fires
from pyperf_infer.stored.align import ONLY
from pyperf_infer.units import format_asked_percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyperf_infer.results.schema import StoredLeftOver, StoredRow
    from pyperf_infer.results.stored_schema import GateState


def gate_row(row: StoredRow, threshold: float) -> StoredRow:
    """The row with what the gate makes of it."""
    state: GateState = "undecided"
    if row.interval is None:
        state = "not judged"
    elif gate_fires(row.interval, threshold):
        state = "fired"
    elif gate_clears(row.interval, threshold):
        state = "passed"
    return replace(row, gate=state)


def not_compared(left_over: Iterable[StoredLeftOver], *, folder: bool) -> list[StoredLeftOver]:
    """What the gate cannot judge since one side alone has a time of it, or neither.

    Args:
        folder: whether the baseline is one: most of what it holds is of other models than the contender's.
    """
    return [
        one
        for one in left_over
        if (
            one.reason == ONLY["contender"] if one.side == "contender" else one.reason != ONLY["baseline"] or not folder
        )
    ]


def gate_of(rows: Sequence[StoredRow], missing: int, threshold: float) -> Gate:
    """What the gate made of all rows together. It fires where one of them has, and passes where all of them do.

    Args:
        rows: after `gate_row`.
        missing: how many more there are that were not compared.
        threshold: 0.03 for 3%.
    """
    number = len(rows) + missing
    counts = {state: sum(one.gate == state for one in rows) for state in ("fired", "passed", "undecided", "not judged")}
    beyond = format_asked_percent(threshold)
    parts = []
    if counts["fired"]:
        parts.append(f"{counts['fired']} of {number} slower by more than {beyond}, with the whole interval")
    if counts["undecided"]:
        parts.append(f"{counts['undecided']} of {number} not judged: the interval reaches across {beyond}")
    if counts["not judged"]:
        parts.append(f"{counts['not judged']} of {number} not judged: there is no interval")
    if missing:
        parts.append(f"{missing} of {number} not judged: not on both sides with a time")
    if counts["passed"]:
        parts.append(f"{counts['passed']} of {number} not slower by more than {beyond}")
    outcome = "FAILED" if counts["fired"] else "passed" if counts["passed"] == number else "did not fire"
    return Gate(
        threshold=threshold,
        fired=counts["fired"] > 0,
        sentence=f"The gate {outcome}: {'; '.join(parts)}.",
        rows=number,
        judged=counts["fired"] + counts["passed"],
    )
