# SPDX-License-Identifier: Apache-2.0
"""The external data files of an ONNX model: which they are, and that they lie where they may.

An .onnx file can name any path as the place of its weights; a runtime that follows it reads that file. So a path that
leaves the model's folder (absolute, through "..", through a symbolic link) is refused before anything opens it.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import onnx


def external_files(path: Path, model: onnx.ModelProto) -> dict[str, Path]:
    """Location (as the model writes it) and path of every external data file, sorted by location.

    InputError names a file that is missing, too short for what the model says is in it, or outside the model's folder.
    """
    import onnx

    ends: dict[str, int] = {}
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            location, end = _extent(path, tensor)
            ends[location] = max(end, ends.get(location, 0))
    return {location: _checked(path, location, ends[location]) for location in sorted(ends)}


def _extent(path: Path, tensor: onnx.TensorProto) -> tuple[str, int]:
    """Where `tensor` lies, and the first byte behind it."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    numbers = [entries.get(key, "0") or "0" for key in ("offset", "length")]
    if not location or not all(number.isascii() and number.isdigit() for number in numbers):
        raise InputError(f"{path}: tensor {tensor.name!r} has external data with a damaged description: {entries}.")
    offset, length = (int(number) for number in numbers)
    return location, offset + max(length, math.prod(tensor.dims) * _item_bits(tensor.data_type) // 8)


def _item_bits(data_type: int) -> int:
    import onnx

    if (
        data_type in (onnx.TensorProto.UNDEFINED, onnx.TensorProto.STRING)
        or data_type not in onnx.TensorProto.DataType.values()
    ):
        return 0
    name = onnx.TensorProto.DataType.Name(data_type)
    narrow = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}
    return narrow.get(name) or int(onnx.helper.tensor_dtype_to_np_dtype(data_type).itemsize) * 8


def _checked(path: Path, location: str, end: int) -> Path:
    outside = (
        PurePosixPath(location).is_absolute()
        or bool(PureWindowsPath(location).anchor)
        or ".." in PurePosixPath(location).parts
        or ".." in PureWindowsPath(location).parts
        or "\0" in location
    )
    file = path.parent / location
    if not outside:
        try:
            outside = not file.resolve().is_relative_to(path.parent.resolve())
        except (OSError, RuntimeError):  # a loop of symbolic links
            outside = True
    if outside:
        raise InputError(
            f"{path}: its external data {location!r} lies outside the model's folder; that is not followed. "
            "Copy the file (not a link to it) beside the model, and save the model with that location."
        )
    if not file.is_file():
        raise InputError(f"{path}: its external data {location!r} is missing; it belongs at {file}.")
    size = file.stat().st_size
    if size < end:
        raise InputError(
            f"{path}: its external data {file} is cut short: {size:,} bytes ({format_bytes(size)}), "
            f"and the model needs {end:,}."
        )
    return file


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
        yield from _attribute_tensors(function.attribute_proto)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        for sparse in (
            *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
            *attribute.sparse_tensors,
        ):
            yield from (sparse.values, sparse.indices)
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            yield from _graph_tensors(graph)
