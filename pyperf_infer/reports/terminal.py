# SPDX-License-Identifier: Apache-2.0
"""The `run` report for people: one wide table where the terminal is wide, bands of it by model where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pyperf_infer.reports import notes, view
from pyperf_infer.reports.bands import split, width_of
from pyperf_infer.reports.cells import Cell, Column
from pyperf_infer.reports.escape import encodable, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from pyperf_infer.results.schema import Document

_STYLES = {"plain": "", "good": "green", "bad": "red", "unsure": "yellow", "quiet": "dim"}
_MARKS = {"good": "ok", "bad": "!!", "unsure": "! ", "plain": "- "}
_JUSTIFY: dict[bool, Literal["left", "right"]] = {True: "right", False: "left"}

Lines = Callable[[Cell], list[str]]


def render_run(document: Document, console: Console) -> None:
    """Prints ``document``. Colours are the console's affair: none where it is no terminal or NO_COLOR is set."""
    for note in notes.headline(document):
        _print(Text(_safe(note.text, console), style=f"bold {_STYLES[note.kind]}"), console)
    if document.results:
        _print_tables(document, view.metric_columns(document), console)
    _print_notes(notes.findings(document), console)
    _print_notes(notes.warnings(document), console, title="Warnings")
    if document.results:
        _print(_heading("How it was measured"), console)
        _print_tables(document, view.method_columns(document), console, again=True)
    _print_method(document, console)


def _print_tables(document: Document, metrics: Sequence[Column], console: Console, *, again: bool = False) -> None:
    keys = view.key_columns(document)
    everything = range(len(document.results))
    for lines in (_in_one_line, _in_two_lines):
        if width_of([_width(one, lines, console) for one in (*keys, *metrics)]) <= console.width:
            console.line()
            _print(_table([*keys, *metrics], everything, lines, console), console)
            return
    keys, models = keys[1:], keys[0]
    widths = [_width(one, _in_two_lines, console) for one in keys]
    bands = split(widths, [_width(one, _in_two_lines, console) for one in metrics], console.width)
    names = list(dict.fromkeys(one.text for one in models.cells))
    for name in names:
        rows = [index for index, one in enumerate(models.cells) if one.text == name]
        if len(names) > 1 or not again:
            console.line()
            _print(Text(_safe(name, console), style="bold cyan"), console)
        for band in bands:
            console.line()
            _print(_table([*keys, *(metrics[one] for one in band)], rows, _in_two_lines, console), console)


def _table(columns: Sequence[Column], rows: Iterable[int], lines: Lines, console: Console) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    widths = [_width(one, lines, console) for one in columns]
    fits = width_of(widths) <= console.width  # where not even that does, cells are folded rather than cut off
    for one, width in zip(columns, widths, strict=True):
        minimum = width if fits else None  # over all models' rows: the tables of several models line up
        table.add_column(Text(one.title), justify=_JUSTIFY[one.numeric], overflow="fold", min_width=minimum)
    for row in rows:
        table.add_row(*(_text(one.cells[row], lines, console) for one in columns))
    return table


def _text(cell: Cell, lines: Lines, console: Console) -> Text:
    text = Text("\n").join(Text(_safe(one, console)) for one in lines(cell))
    text.stylize(_STYLES[cell.tone])
    return text


def _in_one_line(cell: Cell) -> list[str]:
    return [cell.joined]


def _in_two_lines(cell: Cell) -> list[str]:
    return [cell.text, cell.detail] if cell.detail and not cell.repeated else [cell.text]


def _width(column: Column, lines: Lines, console: Console) -> int:
    texts = [column.title, *(_safe(line, console) for cell in column.cells for line in lines(cell))]
    return max(cell_len(one) for one in texts)


def _print_notes(listed: Sequence[notes.Note], console: Console, *, title: str = "") -> None:
    if not listed:
        return
    _print(_heading(title) if title else Text(), console)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in listed:
        grid.add_row(Text(_MARKS[one.kind], style=_STYLES[one.kind]), Text(_safe(one.text, console)))
        if one.remedy:
            grid.add_row("", Text(_safe(one.remedy, console), style="italic"))
    _print(grid, console)


def _print_method(document: Document, console: Console) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for title, text in notes.method(document):
        grid.add_row(title, Text(_safe(text, console)))
    if grid.row_count:
        console.line()
        _print(grid, console)


def _print(what: RenderableType, console: Console) -> None:
    """Prints without the blanks that rich fills lines up with: a report is also piped, pasted and compared."""
    for line in console.render_lines(what, pad=False):
        text = Text.assemble(*((one.text, one.style or "") for one in line))
        text.rstrip()
        console.print(text, soft_wrap=True)


def _heading(title: str) -> Text:
    return Text(f"\n{title}", style="bold")


def _safe(text: str, console: Console) -> str:
    return encodable(printable(text), console.encoding)
