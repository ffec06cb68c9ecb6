# SPDX-License-Identifier: Apache-2.0
"""A profile's table as cells: its rows, and what makes them sum to the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyperf_infer.results.csv_text import Cell, csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyperf_infer.results.profile_schema import ProfileRow, ProfileTable


def table_lines(table: ProfileTable, fields: Sequence[str]) -> Iterator[dict[str, Cell]]:
    """A line for each row with these fields of it; where they have times, one for the `rest` and one for the `whole`.

    Each says which it is in `record`, and what the instrument costs in `plain_ms` and `instrumented_ms`.
    """
    cost = table.perturbation
    costs: dict[str, Cell] = {
        "plain_ms": None if cost is None else cost.plain_ms,
        "instrumented_ms": None if cost is None else cost.instrumented_ms,
    }
    for row in table.rows:
        yield {"record": "row", **{name: _cell(row, name) for name in fields}, **costs}
    if all(row.time_ms is None for row in table.rows):
        return
    empty: dict[str, Cell] = dict.fromkeys(fields)
    for record, time_ms in (("rest", table.rest_ms), ("whole", table.whole_ms)):
        share = time_ms / table.whole_ms if table.whole_ms else None
        yield {"record": record, **empty, "time_ms": time_ms, "share": share, **costs}


def table_csv(table: ProfileTable, fields: Sequence[str]) -> str:
    """Those lines under a header. Lists are separated by semicolons, shapes written 1x3x224x224."""
    lines = list(table_lines(table, fields))
    return csv_text([["record", *fields, "plain_ms", "instrumented_ms"], *(list(line.values()) for line in lines)])


def _cell(row: ProfileRow, name: str) -> Cell:
    value = getattr(row, name)
    if not isinstance(value, list):
        cell: Cell = value
        return cell
    texts = value if not name.endswith("_shapes") else ["x".join(map(str, shape)) or "scalar" for shape in value]
    return "; ".join(texts) or None
