# SPDX-License-Identifier: Apache-2.0
"""The `selftest` report for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes, selftest_view
from pyperf_infer.reports.bands import width_of
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
from pyperf_infer.reports.selftest_words import explanations
from pyperf_infer.reports.terminal import render_headline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pyperf_infer.reports.cells import Column
    from pyperf_infer.results.schema import Document

_CAN_GO = (
    "interval",
    "samples each",
    "of",
    "exact",
    "trials",
    "gate at 3%",
)  # where there is no room, the first of them first


def render_selftest(document: Document, console: Console) -> None:
    """Prints ``document``: the outcome, every figure with its bound, the comparisons, the coverage, what it means."""
    render_headline(document, console)
    found = document.selftest
    if found is None:
        return
    outcome = selftest_view.outcome(found)
    print_lines(Text(f"\n{safe(outcome.text, console)}", style=f"bold {STYLES[outcome.kind]}"), console)
    if outcome.remedy:
        print_lines(Text(safe(outcome.remedy, console), style="italic"), console)
    for title, columns in (
        ("Figures and bounds", selftest_view.figure_columns(found)),
        ("Comparisons whose answer is known", selftest_view.comparison_columns(found)),
        ("Intervals of made samples", selftest_view.coverage_columns(found)),
    ):
        if columns and columns[0].cells:
            print_lines(heading(title), console)
            _print_table(columns, console)
    print_notes(selftest_view.findings(found), console)
    print_notes(notes.warnings(document), console, title="Warnings")
    print_notes(explanations(found), console, title="What it means")
    print_lines(heading("How it was measured"), console)
    print_facts(selftest_view.facts(document, found), console)


def _print_table(columns: Sequence[Column], console: Console) -> None:
    left = list(columns)
    rows = range(len(columns[0].cells))
    for gone in ("nothing yet", *_CAN_GO):
        left = [one for one in left if one.title != gone]
        for lines in (in_one_line, in_two_lines):
            if width_of([column_width(one, lines, console) for one in left]) <= console.width:
                print_lines(table_of(left, rows, lines, console), console)
                return
    print_lines(table_of(left, rows, in_two_lines, console), console)
