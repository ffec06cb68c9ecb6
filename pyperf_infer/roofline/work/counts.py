# SPDX-License-Identifier: Apache-2.0
"""What is counted: of one operation, of one kernel, of a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

# "view": nothing moves. "copy": bytes move and nothing is computed. "unknown": there is no formula for it.
Kind = Literal["matrix", "elementwise", "normalisation", "pooling", "reduction", "copy", "view", "unknown"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """A tensor of the graph. `item_bytes` may be a fraction, of types below a byte; `floating`: not of integers."""

    name: str
    shape: Shape
    item_bytes: float
    floating: bool = True

    @property
    def count(self) -> int:
        """Of its elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        return math.ceil(self.count * self.item_bytes)


@dataclass(frozen=True)
class Work:
    """Of one operation, by its shapes.

    `macs` are multiply-accumulates of convolutions and matrix products; `other_flops` everything else at the prices of
    formulas.py; `fvcore_other_flops` what fvcore's convention adds to the macs; `activations` the elements of what the
    products write. `read_bytes` is what it reads of an input of which it reads a part (an embedding), by the input's
    position.
    """

    kind: Kind
    macs: int = 0
    other_flops: int = 0
    fvcore_other_flops: int = 0
    activations: int = 0
    read_bytes: Mapping[int, int] | None = None


UNKNOWN = Work("unknown")
VIEW = Work("view")
COPY = Work("copy")


@dataclass(frozen=True)
class Operation:
    """A node of the graph. `op` is its operator, `name` the layer or node that it belongs to."""

    op: str
    name: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    work: Work


@dataclass(frozen=True)
class Graph:
    """Operations in the order of their execution, and the values that come from without: weights and inputs."""

    operations: tuple[Operation, ...]
    weights: tuple[Value, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]

    def in_precision(self, float_bytes: int) -> Graph:
        """The same with floating-point tensors of at most so many bytes an element."""
        known: dict[Value, Value] = {}

        def kept(value: Value) -> Value:
            if not value.floating or value.item_bytes <= float_bytes:
                return value
            return known.setdefault(value, replace(value, item_bytes=float(float_bytes)))

        def all_of(values: tuple[Value, ...]) -> tuple[Value, ...]:
            return tuple(map(kept, values))

        return Graph(
            tuple(_smaller(one, all_of(one.inputs), all_of(one.outputs)) for one in self.operations),
            all_of(self.weights),
            all_of(self.inputs),
            all_of(self.outputs),
        )


def _smaller(operation: Operation, inputs: tuple[Value, ...], outputs: tuple[Value, ...]) -> Operation:
    read = operation.work.read_bytes
    if read:
        pairs = zip(operation.inputs, inputs, strict=True)
        shares = [new.item_bytes / old.item_bytes if old.item_bytes else 1.0 for old, new in pairs]
        read = {place: math.ceil(size * shares[place]) for place, size in read.items()}
    return replace(operation, inputs=inputs, outputs=outputs, work=replace(operation.work, read_bytes=read))


@dataclass(frozen=True)
class Kernel:
    """Operations that are executed in one go, and the bytes that go in and out of it.

    `weights`: of `read_bytes`, what it reads of each weight. `dequantised`: the integers behind an operand, by its
    name, where the graph multiplies what it has dequantised.
    """

    operations: tuple[Operation, ...]
    read_bytes: int
    written_bytes: int
    weights: Mapping[str, int] = field(default_factory=dict)
    dequantised: Mapping[str, Value] = field(default_factory=dict)

    @property
    def weight_bytes(self) -> int:
        return sum(self.weights.values())

    @property
    def macs(self) -> int:
        return sum(one.work.macs for one in self.operations)


@dataclass(frozen=True)
class ModelWork:
    """The three counts and the labelled bytes of one call, per operation and in total."""

    model: str
    shapes: Mapping[str, Shape]
    params: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    activation_bytes_peak: int  # the most that has to be in memory at a time beside the weights
    bytes_min_model: int
    kernels: tuple[Kernel, ...]

    @property
    def operations(self) -> list[Operation]:
        return [operation for kernel in self.kernels for operation in kernel.operations]

    @cached_property
    def macs(self) -> int:
        """Of convolutions and matrix products, attention and recurrent layers among them."""
        return sum(one.work.macs for one in self.operations)

    @property
    def flops_model(self) -> int:
        """Two a multiply-accumulate: the numerator of every "% of peak"."""
        return 2 * self.macs

    @property
    def flops_all(self) -> int:
        """And everything else, at the prices of formulas.py."""
        return self.flops_model + sum(one.work.other_flops for one in self.operations)

    @property
    def fvcore_flops(self) -> int:
        """As fvcore, and timm's tables, count: macs, and some normalisations, poolings and interpolations."""
        return self.macs + sum(one.work.fvcore_other_flops for one in self.operations)

    @property
    def activations(self) -> int:
        return sum(one.work.activations for one in self.operations)

    @property
    def bytes_min_layer(self) -> int:
        return sum(one.read_bytes + one.written_bytes for one in self.kernels)

    @property
    def unknown_ops(self) -> Counter[str]:
        """Operators without a formula, and how many of each there are."""
        return Counter(one.op for one in self.operations if one.work.kind == "unknown")
