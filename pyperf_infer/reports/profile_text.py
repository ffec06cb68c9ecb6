# SPDX-License-Identifier: Apache-2.0
"""The `profile` report as Markdown (GitHub's dialect) and as CSV, with all rows in the tables' own order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports import notes
from pyperf_infer.reports.escape import markdown, markdown_line, printable
from pyperf_infer.reports.markdown import bullets, headline_markdown, table_markdown
from pyperf_infer.reports.profile_view import columns_of, profile_facts, profile_title, table_notes, table_title
from pyperf_infer.results.csv_text import Cell, csv_text

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Profile, ProfileRow, ProfileTable

_EMPTY_ROW: dict[str, Cell] = dict.fromkeys(
    (
        "name", "kind", "calls", "time_ms", "share", "total_ms", "input_shapes", "output_shapes", "parameters",
        "output_bytes", "peak_memory_bytes", "device_time_ms", "provider", "aliases", "sources", "layers",
    )
)  # fmt: skip


def profile_markdown(document: Document) -> str:
    """Every table with its sentences; every name and message is escaped."""
    sections = [*headline_markdown(document)]
    for profile in document.profiles:
        sections.append(f"## {markdown(profile_title(profile))}")
        sections.append("\n".join(f"- {markdown(title)}: {markdown(text)}" for title, text in profile_facts(profile)))
        for table in profile.tables:
            keys, known = columns_of(table, table.rows)
            sections += [f"### {markdown(table_title(table))}", table_markdown([*keys, *known])]
            sections.append(bullets(table_notes(table)))
    warnings = bullets(notes.warnings(document))
    sections.append(f"### Warnings\n\n{warnings}" if warnings else "")
    sections += [f"{title}: {markdown_line(text)}" for title, text in notes.method(document)]
    return "\n\n".join(one for one in sections if one) + "\n"


def profile_csv(document: Document) -> str:
    """A header, and a line for each row of each table; each timed table ends in its `rest` and its `whole`."""
    lines = [
        {**_head(profile, table), **line}
        for profile in document.profiles
        for table in profile.tables
        for line in [*map(_row, table.rows), *_ends(table)]
    ]
    if not lines:
        return ""
    cells = [[printable(cell) if isinstance(cell, str) else cell for cell in line.values()] for line in lines]
    return csv_text([list(lines[0]), *cells])


def _head(profile: Profile, table: ProfileTable) -> dict[str, Cell]:
    cost = table.perturbation
    return {
        "model": profile.model,
        "batch_size": profile.batch_size,
        "precision": profile.precision,
        "device": profile.device,
        "backend": profile.backend,
        "threads": profile.threads,
        "table": table.name,
        "inferences": table.inferences,
        "plain_ms": None if cost is None else cost.plain_ms,
        "instrumented_ms": None if cost is None else cost.instrumented_ms,
    }


def _row(row: ProfileRow) -> dict[str, Cell]:
    return {
        "record": "row",
        **_EMPTY_ROW,
        "name": row.name,
        "kind": row.kind,
        "calls": row.calls,
        "time_ms": row.time_ms,
        "share": row.share,
        "total_ms": row.total_ms,
        "input_shapes": _shapes(row.input_shapes),
        "output_shapes": _shapes(row.output_shapes),
        "parameters": row.parameters,
        "output_bytes": row.output_bytes,
        "peak_memory_bytes": row.peak_memory_bytes,
        "device_time_ms": row.device_time_ms,
        "provider": row.provider,
        "aliases": _listed(row.aliases),
        "sources": _listed(row.sources),
        "layers": _listed(row.layers),
    }


def _ends(table: ProfileTable) -> list[dict[str, Cell]]:
    if all(row.time_ms is None for row in table.rows):
        return []
    return [
        {
            "record": record,
            **_EMPTY_ROW,
            "time_ms": time_ms,
            "share": time_ms / table.whole_ms if table.whole_ms else None,
        }
        for record, time_ms in (("rest", table.rest_ms), ("whole", table.whole_ms))
    ]


def _shapes(shapes: list[list[int]]) -> str | None:
    return "; ".join("x".join(map(str, shape)) or "scalar" for shape in shapes) or None


def _listed(names: list[str]) -> str | None:
    return "; ".join(names) or None
