# SPDX-License-Identifier: Apache-2.0
"""The results as CSV: one line a result, numbers in full, units in the column names. Not a loss-free form; JSON is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pyperf_infer.reports.comparisons import as_contender
from pyperf_infer.reports.escape import printable
from pyperf_infer.reports.gpu_csv import gpu_cells
from pyperf_infer.reports.judged import judged_quantity
from pyperf_infer.reports.processes import location_ms, processes_cells
from pyperf_infer.results.csv_text import Cell, csv_text

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Comparison, Document, Outliers, Percentile, QuantityBlock, Result


def run_csv(document: Document) -> str:
    """A header and a line a result. The percentiles' columns are those that any result of the document has."""
    percents = sorted({one.percent for result in document.results for one in _percentiles(result)} - {50.0})
    rows = [_row(document, one, percents) for one in document.results]
    header = list(rows[0]) if rows else []
    return csv_text([header, *(list(row.values()) for row in rows)]) if rows else ""


def _row(document: Document, result: Result, percents: Iterable[float]) -> dict[str, Cell]:
    row = {
        **_subject(result),
        **_latency(result, percents),
        **_summary(result),
        **_comparison(as_contender(document, result)),
        **_method(result),
        **processes_cells(result),
        **gpu_cells(result),
        "roof_ms": None if result.roof is None else result.roof.roof_ms,
        "share_of_roof": None if result.roof is None else result.roof.share_of_roof,
        "parity": result.parity.status if result.parity else None,
        "error": result.error.message if result.error else None,
        "warnings": ", ".join(one.code for one in (*document.warnings, *result.warnings)) or None,
        "document_status": document.status,
        "created_utc": document.created_utc,
        "tool_version": document.tool_version,
    }
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _subject(result: Result) -> dict[str, Cell]:
    subject = result.subject
    return {
        "side": result.side.label if result.side else None,
        "contest": result.side.contest if result.side else None,
        "model": subject.model,
        "batch_size": subject.batch_size,
        "requested_batch_size": subject.requested_batch_size,
        "precision": subject.precision,
        "backend": result.method.backend,
        "provider": result.method.provider,
        "device": result.method.device,
        "mode": result.method.mode,
    }


def _latency(result: Result, percents: Iterable[float]) -> dict[str, Cell]:
    block: QuantityBlock | None = result.summary.timing
    p50_ms, interval_ms = location_ms(result, block) if block else (None, None)
    low, high = interval_ms or (None, None)
    listed = {one.percent: one.value_ms for one in _percentiles(result)}
    return {
        "quantity": judged_quantity(result) if block else None,
        "samples": block.count if block else None,
        "p50_ms": p50_ms,
        "p50_low_ms": low,
        "p50_high_ms": high,
        **{f"p{percent:g}_ms": listed.get(percent) for percent in percents},
        "mean_ms": block.mean_ms if block else None,
        "stddev_ms": block.stddev_ms if block else None,
        "min_ms": block.min_ms if block else None,
        "max_ms": block.max_ms if block else None,
        "outliers": block.outliers if block else None,
        **_outlier_classes(block.outlier_classes if block else None),
        "effective_count": block.effective_count if block else None,
    }


def _outlier_classes(classes: Outliers | None) -> dict[str, Cell]:
    names = ("low_severe", "low_mild", "high_mild", "high_severe")
    return {f"outliers_{name}": getattr(classes, name) if classes else None for name in names}


def _percentiles(result: Result) -> list[Percentile]:
    return result.summary.timing.percentiles if result.summary.timing else []


def _summary(result: Result) -> dict[str, Cell]:
    summary = result.summary
    return {
        "submit_p50_ms": summary.submit.p50_ms if summary.submit else None,
        "throughput_per_s": summary.throughput_per_s,
        "session_create_s": summary.session_create_s,
        "first_inference_ms": summary.first_inference_ms,
        "first_inference_warm": summary.first_inference_warm,
        "export_s": summary.export_s,
        "compile_s": summary.compile_s,
        "graph_breaks": summary.graph_breaks,
        "graph_break_reasons": "; ".join(summary.graph_break_reasons) or None,
        "peak_memory_bytes": summary.peak_memory_bytes,
        "memory_increase_bytes": summary.memory_increase_bytes,
        "batched_ns_per_call": summary.batched_ns_per_call,
    }


def _comparison(comparison: Comparison | None) -> dict[str, Cell]:
    low, high = (comparison.interval if comparison else None) or (None, None)
    return {
        "baseline": comparison.baseline if comparison else None,
        "speed_up": comparison.ratio if comparison else None,
        "speed_up_low": low,
        "speed_up_high": high,
        "verdict": comparison.verdict if comparison else None,
        "verdict_confidence": comparison.confidence if comparison else None,
        "items_ratio": comparison.items_ratio if comparison else None,
    }


def _method(result: Result) -> dict[str, Cell]:
    method = result.method
    return {
        "clock": method.clock,
        "loop": method.loop,
        "threads": method.threads,
        "seed": method.seed,
        "converged": None if method.stop is None else str(method.stop.converged).lower(),
        "stop_reason": method.stop.reason if method.stop else None,
        "steady": None if method.warmup is None else str(method.warmup.steady).lower(),
        "warmup_iterations": method.warmup.iterations if method.warmup else None,
        "measured_duration_s": method.measured_duration_s,
    }
