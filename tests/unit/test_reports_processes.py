# SPDX-License-Identifier: Apache-2.0
"""Rows of several processes in the reports: their interval is that between processes, never that of the iterations."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
import result_documents as made
from rich.console import Console

from pyperf_infer.reports.csv import run_csv
from pyperf_infer.reports.markdown import run_markdown
from pyperf_infer.reports.terminal import render_run
from pyperf_infer.results.schema import Processes, ProcessRun

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Result


def in_processes(
    *, asked: int = 5, runs: int = 5, interval: tuple[float, float] | None = (49.0, 51.0), share: float | None = 0.73
) -> Result:
    """A row whose processes lie at 50 ms, while its pooled samples have their median at 52.31."""
    row = made.result()
    assert row.summary.latency is not None
    row.summary.latency.p50_interval_ms = None
    row.processes = Processes(
        asked=asked,
        runs=[ProcessRun(p50_ms=50, p50_interval_ms=(49.9, 50.1), count=80, converged=True)] * runs,
        p50_ms=50.0,
        interval_ms=interval,
        relative_sd_between=0.016 if share is not None else None,
        relative_sd_within=0.0098,
        share_between=share,
    )
    return row


def on_terminal(document: Document, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    render_run(document, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(text: str, title: str) -> str:
    """The line of the method that has this title."""
    (found,) = [one for one in text.splitlines() if one.split()[:1] == [title] and "  " in one and "batch" not in one]
    return found


def test_the_table_has_the_processes_mean_and_interval_and_how_much_lies_between() -> None:
    text = on_terminal(made.document([in_processes()]))
    assert "50.00 ms" in text
    assert "\N{PLUS-MINUS SIGN}2%" in text
    assert "52.31 ms" not in text
    assert "(73% of variance between)" in text
    said = line(text, "processes")
    assert "5 fresh ones" in said
    assert "standard deviation between them 1.6%" in said
    assert "within one 1%" in said
    assert "the processes' medians" in line(text, "interval")


def test_processes_that_are_missing_show() -> None:
    text = on_terminal(made.document([in_processes(runs=3)]))
    assert "3 of 5 (73%" in text
    assert "3 of 5 fresh ones" in line(text, "processes")


def test_one_process_that_was_left_has_no_interval_and_no_share() -> None:
    text = on_terminal(made.document([in_processes(runs=1, interval=None, share=None)]))
    assert "(no interval)" in text
    assert "of variance" not in text
    assert "between them" not in text


def test_not_converged_is_said_of_the_processes_own_intervals() -> None:
    row = in_processes()
    assert row.method.stop is not None
    row.method.stop.converged = False
    text = on_terminal(made.document([row]))
    assert "\N{PLUS-MINUS SIGN}2%*" in text
    assert "in a process or more, the interval of its own p50 is wider than the" in text
    single = on_terminal(made.document([made.result(converged=False)]))
    assert "not converged: the interval of p50 is wider than the" in single


def test_rows_of_one_process_are_as_they_were() -> None:
    text = on_terminal(made.document())
    assert "processes" not in text
    assert "95% of the median, asked for" in text


def test_markdown_has_the_same() -> None:
    text = run_markdown(made.document([in_processes()]))
    assert "| 50.00 ms \N{PLUS-MINUS SIGN}2% |" in text
    assert "5 (73% of variance between)" in text


@pytest.mark.parametrize("both", [False, True])
def test_csv_has_the_interval_between_processes_and_columns_for_the_rest(both: bool) -> None:
    rows = [in_processes(), made.result(backend="onnxruntime")] if both else [in_processes()]
    first, *others = csv.DictReader(io.StringIO(run_csv(made.document(rows))))
    assert (float(first["p50_ms"]), float(first["p50_low_ms"]), float(first["p50_high_ms"])) == (50, 49, 51)
    assert (first["processes"], first["processes_asked"], first["share_between"]) == ("5", "5", "0.73")
    assert (first["relative_sd_between"], first["relative_sd_within"]) == ("0.016", "0.0098")
    for other in others:
        assert (float(other["p50_ms"]), other["processes"], other["share_between"]) == (52.31, "", "")


def test_csv_without_an_interval_leaves_it_empty() -> None:
    (row,) = csv.DictReader(io.StringIO(run_csv(made.document([in_processes(interval=None)]))))
    assert (row["p50_low_ms"], row["p50_high_ms"]) == ("", "")
