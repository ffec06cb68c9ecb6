# SPDX-License-Identifier: Apache-2.0
"""The sentences below the `compare` table: what was refused or forced, why nothing was decided, what could explain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports.notes import Note
from pyperf_infer.reports.row_names import MAX_LISTED
from pyperf_infer.reports.stored_view import row_name
from pyperf_infer.units import format_asked_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from pyperf_infer.results.schema import (
        Document,
        StoredComparison,
        StoredDifference,
        StoredField,
        StoredRow,
        StoredSide,
    )


def stored_headline(document: Document) -> list[Note]:
    """The gate, where there is one, and what is not there."""
    notes = []
    if document.status == "failed":
        notes.append(Note("bad", "REFUSED: not all rows were measured by methods that match."))
    if document.gate is not None:
        gate = document.gate
        kind = "bad" if gate.fired else "good" if gate.judged == gate.rows else "unsure"
        notes.append(Note(kind, gate.sentence))  # type: ignore[arg-type]
    return [*notes, Note("plain", f"{document.tool} {document.tool_version}: stored results compared")]


def stored_notes(comparison: StoredComparison) -> list[Note]:
    """What the table does not say by itself, the worst first."""
    return [
        *_fields(comparison, "refused"),
        *_fields(comparison, "forced"),
        *_undecided(comparison),
        *_by_floor(comparison),
        *_left_over(comparison),
        *_warned(comparison),
        *_noted(comparison),
    ]


def explanations(comparison: StoredComparison) -> list[Note]:
    """Differences of the environment that could explain those of the times, the likely ones first."""
    notes = []
    for rows, names in _grouped(comparison, lambda row: tuple(map(_difference_key, row.environment))):
        prefix = f"{names}: " if names else ""
        likely = [one for one in rows[0].environment if one.weight == "likely"]
        possible = [one for one in rows[0].environment if one.weight != "likely"]
        notes += [Note("unsure", f"{prefix}{_difference(one)}") for one in likely]
        if possible:
            notes.append(Note("plain", f"{prefix}less likely: {'; '.join(map(_difference, possible))}"))
    return notes


def stored_facts(document: Document) -> list[tuple[str, str]]:
    """Where the numbers come from and how they were judged."""
    facts = []
    if document.stored:
        facts.append(("baseline", _side(document.stored[0].baseline)))
    facts += [("contender", _side(one.contender)) for one in document.stored]
    rows = [row for one in document.stored for row in one.rows]
    if any(row.ratio is not None for row in rows):
        facts.append(("speed-up", _RATIOS))
    sources = dict.fromkeys(row.spread for row in rows if row.spread is not None)
    facts += [("interval", _SPREADS[one]) for one in sources]
    if sources:
        facts.append(("judged", _judged(document, rows)))
    return facts


_RATIOS = (
    "p50 of the baseline over that of the contender: above 1x the contender is faster; so are p90, p95 and p99. "
    "items/s and memory are the contender's over the baseline's"
)
_SPREADS = {
    "processes": "of the ratio of the processes' geometric means, by the spread between processes (Welch's t)",
    "floor": "by the spread between processes that the self-test found on this machine, since there are too few",
    "processes and floor": "by the spread between processes, theirs (Welch's t) or that which the self-test found on "
    "this machine, whichever is wider",
}


def _judged(document: Document, rows: Sequence[StoredRow]) -> str:
    compared = max(row.compared for row in rows)
    together = f", {compared} rows together (Holm)" if compared > 1 else ""
    margin = format_asked_percent(document.stored[0].margin)
    return f"at 95%{together}; differences up to {margin} count as the same"


def _fields(comparison: StoredComparison, which: str) -> list[Note]:
    def fields(row: StoredRow) -> list[StoredField]:
        return row.refused if which == "refused" else row.forced

    notes = []
    for rows, _ in _grouped(
        comparison, lambda row: tuple((one.field, one.baseline, one.contender) for one in fields(row))
    ):
        names = _few([row_name(comparison, one) for one in rows])
        text = "; ".join(_field(one) for one in fields(rows[0]))
        if which == "refused":
            notes.append(Note("bad", f"{names} refused, methods differ: {text}.", _FORCE))
        else:
            notes.append(Note("bad", f"{names} FORCED although methods differ: {text}.", _FORCED))
    return notes


_FORCE = "Measure again by the same method, or give --force to compare all the same."
_FORCED = "What differs here may be the method alone."


def _undecided(comparison: StoredComparison) -> list[Note]:
    rows = [one for one in comparison.rows if one.verdict == "undecided"]
    notes = []
    for key in dict.fromkeys((one.reason, one.remedy) for one in rows):
        names = [row_name(comparison, one) for one in rows if (one.reason, one.remedy) == key]
        every = len(names) == len(comparison.rows)
        who = "" if every else f"{_few(names)} "
        reason = f"{key[0]}"
        notes.append(
            Note("unsure", f"{who}undecided: {reason if reason.endswith('.') else f'{reason}.'}", key[1] or "")
        )
    return notes


def _by_floor(comparison: StoredComparison) -> list[Note]:
    rows = [one for one in comparison.rows if one.spread == "floor" and one.verdict != "undecided"]
    if not rows:
        return []
    who = "" if len(rows) == len(comparison.rows) else f"{_few([row_name(comparison, one) for one in rows])}: "
    return [Note("unsure", f"{who}{_OF_THE_FLOOR}", "Measure both sides with --processes 5 before it counts.")]


_OF_THE_FLOOR = (
    "judged by how far processes of the self-test's small model lie apart on this machine; where those of this model "
    "lie further apart, identical code is called different."
)


def _left_over(comparison: StoredComparison) -> list[Note]:
    notes = []
    for key in dict.fromkeys((one.side, one.reason) for one in comparison.left_over):
        rows = [one for one in comparison.left_over if (one.side, one.reason) == key]
        names = _few([f"{one.model} batch {one.batch_size} {one.precision} {one.backend}" for one in rows])
        side, reason = key
        text = (
            f"not compared: {names} of the {side}, {reason}" if not reason.startswith("only") else f"{reason}: {names}"
        )
        notes.append(Note("unsure", text))
    return notes


def _warned(comparison: StoredComparison) -> list[Note]:
    def warned(row: StoredRow) -> tuple[tuple[str, str], ...]:
        return tuple(
            (side, ", ".join(member.warnings))
            for side, member in (("baseline", row.baseline), ("contender", row.contender))
            if member.warnings
        )

    return [
        Note("unsure", f"{names or 'all rows'}: the {side} was measured with warnings: {codes}")
        for rows, names in _grouped(comparison, warned)
        for side, codes in warned(rows[0])
    ]


def _noted(comparison: StoredComparison) -> list[Note]:
    notes = []
    for rows, names in _grouped(
        comparison, lambda row: tuple((one.field, one.baseline, one.contender) for one in row.noted)
    ):
        who = f"{names}: " if names else ""
        text = "; ".join(_field(one) for one in rows[0].noted)
        notes.append(Note("plain", f"{who}the methods match where they must; what else differs: {text}"))
    return notes


def _grouped(
    comparison: StoredComparison, key: Callable[[StoredRow], tuple[Hashable, ...]]
) -> Iterable[tuple[list[StoredRow], str]]:
    """Rows with the same key that is not empty, and their names; none where it is all rows."""
    grouped: dict[tuple[Hashable, ...], list[StoredRow]] = {}
    for row in comparison.rows:
        if found := key(row):
            grouped.setdefault(found, []).append(row)
    for rows in grouped.values():
        every = len(rows) == len(comparison.rows)
        yield rows, "" if every else _few([row_name(comparison, one) for one in rows])


def _difference_key(one: StoredDifference) -> Hashable:
    return one.field, one.baseline, one.contender


def _difference(one: StoredDifference) -> str:
    return f"{one.field}: {one.baseline or 'none'} -> {one.contender or 'none'}"


def _field(one: StoredField) -> str:
    return f"{one.field} {one.baseline or 'absent'} -> {one.contender or 'absent'}"


def _side(side: StoredSide) -> str:
    files = [f"{one.created_utc}, {one.tool_version}, SHA-256 {one.sha256[:12]}" for one in side.files]
    if not side.folder:
        return f"{side.name} ({'; '.join(files)})"
    more = f", {side.skipped} skipped" if side.skipped else ""
    newest = max((one.created_utc for one in side.files), default="")
    return f"{side.name}: {len(side.files)} of {side.looked_at} files used{more}; the newest of {newest}"


def _few(names: Sequence[str]) -> str:
    listed = list(dict.fromkeys(names))
    more = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    return ", ".join(listed[:MAX_LISTED]) + more
