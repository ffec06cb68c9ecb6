# SPDX-License-Identifier: Apache-2.0
"""Which comparison belongs to which row, and how it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Comparison, Document, Result


def as_contender(document: Document, result: Result) -> Comparison | None:
    """The comparison in which ``result`` is measured against a baseline."""
    return next((one for one in document.comparisons if _is(document, one, result, baseline=False)), None)


def is_baseline(document: Document, result: Result) -> bool:
    """Whether another row is measured against ``result``."""
    return any(_is(document, one, result, baseline=True) for one in document.comparisons)


def comparison_name(document: Document, comparison: Comparison) -> str:
    """ "resnet18 batch 1, onnxruntime against torch"; sides by their labels and what they differ in."""
    ours, theirs = _row(document, comparison.contender_row), _row(document, comparison.baseline_row)
    against = f"{comparison.contender} against {comparison.baseline}"
    if ours is None or theirs is None or ours.side is None:
        several = len({one.subject.precision for one in document.results}) > 1
        precision = f" {comparison.precision}" if several and comparison.precision else ""
        return f"{comparison.model} batch {comparison.batch_size}{precision}, {against}"
    mine, other = _described(ours), _described(theirs)
    if mine == other:
        return f"{mine}, {against}"
    return f"{comparison.contender} ({mine}) against {comparison.baseline} ({other})"


def _described(result: Result) -> str:
    subject = result.subject
    return f"{subject.model} batch {subject.batch_size} {subject.precision} {result.method.backend}"


def _row(document: Document, number: int | None) -> Result | None:
    return None if number is None or number >= len(document.results) else document.results[number]


def _is(document: Document, comparison: Comparison, result: Result, *, baseline: bool) -> bool:
    """Whether ``result`` is that side of the comparison: by the row's number, or by what an older document names."""
    number = comparison.baseline_row if baseline else comparison.contender_row
    if number is not None:
        return _row(document, number) is result
    backend = comparison.baseline if baseline else comparison.contender
    subject = result.subject
    # A document written before there was more than one precision names none.
    precision = comparison.precision in (None, subject.precision)
    same = (comparison.model, comparison.batch_size) == (subject.model, subject.batch_size)
    return backend == result.method.backend and precision and same
