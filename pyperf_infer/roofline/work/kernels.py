# SPDX-License-Identifier: Apache-2.0
"""Which operations a runtime executes in one go, and the bytes that then have to move.

Nothing is executed to find out; the rule is what ONNX Runtime and Inductor have in common: an elementwise operation,
or a batch normalisation in inference, joins the kernel that made one of its operands, where nobody else needs that
operand and its result is no larger. Views move nothing. Every kernel reads what it needs of each tensor once, and
writes what others need of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyperf_infer.roofline.work.counts import Graph, Kernel, Operation, Value

_TAKES = ("matrix", "elementwise", "normalisation", "copy")


@dataclass
class _Group:
    operations: list[Operation] = field(default_factory=list)
    made: dict[str, Value] = field(default_factory=dict)
    reads: dict[str, dict[str, int]] = field(default_factory=dict)  # root -> its views, by name -> bytes
    root_bytes: dict[str, int] = field(default_factory=dict)


def kernels(graph: Graph) -> tuple[Kernel, ...]:
    """In the order of their first operations. Views stand in kernels of their own, of no bytes."""
    groups, users = _groups(graph)
    return tuple(_kernel(group, users) for group in groups)


def activation_bytes_peak(graph: Graph) -> int:
    """The most that inputs, outputs and what lies between them take at a time, each freed after its last use.

    Kernels run in the order of their last operations; what they make and use themselves takes no memory.
    """
    groups, users = _groups(graph)
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


def _groups(graph: Graph) -> tuple[list[_Group], dict[str, set[int]]]:
    """And, for each tensor, the operations that read it."""
    roots = _roots(graph.operations)
    users = _users(graph, roots)
    sizes = _sizes(graph)
    groups: list[_Group] = []
    maker: dict[str, _Group] = {}
    made_at: dict[str, int] = {}
    for number, operation in enumerate(graph.operations):
        group = _joined(operation, roots, users, maker, made_at)
        if group is None:
            group = _Group()
            groups.append(group)
        group.operations.append(operation)
        if operation.work.kind == "view":
            continue
        for place, value in enumerate(operation.inputs):
            root = roots.get(value.name, value.name)
            if maker.get(root) is group:
                continue
            part = (operation.work.read_bytes or {}).get(place, value.size_bytes)
            views = group.reads.setdefault(root, {})
            views[value.name] = max(part, views.get(value.name, 0))
            group.root_bytes[root] = sizes.get(root, part)
        for value in operation.outputs:
            group.made[value.name] = value
            maker[value.name] = group
            made_at[value.name] = number
    return groups, users


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


def _sizes(graph: Graph) -> dict[str, int]:
    values = [value for one in graph.operations for value in one.outputs]
    return {value.name: value.size_bytes for value in (*graph.weights, *graph.inputs, *values)}


def _joined(
    operation: Operation,
    roots: Mapping[str, str],
    users: Mapping[str, set[int]],
    maker: Mapping[str, _Group],
    made_at: Mapping[str, int],
) -> _Group | None:
    """The kernel that it becomes a part of: the latest of those that may take it."""
    work = operation.work
    if work.kind != "elementwise" and not _is_folded(operation):
        return None
    size = sum(value.count for value in operation.outputs)
    found, latest = None, -1
    for value in operation.inputs:
        root = roots.get(value.name, value.name)
        group = maker.get(root)
        if group is None or users.get(root) != {id(operation)} or size > value.count:
            continue
        if made_at[root] > latest and all(one.work.kind in _TAKES for one in group.operations):
            found, latest = group, made_at[root]
    return found


def _is_folded(operation: Operation) -> bool:
    """Batch normalisation over statistics that are known is a scale and a shift."""
    return operation.work.kind == "normalisation" and operation.work.other_flops == 2 * operation.inputs[0].count


def _kernel(group: _Group, users: Mapping[str, set[int]]) -> Kernel:
    own = {id(one) for one in group.operations}
    written = sum(value.size_bytes for name, value in group.made.items() if users.get(name, set()) - own)
    # Views may overlap, or repeat their tensor: no more of it is read than there is.
    read = sum(min(sum(views.values()), group.root_bytes[root]) for root, views in group.reads.items())
    return Kernel(tuple(group.operations), read, written)
