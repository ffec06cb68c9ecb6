# SPDX-License-Identifier: Apache-2.0
"""The `selftest` report as a Markdown page, to be published, and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.reports import notes, selftest_view
from pyperf_infer.reports.escape import markdown, printable
from pyperf_infer.reports.markdown import bullets, headline_markdown, table_markdown
from pyperf_infer.reports.selftest_words import explanations
from pyperf_infer.results.csv_text import Cell, csv_text

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, SelfTestJudgement


def selftest_markdown(document: Document) -> str:
    """The same tables and notes as on the terminal; every name and message is escaped."""
    sections = ["# pyperf-infer selftest", *headline_markdown(document)]
    found = document.selftest
    if found is not None:
        outcome = selftest_view.outcome(found)
        facts = "\n".join(f"- {title}: {markdown(text)}" for title, text in selftest_view.facts(document, found))
        sections += [
            f"**{markdown(' '.join(filter(None, [outcome.text, outcome.remedy])))}**",
            _titled("Figures and bounds", table_markdown(selftest_view.figure_columns(found))),
            _titled("Comparisons whose answer is known", table_markdown(selftest_view.comparison_columns(found))),
            _titled("Intervals of made samples", table_markdown(selftest_view.coverage_columns(found))),
            _titled("Beyond bounds, or not judged", bullets(selftest_view.findings(found))),
            _titled("Warnings", bullets(notes.warnings(document))),
            _titled("What it means", bullets(explanations(found))),
            _titled("How it was measured", facts),
        ]
    return "\n\n".join(one for one in sections if one) + "\n"


def selftest_csv(document: Document) -> str:
    """A header and a line a figure; nothing where there is none."""
    judged = document.selftest.judgements if document.selftest else []
    rows = [_row(document, one) for one in judged]
    return csv_text([list(rows[0]), *(list(row.values()) for row in rows)]) if rows else ""


def _row(document: Document, one: SelfTestJudgement) -> dict[str, Cell]:
    low, high = one.interval or (None, None)
    row: dict[str, Cell] = {
        "code": one.code,
        "part": one.part,
        "what": one.what,
        "value": one.value,
        "unit": one.unit,
        "count": one.count,
        "trials": one.trials,
        "low": low,
        "high": high,
        "at_least": one.at_least,
        "at_most": one.at_most,
        "status": one.status,
        "reason": one.reason,
        "cpu_model": document.environment.cpu_model,
        "document_status": document.status,
        "created_utc": document.created_utc,
        "tool_version": document.tool_version,
    }
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _titled(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""
