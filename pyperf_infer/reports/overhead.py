# SPDX-License-Identifier: Apache-2.0
"""The `overhead` report for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes
from pyperf_infer.reports.bands import width_of
from pyperf_infer.reports.layout import (
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
from pyperf_infer.reports.overhead_view import (
    conclusion,
    explanations,
    overhead_columns,
    overhead_facts,
    overhead_notes,
    overhead_title,
)
from pyperf_infer.reports.terminal import render_headline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pyperf_infer.reports.cells import Column
    from pyperf_infer.results.schema import Document

_CAN_GO = ("what a call does", "alone", "which is", "runtime")  # where there is no room, the first of them first


def render_overhead(document: Document, console: Console) -> None:
    """Prints ``document``: a table for each batch size, and what it means."""
    render_headline(document, console)
    for overhead in document.overheads:
        print_lines(Text(f"\n{safe(overhead_title(overhead), console)}", style="bold cyan"), console)
        console.line()
        _print_table(overhead_columns(overhead), console)
        print_notes(overhead_notes(overhead), console)
    if sentence := conclusion(document):
        print_lines(Text(f"\n{safe(sentence, console)}", style="bold"), console)
    print_notes(explanations(document), console)
    print_notes(notes.warnings(document), console, title="Warnings")
    if document.overheads:
        print_lines(heading("How it was measured"), console)
        print_facts([*overhead_facts(document), *notes.method(document)], console)


def _print_table(columns: Sequence[Column], console: Console) -> None:
    left = list(columns)
    rows = range(len(columns[0].cells)) if columns else range(0)
    for gone in ("", *_CAN_GO):
        left = [one for one in left if one.title != gone]
        for lines in (in_one_line, in_two_lines):
            if width_of([column_width(one, lines, console) for one in left]) <= console.width:
                print_lines(table_of(left, rows, lines, console), console)
                return
    print_lines(table_of(left, rows, in_two_lines, console), console)
