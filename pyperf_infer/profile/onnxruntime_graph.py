# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph as this folder reads it: who makes which value, from what. Weights stay on the disk."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import onnx


@dataclass(frozen=True, eq=False)
class Node:
    """A node is itself and no other, whatever its name: names may be empty.

    `attributes` has each one serialised, but for graphs; `uses` the inputs, and what its subgraphs take from outside.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    subgraphs: Mapping[str, Graph] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    uses: tuple[str, ...] = ()
    domain: str = ""

    @property
    def label(self) -> str:
        """Its name, or for want of one what it makes."""
        return self.name or next(filter(None, self.outputs), self.op)


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order. `constants` has the number of elements of each initializer, `weights` of those that
    hold weights (`models.onnx_file.count_parameters`)."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, int] = field(default_factory=dict)
    weights: frozenset[str] = frozenset()

    def every_node(self) -> Iterator[Node]:
        """Those of subgraphs too, behind the node that they are in."""
        for node in self.nodes:
            yield node
            for graph in node.subgraphs.values():
                yield from graph.every_node()


def read_graph(path: Path) -> Graph:
    """The graph of an .onnx file. Raises what onnx raises where it is none."""
    import onnx

    return graph_of(onnx.load(str(path), load_external_data=False).graph)


def graph_of(proto: onnx.GraphProto) -> Graph:
    """The same from a parsed file. Constant nodes count as constants."""
    import onnx

    types = onnx.TensorProto
    floats = {types.FLOAT, types.FLOAT16, types.BFLOAT16, types.DOUBLE}
    small = {types.INT8, types.UINT8, types.INT4, types.UINT4}
    tensors = [*proto.initializer, *(sparse.values for sparse in proto.sparse_initializer)]
    constants = {tensor.name: math.prod(tensor.dims) for tensor in tensors}
    weights = {tensor.name for tensor in tensors if tensor.data_type in floats | small}
    nodes = []
    for node in proto.node:
        if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
            constants |= dict.fromkeys(node.output, 0)
        else:
            nodes.append(_node(node))
    inputs = tuple(value.name for value in proto.input if value.name not in constants)
    return Graph(tuple(nodes), inputs, tuple(value.name for value in proto.output), constants, frozenset(weights))


def _node(proto: onnx.NodeProto) -> Node:
    import onnx

    kinds = onnx.AttributeProto
    subgraphs = {one.name: graph_of(one.g) for one in proto.attribute if one.type == kinds.GRAPH}
    plain = {
        one.name: one.SerializeToString(deterministic=True)
        for one in proto.attribute
        if one.type not in (kinds.GRAPH, kinds.GRAPHS)
    }
    inputs = tuple(proto.input)
    implicit = [name for graph in subgraphs.values() for name in outer_names(graph)]
    return Node(
        name=proto.name,
        op=proto.op_type,
        inputs=inputs,
        outputs=tuple(proto.output),
        attributes=plain,
        subgraphs=subgraphs,
        metadata={entry.key: entry.value for entry in proto.metadata_props},
        uses=tuple(dict.fromkeys(filter(None, (*inputs, *implicit)))),
        domain=proto.domain,
    )


def outer_names(graph: Graph) -> list[str]:
    """The values that a subgraph takes from the graphs around it, in the order of their use."""
    own = {*graph.inputs, *graph.constants, *(name for node in graph.nodes for name in node.outputs)}
    used = [*(name for node in graph.nodes for name in node.uses), *graph.outputs]
    return [name for name in dict.fromkeys(used) if name and name not in own]
