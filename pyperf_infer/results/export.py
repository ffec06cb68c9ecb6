# SPDX-License-Identifier: Apache-2.0
"""Every single sample as CSV, for tools of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.results.csv_text import Cell, csv_text
from pyperf_infer.results.files import write_text
from pyperf_infer.results.samples import Nanoseconds, check_lengths

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document

HEADER = ("result", "model", "batch_size", "precision", "backend", "index", "latency_ns")


def export_samples(document: Document, samples: Sequence[Nanoseconds | None], path: Path) -> None:
    """Writes a line for each sample, in order of time: the result's number in the document, its key, the nanoseconds.

    Args:
        document: whose results they are.
        samples: for each result in order its samples or ``None``: those measured, or ``load_all_samples``'s.
        path: the CSV file.

    Raises:
        InputError: ``path`` cannot be written, or no result has samples.
        ValueError: ``samples`` has the wrong length.
    """
    check_lengths(document, samples)
    if all(one is None for one in samples):
        raise InputError(f"There are no samples to export to {str(path)!r}: no result holds any. Measure again.")
    write_text(path, csv_text(_rows(document, samples)))


def _rows(document: Document, samples: Sequence[Nanoseconds | None]) -> Iterator[Sequence[Cell]]:
    yield HEADER
    for number, (result, durations) in enumerate(zip(document.results, samples, strict=True)):
        if durations is None:
            continue
        subject = result.subject
        key = (number, subject.model, subject.batch_size, subject.precision, result.method.backend)
        for index, duration in enumerate(durations.tolist()):
            yield (*key, index, duration)
