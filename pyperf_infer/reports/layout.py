# SPDX-License-Identifier: Apache-2.0
"""Tables and notes on a terminal: what the reports of all commands for people are laid out with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pyperf_infer.reports.bands import split, width_of
from pyperf_infer.reports.cells import Cell, Column
from pyperf_infer.reports.escape import encodable, printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from pyperf_infer.reports.notes import Note

STYLES = {"plain": "", "good": "green", "bad": "red", "unsure": "yellow", "quiet": "dim"}
_MARKS = {"good": "ok", "bad": "!!", "unsure": "! ", "plain": "- "}
_JUSTIFY: dict[bool, Literal["left", "right"]] = {True: "right", False: "left"}

Lines = Callable[[Cell], list[str]]


def table_of(columns: Sequence[Column], rows: Iterable[int], lines: Lines, console: Console) -> Table:
    """The `rows` of `columns`, each cell as the lines that `lines` makes of it."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    widths = [column_width(one, lines, console) for one in columns]
    fits = width_of(widths) <= console.width  # where not even that does, cells are folded rather than cut off
    for one, width in zip(columns, widths, strict=True):
        minimum = width if fits else None  # over all rows: the tables of several models line up
        table.add_column(Text(one.title), justify=_JUSTIFY[one.numeric], overflow="fold", min_width=minimum)
    for row in rows:
        table.add_row(*(_text(one.cells[row], lines, console) for one in columns))
    return table


def print_in_bands(columns: Sequence[Column], keys: Collection[str], console: Console) -> None:
    """One table where it fits; else several below each other, the columns with the titles `keys` in each of them."""
    rows = range(len(columns[0].cells)) if columns else range(0)
    for lines in (in_one_line, in_two_lines):
        if width_of([column_width(one, lines, console) for one in columns]) <= console.width:
            console.line()
            print_lines(table_of(columns, rows, lines, console), console)
            return
    first = [one for one in columns if one.title in keys]
    rest = [one for one in columns if one.title not in keys]
    widths = [[column_width(one, in_two_lines, console) for one in part] for part in (first, rest)]
    for band in split(widths[0], widths[1], console.width):
        console.line()
        print_lines(table_of([*first, *(rest[one] for one in band)], rows, in_two_lines, console), console)


def in_one_line(cell: Cell) -> list[str]:
    """A cell with its detail behind its text."""
    return [cell.joined]


def in_two_lines(cell: Cell) -> list[str]:
    """A cell with its detail below its text."""
    return [cell.text, cell.detail] if cell.detail and not cell.repeated else [cell.text]


def column_width(column: Column, lines: Lines, console: Console) -> int:
    """In character cells."""
    texts = [column.title, *(safe(line, console) for cell in column.cells for line in lines(cell))]
    return max(cell_len(one) for one in texts)


def print_notes(listed: Sequence[Note], console: Console, *, title: str = "") -> None:
    """Sentences with a mark in front, and their remedies; nothing where there are none."""
    if not listed:
        return
    print_lines(heading(title) if title else Text(), console)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for one in listed:
        grid.add_row(Text(_MARKS[one.kind], style=STYLES[one.kind]), Text(safe(one.text, console)))
        if one.remedy:
            grid.add_row("", Text(safe(one.remedy, console), style="italic"))
    print_lines(grid, console)


def print_facts(facts: Iterable[tuple[str, str]], console: Console) -> None:
    """Titles with their texts, in two columns; nothing where there are none."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for title, text in facts:
        grid.add_row(title, Text(safe(text, console)))
    if grid.row_count:
        console.line()
        print_lines(grid, console)


def print_lines(what: RenderableType, console: Console) -> None:
    """Prints without the blanks that rich fills lines up with: a report is also piped, pasted and compared."""
    for line in console.render_lines(what, pad=False):
        text = Text.assemble(*((one.text, one.style or "") for one in line))
        text.rstrip()
        console.print(text, soft_wrap=True)


def heading(title: str) -> Text:
    return Text(f"\n{title}", style="bold")


def safe(text: str, console: Console) -> str:
    """On one line, with nothing that the terminal would obey, in characters that it can show."""
    return encodable(printable(text), console.encoding)


def _text(cell: Cell, lines: Lines, console: Console) -> Text:
    text = Text("\n").join(Text(safe(one, console)) for one in lines(cell))
    text.stylize(STYLES[cell.tone])
    return text
