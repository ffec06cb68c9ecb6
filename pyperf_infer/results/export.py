# SPDX-License-Identifier: Apache-2.0
"""Every single sample as CSV, for tools of one's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.results.csv_text import Cell, csv_text
from pyperf_infer.results.files import write_text
from pyperf_infer.results.samples import Quantities, check_lengths

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Document

KEY = ("result", "model", "batch_size", "precision", "backend", "index")
ORDER = ("latency", "period", "submit", "gpu", "h2d", "d2h")


def export_samples(document: Document, samples: Sequence[Quantities | None], path: Path) -> None:
    """Writes a line for each sample, in order of time: the result's number in the document, its key, the nanoseconds.

    There is a column for every quantity that any result has; it is empty where a result has it not.

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


def _rows(document: Document, samples: Sequence[Quantities | None]) -> Iterator[Sequence[Cell]]:
    names = _quantities(samples)
    yield (*KEY, *(f"{name}_ns" for name in names))
    for number, (result, quantities) in enumerate(zip(document.results, samples, strict=True)):
        if quantities is None:
            continue
        subject = result.subject
        key = (number, subject.model, subject.batch_size, subject.precision, result.method.backend)
        lists = {name: one.tolist() for name, one in quantities.items()}
        absent = [None] * len(next(iter(lists.values())))
        for index, durations in enumerate(zip(*(lists.get(name, absent) for name in names), strict=True)):
            yield (*key, index, *durations)


def _quantities(samples: Sequence[Quantities | None]) -> list[str]:
    """Those that any result has: the known ones in their usual order, then what a newer version may have added."""
    present = list(dict.fromkeys(name for one in samples if one is not None for name in one))
    return [name for name in ORDER if name in present] + [name for name in present if name not in ORDER]
