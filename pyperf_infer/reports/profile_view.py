# SPDX-License-Identifier: Apache-2.0
"""A profile's tables as columns of plain text, and the sentences that belong under them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell, Column, number
from pyperf_infer.reports.notes import Note
from pyperf_infer.units import format_bytes, format_count, format_duration_ms, format_percent, format_ratio

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Perturbation, Profile, ProfileRow, ProfileTable

WHOLE_MODEL = "(the model itself)"
_OUTSIDE = {
    "torch layers": "(outside of every layer)",
    "onnxruntime nodes": "(outside of every node)",
    "python": "(outside of every function)",
}
_TITLES = {
    "torch layers": "Layers of PyTorch",
    "onnxruntime nodes": "Nodes of ONNX Runtime",
    "memory": "Memory by layer",
    "python": "Functions of Python",
}
_ROW = {"torch layers": "layer", "memory": "layer", "onnxruntime nodes": "node", "python": "function"}
_LEAST_MS = 1e-6  # a nanosecond
# An instrument that costs more than this says so where its times are read.
_MUCH = 1.05


def ranked(table: ProfileTable, top: int) -> list[ProfileRow]:
    """The `top` rows with the most time, or memory where rows have no times, the first first.

    All of them, in the table's own order, where `top` is 0 or as large as the table.
    """
    if not 0 < top < len(table.rows):
        return list(table.rows)
    largest = sorted(table.rows, key=lambda row: -(_size(table, row) or 0))
    return largest[:top]


def columns_of(
    table: ProfileTable, rows: Sequence[ProfileRow], *, brief: bool = False
) -> tuple[list[Column], list[Column]]:
    """What names a row, and what is known of it: the most important first, empty columns left out.

    Below the `rows` stand, where they have times, those left out together, what is outside of all rows, and the whole.
    `brief`: of several names in one cell only the first, and how many more there are.
    """
    feet = _feet(table, rows)

    def column(
        title: str,
        cell: Callable[[ProfileRow], Cell],
        foot: Callable[[_Foot], Cell] = _nothing,
        *,
        numeric: bool = True,
    ) -> Column:
        return Column(title, (*map(cell, rows), *map(foot, feet)), numeric)

    keys = [
        column(
            _ROW[table.name], lambda row: Cell(shown_name(row)), lambda one: Cell(one[0], tone="quiet"), numeric=False
        ),
        column("kind", lambda row: Cell(row.kind), numeric=False),
    ]
    several = any(row.calls != 1 for row in rows)
    time = "time" if table.name == "onnxruntime nodes" else "own time"

    def names(listed: Sequence[str]) -> Cell:
        shown = f"{listed[0]} +{len(listed) - 1}" if brief and len(listed) > 1 else ", ".join(listed)
        return Cell(shown)

    providers = len({row.provider for row in table.rows}) > 1
    known = [
        column(time, lambda row: number(row.time_ms, format_duration_ms), lambda one: Cell(format_duration_ms(one[1]))),
        column("share", lambda row: number(row.share, format_percent), lambda one: number(one[2], format_percent)),
        column("peak memory", lambda row: number(row.peak_memory_bytes, format_bytes)),
        column("with parts", _with_parts),
        column("calls", lambda row: Cell(f"{row.calls:.4g}") if several else Cell()),
        column("on device", lambda row: number(row.device_time_ms, format_duration_ms)),
        column("layers", lambda row: names(row.layers), numeric=False),
        column("output", lambda row: Cell(_shapes(row.output_shapes)), numeric=False),
        column("parameters", lambda row: number(row.parameters, format_count)),
        column("output bytes", lambda row: number(row.output_bytes, format_bytes)),
        column("input", lambda row: Cell(_shapes(row.input_shapes)), numeric=False),
        column("also called", lambda row: names(row.aliases), numeric=False),
        column("sources", lambda row: names(row.sources), numeric=False),
        column("provider", lambda row: Cell((row.provider or "") if providers else ""), numeric=False),
    ]
    return keys, [one for one in known if any(cell.text for cell in one.cells[: len(rows)])]


def table_title(table: ProfileTable) -> str:
    """The table's name, and what its times are means over."""
    return f"{_TITLES[table.name]}, over {table.inferences} inference{'s' * (table.inferences != 1)}"


def table_notes(table: ProfileTable) -> list[Note]:
    """What the instrument costs, what was traced to its source, what was not found out, and how it was measured."""
    notes = [] if table.perturbation is None else [_cost(table.perturbation, timed=_timed(table))]
    if table.mapped_share is not None:
        untraced = sum(row.time_ms or 0.0 for row in table.rows if not row.sources)
        text = f"{format_percent(table.mapped_share)} of the nodes' time was traced to nodes of the given graph"
        rest = f"; {format_duration_ms(untraced)} was not" if untraced else ""
        notes.append(Note("plain", text + rest))
    notes += [Note("unsure", f"not told: {text}") for text in table.not_told]
    return [*notes, Note("plain", f"how: {table.method}")]


def profile_title(profile: Profile) -> str:
    """What was profiled, on what."""
    return f"{profile.model}, batch {profile.batch_size}, {profile.precision} on {profile.device}: {profile.backend}"


def profile_facts(profile: Profile) -> list[tuple[str, str]]:
    """Title and text of inputs, parameters, memory and so on."""
    shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in profile.shapes.items())
    facts = [
        ("input", shapes),
        ("parameters", format_count(profile.parameters)),
        ("threads", str(profile.threads)),
    ]
    if profile.memory_method is not None:
        peak = profile.peak_memory_bytes
        text = profile.memory_method if peak is None else f"{format_bytes(peak)} at most ({profile.memory_method})"
        facts.append(("memory", text))
    return [*facts, *((one.name, one.what) for one in profile.files)]


def shown_name(row: ProfileRow) -> str:
    """A row's name; that of the whole model is empty in the table."""
    return row.name or WHOLE_MODEL


_Foot = tuple[str, float, float | None]  # a line below the rows: its name, milliseconds and share of the whole


def _feet(table: ProfileTable, rows: Sequence[ProfileRow]) -> list[_Foot]:
    if table.name not in _OUTSIDE or not _timed(table):
        return []
    whole = table.whole_ms

    def line(name: str, time_ms: float) -> _Foot:
        time_ms = 0.0 if abs(time_ms) < _LEAST_MS else time_ms  # what is left of adding fractions up
        return name, time_ms, time_ms / whole if whole else None

    left_out = len(table.rows) - len(rows)
    others = sum(row.time_ms or 0.0 for row in table.rows) - sum(row.time_ms or 0.0 for row in rows)
    return [
        *([line(f"({left_out} more {_ROW[table.name]}{'s' * (left_out != 1)})", others)] if left_out else []),
        line(_OUTSIDE[table.name], table.rest_ms),
        line("(the whole inference)", whole),
    ]


def _with_parts(row: ProfileRow) -> Cell:
    """Empty where a row has no parts that take time."""
    return number(None if row.total_ms == row.time_ms else row.total_ms, format_duration_ms)


def _nothing(_: _Foot) -> Cell:
    return Cell()


def _size(table: ProfileTable, row: ProfileRow) -> float | None:
    return row.time_ms if _timed(table) else row.peak_memory_bytes


def _timed(table: ProfileTable) -> bool:
    return any(row.time_ms is not None for row in table.rows)


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    return ", ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)


def _cost(cost: Perturbation, *, timed: bool) -> Note:
    interval = f" [{format_ratio(cost.interval[0])}, {format_ratio(cost.interval[1])}]" if cost.interval else ""
    rounds = f"{cost.rounds} interleaved round{'s' * (cost.rounds != 1)}"
    text = (
        f"with the instrument an inference took {format_duration_ms(cost.instrumented_ms)}, without it "
        f"{format_duration_ms(cost.plain_ms)}: {format_ratio(cost.ratio)}x{interval}, the median of {rounds}"
    )
    if timed and cost.ratio > _MUCH:
        return Note("unsure", text, "It slows the model down: read the shares, and take times from `pyperf-infer run`.")
    return Note("plain", text)
