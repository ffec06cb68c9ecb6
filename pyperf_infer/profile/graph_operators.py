# SPDX-License-Identifier: Apache-2.0
"""What the operators of an optimised graph do: under which names an optimiser calls the same one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph, Node

# What an optimiser puts in or moves, to change a layout, a type or a device. They stand only for one of their own kind.
LAYOUT = frozenset({"ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost"})
CARRIERS = LAYOUT | {"Transpose", "Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"}
NORM = "BatchNormalization"  # becomes a convolution of one value a channel, where the layout is changed
DEQUANTIZE = "DequantizeLinear"  # is part of what reads its output, as that is in the type that is computed with
QUANTISERS = frozenset({"QuantizeLinear", DEQUANTIZE})  # an optimiser also moves them, and makes more of them
# Before the name of a value: the same in another type, where an operator is not there in the given one.
SAME_AS = ("InsertedPrecisionFreeCast_", "FusedBack_")
# An optimiser calls the same operator so, when it has fused something into it, changed its layout, or computes it with
# integers. QuantizeLinear and DynamicQuantizeLinear are operators of their own, and so is QuickGelu.
_PREFIX = re.compile("Fused|Nhwc|QLinear|DynamicQuantize(?!Linear$)|Q(?=[A-Z])")
_SUFFIX = re.compile("(?:IntegerToFloat|Integer|NBits)$")
_PRODUCTS = frozenset({"MatMul", "Gemm"})
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def operator(node: Node) -> str:
    """What a node does, whatever is fused into it, however its data lie, and in which type it computes."""
    op = node.op
    while (found := _PREFIX.match(op)) is not None:
        op = op[found.end() :]
    return _SUFFIX.sub("", op)


def works_like(node: Node, old: Node) -> bool:
    """Whether a new node may do an old one's work."""
    one, other = operator(node), operator(old)
    return one == other or {one, other} == _PRODUCTS or (old.op == NORM and one == "Conv")


def moves_inputs(node: Node, old: Node) -> bool:
    """Whether the inputs of an old one lie at other places: scales and zero points come between them."""
    return node.op != old.op and ("Q" in node.op or "Integer" in node.op)


def quantised_inputs(old: Node, makers: Mapping[str, Node]) -> list[str]:
    """What a node reads that does an old one's work with integers: others may still read the same dequantised."""
    found = [(name, makers.get(name)) for name in old.inputs]
    return [name if maker is None or maker.op != DEQUANTIZE else maker.inputs[0] for name, maker in found]


def equal_values(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Values that the same operator makes from the same inputs: an optimiser keeps one of them."""
    first: dict[tuple[object, ...], Node] = {}
    stands_for: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.subgraphs or node.op in _RANDOM:
            continue
        inputs = tuple(stands_for.get(name, name) for name in node.inputs)
        key = (node.domain, node.op, inputs, len(node.outputs), frozenset(node.attributes.items()))
        twin = first.setdefault(key, node)
        if twin is not node:
            for name, other in zip(node.outputs, twin.outputs, strict=True):
                stands_for[name] = other
                groups.setdefault(other, [other]).append(name)
    return {name: tuple(one for one in group if one != name) for group in groups.values() for name in group}
