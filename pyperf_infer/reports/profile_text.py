# SPDX-License-Identifier: Apache-2.0
"""The `profile` report as Markdown (GitHub's dialect) and as CSV, with all rows in the tables' own order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports import notes
from pyperf_infer.reports.escape import markdown, markdown_line, printable
from pyperf_infer.reports.markdown import bullets, headline_markdown, table_markdown
from pyperf_infer.reports.profile_view import columns_of, profile_facts, profile_title, table_notes, table_title
from pyperf_infer.results.csv_text import Cell, csv_text
from pyperf_infer.results.profile_csv import table_lines

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Profile, ProfileTable

_FIELDS = (
    "name", "kind", "calls", "time_ms", "share", "total_ms", "input_shapes", "output_shapes", "parameters",
    "output_bytes", "peak_memory_bytes", "device_time_ms", "provider", "aliases", "sources", "layers",
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
        for line in table_lines(table, _FIELDS)
    ]
    if not lines:
        return ""
    cells = [[printable(cell) if isinstance(cell, str) else cell for cell in line.values()] for line in lines]
    return csv_text([list(lines[0]), *cells])


def _head(profile: Profile, table: ProfileTable) -> dict[str, Cell]:
    return {
        "model": profile.model,
        "batch_size": profile.batch_size,
        "precision": profile.precision,
        "device": profile.device,
        "backend": profile.backend,
        "threads": profile.threads,
        "table": table.name,
        "inferences": table.inferences,
    }
