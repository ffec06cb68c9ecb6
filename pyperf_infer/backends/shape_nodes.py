# SPDX-License-Identifier: Apache-2.0
"""Nodes of an ONNX graph that only work out shapes: a few integers that every provider leaves to the CPU."""

from __future__ import annotations

from pathlib import Path

# Where shape arithmetic begins: what these give depends on the shape of their input, not on what is in it.
_SOURCES = frozenset({"Shape", "Size"})


def shape_node_names(model: Path) -> frozenset[str]:
    """Names of the nodes whose every input is a constant or comes from Shape or Size through other such nodes.

    At least one input must come from a shape: a node of constants alone would have been folded, and counts as work.
    External data is not read.
    """
    import onnx

    graph = onnx.load(str(model), load_external_data=False).graph
    constants = {initializer.name for initializer in graph.initializer}
    shapes: set[str] = set()
    names: set[str] = set()
    for node in graph.node:  # in topological order, as ONNX requires
        inputs = [name for name in node.input if name]
        if node.op_type == "Constant":
            constants.update(node.output)
        elif node.op_type in _SOURCES or (
            any(name in shapes for name in inputs) and all(name in shapes or name in constants for name in inputs)
        ):
            shapes.update(node.output)
            names.add(node.name)
    return frozenset(names - {""})  # a node without a name cannot be told from another
