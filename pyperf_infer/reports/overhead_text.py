# SPDX-License-Identifier: Apache-2.0
"""The `overhead` report as Markdown and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports import notes
from pyperf_infer.reports.escape import markdown, printable
from pyperf_infer.reports.markdown import bullets, headline_markdown, table_markdown
from pyperf_infer.reports.overhead_view import (
    conclusion,
    explanations,
    overhead_columns,
    overhead_facts,
    overhead_notes,
    overhead_title,
)
from pyperf_infer.results.csv_text import Cell, csv_text

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Overhead, OverheadPath


def overhead_markdown(document: Document) -> str:
    """The same tables and notes as on the terminal; every name and message is escaped."""
    sections = headline_markdown(document)
    for overhead in document.overheads:
        sections += [
            f"### {markdown(overhead_title(overhead))}",
            table_markdown(overhead_columns(overhead)),
            bullets(overhead_notes(overhead)),
        ]
    sentence = conclusion(document)
    sections += [
        f"**{markdown(sentence)}**" if sentence else "",
        bullets(explanations(document)),
        _titled("Warnings", bullets(notes.warnings(document))),
        _titled("How it was measured", _facts(document)),
    ]
    return "\n\n".join(one for one in sections if one) + "\n"


def overhead_csv(document: Document) -> str:
    """A header and a line a path; nothing where there is none."""
    rows = [_row(document, overhead, path) for overhead in document.overheads for path in overhead.paths]
    return csv_text([list(rows[0]), *(list(row.values()) for row in rows)]) if rows else ""


def _row(document: Document, overhead: Overhead, path: OverheadPath) -> dict[str, Cell]:
    difference_low, difference_high = path.difference_interval_us or (None, None)
    share_low, share_high = path.share_interval or (None, None)
    row: dict[str, Cell] = {
        "model": overhead.model,
        "batch_size": overhead.batch_size,
        "precision": overhead.precision,
        "device": overhead.device,
        "threads": overhead.threads,
        "runtime": path.runtime,
        "path": path.path,
        "loop": path.loop,
        "process": path.process,
        "p50_us": path.p50_us,
        "alone_us": path.alone_us,
        "difference_us": path.difference_us,
        "difference_low_us": difference_low,
        "difference_high_us": difference_high,
        "share": path.share,
        "share_low": share_low,
        "share_high": share_high,
        "same_code": str(path.same_code).lower(),
        "interference": path.interference,
        "parity": path.parity,
        "failed": path.failed,
        "remarks": "; ".join(path.remarks) or None,
        "rounds": overhead.rounds,
        "discarded_calls": overhead.discarded_calls,
        "stop_reason": overhead.stop_reason,
        "confidence": overhead.confidence,
        "margin": overhead.margin,
        "document_status": document.status,
        "created_utc": document.created_utc,
        "tool_version": document.tool_version,
    }
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _facts(document: Document) -> str:
    listed = [*overhead_facts(document), *notes.method(document)]
    return "\n".join(f"- {title}: {markdown(text)}" for title, text in listed) if document.overheads else ""


def _titled(title: str, text: str) -> str:
    return f"### {title}\n\n{text}" if text else ""
