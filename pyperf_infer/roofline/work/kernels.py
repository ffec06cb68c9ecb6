# SPDX-License-Identifier: Apache-2.0
"""Which operations a runtime executes in one go, and the bytes that then have to move.

Nothing is executed to find out; the rule is what ONNX Runtime and Inductor have in common: an elementwise operation,
or a batch normalisation in inference, joins the kernel that made one of its operands, where nobody else needs that
operand and its result is no larger. Views move nothing. Every kernel reads what it needs of each tensor once, and
writes what others need of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pyperf_infer.roofline.work.counts import Graph, Kernel, Operation, Value

_TAKES = ("matrix", "elementwise", "normalisation", "copy")


class Dataflow:
    """Who reads what in a graph: what it takes to tell the bytes of any of its operations that run in one go."""

    def __init__(self, graph: Graph) -> None:
        self.roots = _roots(graph.operations)
        self.users = _users(graph, self.roots)
        self.weights = {value.name for value in graph.weights}
        self._values = _values(graph)

    def root(self, name: str) -> str:
        """The tensor that a view is a view of; other tensors are their own."""
        return self.roots.get(name, name)

    def value(self, name: str) -> Value | None:
        """The tensor of which `name` is a view, or itself."""
        return self._values.get(self.root(name))

    def kernel(self, operations: Iterable[Operation]) -> Kernel:
        """`operations`, in the order of the graph, executed in one go."""
        group = _Group()
        for operation in operations:
            group.add(operation, self)
        return group.kernel(self)


@dataclass
class _Group:
    operations: list[Operation] = field(default_factory=list)
    made: dict[str, Value] = field(default_factory=dict)
    reads: dict[str, dict[str, int]] = field(default_factory=dict)  # root -> its views, by name -> bytes
    root_bytes: dict[str, int] = field(default_factory=dict)

    def add(self, operation: Operation, flow: Dataflow) -> None:
        self.operations.append(operation)
        if operation.work.kind == "view":
            return
        for place, value in enumerate(operation.inputs):
            root = flow.root(value.name)
            if root in self.made:
                continue
            part = (operation.work.read_bytes or {}).get(place, value.size_bytes)
            views = self.reads.setdefault(root, {})
            views[value.name] = max(part, views.get(value.name, 0))
            whole = flow.value(root)
            self.root_bytes[root] = part if whole is None else whole.size_bytes
        for value in operation.outputs:
            self.made[value.name] = value

    def kernel(self, flow: Dataflow) -> Kernel:
        own = {id(one) for one in self.operations}
        written = sum(value.size_bytes for name, value in self.made.items() if flow.users.get(name, set()) - own)
        # Views may overlap, or repeat their tensor: no more of it is read than there is.
        read = {root: min(sum(views.values()), self.root_bytes[root]) for root, views in self.reads.items()}
        of_weights = {root: size for root, size in read.items() if root in flow.weights}
        operands = [value for one in self.operations if one.work.macs for value in one.inputs[:1] if value.floating]
        integers = {one.name: root for one in operands if (root := flow.value(one.name)) and not root.floating}
        return Kernel(tuple(self.operations), sum(read.values()), written, of_weights, integers)


def kernels(graph: Graph) -> tuple[Kernel, ...]:
    """In the order of their first operations. Views stand in kernels of their own, of no bytes."""
    flow = Dataflow(graph)
    return tuple(group.kernel(flow) for group in _groups(graph, flow))


def activation_bytes_peak(graph: Graph) -> int:
    """The most that inputs, outputs and what lies between them take at a time, each freed after its last use.

    Kernels run in the order of their last operations; what they make and use themselves takes no memory.
    """
    flow = Dataflow(graph)
    users = flow.users
    groups = _groups(graph, flow)
    place = {id(one): number for number, one in enumerate(graph.operations)}
    groups = sorted((one for one in groups if one.made), key=lambda one: max(place[id(op)] for op in one.operations))
    turn = {id(op): number for number, one in enumerate(groups) for op in one.operations}

    def last_use(name: str) -> int:
        found = users.get(name, set())
        return len(groups) if -1 in found else max((turn[one] for one in found if one in turn), default=-1)

    in_use = 0
    freed_after: dict[int, int] = defaultdict(int)
    for value in graph.inputs:
        in_use += value.size_bytes
        freed_after[last_use(value.name)] += value.size_bytes
    peak = in_use
    for number, group in enumerate(groups):
        own = {id(one) for one in group.operations}
        for name, value in group.made.items():
            if users.get(name, set()) - own:
                in_use += value.size_bytes
                freed_after[last_use(name)] += value.size_bytes
        peak = max(peak, in_use)
        in_use -= freed_after[number]
    return peak


def _groups(graph: Graph, flow: Dataflow) -> list[_Group]:
    groups: list[_Group] = []
    maker: dict[str, _Group] = {}
    made_at: dict[str, int] = {}
    for number, operation in enumerate(graph.operations):
        group = _joined(operation, flow, maker, made_at)
        if group is None:
            group = _Group()
            groups.append(group)
        group.add(operation, flow)
        if operation.work.kind == "view":
            continue
        for value in operation.outputs:
            maker[value.name] = group
            made_at[value.name] = number
    return groups


def first_reads(kernels: Iterable[Kernel]) -> list[Kernel]:
    """The same kernels, executed in this order, where a weight is one only for the first that reads it in a call of
    the model: for those after it, it is what was read a moment ago."""
    seen: set[str] = set()
    found = []
    for one in kernels:
        found.append(replace(one, weights={name: size for name, size in one.weights.items() if name not in seen}))
        seen |= one.weights.keys()
    return found


def touched_weight_bytes(kernels: Iterable[Kernel]) -> int:
    """What a call of the model reads of its weights, each once; of a table, the rows that it takes."""
    most: dict[str, int] = {}
    for one in kernels:
        for name, size in one.weights.items():
            most[name] = max(size, most.get(name, 0))
    return sum(most.values())


def bytes_of_model(graph: Graph) -> int:
    """Weights that are used, each once, inputs that are used, and outputs."""
    roots = _roots(graph.operations)
    used = {roots.get(value.name, value.name) for one in graph.operations for value in one.inputs}
    used |= {roots.get(value.name, value.name) for value in graph.outputs}
    given = [value for value in (*graph.weights, *graph.inputs) if value.name in used]
    return sum(value.size_bytes for value in given) + sum(value.size_bytes for value in graph.outputs)


def _roots(operations: Sequence[Operation]) -> dict[str, str]:
    """For each view the tensor that it is a view of."""
    roots: dict[str, str] = {}
    for one in operations:
        if one.work.kind == "view" and one.inputs:
            root = roots.get(one.inputs[0].name, one.inputs[0].name)
            roots.update((value.name, root) for value in one.outputs)
    return roots


def _users(graph: Graph, roots: Mapping[str, str]) -> dict[str, set[int]]:
    """For each tensor the identities of the operations that read it, and -1 where it leaves the graph."""
    users: dict[str, set[int]] = {}
    for one in graph.operations:
        if one.work.kind != "view":
            for value in one.inputs:
                users.setdefault(roots.get(value.name, value.name), set()).add(id(one))
    for value in graph.outputs:
        users.setdefault(roots.get(value.name, value.name), set()).add(-1)
    return users


def _values(graph: Graph) -> dict[str, Value]:
    made = [value for one in graph.operations for value in one.outputs]
    return {value.name: value for value in (*graph.weights, *graph.inputs, *made)}


def _joined(
    operation: Operation, flow: Dataflow, maker: Mapping[str, _Group], made_at: Mapping[str, int]
) -> _Group | None:
    """The kernel that it becomes a part of: the latest of those that may take it."""
    work = operation.work
    if work.kind != "elementwise" and not _is_folded(operation):
        return None
    size = sum(value.count for value in operation.outputs)
    found, latest = None, -1
    for value in operation.inputs:
        root = flow.root(value.name)
        group = maker.get(root)
        if group is None or flow.users.get(root) != {id(operation)} or size > value.count:
            continue
        if made_at[root] > latest and all(one.work.kind in _TAKES for one in group.operations):
            found, latest = group, made_at[root]
    return found


def _is_folded(operation: Operation) -> bool:
    """Batch normalisation over statistics that are known is a scale and a shift."""
    return operation.work.kind == "normalisation" and operation.work.other_flops == 2 * operation.inputs[0].count
