# SPDX-License-Identifier: Apache-2.0
"""The Markdown and CSV reports: the same numbers, and no name that becomes markup or a formula."""

from __future__ import annotations

import csv
import io
import re

import pytest
import result_documents as made
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.reports.csv import run_csv
from pyperf_infer.reports.escape import markdown, markdown_line, printable
from pyperf_infer.reports.markdown import run_markdown
from pyperf_infer.results import schema
from pyperf_infer.results.csv_text import csv_text

NASTY = "a|b`c\n# d <b> [x](http://y) \x1b[1m"


def table_rows(text: str) -> list[list[str]]:
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]


def test_markdown_holds_a_row_a_result() -> None:
    rows = table_rows(run_markdown(made.document()))
    header, _, torch, onnx = (
        dict(zip([one.strip() for one in rows[0]], map(str.strip, row), strict=True)) for row in rows[:4]
    )
    assert list(header)[:4] == ["model", "batch", "backend", "p50"]
    assert torch["p50"] == "52.31 ms ±0.4%"
    assert torch["speed-up"] == "baseline"
    assert onnx["speed-up"] == r"2.104x faster \[2.093, 2.115\]"


def test_markdown_holds_findings_warnings_and_method() -> None:
    warning = schema.Warning(code="noisy", message="Busy.", remedy="Wait.")
    text = run_markdown(
        made.document([made.result(), made.failed(message="No op")], warnings=[warning], status="failed")
    )
    assert text.startswith("**FAILED")
    assert "No op" in text
    assert "### Warnings\n\n- Busy. Wait.\n" in text
    assert "### How it was measured" in text
    assert r"- clock: steady\_clock" in text


def test_a_name_breaks_no_markdown_table() -> None:
    text = run_markdown(made.document([made.result(NASTY), made.failed(NASTY, message=NASTY)]))
    first, *_, last = table_rows(text)
    assert {len(row) for row in table_rows(text)[:4]} == {len(first)}
    assert last[0].strip() == markdown(NASTY)
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)[<\[`]", text)


def test_an_empty_document_is_no_table() -> None:
    text = run_markdown(made.document([], status="interrupted"))
    assert "INTERRUPTED" in text
    assert table_rows(text) == []
    assert run_csv(made.document([])) == ""


@given(st.text())
def test_escaped_text_stays_on_one_line_with_no_bare_markup(text: str) -> None:
    escaped = markdown(text)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"[|`<\[*_#]", re.sub(r"\\.", "", escaped))
    assert re.sub(r"\\(.)", r"\1", escaped) == printable(text)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("- item", r"\- item"),
        ("+ item", r"\+ item"),
        ("1. item", r"1\. item"),
        ("12) item", r"12\) item"),
        ("1.5 ms", "1.5 ms"),
        ("timm:vit", "timm:vit"),
        (":smile:", r"\:smile:"),
        ("https://x", r"https\://x"),
        ("&lt;", r"\&lt;"),
    ],
)
def test_what_starts_a_list_or_a_link_is_escaped(text: str, escaped: str) -> None:
    assert markdown_line(text) == escaped


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_the_numbers_in_full() -> None:
    document = made.document()
    torch, onnx = parsed(run_csv(document))
    latency = document.results[0].summary.latency
    assert latency is not None
    assert float(torch["p50_ms"]) == latency.p50_ms
    assert float(torch["p90_ms"]) == latency.p90_ms
    assert (float(torch["p50_low_ms"]), float(torch["p50_high_ms"])) == latency.p50_interval_ms
    assert torch["speed_up"] == ""
    assert (onnx["speed_up"], onnx["verdict"], onnx["baseline"], onnx["parity"]) == (
        "2.104",
        "faster",
        "torch",
        "equal",
    )
    assert onnx["converged"] == "true"


def test_csv_rows_of_unlike_percentiles_share_one_header() -> None:
    other = made.failed(message="No\nop")
    refused, failed = parsed(run_csv(made.document([made.result(refused_p99="few"), other])))
    assert (refused["p99_ms"], refused["p90_ms"] != "") == ("", True)
    assert (failed["p50_ms"], failed["p99_ms"], failed["error"], failed["samples"]) == ("", "", r"No\nop", "")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x","y")'])
def test_a_name_becomes_no_formula(name: str) -> None:
    (row,) = parsed(run_csv(made.document([made.result(name)])))
    assert row["model"] == f"'{name}"


def test_a_negative_number_stays_a_number() -> None:
    row = made.result()
    row.summary.memory_increase_bytes = -4096
    (cells,) = parsed(run_csv(made.document([row])))
    assert cells["memory_increase_bytes"] == "-4096"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2), min_size=1))
def test_csv_reads_back(rows: list[list[str]]) -> None:
    text = csv_text(rows)
    back = list(csv.reader(io.StringIO(text, newline="")))
    expected = [[f"'{one}" if one[:1] and one[0] in "=+-@\t\r\n" else one for one in row] for row in rows]
    assert back == expected
