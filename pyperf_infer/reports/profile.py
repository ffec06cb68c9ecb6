# SPDX-License-Identifier: Apache-2.0
"""The `profile` report for people, on a terminal: the rows that take the most, and what the tables do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes
from pyperf_infer.reports.bands import width_of
from pyperf_infer.reports.layout import (
    column_width,
    heading,
    in_one_line,
    print_facts,
    print_lines,
    print_notes,
    safe,
    table_of,
)
from pyperf_infer.reports.notes import Note
from pyperf_infer.reports.profile_view import (
    columns_of,
    profile_facts,
    profile_title,
    ranked,
    table_notes,
    table_title,
)
from pyperf_infer.reports.terminal import render_headline

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.reports.cells import Column
    from pyperf_infer.results.schema import Document, ProfileTable

TOP = 20


def render_profile(document: Document, console: Console, *, top: int = TOP) -> None:
    """Prints ``document``, of each table the `top` rows (0: all)."""
    render_headline(document, console)
    for profile in document.profiles:
        print_lines(Text(f"\n{safe(profile_title(profile), console)}", style="bold cyan"), console)
        for table in profile.tables:
            print_lines(heading(table_title(table)), console)
            _print_table(table, top, console)
        print_facts(profile_facts(profile), console)
    print_notes(notes.warnings(document), console, title="Warnings")
    print_facts(notes.method(document), console)


def _print_table(table: ProfileTable, top: int, console: Console) -> None:
    rows = ranked(table, top)
    keys, known = columns_of(table, rows, brief=True)
    fitting = _that_fit(keys, known, console)
    if rows:
        console.line()
        print_lines(table_of([*keys, *fitting], range(len(keys[0].cells)), in_one_line, console), console)
    listed = []
    if len(rows) < len(table.rows):
        listed.append(Note("plain", f"the {len(rows)} of {len(table.rows)} rows that take the most; --top 0 shows all"))
    if left_out := [one.title for one in known if one not in fitting]:
        listed.append(Note("plain", f"no room here for: {', '.join(left_out)}; profile.md has all columns"))
    print_notes([*listed, *table_notes(table)], console)


def _that_fit(keys: list[Column], known: list[Column], console: Console) -> list[Column]:
    """The columns in front that fit beside the names: a row that is cut in two can hardly be read."""
    widths = [column_width(one, in_one_line, console) for one in keys]
    fitting: list[Column] = []
    for column in known:
        widths.append(column_width(column, in_one_line, console))
        if fitting and width_of(widths) > console.width:
            widths.pop()
            continue
        fitting.append(column)
    return fitting
