# SPDX-License-Identifier: Apache-2.0
"""Contests in the reports: which side a row is, what it was given, the ratio, and why a verdict is open."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest
import result_documents as made
from rich.console import Console

from pyperf_infer.reports.comparisons import as_contender, comparison_name, is_baseline
from pyperf_infer.reports.csv import run_csv
from pyperf_infer.reports.markdown import run_markdown
from pyperf_infer.reports.row_names import name_rows, row_name
from pyperf_infer.reports.terminal import render_run
from pyperf_infer.results.schema import Comparison, Document, Result, Side


def rendered(document: Document, width: int = 120) -> str:
    stream = io.StringIO()
    render_run(document, Console(file=stream, width=width, color_system=None))
    return " ".join(stream.getvalue().split())


def row(label: str, given: str = "", model: str = "resnet50", batch: int = 1, contest: int = 0) -> Result:
    one = made.result(model, batch)
    one.side = Side(label=label, contest=contest, given=given)
    return one


def against(number: int, label: str = "B", *, baseline: int = 0, **fields: object) -> Comparison:
    numbered = {"baseline": "A", "contender": label, "baseline_row": baseline, "contender_row": number}
    return msgspec.structs.replace(made.comparison(), **{**numbered, **fields})


ALIKE = made.document([row("A"), row("B", "--opt-level basic")], [against(1)])


def test_rows_that_are_alike_but_for_their_side_are_told_apart() -> None:
    first, second = ALIKE.results
    assert as_contender(ALIKE, first) is None
    assert is_baseline(ALIKE, first)
    assert as_contender(ALIKE, second) is ALIKE.comparisons[0]
    assert not is_baseline(ALIKE, second)


@pytest.mark.parametrize("width", [80, 120, 300])
def test_the_table_shows_the_sides_the_ratio_and_what_each_was_given(width: int) -> None:
    text = rendered(ALIKE, width)
    for part in ("side", "baseline", "2.104x faster", "[2.093, 2.115]"):
        assert part in text
    assert "sides A: as the command says; B: --opt-level basic" in text


@pytest.mark.parametrize("width", [80, 300])
def test_models_of_one_contest_stand_in_one_table(width: int) -> None:
    document = made.document([row("A", model="resnet50"), row("B", "resnet18", model="resnet18")], [against(1)])
    stream = io.StringIO()
    render_run(document, Console(file=stream, width=width, color_system=None))
    table = stream.getvalue().split("\n\n")[1].splitlines()
    assert table[0].split()[:4] == ["model", "batch", "backend", "side"]
    assert [line.split()[:4] for line in table if line.startswith("resnet")] == [
        ["resnet50", "1", "torch", "A"], ["resnet18", "1", "torch", "B"]
    ]  # fmt: skip


def test_two_contests_with_like_labels_keep_their_own_ratios() -> None:
    rows = [row("A"), row("B"), row("A", batch=8, contest=1), row("B", batch=8, contest=1)]
    document = made.document(rows, [against(1, ratio=2.0), against(3, baseline=2, ratio=3.0)])
    found = [as_contender(document, one) for one in document.results]
    assert [one.ratio if one else None for one in found] == [None, 2.0, None, 3.0]
    assert [row_name(document, one) for one in rows] == [
        "batch 1 torch A1", "batch 1 torch B1", "batch 8 torch A2", "batch 8 torch B2"
    ]  # fmt: skip
    assert name_rows(document, [rows[1], rows[3]]) == "B"
    assert "| resnet50 | 8 | torch | B2 |" in run_markdown(document)


def test_csv_and_markdown_name_the_side() -> None:
    lines = list(csv.DictReader(io.StringIO(run_csv(ALIKE))))
    assert [(one["side"], one["baseline"], one["verdict"]) for one in lines] == [("A", "", ""), ("B", "A", "faster")]
    assert "| resnet50 | 1 | torch | B |" in run_markdown(ALIKE)


def test_a_plain_run_has_no_column_of_sides() -> None:
    assert "| model | batch | backend | p50 |" in run_markdown(made.document())
    assert "sides" not in run_markdown(made.document())


def test_an_open_verdict_says_why_and_what_it_would_have_taken() -> None:
    comparison = against(
        1, verdict="undecided", reason="the interval reaches across the margin", converged=False, needed_duration_s=93.0
    )
    text = rendered(msgspec.structs.replace(ALIKE, comparisons=[comparison]))
    assert "the interval reaches across the margin; about 93.00 s of turns would have made" in text
    assert "--max-duration" in text


def test_what_converged_says_nothing_of_it() -> None:
    document = msgspec.structs.replace(ALIKE, comparisons=[against(1, converged=True)])
    assert "of turns" not in rendered(document)


def test_unlike_batches_say_what_the_ratio_is_of() -> None:
    document = made.document([row("A"), row("B", "-b 8", batch=8)], [against(1, ratio=0.2, items_ratio=1.6)])
    text = rendered(document)
    assert "batch sizes differ: the ratio is of the time of a call, and that of items a second is 1.600x" in text
    assert comparison_name(document, document.comparisons[0]).startswith("B (resnet50 batch 8 float32 torch) against A")


def test_a_comparison_whose_row_is_not_there_is_named_by_what_it_holds() -> None:
    document = made.document([row("A")], [against(9)])
    assert comparison_name(document, document.comparisons[0]) == "resnet50 batch 1, B against A"
    assert as_contender(document, document.results[0]) is None
