# SPDX-License-Identifier: Apache-2.0
"""What is written in place of one node of ONNX Runtime's: see onnx_stand_ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper, numpy_helper

_CAST_LIKE = 15  # the opset that has it first


@dataclass
class Made:
    """What stands in for one node: nodes, and constants that they take."""

    node: onnx.NodeProto
    sizes: Mapping[str, Sequence[int]]  # of initializers and of the model's inputs
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    shapes: list[onnx.ValueInfoProto] = field(default_factory=list)  # of tensors that nobody makes

    def attribute(self, name: str, default: Any = None) -> Any:
        for one in self.node.attribute:
            if one.name == name:
                found = helper.get_attribute_value(one)
                return found.decode() if isinstance(found, bytes) else found
        return default

    def kept(self, names: Sequence[str]) -> dict[str, Any]:
        found = {name: self.attribute(name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def input(self, place: int) -> str:
        return self.node.input[place] if place < len(self.node.input) else ""

    def output(self, place: int = 0) -> str:
        return self.node.output[place] if place < len(self.node.output) else ""

    def temporary(self) -> str:
        return f"{self.node.output[0]} stand-in {len(self.nodes) + len(self.constants) + len(self.shapes)}"

    def add(self, op: str, inputs: Sequence[str], output: str | None = None, **attributes: Any) -> str:
        made = self.temporary() if output is None else output
        self.nodes.append(helper.make_node(op, list(inputs), [made], **attributes))
        return made

    def cast_like(self, name: str, like: str, output: str | None = None) -> str:
        """Of its type, where the file's operators are recent enough to say so."""
        if self.opset < _CAST_LIKE:
            return self.add("Identity", [name], output)
        return self.add("CastLike", [name, like], output)

    def constant(self, *values: int) -> str:
        import numpy as np

        name = self.temporary()
        self.constants.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def turned(self, name: str, rank: int, *, back: bool = False, output: str | None = None) -> str:
        """Channels from the last place to the second, or back."""
        first = [0, rank - 1, *range(1, rank - 1)]
        last = [0, *range(2, rank), 1]
        return self.add("Transpose", [name], output, perm=last if back else first)


StandIn = Callable[[Made], None]
