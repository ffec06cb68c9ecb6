# SPDX-License-Identifier: Apache-2.0
"""Rows as CSV (RFC 4180) that a spreadsheet opens without running what a model's name says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

Cell = str | int | float | None

# A spreadsheet takes a cell that starts with one of these for a formula (OWASP, "CSV Injection").
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def csv_text(rows: Iterable[Sequence[Cell]]) -> str:
    """One line a row, ended by CRLF. Numbers are written in full, ``None`` as an empty cell."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerows([_cell(one) for one in row] for row in rows)
    return buffer.getvalue()


def _cell(value: Cell) -> Cell:
    """A text that a spreadsheet would run gets an apostrophe in front. A number stays one, also below zero."""
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value
