# SPDX-License-Identifier: Apache-2.0
"""The `compare` table as columns of plain text. The terminal and the Markdown report lay the same columns out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell, Column, Tone, without_empty
from pyperf_infer.units import format_duration_ms, format_ratio

if TYPE_CHECKING:
    from pyperf_infer.results.schema import StoredComparison, StoredMember, StoredRow

_VERDICT_TONES: dict[str, Tone] = {"faster": "good", "slower": "bad", "same": "plain", "undecided": "unsure"}
_GATE_TONES: dict[str, Tone] = {"fired": "bad", "passed": "good", "undecided": "unsure", "not judged": "unsure"}
_TITLES = {
    "throughput": "items/s",
    "p90": "p90",
    "p95": "p95",
    "p99": "p99",
    "peak_memory": "peak memory",
    "device_peak_memory": "device memory",
}
_FORCED = "FORCED"


def stored_title(comparison: StoredComparison) -> str:
    """Which files."""
    return f"{comparison.contender.name} against {comparison.baseline.name}"


def stored_columns(comparison: StoredComparison) -> list[Column]:
    """A row for each subject; a column that would be empty throughout is left out."""
    rows = comparison.rows

    def column(title: str, cell: Callable[[StoredRow], Cell], *, numeric: bool = True) -> Column:
        return Column(title, tuple(cell(one) for one in rows), numeric)

    columns = [
        column("model", lambda one: Cell(one.model), numeric=False),
        column("batch", lambda one: Cell(str(one.batch_size))),
    ]
    if any(one.precision != "float32" for one in rows):
        columns.append(column("precision", lambda one: Cell(one.precision), numeric=False))
    columns.append(column("backend", lambda one: Cell(backends(one)), numeric=False))
    if any(one.quantity != "latency" for one in rows):
        columns.append(column("p50 of", lambda one: Cell(one.quantity), numeric=False))
    columns += [
        column("baseline p50", lambda one: _p50(one.baseline)),
        column("contender p50", lambda one: _p50(one.contender)),
        column("speed-up", _speed_up, numeric=False),
    ]
    if any(one.gate is not None for one in rows):
        columns.append(column("gate", _gate, numeric=False))
    columns.append(column("processes", lambda one: Cell(f"{one.baseline.processes} / {one.contender.processes}")))
    columns += [column(title, _ratio_of(name)) for name, title in _TITLES.items()]
    columns.append(column("output difference", _accuracy))
    return without_empty(columns)


def row_name(comparison: StoredComparison, row: StoredRow) -> str:
    """Model, batch and precision only where the comparison has more than one; always the backends."""
    parts = []
    if len({one.model for one in comparison.rows}) > 1:
        parts.append(row.model)
    if len({one.batch_size for one in comparison.rows}) > 1:
        parts.append(f"batch {row.batch_size}")
    if len({one.precision for one in comparison.rows}) > 1:
        parts.append(row.precision)
    return " ".join([*parts, backends(row)])


def backends(row: StoredRow) -> str:
    """The backend, and the side of a contest; of unlike ones both, with what else differs between them."""
    mine, theirs = (_placed(one) for one in (row.baseline, row.contender))
    if mine == theirs:
        return " ".join(part for part in (row.baseline.backend, row.baseline.side) if part)
    differ = [[a for a, b in zip(one, other, strict=True) if a and a != b] for one, other in _both(mine, theirs)]
    names = [" ".join(dict.fromkeys([one[0], *more])) for one, more in zip((mine, theirs), differ, strict=True)]
    return f"{names[0]} -> {names[1]}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """ "[0.98, 1.01]", or nothing."""
    return "" if interval is None else f"[{format_ratio(interval[0])}, {format_ratio(interval[1])}]"


def _both(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    return (mine, theirs), (theirs, mine)


def _placed(member: StoredMember) -> tuple[str, ...]:
    return member.backend, member.provider or "", member.device.split(":")[0], member.side or ""


def _p50(member: StoredMember) -> Cell:
    return Cell(format_duration_ms(member.p50_ms))


def _speed_up(row: StoredRow) -> Cell:
    if row.ratio is None or row.verdict is None:
        return Cell("refused", tone="bad")
    text = f"{format_ratio(row.ratio)}x {row.verdict}"
    if row.forced:
        text = f"{text} {_FORCED}"
    return Cell(text, interval_text(row.interval), "unsure" if row.forced else _VERDICT_TONES[row.verdict])


def _gate(row: StoredRow) -> Cell:
    return Cell() if row.gate is None else Cell(row.gate, tone=_GATE_TONES[row.gate])


def _ratio_of(name: str) -> Callable[[StoredRow], Cell]:
    def cell(row: StoredRow) -> Cell:
        figure = next((one for one in row.figures if one.quantity == name), None)
        if figure is None or figure.ratio is None:
            return Cell()
        low, high = map(format_ratio, figure.interval or (0.0, 0.0))
        return Cell(f"{format_ratio(figure.ratio)}x", "" if low == high else f"[{low}, {high}]")

    return cell


def _accuracy(row: StoredRow) -> Cell:
    """The largest relative difference of the outputs from those of the reference backend, on each side."""
    sides = (row.baseline, row.contender)
    if all(one.parity is None for one in sides):
        return Cell()
    bad = any(one.parity in ("different", "invalid") for one in sides)
    return Cell(" / ".join(_difference(one) for one in sides), tone="bad" if bad else "plain")


def _difference(member: StoredMember) -> str:
    value = member.largest_relative_difference
    return (member.parity or "-") if value is None else f"{value:.1e}"
