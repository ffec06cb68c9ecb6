# SPDX-License-Identifier: Apache-2.0
"""The `run` table as columns of plain text. The terminal and the Markdown report lay the same columns out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.reports import gpu_view
from pyperf_infer.reports.cells import Cell, Column, Tone, column, median, memory, number, without_empty
from pyperf_infer.reports.comparisons import as_contender, is_baseline
from pyperf_infer.reports.gpu_conditions import condition_columns
from pyperf_infer.reports.judged import labels, only
from pyperf_infer.reports.processes import location_ms, processes_cell
from pyperf_infer.reports.row_names import side_name
from pyperf_infer.units import (
    format_count,
    format_duration_ms,
    format_duration_s,
    format_percent,
    format_ratio,
)

if TYPE_CHECKING:
    from pyperf_infer.results.fields import Interval
    from pyperf_infer.results.schema import Comparison, Document, Percentile, QuantityBlock, Result

NOT_CONVERGED = "*"  # behind an interval that is wider than asked; notes.py explains it
_SHORT_REASON = 20
TELLING_SHARE = 0.9  # of the samples: worth fewer independent ones than that, and the table says so


def key_columns(document: Document) -> list[Column]:
    """Model, batch, backend, the side of a contest, and the precision unless all is float32 on the CPU: together they
    name a row.
    """
    rows = document.results
    columns = [
        Column("model", tuple(Cell(one.subject.model) for one in rows), numeric=False),
        Column("batch", tuple(_batch(one) for one in rows)),
        Column("backend", tuple(Cell(one.method.backend) for one in rows), numeric=False),
        *without_empty([column("side", rows, lambda one: Cell(side_name(document, one)), numeric=False)]),
    ]
    if any(one.method.gpu is not None or one.subject.precision != "float32" for one in rows):
        columns.append(Column("precision", tuple(Cell(one.subject.precision) for one in rows), numeric=False))
    return columns


def metric_columns(document: Document) -> list[Column]:
    """What was measured; a column that would be empty throughout is left out."""
    rows = document.results

    def speed_up(result: Result) -> Cell:
        comparison = as_contender(document, result)
        if comparison is not None:
            return _comparison(comparison)
        return Cell("baseline", tone="quiet") if is_baseline(document, result) else Cell()

    columns = [
        *_timing_columns(rows),
        column("items/s", rows, lambda one: number(one.summary.throughput_per_s, format_count)),
        column("speed-up", rows, speed_up),
        column(
            "of roof", rows, lambda one: Cell() if one.roof is None else Cell(format_percent(one.roof.share_of_roof))
        ),
        column("gpu", rows, gpu_view.gpu_span),
        column("submit", rows, _submit),
        *gpu_view.transfer_columns(rows),
        *gpu_view.meaning_columns(rows),
        *gpu_view.device_columns(rows),
        column("peak memory", rows, _memory),
        column("load", rows, _load),
        column("first inference", rows, _first_inference),
        column("export", rows, lambda one: number(one.summary.export_s, format_duration_s)),
        column("compile", rows, lambda one: number(one.summary.compile_s, format_duration_s)),
        column("graph breaks", rows, _graph_breaks),
        column("call in a batch", rows, lambda one: _nanoseconds(one.summary.batched_ns_per_call)),
    ]
    return without_empty(columns)


def method_columns(document: Document) -> list[Column]:
    """How each row came about: samples, time, why it stopped, what the warm-up took."""
    rows = document.results
    columns = [
        column("processes", rows, processes_cell),
        column("samples", rows, lambda one: _block(one, _samples)),
        column("measured", rows, lambda one: number(one.method.measured_duration_s, format_duration_s)),
        column("stopped because", rows, _stop, numeric=False),
        column("warm-up", rows, _warmup, numeric=False),
        *condition_columns(rows),
    ]
    return without_empty(columns)


def _timing_columns(rows: Sequence[Result]) -> list[Column]:
    """The median and the percentiles, in columns of their own for each quantity that a row is judged by."""
    columns: list[Column] = []
    for name, listed in labels(rows).items():
        columns.append(column(f"{name}p50", rows, only(listed, _p50)))
        columns += [
            column(f"{name}p{percent:g}", rows, only(listed, _percentile(percent))) for percent in _percents(listed)
        ]
    return columns


def _batch(result: Result) -> Cell:
    asked, got = result.subject.requested_batch_size, result.subject.batch_size
    return Cell(str(got), f"(asked {asked})" if asked != got else "")


def _p50(result: Result) -> Cell:
    block = result.summary.timing
    if result.error is not None:
        return Cell("failed", tone="bad")
    if block is None:
        return Cell("not measured", tone="unsure")
    unsure = result.method.stop is not None and not result.method.stop.converged
    p50_ms, interval_ms = location_ms(result, block)
    interval = half_width(p50_ms, interval_ms) + (NOT_CONVERGED if unsure else "")
    if result.integrity is not None and result.integrity.status == "impossible":
        return Cell(format_duration_ms(p50_ms), f"{interval} impossible", "bad")
    return Cell(format_duration_ms(p50_ms), interval, "unsure" if unsure else "plain")


def half_width(p50_ms: float, interval_ms: Interval | None) -> str:
    """The farther end of the median's interval, relative to the median: "±0.4%"."""
    if interval_ms is None:
        return "(no interval)"
    low, high = interval_ms
    if not p50_ms:
        return f"[{format_duration_ms(low)}, {format_duration_ms(high)}]"
    return f"\N{PLUS-MINUS SIGN}{format_percent(max(p50_ms - low, high - p50_ms) / p50_ms)}"


def _percents(rows: Iterable[Result]) -> list[float]:
    blocks = [one.summary.timing for one in rows if one.summary.timing is not None]
    return sorted({one.percent for block in blocks for one in block.percentiles} - {50.0})


def _percentile(percent: float) -> Callable[[Result], Cell]:
    def cell(result: Result) -> Cell:
        return _block(
            result,
            lambda block: next((_value_or_refusal(one) for one in block.percentiles if one.percent == percent), Cell()),
        )

    return cell


def _value_or_refusal(one: Percentile) -> Cell:
    if one.value_ms is not None:
        return Cell(format_duration_ms(one.value_ms))
    reason = one.refused or ""
    return Cell("n/a", f"({reason})" if len(reason) <= _SHORT_REASON else "", "quiet", repeated=True)


def _comparison(comparison: Comparison) -> Cell:
    tones: dict[str, Tone] = {"faster": "good", "slower": "bad", "same": "plain", "undecided": "unsure"}
    detail = ""
    if comparison.interval is not None:
        detail = f"[{format_ratio(comparison.interval[0])}, {format_ratio(comparison.interval[1])}]"
    text = f"{format_ratio(comparison.ratio)}x {comparison.verdict}"
    return Cell(text, detail, tones[comparison.verdict])


def _submit(result: Result) -> Cell:
    summary = result.summary
    # Without a GPU, handing the work over is the whole call. With one, it was not measured: mode throughput.
    synchronous = summary.submit is None and summary.timing is not None and result.method.gpu is None
    return Cell("= total", tone="quiet") if synchronous else median(summary.submit)


def _load(result: Result) -> Cell:
    if result.summary.session_create_s is None:
        return Cell()
    weights = result.subject.weights
    # A backend that runs the module itself has the module's loading: weights and all.
    own = result.method.provider is not None or result.method.backend == "torch-aoti"
    drawn = not own and weights is not None and weights.source == "random"
    return Cell(format_duration_s(result.summary.session_create_s), "(weights drawn)" if drawn else "")


def _graph_breaks(result: Result) -> Cell:
    breaks = result.summary.graph_breaks
    return Cell() if breaks is None else Cell(str(breaks), tone="unsure" if breaks else "plain")


def _first_inference(result: Result) -> Cell:
    if result.summary.first_inference_ms is None:
        return Cell()
    # Random weights are calibrated by a forward: what comes after it is no first touch.
    warm = "(had run before)" if result.summary.first_inference_warm else ""
    return Cell(format_duration_ms(result.summary.first_inference_ms), warm)


def _memory(result: Result) -> Cell:
    return memory(result.summary.peak_memory_bytes, result.summary.memory_increase_bytes)


def _stop(result: Result) -> Cell:
    stop = result.method.stop
    return Cell() if stop is None else Cell(stop.reason, "" if stop.converged else "(not converged)")


def _warmup(result: Result) -> Cell:
    warmup = result.method.warmup
    if warmup is None:
        return Cell()
    text = f"{warmup.iterations} calls, {format_duration_ms(warmup.duration_ms)}"
    return Cell(text, "" if warmup.steady else "(budget spent)", "plain" if warmup.steady else "unsure")


def _samples(block: QuantityBlock) -> Cell:
    said = []
    if block.outliers:
        severe = block.outlier_classes.low_severe + block.outlier_classes.high_severe if block.outlier_classes else 0
        said.append(f"{block.outliers} outlier{'s' * (block.outliers != 1)}" + (f", {severe} severe" if severe else ""))
    if block.effective_count is not None and block.effective_count < block.count * TELLING_SHARE:
        said.append(f"worth {block.effective_count:.0f} independent ones")
    return Cell(str(block.count), f"({'; '.join(said)})" if said else "")


def _block(result: Result, cell: Callable[[QuantityBlock], Cell]) -> Cell:
    return Cell() if result.summary.timing is None else cell(result.summary.timing)


def _nanoseconds(value: float | None) -> Cell:
    return Cell() if value is None else Cell(format_duration_ms(value / 1e6))
