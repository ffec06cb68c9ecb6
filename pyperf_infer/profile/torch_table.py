# SPDX-License-Identifier: Apache-2.0
"""The tables of PyTorch's layers, from what each pass found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.profile.layers import parameters_of, parts
from pyperf_infer.results.profile_schema import ProfileRow

if TYPE_CHECKING:
    from torch import nn

    from pyperf_infer.profile.layer_shapes import Seen
    from pyperf_infer.profile.layers import Layer
    from pyperf_infer.profile.memory_peaks import Peaks
    from pyperf_infer.profile.spans import Totals

COLUMNS = (  # of the layers' CSV file
    "name", "kind", "calls", "input_shapes", "output_shapes", "time_ms", "share", "total_ms", "parameters",
    "output_bytes", "peak_memory_bytes", "aliases",
)  # fmt: skip


def layer_rows(
    root: nn.Module, layers: Sequence[Layer], seen: Mapping[int, Seen], totals: Totals, peaks: Peaks | None
) -> tuple[list[ProfileRow], float, float]:
    """A row for each layer that ran, in the order of their first calls; the whole inference and its rest, in ms.

    The number after the last layer's is the whole's.
    """
    whole = len(layers)
    inferences = totals.inferences
    order = [*seen, *(number for number in range(whole) if totals.calls[number] and number not in seen)]
    parameters = parameters_of(root, layers, order)
    whole_ns = totals.total_ns[whole]
    rows = []
    for number in order:
        own_ns = max(0, totals.own_ns[number])
        shapes = seen.get(number)
        rows.append(
            ProfileRow(
                name=layers[number].path,
                kind=layers[number].kind,
                calls=totals.calls[number] / inferences,
                input_shapes=[] if shapes is None else shapes.inputs,
                output_shapes=[] if shapes is None else shapes.outputs,
                time_ms=own_ns / inferences / 1e6,
                share=min(1.0, own_ns / whole_ns) if whole_ns else None,
                total_ms=totals.total_ns[number] / inferences / 1e6,
                aliases=list(layers[number].aliases),
                parameters=parameters[number],
                output_bytes=None if shapes is None else shapes.output_bytes,
                peak_memory_bytes=None if peaks is None else peaks.layers.get(number),
            )
        )
    whole_ms = whole_ns / inferences / 1e6
    return rows, whole_ms, whole_ms - sum(row.time_ms or 0.0 for row in rows)


def memory_rows(rows: Sequence[ProfileRow]) -> list[ProfileRow]:
    """The same layers without their times, which that pass does not tell."""
    return [
        ProfileRow(
            name=row.name,
            kind=row.kind,
            calls=row.calls,
            input_shapes=row.input_shapes,
            output_shapes=row.output_shapes,
            time_ms=None,
            share=None,
            aliases=row.aliases,
            parameters=row.parameters,
            output_bytes=row.output_bytes,
            peak_memory_bytes=row.peak_memory_bytes,
        )
        for row in rows
        if row.peak_memory_bytes is not None
    ]


def untold(layers: Sequence[Layer], ran: Collection[int]) -> list[str]:
    """Which modules with parameters of their own were never called by themselves: their work is in others' rows."""
    silent = [
        layer.path
        for number, layer in enumerate(layers)
        if number not in ran and next(layer.module.parameters(recurse=False), None) is not None
    ]
    if not silent:
        return []
    return [
        f"{parts(silent)} did not run by a call of its own: what was done with its parameters is in the rows around it"
    ]
