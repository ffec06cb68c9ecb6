# SPDX-License-Identifier: Apache-2.0
"""The `roofline` report as Markdown (GitHub's dialect) and as CSV: the numbers behind the plot, in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pyperf_infer.reports import notes
from pyperf_infer.reports.escape import markdown, markdown_line, printable
from pyperf_infer.reports.markdown import bullets, headline_markdown, table_markdown
from pyperf_infer.reports.roofline_view import (
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
from pyperf_infer.results.csv_text import Cell, csv_text
from pyperf_infer.results.schema import RooflineLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyperf_infer.results.schema import Ceilings, Document, Roofline

_TOP = 0  # all layers


def roofline_markdown(document: Document) -> str:
    """Every table with its sentences; every name and message is escaped."""
    sections = [*headline_markdown(document)]
    if len(document.rooflines) > 1:
        sections.append(table_markdown(total_columns(document.rooflines)))
    for one in document.rooflines:
        sections.append(f"## {markdown(roofline_title(one))}")
        sections.append(table_markdown(layer_columns(one, ranked(one, _TOP))))
        sections.append(bullets(list(roofline_notes(one))))
    for ceilings in document.ceilings:
        sections += _ceilings_markdown(ceilings)
    warnings = bullets(notes.warnings(document))
    sections.append(f"### Warnings\n\n{warnings}" if warnings else "")
    sections += [f"{title}: {markdown_line(text)}" for title, text in notes.method(document)]
    return "\n\n".join(one for one in sections if one) + "\n"


def _ceilings_markdown(ceilings: Ceilings) -> Iterator[str]:
    yield f"## {markdown(ceilings_title(ceilings))}"
    yield table_markdown(compute_columns(ceilings.compute))
    yield table_markdown(memory_columns(ceilings.memory))
    yield bullets(list(ceilings_notes(ceilings)))


def roofline_csv(document: Document) -> str:
    """A line a layer; where no model was asked for, a line a ceiling."""
    lines = [*_layer_lines(document)] or [*_ceiling_lines(document)]
    if not lines:
        return ""
    cells = [[printable(cell) if isinstance(cell, str) else cell for cell in line.values()] for line in lines]
    return csv_text([list(lines[0]), *cells])


def _layer_lines(document: Document) -> Iterator[dict[str, Cell]]:
    fields = [one.name for one in msgspec.structs.fields(RooflineLayer)]
    for roofline in document.rooflines:
        for layer in roofline.layers:
            values = ((name, getattr(layer, name)) for name in fields)
            yield {
                **_head(roofline),
                **{name: " ".join(value) if isinstance(value, list) else value for name, value in values},
            }


def _head(roofline: Roofline) -> dict[str, Cell]:
    return {
        "model": roofline.model,
        "batch_size": roofline.batch_size,
        "run_precision": roofline.precision,
        "device": roofline.device,
        "backend": roofline.backend,
        "threads": roofline.threads,
        "measured_ms": roofline.measured_ms,
    }


def _ceiling_lines(document: Document) -> Iterator[dict[str, Cell]]:
    for ceilings in document.ceilings:
        head: dict[str, Cell] = {"device": ceilings.device, "measured_utc": ceilings.measured_utc}
        for peak in ceilings.compute:
            yield {
                **head, "kind": "compute", "of": peak.precision, "how": peak.instructions, "threads": peak.threads,
                "per_s": peak.flops_per_s, "median_per_s": peak.median_flops_per_s, "spread": peak.spread,
                "datasheet_per_s": peak.datasheet_flops_per_s,
            }  # fmt: skip
        for rate in ceilings.memory:
            yield {
                **head, "kind": "memory", "of": rate.level, "how": rate.pattern, "threads": rate.threads,
                "per_s": rate.bytes_per_s, "median_per_s": rate.median_bytes_per_s, "spread": rate.spread,
                "datasheet_per_s": rate.datasheet_bytes_per_s,
            }  # fmt: skip
