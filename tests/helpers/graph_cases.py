# SPDX-License-Identifier: Apache-2.0
"""Graphs of a few nodes, as the tracing of sources reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pyperf_infer.profile.onnxruntime_graph import Graph, Node

if TYPE_CHECKING:
    from pyperf_infer.profile.graph_sources import Sources


def node(
    op: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    name: str = "",
    subgraphs: Mapping[str, Graph] | None = None,
    **attributes: str,
) -> Node:
    return Node(
        name=name or f"node_{outputs[0]}",
        op=op,
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        attributes={key: value.encode() for key, value in attributes.items()},
        subgraphs=subgraphs or {},
        uses=tuple(inputs),
    )


def graph(nodes: Sequence[Node], outputs: Sequence[str], inputs: Sequence[str] = ("x",), *weights: str) -> Graph:
    return Graph(tuple(nodes), tuple(inputs), tuple(outputs), dict.fromkeys(weights, 4), frozenset(weights))


def labels(sources: Sources, new: Graph) -> dict[str, list[str]]:
    """Of every new node the names of what it stands for."""
    return {one.label: [old.label for old in sources.of[one]] for one in new.every_node()}
