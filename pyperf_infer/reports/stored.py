# SPDX-License-Identifier: Apache-2.0
"""The `compare` report for people, on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from pyperf_infer.reports import notes
from pyperf_infer.reports.layout import (
    STYLES,
    heading,
    print_facts,
    print_in_bands,
    print_lines,
    print_notes,
    safe,
)
from pyperf_infer.reports.stored_notes import explanations, stored_facts, stored_headline, stored_notes
from pyperf_infer.reports.stored_view import stored_columns, stored_title

if TYPE_CHECKING:
    from rich.console import Console

    from pyperf_infer.results.schema import Document

_KEYS = ("model", "batch", "precision", "backend", "p50 of")  # together they name a row


def render_stored(document: Document, console: Console) -> None:
    """Prints ``document``: a table for each contender, and what could explain it."""
    for note in stored_headline(document):
        print_lines(Text(safe(note.text, console), style=f"bold {STYLES[note.kind]}"), console)
    for comparison in document.stored:
        print_lines(Text(f"\n{safe(stored_title(comparison), console)}", style="bold cyan"), console)
        print_in_bands(stored_columns(comparison), _KEYS, console)
        print_notes(stored_notes(comparison), console)
        print_notes(explanations(comparison), console, title="What could explain a difference")
    print_notes(notes.warnings(document), console, title="Warnings")
    print_lines(heading("How it was compared"), console)
    print_facts(stored_facts(document), console)
