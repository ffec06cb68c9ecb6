# SPDX-License-Identifier: Apache-2.0
"""An ONNX graph as operations: its shapes inferred for the inputs' own, none of it executed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, shape_inference

from pyperf_infer.errors import InputError
from pyperf_infer.models.onnx_file import read_onnx
from pyperf_infer.roofline.onnx_elements import element_bits, is_floating
from pyperf_infer.roofline.work.counts import VIEW, Graph, Operation, Shape, Value
from pyperf_infer.roofline.work.onnx_operators import CONTROL_FLOW, onnx_work
from pyperf_infer.roofline.work.onnx_stand_ins import with_stand_ins

_SHAPE_VALUES = 1024  # elements of an initializer that may be a shape, or part of one; larger ones are only sizes here
_LARGEST = 2**31 - 1  # size of a dimension
_KEEP_COUNT = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
_OWN = ("", "ai.onnx")


def onnx_graph(name: str, path: Path, shapes: Mapping[str, Shape]) -> Graph:
    """The file at `path` with inputs of these shapes.

    Raises:
        InputError: no ONNX model, control flow, or a shape that cannot be inferred; it names the node.
    """
    model = _inlined(read_onnx(path))
    nodes = _needed(model.graph)
    _refuse_control_flow(name, nodes)
    sparse = {tensor.values.name: tensor for tensor in model.graph.sparse_initializer}
    weights = {tensor.name: _of_tensor(tensor) for tensor in model.graph.initializer}
    weights |= {key: _value(key, tensor.dims, tensor.values.data_type) for key, tensor in sparse.items()}
    values = {**_inferred(name, model, shapes), **weights}
    constant = set(weights)  # and what is computed of nothing else
    operations = []
    for node in nodes:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.HasField("t"):
                weights[node.output[0]] = values[node.output[0]] = _of_tensor(attribute.t, node.output[0])
                constant.add(node.output[0])
        operation = _operation(name, node, values)
        of_weights = bool(operation.inputs) and all(value.name in constant for value in operation.inputs)
        if of_weights and operation.work.kind != "unknown":
            constant |= {value.name for value in operation.outputs}
        # What is computed of weights alone, a runtime computes when it loads the model; products it may leave.
        if of_weights and operation.work.kind not in ("matrix", "view", "unknown"):
            weights |= {value.name: value for value in operation.outputs}
        else:
            operations.append(operation)
    used = {one.name for one in model.graph.output}
    kept = []
    for operation in reversed(operations):
        made = {one.name for one in operation.outputs}
        if operation.work.kind == "view" and made <= constant and used.isdisjoint(made):
            continue  # only what was computed when the model was loaded read it
        used |= {value.name for value in operation.inputs}
        kept.append(operation)
    return Graph(
        tuple(reversed(kept)),
        tuple(value for value in weights.values() if value.name in used),
        tuple(values[one.name] for one in model.graph.input if one.name not in weights and one.name in values),
        tuple(values[one.name] for one in model.graph.output if one.name in values),
    )


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    from onnx import inliner

    found: onnx.ModelProto = inliner.inline_local_functions(model)
    return found


def _refuse_control_flow(name: str, nodes: Iterable[onnx.NodeProto]) -> None:
    found = [f"{node.op_type} ({node.name})" if node.name else node.op_type for node in nodes if _branches(node)]
    if found:
        few = ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")
        raise InputError(
            f"{name} has control flow: {few}. How often its parts run depends on data, so that there is no count of "
            "them. Count a model without it."
        )


def _branches(node: onnx.NodeProto) -> bool:
    return node.op_type in CONTROL_FLOW and node.domain in _OWN


def _inferred(name: str, model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> dict[str, Value]:
    """All values whose shapes are known, with inputs of `shapes`."""
    small = _without_weights(model)
    for one in small.graph.input:
        if one.name in shapes:
            _set_shape(one, shapes[one.name])
    for one in small.graph.output:  # what the file says of them may be of another batch
        one.type.tensor_type.ClearField("shape")
    values = _by_onnx(name, with_stand_ins(small))
    if _has_unknown(small, values):
        small.graph.value_info.extend(_told_by_file(model.graph, shapes, values))
        values = _by_onnx(name, with_stand_ins(small))
    if _has_unknown(small, values):
        values |= _by_runtime(small)
    return values


def _by_onnx(name: str, small: onnx.ModelProto) -> dict[str, Value]:
    try:
        return _known(shape_inference.infer_shapes(small, data_prop=True).graph)
    except Exception as error:  # onnx raises its own, which have no common base
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{name}: its shapes cannot be inferred: {first}") from error


def _has_unknown(small: onnx.ModelProto, values: Mapping[str, Value]) -> bool:
    return any(one not in values for node in small.graph.node for one in node.output if one)


def _told_by_file(
    graph: onnx.GraphProto, shapes: Mapping[str, Shape], known: Mapping[str, Value]
) -> Iterator[onnx.ValueInfoProto]:
    """Shapes that the file states of values that could not be inferred, sizes with a name as the inputs have them."""
    symbols: dict[str, int] = {}
    for one in graph.input:
        for size, given in zip(one.type.tensor_type.shape.dim, shapes.get(one.name, ()), strict=False):
            if size.dim_param:
                symbols[size.dim_param] = given
    for one in graph.value_info:
        sizes = one.type.tensor_type.shape.dim
        if one.name not in known and all(size.HasField("dim_value") or size.dim_param in symbols for size in sizes):
            told = onnx.ValueInfoProto()
            told.CopyFrom(one)
            _set_shape(told, tuple(symbols.get(size.dim_param, size.dim_value) for size in sizes))
            yield told


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose large weights have a shape and no content, which no shape depends on."""
    small = onnx.ModelProto()
    small.ir_version = model.ir_version
    small.opset_import.extend(model.opset_import)
    small.graph.name = model.graph.name
    small.graph.node.extend(model.graph.node)
    small.graph.input.extend(model.graph.input)
    small.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SHAPE_VALUES and not tensor.external_data:
            small.graph.initializer.append(tensor)
        elif all(one.name != tensor.name for one in small.graph.input):
            small.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return small


def _by_runtime(small: onnx.ModelProto) -> dict[str, Value]:
    """What ONNX Runtime's symbolic inference finds beyond ONNX's own: of its operators, and of computed shapes."""
    from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

    # As its `infer_shapes`, which throws away what it found where it did not find all, and leaves a file behind.
    inference = SymbolicShapeInference(int_max=_LARGEST, auto_merge=True, guess_output_rank=False, verbose=0)
    with suppress(Exception):  # it raises what it likes; what it had found by then is known
        inference._preprocess(small)
        while inference.run_:
            inference._infer_impl()
    found = getattr(inference, "out_mp_", None)
    return {} if found is None else _known(found.graph)


def _known(graph: onnx.GraphProto) -> dict[str, Value]:
    found = {}
    for one in (*graph.input, *graph.value_info, *graph.output):
        kind = one.type.tensor_type
        sizes = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
        if one.type.HasField("tensor_type") and kind.HasField("shape") and all(size >= 0 for size in sizes):
            found[one.name] = _value(one.name, sizes, kind.elem_type)
    return found


def _set_shape(one: onnx.ValueInfoProto, shape: Shape) -> None:
    kind = one.type.tensor_type
    kind.ClearField("shape")
    kind.shape.SetInParent()
    for size in shape:
        kind.shape.dim.add().dim_value = size


def _needed(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Nodes that an output depends on, in their order; a runtime drops the others."""
    producers = {output: node for node in graph.node for output in node.output if output}
    needed: set[str] = set()  # by their outputs
    waiting = [value.name for value in graph.output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and not needed.issuperset(filter(None, node.output)):
            needed.update(filter(None, node.output))
            waiting.extend(node.input)
    return [node for node in graph.node if needed.intersection(node.output)]


def _operation(name: str, node: onnx.NodeProto, values: Mapping[str, Value]) -> Operation:
    op = node.op_type if node.domain in _OWN else f"{node.domain}.{node.op_type}"
    inputs = [values.get(one) if one else None for one in node.input]
    outputs = [values[one] for one in node.output if one in values]
    unknown = [one for one in (*node.input, *node.output[:1]) if one and one not in values]
    work = VIEW
    if node.op_type not in ("Shape", "Size", "Constant"):
        if unknown:
            raise InputError(
                f"{name}: the shape of {unknown[0]!r} at node {node.name or op!r} ({op}) is not known, so that its "
                "work cannot be counted. Give the whole shape of every input with --shape, or run "
                "onnx.shape_inference over the file first."
            )
        try:
            work = onnx_work(op, inputs, outputs, _attributes(node))
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"{name}: node {node.name or op!r} ({op}) is damaged: {error}") from error
        if op in _KEEP_COUNT and inputs[0] is not None and outputs and inputs[0].count != outputs[0].count:
            raise InputError(
                f"{name}: node {node.name or op!r} ({op}) makes {outputs[0].count} elements of {inputs[0].count}: the "
                "file is made for inputs of another size. Give the one it is made for with --shape or --batch-size."
            )
    return Operation(op, node.name or op, tuple(one for one in inputs if one is not None), tuple(outputs), work)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found = {
        one.name: helper.get_attribute_value(one) for one in node.attribute if one.type != onnx.AttributeProto.GRAPH
    }
    return {key: value.decode() if isinstance(value, bytes) else value for key, value in found.items()}


def _of_tensor(tensor: onnx.TensorProto, name: str = "") -> Value:
    return _value(name or tensor.name, tensor.dims, tensor.data_type)


def _value(name: str, shape: Iterable[int], data_type: int) -> Value:
    return Value(name, tuple(shape), element_bits(data_type) / 8, is_floating(data_type))
