# SPDX-License-Identifier: Apache-2.0
"""The `compare` report as Markdown for a pull request, and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports import notes
from pyperf_infer.reports.escape import markdown, printable
from pyperf_infer.reports.markdown import bullets, table_markdown
from pyperf_infer.reports.stored_notes import explanations, stored_facts, stored_headline, stored_notes
from pyperf_infer.reports.stored_view import stored_columns, stored_title
from pyperf_infer.results.csv_text import Cell, csv_text

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, StoredComparison, StoredField, StoredMember, StoredRow


def stored_markdown(document: Document) -> str:
    """The same table and notes as on the terminal, the long parts folded away; every name and message is escaped."""
    sections = [f"**{markdown(one.text)}**" for one in stored_headline(document) if one.kind != "plain"]
    for comparison in document.stored:
        sections += [
            f"### {markdown(stored_title(comparison))}",
            table_markdown(stored_columns(comparison)),
            bullets(stored_notes(comparison)),
            _folded("What could explain a difference", bullets(explanations(comparison))),
        ]
    facts = "\n".join(f"- {title}: {markdown(text)}" for title, text in stored_facts(document))
    sections += [
        _folded("Warnings", bullets(notes.warnings(document))),
        _folded(f"How it was compared ({markdown(document.tool)} {markdown(document.tool_version)})", facts),
    ]
    return "\n\n".join(one for one in sections if one) + "\n"


def stored_csv(document: Document) -> str:
    """A header and a line a row; nothing where there is none."""
    rows = [_row(document, one, row) for one in document.stored for row in one.rows]
    return csv_text([list(rows[0]), *(list(row.values()) for row in rows)]) if rows else ""


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>" if text else ""


def _row(document: Document, comparison: StoredComparison, row: StoredRow) -> dict[str, Cell]:
    low, high = row.interval or (None, None)
    cells: dict[str, Cell] = {
        "baseline": comparison.baseline.name,
        "contender": comparison.contender.name,
        "model": row.model,
        "batch_size": row.batch_size,
        "precision": row.precision,
        "quantity": row.quantity,
        **_member("baseline", row.baseline),
        **_member("contender", row.contender),
        "ratio": row.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "confidence": row.confidence,
        "compared": row.compared,
        "spread": row.spread,
        "margin": comparison.margin,
        "verdict": row.verdict,
        "reason": row.reason,
        "gate": row.gate,
        "refused": _fields(row.refused),
        "forced": _fields(row.forced),
        **_figures(row),
        "environment": "; ".join(one.field for one in row.environment) or None,
        "created_utc": document.created_utc,
        "tool_version": document.tool_version,
    }
    return {name: printable(value) if isinstance(value, str) else value for name, value in cells.items()}


def _member(side: str, member: StoredMember) -> dict[str, Cell]:
    return {
        f"{side}_backend": member.backend,
        f"{side}_provider": member.provider,
        f"{side}_device": member.device,
        f"{side}_processes": member.processes,
        f"{side}_p50_ms": member.p50_ms,
        f"{side}_parity": member.parity,
        f"{side}_largest_relative_difference": member.largest_relative_difference,
    }


_UNITS = {
    "p90": "p90_ms",
    "p95": "p95_ms",
    "p99": "p99_ms",
    "throughput": "throughput_per_s",
    "peak_memory": "peak_memory_bytes",
    "device_peak_memory": "device_peak_memory_bytes",
}


def _figures(row: StoredRow) -> dict[str, Cell]:
    """Every quantity has its columns, so that the header is the same whatever a file holds."""
    found = {one.quantity: one for one in row.figures}
    cells: dict[str, Cell] = {}
    for name, title in _UNITS.items():
        one = next((figure for quantity, figure in found.items() if quantity == name), None)
        cells[f"baseline_{title}"] = one.baseline if one else None
        cells[f"contender_{title}"] = one.contender if one else None
        cells[f"{name}_ratio"] = one.ratio if one else None
    return cells


def _fields(fields: list[StoredField]) -> str | None:
    return "; ".join(f"{one.field}: {one.baseline or 'absent'} / {one.contender or 'absent'}" for one in fields) or None
