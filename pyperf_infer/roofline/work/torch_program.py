# SPDX-License-Identifier: Apache-2.0
"""A PyTorch module as operations: from the graph that torch.export makes of it. Nothing is computed for it."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.utils._pytree import tree_leaves

from pyperf_infer.convert.failure import explain, last_lines
from pyperf_infer.convert.flat import flattened
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.errors import InputError
from pyperf_infer.roofline.tensors import tensors_in
from pyperf_infer.roofline.work.counts import Graph, Operation, Value, Work
from pyperf_infer.roofline.work.torch_families import DataDependentError, sizes_of
from pyperf_infer.roofline.work.torch_formulas import torch_work

# Operators that hold graphs of their own: how often those run is not in the graph.
_CONTROL_FLOW = frozenset({"cond", "while_loop", "map_impl", "map", "scan", "associative_scan"})
# Those run their graph once, whatever it holds: under torch.autocast or torch.no_grad.
_WRAPPERS = frozenset({"wrap_with_autocast", "wrap_with_set_grad_enabled"})


def torch_graph(name: str, module: nn.Module, inputs: Sequence[Tensor]) -> Graph:
    """`module` in eval mode, called with `inputs` by position; both may be on the meta device.

    Raises:
        InputError: it cannot be exported, or what it computes depends on its data (torch.cond and the like).
    """
    return _Reader(name, _exported(name, module, inputs)).graph()


def _exported(name: str, module: nn.Module, inputs: Sequence[Tensor]) -> torch.export.ExportedProgram:
    with captured_chatter() as chatter, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return torch.export.export(flattened(module), tuple(inputs), strict=False)
        except Exception as error:  # whatever the model's own code raises on the way
            failure = explain(error)
            printed = last_lines(chatter.getvalue(), "torch.export") if failure.source is None else ""
            raise InputError(f"{name} cannot be exported, and so not be counted: {failure}{printed}") from error


class _Reader:
    def __init__(self, name: str, program: torch.export.ExportedProgram) -> None:
        self._name = name
        self._program = program
        self._values: dict[Node, tuple[Value, ...]] = {}  # what a node's result is made of
        self._operations: list[Operation] = []

    def graph(self) -> Graph:
        signature = self._program.graph_signature
        constants = {*signature.inputs_to_parameters, *signature.inputs_to_buffers}
        constants |= set(signature.inputs_to_lifted_tensor_constants)
        placeholders = [node for node in self._program.graph.nodes if node.op == "placeholder"]
        shared: dict[str, tuple[Value, ...]] = {}
        for node in placeholders:
            values = tuple(_value(node.name, one) for one in tensors_in(node.meta.get("val")))
            target = self._same_tensor(node.name)
            self._values[node] = shared.setdefault(target, values) if target else values
        weights = {value.name: value for node in placeholders if node.name in constants for value in self._values[node]}
        self._read(self._program.graph_module, prefix="")
        return Graph(
            tuple(self._operations),
            tuple(weights.values()),
            tuple(value for node in placeholders if node.name not in constants for value in self._values[node]),
            self._returned(self._program.graph.output_node()),
        )

    def _same_tensor(self, placeholder: str) -> str | None:
        """What tells parameters apart: one that stands in two places of the module is one."""
        signature = self._program.graph_signature
        target = signature.inputs_to_parameters.get(placeholder) or signature.inputs_to_buffers.get(placeholder)
        found = self._program.state_dict.get(target) if target is not None else None
        return None if found is None else str(id(found))

    def _read(self, part: torch.fx.GraphModule, prefix: str) -> None:
        for node in part.graph.nodes:
            if node.op == "call_function":
                self._call(part, node, prefix)
            elif node.op == "get_attr":
                found = node.meta.get("val")
                self._values[node] = tuple(_value(prefix + node.name, one) for one in tensors_in(found))

    def _call(self, part: torch.fx.GraphModule, node: Node, prefix: str) -> None:
        op = _operator_name(node.target)
        simple = op.rpartition(".")[2]
        if simple in _CONTROL_FLOW:
            raise InputError(
                f"{self._name} has control flow ({simple}, in {_layer(node) or 'the model itself'}): how often its "
                "parts run depends on data, so that there is no count of them. Count a model without it."
            )
        if simple in _WRAPPERS:
            self._inline(part, node, prefix)
            return
        if node.target is operator.getitem:
            source, index = node.args[0], node.args[1]
            of_source = self._values.get(source, ())  # type: ignore[arg-type]
            self._values[node] = of_source[index : index + 1] if isinstance(index, int) and index >= 0 else of_source
            return
        if isinstance(node.target, torch._ops.OpOverload | torch._ops.HigherOrderOperator):
            try:
                self._operate(node, op, prefix)
            except DataDependentError as error:
                where = _layer(node) or "the model itself"
                raise InputError(f"{self._name} cannot be counted: {op} in {where}: {error}.") from error
        # Anything else computes with sizes.

    def _operate(self, node: Node, op: str, prefix: str) -> None:
        operands = [self._values[one] for one in node.all_input_nodes if one in self._values]
        inputs = tuple(dict.fromkeys(value for values in operands for value in values))
        result = node.meta.get("val")
        outputs = tuple(_value(f"{prefix}{node.name}.{number}", one) for number, one in enumerate(tensors_in(result)))
        work = torch_work(op, node.target, _arguments(node), result)
        work = _at_places(work, inputs, self._tensor_values(node))
        self._operations.append(Operation(op, _layer(node), inputs, outputs, work))
        self._values[node] = outputs
        if _works_in_place(node.target) and node.args and isinstance(node.args[0], Node) and outputs:
            self._values[node.args[0]] = outputs  # whoever reads it from here on reads the result

    def _tensor_values(self, node: Node) -> list[Value]:
        """Of its tensor arguments in the order of the schema."""
        values: list[Value] = []
        for one in _nodes_in((node.args, node.kwargs)):
            values.extend(self._values.get(one, ()))
        return values

    def _inline(self, outer: torch.fx.GraphModule, node: Node, prefix: str) -> None:
        wrapped = next(one for one in node.args if isinstance(one, Node) and one.op == "get_attr")
        inner = outer.get_submodule(str(wrapped.target))
        assert isinstance(inner, torch.fx.GraphModule)  # noqa: S101  the operator holds nothing else
        given = [one for one in node.args if isinstance(one, Node) and one is not wrapped]
        placeholders = [one for one in inner.graph.nodes if one.op == "placeholder"]
        for placeholder, argument in zip(placeholders, given, strict=True):
            self._values[placeholder] = self._values.get(argument, ())
        self._read(inner, f"{prefix}{node.name}.")
        self._values[node] = self._returned(inner.graph.output_node())

    def _returned(self, node: Node) -> tuple[Value, ...]:
        return tuple(value for one in _nodes_in(node.args) for value in self._values.get(one, ()))


def _at_places(work: Work, inputs: Sequence[Value], tensors: Sequence[Value]) -> Work:
    """`read_bytes` by the places of `inputs`, of which each tensor stands there once."""
    if not work.read_bytes:
        return work
    read = {inputs.index(tensors[place]): size for place, size in work.read_bytes.items() if place < len(tensors)}
    return replace(work, read_bytes=read)


def _arguments(node: Node) -> dict[str, Any]:
    """What the operator is called with, tensors in place of the nodes that make them, by the names of its schema."""
    schema = getattr(node.target, "_schema", None)
    values = torch.fx.map_arg(node.args, lambda one: one.meta.get("val"))
    named = torch.fx.map_arg(node.kwargs, lambda one: one.meta.get("val"))
    if schema is None:  # flex_attention and the like
        names: Sequence[str] = ("query", "key", "value")
        return {**dict(zip(names, values, strict=False)), **named}
    given = {argument.name: value for argument, value in zip(schema.arguments, values, strict=False)}
    defaults = {argument.name: argument.default_value for argument in schema.arguments if argument.has_default_value()}
    return {**defaults, **given, **named}


def _nodes_in(value: Any) -> list[Node]:
    return [one for one in tree_leaves(value) if isinstance(one, Node)]


def _works_in_place(target: Any) -> bool:
    schema = getattr(target, "_schema", None)
    first = schema.arguments[0].alias_info if schema is not None and schema.arguments else None
    return first is not None and first.is_write


def _operator_name(target: Any) -> str:
    """ "aten.conv2d" of torch.ops.aten.conv2d.default."""
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.replace("::", ".")
    return str(getattr(target, "__name__", target))


def _layer(node: Node) -> str:
    """The module that called it, as state_dict names it."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [str(path) for path, _ in stack.values()]
    return paths[-1].removeprefix("module").lstrip(".") if paths else ""


def _value(name: str, tensor: Tensor) -> Value:
    return Value(name, sizes_of(tensor), float(tensor.element_size()), tensor.is_floating_point())
