# SPDX-License-Identifier: Apache-2.0
"""Nodes that ran, found in the graph that ran them, and put together over several sessions of one model.

A session numbers anew the names that ONNX Runtime makes up, so that a node of one session is the node of another that
stands for the same nodes of the given graph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer.profile.graph_sources import Sources

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_events import NodeTotal, NodeTotals
    from pyperf_infer.profile.onnxruntime_graph import Graph, Node

Weight = tuple[int, str]  # of which graph, and its name there


@dataclass
class MergedNode:
    """A node over all sessions, under the name that it has in the first.

    `origin`: the given graph's nodes; `put_in`: as in `Sources`; `weights`: the elements of those that it takes, None
    where its place in the graph is not known.
    """

    total: NodeTotal
    origin: tuple[Node, ...]
    put_in: bool
    weights: Mapping[Weight, int] | None


def merge(sessions: Iterable[tuple[NodeTotals, Graph | None]], trace: Callable[[Graph], Sources]) -> list[MergedNode]:
    """The nodes of the sessions in the order in which they first began. `trace` leads a graph back to the given one."""
    merged: dict[tuple[object, ...], MergedNode] = {}
    for totals, graph in sessions:
        matched = {} if graph is None else _matched(totals.nodes, graph)
        sources = Sources() if graph is None else trace(graph)
        weights = {} if graph is None else dict(_weights(graph, {}, {}))
        seen: Counter[tuple[object, ...]] = Counter()
        for index, total in enumerate(totals.nodes):
            node = matched.get(index)
            origin = sources.of.get(node, ()) if node is not None else ()
            like = (total.op, total.provider, origin or total.name)
            seen[like] += 1
            known = merged.get((*like, seen[like]))
            if known is None:
                put_in = node is not None and node in sources.put_in
                of_node = None if node is None else weights[node]
                merged[(*like, seen[like])] = MergedNode(total, origin, put_in, of_node)
            else:
                known.total.add(total)
    return list(merged.values())


def _matched(totals: Sequence[NodeTotal], final: Graph) -> dict[int, Node]:
    """The graph's node for each that ran, by name and operator; several of one name in the order in which they run.

    A node without a name is called after its operator and number. Where not all of one name ran (the branch of an If
    that was not taken), which one did is not known.
    """
    named: dict[tuple[str, str], list[Node]] = {}
    for node in final.every_node():
        named.setdefault((node.name, node.op), []).append(node)
    ran: dict[tuple[str, str], list[int]] = {}
    for index, total in enumerate(totals):
        key = (total.name, total.op)
        if key not in named and re.fullmatch(re.escape(total.op) + r"_\d+", total.name):
            key = ("", total.op)
        ran.setdefault(key, []).append(index)
    return {
        index: node
        for key, indices in ran.items()
        if len(indices) == len(named.get(key, ()))
        for index, node in zip(indices, named[key], strict=True)
    }


def _weights(
    graph: Graph, known: Mapping[str, Weight], sizes: Mapping[Weight, int]
) -> Iterator[tuple[Node, dict[Weight, int]]]:
    """Of each node the elements of the weights that it takes, those of the graphs around it too."""
    known = {**known, **{name: (id(graph), name) for name in graph.constants}}
    sizes = {**sizes, **{(id(graph), name): graph.constants[name] for name in graph.weights}}
    for node in graph.nodes:
        keys = [known[name] for name in node.inputs if name in known]
        yield node, {key: sizes[key] for key in keys if key in sizes}
        for inner in node.subgraphs.values():
            yield from _weights(inner, known, sizes)
