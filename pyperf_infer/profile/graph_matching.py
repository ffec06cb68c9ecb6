# SPDX-License-Identifier: Apache-2.0
"""A graph laid over its optimised form, by the flow of data.

An optimiser keeps the names of the values that it does not make superfluous: those are the fixed points. (Names that it
makes up are none: they are numbered anew in every session, so that one name means two things.) What lies in the old
graph between a new node's fixed outputs and the fixed points before them is what that node stands for. Where a
whole region has new names, as after a change of layout, its nodes are paired one by one: same operator, same place in
the flow; the nodes between two that are paired went into the one before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyperf_infer.profile.graph_operators import (
    CARRIERS,
    DEQUANTIZE,
    LAYOUT,
    NORM,
    QUANTISERS,
    SAME_AS,
    equal_values,
    moves_inputs,
    operator,
    quantised_inputs,
    works_like,
)
from pyperf_infer.profile.onnxruntime_graph import Graph, Node

_LAYOUT_SUFFIX = "_nchwc"
_NORM_SUFFIX = "_bn"
# How far behind a node its successor is looked for: nothing fuses more in a row than this.
_REACH = 8


def names_of(graph: Graph) -> frozenset[str]:
    """Of all values and nodes, and what an optimiser derives from them: those names are the same in every session."""
    nodes = list(graph.every_node())
    made = (name for node in nodes for name in (node.name, *node.outputs))
    inner = (name for node in nodes for one in node.subgraphs.values() for name in one.inputs)
    given = frozenset((*graph.inputs, *graph.constants, *made, *inner)) - {""}
    return given | {prefix + name for prefix in SAME_AS for name in given}


# Where a value comes from: the new node that makes it, or a fixed point, by its name in the new graph.
_Owner = Node | str


class Matching:
    """One graph against its optimised form, subgraphs aside."""

    def __init__(self, new: Graph, old: Graph, names: frozenset[str], outer: frozenset[str]) -> None:
        self.new, self.old, self.names = new, old, names
        self.makers = {name: node for node in new.nodes for name in node.outputs if name}
        self.old_makers = {name: node for node in old.nodes for name in node.outputs if name}
        self.place = {node: index for index, node in enumerate(new.nodes)}
        self.old_place = {node: index for index, node in enumerate(old.nodes)}
        self.consumers: dict[str, list[Node]] = {}
        for node in old.nodes:
            for name in node.uses:
                self.consumers.setdefault(name, []).append(node)
        self.same = equal_values(old)  # of an old value, the others that are always equal to it
        self.copies = equal_values(new)
        self.claims: dict[Node, Node] = {}  # old node to the new one that does its work under other names
        self.heads: dict[Node, Node] = {}  # the other way round
        self.fixed: dict[str, str] = {}  # old value to the name of the same in the new graph
        self.folded = new.constants.keys() & names  # among them old values that are constants now
        available = ({*self.makers, *new.inputs} & names) | outer
        for name in (*old.inputs, *outer, *self.old_makers):
            same = (name, *self.same.get(name, ()))
            twins = (*same, *(prefix + one for prefix in SAME_AS for one in same))
            twin = next((one for one in twins if one in available), None)
            if twin is not None:
                self.fixed[name] = twin
        self.olds: dict[str, list[str]] = {}  # of a fixed point its old names
        for old_name, name in self.fixed.items():
            self.olds.setdefault(name, []).append(old_name)

    def fixed_names(self) -> set[str]:
        """Values that have one name in both graphs."""
        return {old for old, new in self.fixed.items() if old == new}

    # Pairing

    def _pair(self) -> None:
        """Claims, for new nodes whose outputs have new names, the old node of the same operator at the same place."""
        self._pair_ends()
        behind: dict[_Owner, set[str]] = {}  # old values that come straight from an owner
        for name, olds in self.olds.items():
            owner = self._owner_new(name)
            if owner is not None:
                behind.setdefault(owner, set()).update(olds)
        by_hint = self._hints()
        for node in self.new.nodes:
            if any(name in self.olds for name in node.outputs) or node.op in LAYOUT:
                continue
            if node in self.heads:
                behind.setdefault(node, set()).update(filter(None, self.heads[node].outputs))
                continue
            found = self._best(node, self._near(node, behind)) or self._hinted(node, by_hint)
            if found is not None:
                self.claims[found], self.heads[node] = node, found
                behind.setdefault(node, set()).update(filter(None, found.outputs))

    def _pair_ends(self) -> None:
        """Claims the old maker of a fixed point for the new node from which what was put in carries it."""
        for name, olds in self.olds.items():
            node = self._carried_from(name)
            if node is None or node in self.heads or any(one in self.olds for one in node.outputs):
                continue
            old = self.old_makers.get(olds[0])
            for _ in range(_REACH):
                if old is None or old in self.claims or not self._is_open(old):
                    break
                if works_like(node, old):
                    self.claims[old], self.heads[node] = node, old
                    break
                before = self._unfixed_makers(old)  # what was fused behind it: go back while there is one way
                old = before[0] if len(before) == 1 else None

    def _carried_from(self, name: str) -> Node | None:
        """The maker of what a carrier made a fixed point of; None where that point was made itself."""
        maker = self.makers.get(name)
        carried = False
        while maker is not None and self._is_put_in(maker):
            carried = True
            maker = self.makers.get(maker.inputs[0])
        return maker if carried else None

    def _is_put_in(self, node: Node) -> bool:
        """Whether a carrier was not there before: the old graph made the same value in another way."""
        if node.op not in CARRIERS or node in self.heads:
            return False
        olds = (self.old_makers.get(old) for name in node.outputs for old in self.olds.get(name, ()))
        return all(old is None or old.op != node.op for old in olds)

    def _near(self, node: Node, behind: Mapping[_Owner, set[str]]) -> dict[Node, int]:
        """Old nodes of its operator, with new names like it, whose inputs come from where its inputs come from; and how
        many others lie in between."""
        owners = [self._owner_new(name) for name in node.inputs]
        start = next((owner for owner in owners if owner is not None), None)
        found: dict[Node, int] = {}
        front = set(behind.get(start, ())) if start is not None else set[str]()
        seen: set[str] = set()
        for distance in range(_REACH):
            ahead: set[str] = set()
            for name in front - seen:
                for old in self.consumers.get(name, ()):
                    if old in self.claims or not self._is_open(old):
                        ahead.update(old.outputs if old.op == DEQUANTIZE else ())
                        continue
                    if works_like(node, old) and self._fits(node, old, owners):
                        found.setdefault(old, distance)
                    if node.op not in CARRIERS or old.op in CARRIERS | QUANTISERS:
                        ahead.update(filter(None, old.outputs))
            seen |= front
            front = ahead
        return found

    def _fits(self, node: Node, old: Node, owners: list[_Owner | None]) -> bool:
        moved = moves_inputs(node, old)
        befores = [self._owner_old(name) for name in (quantised_inputs(old, self.old_makers) if moved else old.inputs)]
        if moved:
            befores = [owner for owner in befores if owner is not None]
            owners = [owner for owner in owners if owner is not None]
        owners = owners + [None] * (len(befores) - len(owners))
        return all(before is None or before == owner for before, owner in zip(befores, owners, strict=False))

    def _best(self, node: Node, candidates: Mapping[Node, int]) -> Node | None:
        """The one that most speaks for; None where two are alike: to guess would be to mix up branches."""
        likeness = {old: self._likeness(node, old, distance) for old, distance in candidates.items()}
        best = [old for old in candidates if likeness[old] == max(likeness.values())]
        equal = {*self.same.get(best[0].outputs[0], ()), best[0].outputs[0]} if best else set[str]()
        return best[0] if best and all(old.outputs[0] in equal for old in best) else None

    def _likeness(self, node: Node, old: Node, distance: int) -> tuple[bool, int, int, bool, int]:
        named = node.name in self._hints_at(old)
        new_weights = {root for name in node.inputs for root in self._roots(name, self.new, self.makers)}
        old_weights = {root for name in old.inputs for root in self._roots(name, self.old, self.old_makers)}
        shared = len(new_weights & old_weights)
        alike = sum(old.attributes.get(key) == value for key, value in node.attributes.items())
        return named, shared, -distance, operator(old) == operator(node), alike

    def _roots(self, name: str, graph: Graph, makers: Mapping[str, Node]) -> set[str]:
        """The given constant that a value is, in another type or layout."""
        for _ in range(_REACH):
            maker = makers.get(name)
            if maker is None or maker.op not in CARRIERS | {DEQUANTIZE}:
                break
            name = maker.inputs[0]
        given = next((name.removeprefix(prefix) for prefix in SAME_AS if name.startswith(prefix)), name)
        return {given} & self.names if name in graph.constants else set()

    def _hints(self) -> dict[str, list[Node]]:
        hints: dict[str, list[Node]] = {}
        for old in self.old.nodes:
            for name in self._hints_at(old):
                hints.setdefault(name, []).append(old)
        return hints

    def _hints_at(self, old: Node) -> set[str]:
        """What a new node may be called that does an old one's work."""
        plain = old.name.removesuffix(_LAYOUT_SUFFIX).removesuffix(_NORM_SUFFIX)
        own = {old.name} if plain in self.names else set[str]()
        suffix = _NORM_SUFFIX + _LAYOUT_SUFFIX if old.op == NORM else _LAYOUT_SUFFIX
        return own | {name + suffix for name in old.outputs if name in self.names}

    def _hinted(self, node: Node, hints: Mapping[str, list[Node]]) -> Node | None:
        """By its name alone, where what comes before it is not known."""
        named = [
            old
            for old in hints.get(node.name, ())
            if works_like(node, old) and old not in self.claims and self._is_open(old)
        ]
        return named[0] if len(named) == 1 else None

    def _is_open(self, old: Node) -> bool:
        """Whether a node under other names may do its work: its outputs are gone, or made by what was put behind it."""
        makers = (self.makers.get(self.fixed[name]) for name in old.outputs if name in self.fixed)
        return all(maker is not None and maker.op in CARRIERS and maker.op != old.op for maker in makers)

    # Where values come from

    def _owner_new(self, name: str) -> _Owner | None:
        """None for a constant."""
        while True:
            maker = self.makers.get(name)
            if maker is not None and self._is_put_in(maker):
                name = maker.inputs[0]
            elif name in self.olds or maker is None:
                return name if name in self.olds else None
            else:
                return self._first_copy(name)

    def _first_copy(self, name: str) -> _Owner:
        """Of all new nodes that make the same the first; or a fixed point that is the same."""
        same = (name, *self.copies.get(name, ()))
        fixed = next((one for one in same if one in self.olds), None)
        return fixed or min((self.makers[one] for one in same), key=self.place.__getitem__)

    def _owner_old(self, name: str) -> _Owner | None:
        """The latest, in the new graph's order, of what a value was made from without a claim in between."""
        latest: _Owner | None = None
        stack, seen = [name], {name}
        while stack:
            one = stack.pop()
            owner = self._owner_new(self.fixed[one]) if one in self.fixed else None
            if owner is None:
                maker = self.old_makers.get(one)
                if maker is None or one in self.folded:
                    continue
                claims = (self.claims.get(self.old_makers[same]) for same in (one, *self.same.get(one, ())))
                claim = next(filter(None, claims), None)
                owner = None if claim is None else self._first_copy(claim.outputs[0])
                if owner is None:
                    more = [name for name in maker.uses if name not in seen]
                    seen.update(more)
                    stack += more
                    continue
            if latest is None or self._order(owner) > self._order(latest):
                latest = owner
        return latest

    def _order(self, owner: _Owner) -> int:
        if isinstance(owner, str):
            maker = self.makers.get(owner)
            return -1 if maker is None else self.place[maker]
        return self.place[owner]

    # Collecting

    def collect(self) -> tuple[dict[Node, tuple[Node, ...]], set[Node]]:
        """The old nodes that each new one stands for, and the new ones that were put in and show whom they serve."""
        self._pair()
        found: dict[Node, set[Node]] = {node: set() for node in self.new.nodes}
        taken: set[Node] = set()  # old nodes that a claim or a move accounts for
        for old, node in self.claims.items():
            found[node].add(old)
            taken.add(old)
        absorbed = self._absorbed()
        for old, node in absorbed.items():
            found[node].add(old)
        for node in self.new.nodes:
            if node.op in CARRIERS and node not in self.heads:
                before = self._before(node, through_claims=True)
                moved = {old for old in before if old.op == node.op} - taken - absorbed.keys()
                found[node] |= moved
                taken |= moved
        for node in self.new.nodes:
            if node.op in CARRIERS and node not in self.heads:
                continue
            between = self._before(node) | self._prologue(node)
            found[node] |= {old for old in between if old not in taken and absorbed.get(old, node) is node}
        accounted = taken | absorbed.keys() | set[Node]().union(*found.values())
        for node in self.new.nodes:
            if node.op in CARRIERS - LAYOUT and not found[node]:  # the last of several that an old one became
                found[node] = self._before(node) - accounted
        for node in self.new.nodes:
            if node.op not in CARRIERS and not found[node]:  # an optimiser copies what several nodes read
                for name in (same for output in node.outputs for same in self.copies.get(output, ())):
                    found[node] |= found[self.makers[name]]
        put_in = self._serve(found)
        in_order = {node: tuple(sorted(olds, key=self.old_place.__getitem__)) for node, olds in found.items()}
        return in_order, put_in

    def _absorbed(self) -> dict[Node, Node]:
        """Old nodes behind a claimed one, without a place of their own or a fixed point in between: its work too."""
        gone: dict[Node, Node] = {}
        behind: dict[str, set[Node]] = {}  # of an old value that is no fixed point, the claiming nodes before it
        for old in self.old.nodes:
            if old in self.claims:
                before = {self.claims[old]}
            else:
                open_uses = [name for name in old.uses if name not in self.fixed]
                before = set[Node]().union(*(behind.get(name, set()) for name in open_uses))
                if before and old.op != DEQUANTIZE and self._is_open(old):
                    gone[old] = max(before, key=self._order)
            behind |= dict.fromkeys(old.outputs, before)
        return gone

    def _before(self, node: Node, *, through_claims: bool = False) -> set[Node]:
        """Old nodes between the fixed outputs of a new node and the fixed points, or claims, before them."""
        olds = [old for name in node.outputs for old in self.olds.get(name, ())]
        ends = [self.old_makers[old] for old in olds if old in self.old_makers]
        return self._walk([end for end in ends if through_claims or end not in self.claims], through_claims)

    def _prologue(self, node: Node) -> set[Node]:
        head = self.heads.get(node)
        if head is None:
            return set()
        return self._walk(self._unfixed_makers(head), through_claims=False)

    def _walk(self, ends: Iterable[Node], through_claims: bool) -> set[Node]:
        seen: set[Node] = set()
        stack = list(ends)
        while stack:
            old = stack.pop()
            if old in seen or (old in self.claims and not through_claims):
                continue
            seen.add(old)
            stack += self._unfixed_makers(old)
        return {old for old in seen if old not in self.claims}

    def _unfixed_makers(self, old: Node) -> list[Node]:
        return [
            self.old_makers[name]
            for name in old.uses
            if name in self.old_makers and name not in self.fixed and name not in self.folded
        ]

    def _serve(self, found: dict[Node, set[Node]]) -> set[Node]:
        """Gives those without sources the sources of the nodes after them, or where those are fixed, before them."""
        users: dict[str, list[Node]] = {}
        for node in self.new.nodes:
            for name in node.uses:
                users.setdefault(name, []).append(node)
        after = {node: {user for name in node.outputs for user in users.get(name, ())} for node in self.new.nodes}
        empty = [node for node in reversed(self.new.nodes) if not found[node]]
        for node in empty:
            if node.op not in CARRIERS and not any(name in self.olds for name in node.outputs):
                for user in after[node]:
                    found[node] |= self._part_in(node, user, found[user])
        for node in empty:  # what is theirs is not that of the nodes after them, which have work of their own
            for user in after[node]:
                if any(works_like(user, old) for old in found[user]):
                    found[user] = {old for old in found[user] if old not in found[node] or works_like(user, old)}
        put_in = {node for node in empty if node.op in CARRIERS | QUANTISERS and not found[node]}
        for node in empty:
            if node in put_in:
                before = self._nearest_before(node, found)
                ends = any(name in self.olds or name in self.new.outputs for name in node.outputs)
                for served in before if ends else (after[node] or before):
                    found[node] |= found[served]
        return put_in

    def _nearest_before(self, node: Node, found: Mapping[Node, set[Node]]) -> set[Node]:
        """The nodes before it that have sources, past those that were put in one after another."""
        nearest: set[Node] = set()
        stack = [node]
        while stack:
            makers = {self.makers[name] for name in stack.pop().inputs if name in self.makers}
            nearest |= {maker for maker in makers if found[maker]}
            stack += [maker for maker in makers if not found[maker] and maker.op in CARRIERS]
        return nearest

    def _part_in(self, node: Node, user: Node, shared: set[Node]) -> set[Node]:
        """Of what the nodes after it stand for, what a new node has a part in: one old node may become several.

        Not where the node after does that itself: then the old node is another, which was not paired.
        """
        own = {old for old in shared if works_like(node, old)}
        if any(works_like(user, old) for old in shared):
            return {old for old in own if not works_like(user, old)}
        return own if node.op in QUANTISERS else own or shared
