# SPDX-License-Identifier: Apache-2.0
"""The `run` report for people: one wide table where the terminal is wide, bands of it by model where it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes, view
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

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.reports.cells import Column
    from pyperf_infer.results.schema import Document


def render_run(document: Document, console: Console) -> None:
    """Prints ``document``. Colours are the console's affair: none where it is no terminal or NO_COLOR is set."""
    render_headline(document, console)
    if document.results:
        _print_tables(document, view.metric_columns(document), console)
    print_notes(notes.findings(document), console)
    print_notes(notes.warnings(document), console, title="Warnings")
    if document.results:
        print_lines(heading("How it was measured"), console)
        _print_tables(document, view.method_columns(document), console, again=True)
    print_facts(notes.method(document), console)


def render_headline(document: Document, console: Console) -> None:
    """Whether all is there, the tool and its libraries, the machine."""
    for note in notes.headline(document):
        print_lines(Text(safe(note.text, console), style=f"bold {STYLES[note.kind]}"), console)


def _print_tables(document: Document, metrics: Sequence[Column], console: Console, *, again: bool = False) -> None:
    keys = view.key_columns(document)
    everything = range(len(document.results))
    for lines in (in_one_line, in_two_lines):
        if width_of([column_width(one, lines, console) for one in (*keys, *metrics)]) <= console.width:
            console.line()
            print_lines(table_of([*keys, *metrics], everything, lines, console), console)
            return
    groups = {"": list(everything)}
    if not any(one.side for one in document.results):  # whose models may differ, and stand below each other
        keys, models = keys[1:], keys[0]
        names = dict.fromkeys(one.text for one in models.cells)
        groups = {name: [index for index, one in enumerate(models.cells) if one.text == name] for name in names}
    widths = [column_width(one, in_two_lines, console) for one in keys]
    bands = split(widths, [column_width(one, in_two_lines, console) for one in metrics], console.width)
    for name, rows in groups.items():
        if name and (len(groups) > 1 or not again):
            console.line()
            print_lines(Text(safe(name, console), style="bold cyan"), console)
        for band in bands:
            console.line()
            print_lines(table_of([*keys, *(metrics[one] for one in band)], rows, in_two_lines, console), console)
