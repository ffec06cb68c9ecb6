# SPDX-License-Identifier: Apache-2.0
"""How the sentences below the table call rows: as briefly as still tells them apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document, Result

MAX_LISTED = 4


def row_name(document: Document, result: Result) -> str:
    """Model, batch and precision only where the document holds more than one; always the backend, and its side."""
    subjects = [one.subject for one in document.results]
    parts = []
    if len({one.model for one in subjects}) > 1:
        parts.append(result.subject.model)
    if len({one.batch_size for one in subjects}) > 1:
        parts.append(f"batch {result.subject.batch_size}")
    if len({one.precision for one in subjects}) > 1:
        parts.append(result.subject.precision)
    parts.append(result.method.backend)
    parts.append(side_name(document, result))
    return " ".join(filter(None, parts))


def side_name(document: Document, result: Result) -> str:
    """ "A", "B"; where there are several contests, "A1", "B1", "A2" and so on. Empty without --vs."""
    if result.side is None:
        return ""
    several = len({one.side.contest for one in document.results if one.side is not None}) > 1
    return f"{result.side.label}{result.side.contest + 1}" if several else result.side.label


def name_rows(document: Document, rows: Sequence[Result], *, always: bool = False) -> str:
    """``rows`` by the one thing that they, and no others, share: "torch", "batch 16"; else one by one.

    Empty for no row, and for all rows unless ``always``.
    """
    chosen = {id(one) for one in rows}
    if not chosen or (len(chosen) == len(document.results) and not always):
        return ""
    shared: tuple[Callable[[Result], str], ...] = (
        lambda one: one.method.backend,
        lambda one: one.subject.model,
        lambda one: f"batch {one.subject.batch_size}",
        lambda one: one.subject.precision,
        lambda one: f"{one.subject.model} batch {one.subject.batch_size}",
    )
    if any(one.side for one in document.results):
        shared = (lambda one: one.side.label if one.side else "", *shared)
    for label in shared:
        labels = list(dict.fromkeys(label(one) for one in rows))
        if chosen == {id(one) for one in document.results if label(one) in labels}:
            return _few(labels)
    return _few(list(dict.fromkeys(row_name(document, one) for one in rows)))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more
