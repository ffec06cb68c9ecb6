# SPDX-License-Identifier: Apache-2.0
"""Which comparison belongs to which row: the one of its model, batch, precision and backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Comparison, Document, Result


def as_contender(document: Document, result: Result) -> Comparison | None:
    """The comparison in which ``result`` is measured against a baseline."""
    backend = result.method.backend
    return next((one for one in document.comparisons if one.contender == backend and _is_about(one, result)), None)


def is_baseline(document: Document, result: Result) -> bool:
    """Whether another row is measured against ``result``."""
    backend = result.method.backend
    return any(one.baseline == backend and _is_about(one, result) for one in document.comparisons)


def _is_about(comparison: Comparison, result: Result) -> bool:
    subject = result.subject
    # A document written before there was more than one precision names none.
    precision = comparison.precision in (None, subject.precision)
    return precision and (comparison.model, comparison.batch_size) == (subject.model, subject.batch_size)
