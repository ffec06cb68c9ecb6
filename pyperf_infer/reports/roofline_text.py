# SPDX-License-Identifier: Apache-2.0
"""The `roofline` report as Markdown (GitHub's dialect) and as CSV: the numbers behind the plot, in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

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
from pyperf_infer.roofline.roofs import threads_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyperf_infer.results.schema import Ceilings, Document, Roofline

Value: TypeAlias = Cell | list[str]
_TOP = 0  # all layers
_TOTALS = (
    "measured_ms", "profiled_ms", "layers_ms", "macs", "flops_model", "flops_all", "bytes_min_layer",
    "intensity_flops_per_byte", "flops_per_s", "roof_ms", "share_of_roof",
)  # fmt: skip


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
    """A line a layer, a result's total and a ceiling, as the column `row` says: all that a plot is drawn from.

    Ceilings of which results have the same stand there once; `ceilings_utc` and `ceilings_threads` say which a result
    is set against.
    """
    lines = [*_result_lines(document), *_ceiling_lines(document)]
    if not lines:
        return ""
    columns = [*dict.fromkeys(name for line in lines for name in line)]
    return csv_text([columns, *([_csv_cell(line.get(name)) for name in columns] for line in lines)])


def _csv_cell(value: Value) -> Cell:
    """A list's texts are joined by "; ", and where one of them has a ";" itself, that follows a backslash."""
    if isinstance(value, list):
        return printable("; ".join(one.replace("\\", r"\\").replace(";", r"\;") for one in value))
    return printable(value) if isinstance(value, str) else value


def _result_lines(document: Document) -> Iterator[dict[str, Value]]:
    fields = [one.name for one in msgspec.structs.fields(RooflineLayer)]
    for roofline in document.rooflines:
        head = _head(roofline)
        for layer in roofline.layers:
            yield {"row": "layer", **head, **{name: getattr(layer, name) for name in fields}}
        yield {"row": "total", **head, **{name: getattr(roofline, name) for name in _TOTALS}}


def _head(roofline: Roofline) -> dict[str, Value]:
    return {
        "model": roofline.model,
        "batch_size": roofline.batch_size,
        "run_precision": roofline.precision,
        "device": roofline.device,
        "backend": roofline.backend,
        "threads": roofline.threads,
        "ceilings_utc": roofline.ceilings.measured_utc,
        "ceilings_threads": threads_of(roofline.ceilings, roofline.threads),
    }


def _ceiling_lines(document: Document) -> Iterator[dict[str, Value]]:
    """Rates stand in the columns where a layer's are; of a bandwidth, the level in that of what bounds a layer."""
    found = [*document.ceilings, *(one.ceilings for one in document.rooflines)]
    for ceilings in (one for place, one in enumerate(found) if one not in found[:place]):
        head: dict[str, Value] = {"device": ceilings.device, "ceilings_utc": ceilings.measured_utc}
        for peak in ceilings.compute:
            yield {
                "row": "compute ceiling", **head, "ceilings_threads": peak.threads, "precision": peak.precision,
                "flops_per_s": peak.flops_per_s, "instructions": peak.instructions,
                "median_per_s": peak.median_flops_per_s, "spread": peak.spread,
                "datasheet_per_s": peak.datasheet_flops_per_s, "device_name": ceilings.device_name,
            }  # fmt: skip
        for rate in ceilings.memory:
            yield {
                "row": "memory ceiling", **head, "ceilings_threads": rate.threads, "memory_level": rate.level,
                "bytes_per_s": rate.bytes_per_s, "pattern": rate.pattern,
                "median_per_s": rate.median_bytes_per_s, "spread": rate.spread,
                "datasheet_per_s": rate.datasheet_bytes_per_s, "device_name": ceilings.device_name,
            }  # fmt: skip
