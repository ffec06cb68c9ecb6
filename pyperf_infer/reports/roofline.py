# SPDX-License-Identifier: Apache-2.0
"""The `roofline` report for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes
from pyperf_infer.reports.layout import (
    heading,
    print_facts,
    print_in_bands,
    print_lines,
    print_notes,
    safe,
)
from pyperf_infer.reports.notes import Note
from pyperf_infer.reports.roofline_canvas import caption, draw
from pyperf_infer.reports.roofline_chart import chart_of
from pyperf_infer.reports.roofline_view import (
    KEYS,
    TOP,
    ceilings_notes,
    ceilings_title,
    compute_columns,
    layer_columns,
    memory_columns,
    ranked,
    roofline_notes,
    roofline_title,
    total_columns,
)
from pyperf_infer.reports.terminal import render_headline

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.results.schema import Ceilings, Document, Roofline

_TOTAL_KEYS = ("model", "batch", "precision", "backend")
_CEILING_KEYS = ("products of", "level", "pattern", "threads")


def render_roofline(document: Document, console: Console, *, top: int = TOP) -> None:
    """Prints `document`, of each table the `top` rows (0: all); ceilings in full where no model was asked for."""
    render_headline(document, console)
    if len(document.rooflines) > 1:
        print_in_bands(total_columns(document.rooflines), _TOTAL_KEYS, console)
    for roofline in document.rooflines:
        _print_roofline(roofline, top, console)
    for ceilings in document.ceilings:
        _print_ceilings(ceilings, console)
    print_notes(notes.warnings(document), console, title="Warnings")
    print_facts(notes.method(document), console)


def _print_roofline(roofline: Roofline, top: int, console: Console) -> None:
    print_lines(Text(f"\n{safe(roofline_title(roofline), console)}", style="bold cyan"), console)
    chart = chart_of(roofline)
    drawn = draw(chart, console.width)
    console.line()
    for line in drawn:
        print_lines(Text(safe(line, console), no_wrap=True), console)
    print_lines(Text(safe(caption(chart, drawn), console), style="dim"), console)
    layers = ranked(roofline, top)
    print_in_bands(layer_columns(roofline, layers), KEYS, console)
    listed = []
    if len(layers) < len(roofline.layers):
        listed.append(
            Note(
                "plain", f"the {len(layers)} of {len(roofline.layers)} layers with the most to gain; --top 0 shows all"
            )
        )
    print_notes([*listed, *roofline_notes(roofline)], console)


def _print_ceilings(ceilings: Ceilings, console: Console) -> None:
    print_lines(heading(safe(ceilings_title(ceilings), console)), console)
    for columns in (compute_columns(ceilings.compute), memory_columns(ceilings.memory)):
        if columns:
            print_in_bands(columns, _CEILING_KEYS, console)
    print_notes(list(ceilings_notes(ceilings)), console)
