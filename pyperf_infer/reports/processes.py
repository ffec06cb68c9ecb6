# SPDX-License-Identifier: Apache-2.0
"""What is said of a row that several processes measured: its interval is that between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports.cells import Cell
from pyperf_infer.units import format_percent

if TYPE_CHECKING:
    from pyperf_infer.results.csv_text import Cell as CsvCell
    from pyperf_infer.results.fields import Interval
    from pyperf_infer.results.schema import QuantityBlock, Result


def location_ms(result: Result, block: QuantityBlock) -> tuple[float, Interval | None]:
    """The p50 that stands for the row, and its interval: over processes where there are several, else over samples."""
    if result.processes is not None:
        return result.processes.p50_ms, result.processes.interval_ms
    return block.p50_ms, block.p50_interval_ms


def processes_cell(result: Result) -> Cell:
    """How many processes measured it, of how many where some did not, and the share of variance between them."""
    found = result.processes
    if found is None:
        return Cell()
    count = len(found.runs)
    text = str(count) if count == found.asked else f"{count} of {found.asked}"
    share = "" if found.share_between is None else f"({format_percent(found.share_between)} of variance between)"
    return Cell(text, share, "plain" if count == found.asked else "unsure")


def processes_line(result: Result) -> str:
    """The spread between and within in a sentence; "" for a row of one process."""
    found = result.processes
    if found is None:
        return ""
    count = len(found.runs)
    known = str(count) if count == found.asked else f"{count} of {found.asked}"
    parts = [f"{known} fresh ones, one after the other"]
    if found.relative_sd_between is not None:
        parts.append(f"relative standard deviation between them {format_percent(found.relative_sd_between)}")
    if found.relative_sd_within is not None:
        parts.append(f"within one {format_percent(found.relative_sd_within)}")
    if found.share_between is not None:
        parts.append(f"{format_percent(found.share_between)} of the variance lies between")
    return ", ".join(parts)


def processes_cells(result: Result) -> dict[str, CsvCell]:
    """The columns of CSV; empty for a row of one process."""
    found = result.processes
    return {
        "processes": len(found.runs) if found else None,
        "processes_asked": found.asked if found else None,
        "relative_sd_between": found.relative_sd_between if found else None,
        "relative_sd_within": found.relative_sd_within if found else None,
        "share_between": found.share_between if found else None,
    }
