# SPDX-License-Identifier: Apache-2.0
"""Names of an exported graph's inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir


def name_graph(model: onnx_ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Gives the graph's inputs exactly `inputs` and its outputs `outputs`, made plain and unique; returns the latter.

    torch.onnx.export(output_names=...) does not look at the names inside the graph, and an output called like an
    intermediate value makes the file invalid. Here the value inside gives way to an input, an output to the value.
    """
    graph = model.graph
    ends = {id(value) for value in (*graph.inputs, *graph.outputs)}
    inner = {value.name: value for value in _values(model) if value.name and id(value) not in ends}
    taken = {*inputs, *inner}
    # An output that is an input keeps the input's name: it is one value.
    for value, name in zip(graph.outputs, unique_names(outputs, taken), strict=True):
        value.name = name
    for value, name in zip(graph.inputs, inputs, strict=True):
        if name in inner:
            (moved,) = unique_names([f"{name}_inner"], {*taken, *(str(value.name) for value in graph.outputs)})
            inner[name].name = moved
            taken.add(moved)
        value.name = name
    return tuple(str(value.name) for value in graph.outputs)


def unique_names(wanted: Iterable[str], taken: Iterable[str]) -> list[str]:
    """`wanted` reduced to letters, digits, dots, dashes and underscores, with a number where a name is taken."""
    used = set(taken)
    names = []
    for text in wanted:
        plain = re.sub(r"[^\w.\-]", "_", text, flags=re.ASCII) or "output"
        name, number = plain, 1
        while name in used:
            number += 1
            name = f"{plain}_{number}"
        used.add(name)
        names.append(name)
    return names


def _values(model: onnx_ir.Model) -> Iterable[onnx_ir.Value]:
    import onnx_ir

    yield from model.graph.initializers.values()
    for node in onnx_ir.traversal.RecursiveGraphIterator(model.graph):
        yield from node.outputs
        # Subgraphs see the names of the graph around them, and have inputs and weights of their own.
        for attribute in node.attributes.values():
            if attribute.type == onnx_ir.AttributeType.GRAPH:
                yield from attribute.as_graph().inputs
                yield from attribute.as_graph().initializers.values()
