# SPDX-License-Identifier: Apache-2.0
"""`--fail-if-slower`: which rows are slower beyond doubt, and which nobody can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pyperf_infer.results.schema import Gate
from pyperf_infer.statistics.gate import gate_clears, gate_fires
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyperf_infer.results.schema import StoredRow
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


def gate_of(rows: Sequence[StoredRow], threshold: float) -> Gate:
    """What the gate made of all rows together. It fires where one of them has."""
    number = len(rows)
    counts = {state: sum(one.gate == state for one in rows) for state in ("fired", "passed", "undecided", "not judged")}
    beyond = format_percent(threshold)
    parts = []
    if counts["fired"]:
        parts.append(f"{counts['fired']} of {number} slower by more than {beyond}, with the whole interval")
    if counts["undecided"]:
        parts.append(f"{counts['undecided']} of {number} not judged: the interval reaches across {beyond}")
    if counts["not judged"]:
        parts.append(f"{counts['not judged']} of {number} not judged: there is no interval")
    if counts["passed"]:
        parts.append(f"{counts['passed']} of {number} not slower by more than {beyond}")
    outcome = "FAILED" if counts["fired"] else "passed" if counts["passed"] == number else "did not fire"
    return Gate(threshold=threshold, fired=counts["fired"] > 0, sentence=f"The gate {outcome}: {'; '.join(parts)}.")
