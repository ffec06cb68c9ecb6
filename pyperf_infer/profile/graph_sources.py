# SPDX-License-Identifier: Apache-2.0
"""Which nodes of a graph each node of its optimised form stands for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyperf_infer.profile.graph_matching import Matching, names_of

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph, Node


@dataclass
class Sources:
    """Of each new node the old ones that it stands for, in the old graph's order; none where that is not known.

    `put_in` are new nodes that stand for nothing of their own: they have the sources of those that they serve.
    """

    of: dict[Node, tuple[Node, ...]] = field(default_factory=dict)
    put_in: set[Node] = field(default_factory=set)

    def after(self, earlier: Sources) -> Sources:
        """The same down to the graph that `earlier` starts from."""
        chained: dict[Node, tuple[Node, ...]] = {}
        for node, middle in self.of.items():
            own = [one for one in middle if one not in earlier.put_in] or middle
            found = dict.fromkeys(source for one in own for source in earlier.of.get(one, ()))
            chained[node] = tuple(found)
        only = {node for node, middle in self.of.items() if middle and earlier.put_in.issuperset(middle)}
        return Sources(chained, self.put_in | only)


def find_sources(new: Graph, old: Graph, names: frozenset[str] | None = None, outer: Iterable[str] = ()) -> Sources:
    """Traces every node of `new` back to `old`, those of subgraphs too.

    `names`: those that no optimiser has made up, by default the old graph's; `outer`: values known around both graphs.
    """
    result = Sources()
    names = names_of(old) if names is None else names
    matching = Matching(new, old, names, frozenset(outer))
    found, result.put_in = matching.collect()
    result.of = dict(found)
    known = {*outer, *matching.fixed_names()}
    for node in new.nodes:
        for name, graph in node.subgraphs.items():
            same = [one for one in result.of[node] if one.op == node.op and name in one.subgraphs]
            if len(same) == 1:
                inner = find_sources(graph, same[0].subgraphs[name], names, known)
                result.of |= inner.of
                result.put_in |= inner.put_in
            else:
                result.of |= dict.fromkeys(graph.every_node(), ())
    return result
