# SPDX-License-Identifier: Apache-2.0
"""The `run` report as Markdown (GitHub's dialect), for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.reports import notes, view
from pyperf_infer.reports.escape import markdown, markdown_line

if TYPE_CHECKING:
    from pyperf_infer.reports.cells import Column
    from pyperf_infer.results.schema import Document


def run_markdown(document: Document) -> str:
    """The same table and notes as on the terminal; every name and message is escaped."""
    sections = [
        *headline_markdown(document),
        table_markdown([*view.key_columns(document), *view.metric_columns(document)]),
        bullets(notes.findings(document)),
        _titled("Warnings", bullets(notes.warnings(document))),
        _titled("How it was measured", _method(document)),
    ]
    return "\n\n".join(one for one in sections if one) + "\n"


def headline_markdown(document: Document) -> list[str]:
    """Whether all is there, the tool and its libraries, the machine: a paragraph each."""
    return [
        f"**{markdown(one.text)}**" if one.kind != "plain" else markdown_line(one.text)
        for one in notes.headline(document)
    ]


def table_markdown(columns: Sequence[Column]) -> str:
    """A table; nothing where there are no rows."""
    if not columns or not columns[0].cells:
        return ""
    return "\n".join(_lines(columns))


def _lines(columns: Sequence[Column]) -> Iterator[str]:
    yield _row(one.title for one in columns)
    yield _row(("---:" if one.numeric else "---" for one in columns), escape=False)
    for index in range(len(columns[0].cells)):
        yield _row(one.cells[index].joined for one in columns)


def _row(cells: Iterable[str], *, escape: bool = True) -> str:
    return "| " + " | ".join(markdown(one) if escape else one for one in cells) + " |"


def bullets(listed: Sequence[notes.Note]) -> str:
    """Sentences with their remedies, as a list."""
    return "\n".join(f"- {markdown_line(' '.join(filter(None, [one.text, one.remedy])))}" for one in listed)


def _method(document: Document) -> str:
    table = table_markdown([*view.key_columns(document), *view.method_columns(document)])
    lines = "\n".join(f"- {title}: {markdown(text)}" for title, text in notes.method(document))
    return "\n\n".join(one for one in (table, lines) if one)


def _titled(title: str, text: str) -> str:
    return f"### {title}\n\n{text}" if text else ""
