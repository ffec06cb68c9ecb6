# SPDX-License-Identifier: Apache-2.0
"""What tables are made of: cells and columns of plain text, before anyone lays them out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pyperf_infer.units import format_bytes, format_duration_ms

if TYPE_CHECKING:
    from pyperf_infer.results.schema import QuantityBlock, Result

Tone = Literal["plain", "good", "bad", "unsure", "quiet"]


@dataclass(frozen=True)
class Cell:
    """A value, and what belongs behind it or under it."""

    text: str = ""
    detail: str = ""
    tone: Tone = "plain"
    repeated: bool = False  # the detail also stands in the notes: it may be left out where room is scarce

    @property
    def joined(self) -> str:
        return f"{self.text} {self.detail}".strip()


@dataclass(frozen=True)
class Column:
    """One column: a title, and one cell a result, in the document's order."""

    title: str
    cells: tuple[Cell, ...]
    numeric: bool = True


def column(title: str, rows: Iterable[Result], cell: Callable[[Result], Cell], *, numeric: bool = True) -> Column:
    """A column of what ``cell`` says of each row."""
    return Column(title, tuple(cell(one) for one in rows), numeric)


def without_empty(columns: Iterable[Column]) -> list[Column]:
    """Those with a text in any row."""
    return [one for one in columns if any(cell.text for cell in one.cells)]


def number(value: float | None, form: Callable[[float], str]) -> Cell:
    """``value`` as ``form`` writes it; empty for ``None``."""
    return Cell() if value is None else Cell(form(value))


def median(block: QuantityBlock | None) -> Cell:
    """A quantity's p50; empty where it was not measured."""
    return Cell() if block is None else Cell(format_duration_ms(block.p50_ms))


def memory(peak: int | None, increase: int | None) -> Cell:
    """A peak in bytes, and by how much it rose: "412.0 MiB (+145.0 MiB)"."""
    if peak is None:
        return Cell()
    return Cell(format_bytes(peak), "" if increase is None else f"({'+' * (increase >= 0)}{format_bytes(increase)})")
