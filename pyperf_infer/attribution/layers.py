# SPDX-License-Identifier: Apache-2.0
"""Layers whose times were measured, and the operations of the model's graph that each of them executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyperf_infer.roofline.work.kernels import Dataflow

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Node
    from pyperf_infer.profile.onnxruntime_nodes import MergedNode
    from pyperf_infer.results.profile_schema import ProfileRow
    from pyperf_infer.roofline.work.counts import Graph, Kernel, Operation

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


@dataclass
class TimedLayer:
    """`time_ms` is an inference's. `mapped`: it is known which operations it stands for, even if those are none.
    `put_in`: by the runtime, to change a layout, a type or a device."""

    row: ProfileRow
    time_ms: float
    mapped: bool
    put_in: bool = False
    kernels: list[Kernel] = field(default_factory=list)

    @property
    def operations(self) -> list[Operation]:
        return [one for kernel in self.kernels for one in kernel.operations]

    @property
    def only_views(self) -> bool:
        """Whether it executes operations, and none of them computes or moves anything."""
        return bool(self.operations) and all(one.work.kind == "view" for one in self.operations)


@dataclass(frozen=True)
class Joined:
    """`left_over`: operations with work that no layer was found for."""

    layers: Sequence[TimedLayer]
    left_over: Sequence[Operation]


def join_modules(graph: Graph, rows: Sequence[ProfileRow]) -> Joined:
    """PyTorch's modules: an operation belongs to the innermost module that called it and whose time is known.

    Eagerly, each operation is executed by itself, and reads and writes for itself.
    """
    layers = [TimedLayer(row, row.time_ms or 0.0, mapped=True) for row in rows]
    by_path = {path: layer for layer in layers for path in (layer.row.name, *layer.row.aliases)}
    flow = Dataflow(graph)
    left_over = []
    for operation in graph.operations:
        layer = next((by_path[path] for path in _outwards(operation.name) if path in by_path), None)
        if layer is not None:
            layer.kernels.append(flow.kernel((operation,)))
        elif operation.work.kind != "view":
            left_over.append(operation)
    return Joined(layers, left_over)


def join_nodes(graph: Graph, rows: Sequence[ProfileRow], nodes: Sequence[MergedNode], *, on_device: bool) -> Joined:
    """ONNX Runtime's nodes, each of which executes in one go what it stands for in the given graph.

    Where several stand for one operation, it counts for the one that takes the longest. Nodes that ONNX Runtime put in
    to change a layout or a type stand for nothing: what they move nobody asked for.
    """
    layers = [
        TimedLayer(row, (row.device_time_ms if on_device else row.time_ms) or 0.0, bool(row.sources), node.put_in)
        for row, node in zip(rows, nodes, strict=True)
    ]
    makers = {value.name: number for number, one in enumerate(graph.operations) for value in one.outputs}
    same = _same_as_earlier(graph, [one for node in nodes for one in node.origin])
    owners: dict[int, TimedLayer] = {}
    for layer, node in zip(layers, nodes, strict=True):
        if node.put_in:
            continue
        for number in {makers[name] for one in node.origin for name in one.outputs if name in makers}:
            if number not in owners or layer.time_ms > owners[number].time_ms:
                owners[number] = layer
    flow = Dataflow(graph)
    for layer, numbers in _inverted(owners):
        # What one node stands for twice it computes once: ONNX Runtime merges operations that are the same.
        once = sorted(number for number in numbers if same.get(number) not in numbers)
        layer.kernels.append(flow.kernel(graph.operations[number] for number in once))
    left_over = [one for number, one in enumerate(graph.operations) if number not in owners and one.work.kind != "view"]
    return Joined(layers, left_over)


def _same_as_earlier(graph: Graph, nodes: Iterable[Node]) -> dict[int, int]:
    """The number of the first operation that computes the same of the same, for those that are not it themselves."""
    attributes = {name: (one.domain, one.op, one.attributes) for one in nodes for name in one.outputs if name}
    canonical: dict[str, str] = {}
    first: dict[object, int] = {}
    found = {}
    for number, operation in enumerate(graph.operations):
        names = tuple(value.name for value in operation.outputs)
        known = next((attributes[name] for name in names if name in attributes), None)
        if known is None:
            continue
        domain, op, given = known
        inputs = tuple(canonical.get(value.name, value.name) for value in operation.inputs)
        key = (domain, op, tuple(sorted(given.items())), inputs)
        earlier = first.setdefault(key, number)
        if earlier != number and op not in _RANDOM:
            found[number] = earlier
            originals = (value.name for value in graph.operations[earlier].outputs)
            canonical.update(zip(names, originals, strict=False))
    return found


def _inverted(owners: Mapping[int, TimedLayer]) -> Iterable[tuple[TimedLayer, list[int]]]:
    found: dict[int, tuple[TimedLayer, list[int]]] = {}
    for number, layer in owners.items():
        found.setdefault(id(layer), (layer, []))[1].append(number)
    return found.values()


def _outwards(path: str) -> Iterable[str]:
    """A module's path, those of the modules around it, and "" for the model."""
    while path:
        yield path
        path = path.rpartition(".")[0]
    yield ""
