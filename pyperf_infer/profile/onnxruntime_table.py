# SPDX-License-Identifier: Apache-2.0
"""The table of ONNX Runtime's nodes: its profile joined with the graph that ran and with where that came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyperf_infer.profile.onnxruntime_layers import layers_of, values_of_several
from pyperf_infer.results.profile_schema import ProfileRow

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_nodes import MergedNode, Weight

_MOST_NAMED = 8
_SEVERAL = ("were", "they show", "they serve")
COLUMNS = (  # of the nodes' CSV file
    "name",
    "kind",
    "provider",
    "calls",
    "input_shapes",
    "output_shapes",
    "time_ms",
    "share",
    "total_ms",
    "device_time_ms",
    "parameters",
    "output_bytes",
    "sources",
    "layers",
)


def node_rows(
    nodes: Sequence[MergedNode],
    *,
    inferences: int,
    whole_ms: float,
    modules: frozenset[str],
    device_inferences: int | None = None,
) -> list[ProfileRow]:
    """A row for each node that ran.

    `modules`: paths of the exported module. `device_inferences`: how many the time on the device was summed over; None
    where it was not measured.
    """
    rows = []
    counted: set[Weight] = set()
    shared = values_of_several(one for node in nodes for one in node.origin)
    for node in nodes:
        total = node.total
        new = {key: count for key, count in (node.weights or {}).items() if key not in counted}
        counted |= new.keys()
        time_ms = total.own_us / inferences / 1000
        rows.append(
            ProfileRow(
                name=total.name,
                kind=total.op,
                calls=total.calls / inferences,
                input_shapes=total.input_shapes,
                output_shapes=total.output_shapes,
                time_ms=time_ms,
                share=min(1.0, time_ms / whole_ms) if whole_ms else None,
                total_ms=total.total_us / inferences / 1000 if total.has_parts else None,
                parameters=None if node.weights is None else sum(new.values()),
                output_bytes=None if total.output_bytes is None else total.output_bytes / inferences,
                provider=total.provider or None,
                device_time_ms=total.device_ns / device_inferences / 1e6 if device_inferences else None,
                sources=[one.label for one in node.origin],
                layers=list(layers_of(node.origin, modules, shared)),
            )
        )
    return rows


def mapped_share(rows: Sequence[ProfileRow]) -> float | None:
    """Of the nodes' time, that of nodes with sources; None where no node took any."""
    whole = sum(row.time_ms or 0.0 for row in rows)
    return sum(row.time_ms or 0.0 for row in rows if row.sources) / whole if whole else None


def untold(rows: Sequence[ProfileRow], put_in: Sequence[bool]) -> list[str]:
    """What the sources leave open, in sentences."""
    whole = sum(row.time_ms or 0.0 for row in rows)
    said = []
    unmapped = sorted((row for row in rows if not row.sources), key=lambda row: -(row.time_ms or 0.0))
    if unmapped:
        said.append(
            f"{_nodes(unmapped)} could not be traced to nodes of the given graph, {_share(unmapped, whole)} of the "
            f"nodes' time: {_named(unmapped)}"
        )
    added = [row for row, mark in zip(rows, put_in, strict=True) if mark]
    if added:
        kinds = ", ".join(sorted({row.kind for row in added}))
        were, they_show, they_serve = ("was", "it shows", "it serves") if len(added) == 1 else _SEVERAL
        said.append(
            f"{_nodes(added)} ({kinds}), {_share(added, whole)} of the nodes' time, {were} put in by ONNX Runtime to "
            f"change a layout, a type or a device: {they_show} the sources of the nodes that {they_serve}"
        )
    return said


def _nodes(rows: Sequence[ProfileRow]) -> str:
    return "1 node" if len(rows) == 1 else f"{len(rows)} nodes"


def _share(rows: Sequence[ProfileRow], whole: float) -> str:
    return f"{sum(row.time_ms or 0.0 for row in rows) / whole:.1%}" if whole else "none"


def _named(rows: Sequence[ProfileRow]) -> str:
    more = f" and {len(rows) - _MOST_NAMED} more" if len(rows) > _MOST_NAMED else ""
    return ", ".join(f"{row.kind} '{row.name}'" for row in rows[:_MOST_NAMED]) + more
