# SPDX-License-Identifier: Apache-2.0
"""The `compare` report for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes
from pyperf_infer.reports.bands import split, width_of
from pyperf_infer.reports.layout import (
    STYLES,
    column_width,
    heading,
    in_one_line,
    in_two_lines,
    print_facts,
    print_lines,
    print_notes,
    safe,
    table_of,
)
from pyperf_infer.reports.stored_notes import explanations, stored_facts, stored_headline, stored_notes
from pyperf_infer.reports.stored_view import stored_columns, stored_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pyperf_infer.reports.cells import Column
    from pyperf_infer.results.schema import Document

_KEYS = ("model", "batch", "precision", "backend", "p50 of")  # together they name a row


def render_stored(document: Document, console: Console) -> None:
    """Prints ``document``: a table for each contender, and what could explain it."""
    for note in stored_headline(document):
        print_lines(Text(safe(note.text, console), style=f"bold {STYLES[note.kind]}"), console)
    for comparison in document.stored:
        print_lines(Text(f"\n{safe(stored_title(comparison), console)}", style="bold cyan"), console)
        _print_table(stored_columns(comparison), console)
        print_notes(stored_notes(comparison), console)
        print_notes(explanations(comparison), console, title="What could explain a difference")
    print_notes(notes.warnings(document), console, title="Warnings")
    print_lines(heading("How it was compared"), console)
    print_facts(stored_facts(document), console)


def _print_table(columns: Sequence[Column], console: Console) -> None:
    rows = range(len(columns[0].cells)) if columns else range(0)
    for lines in (in_one_line, in_two_lines):
        if width_of([column_width(one, lines, console) for one in columns]) <= console.width:
            console.line()
            print_lines(table_of(columns, rows, lines, console), console)
            return
    keys = [one for one in columns if one.title in _KEYS]
    rest = [one for one in columns if one.title not in _KEYS]
    widths = [[column_width(one, in_two_lines, console) for one in part] for part in (keys, rest)]
    for band in split(widths[0], widths[1], console.width):
        console.line()
        print_lines(table_of([*keys, *(rest[one] for one in band)], rows, in_two_lines, console), console)
