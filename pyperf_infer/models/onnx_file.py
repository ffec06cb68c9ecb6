# SPDX-License-Identifier: Apache-2.0
"""Read an .onnx file's structure: its inputs and how many parameters it has, without loading external data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.models.spec import InputSpec

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

_PROTOBUF_LIMIT = 2**31
_GIT_LFS = b"version https://git-lfs"
# A ModelProto begins with its first field, ir_version, a varint: tag 1 << 3 | 0.
_FIRST_BYTE = b"\x08"
# How info() shows an input of which the file does not even tell the number of dimensions.
UNKNOWN_RANK = ("...",)


def read_onnx(path: Path) -> onnx.ModelProto:
    """The parsed file; external tensors stay on disk. InputError where it is missing, cut short or no ONNX model.

    protobuf reads an empty file, and a good deal of garbage, without complaint: what every model has is checked too.
    """
    content = _read_bytes(path)
    if not content:
        raise InputError(f"{path}: the file is empty.")
    if content.startswith(_GIT_LFS):
        raise InputError(f"{path}: this is Git LFS's pointer to the file, not the file; run `git lfs pull`.")
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        cut = " It begins like one: the file may be cut short." if content.startswith(_FIRST_BYTE) else ""
        raise InputError(f"{path}: not an ONNX model.{cut}") from error
    lacking = [
        what
        for what, there in (
            ("an IR version", model.ir_version > 0),
            ("an opset", len(model.opset_import) > 0),
            ("a graph", model.HasField("graph")),
            ("nodes", len(model.graph.node) > 0),
            ("outputs", len(model.graph.output) > 0),
        )
        if not there
    ]
    if lacking:
        raise InputError(f"{path}: not an ONNX model, or a damaged one: it has not got {', '.join(lacking)}.")
    return model


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            what = "is a folder, not a file" if path.is_dir() else "there is no such file"
            raise InputError(f"{path}: {what}.")
        if path.stat().st_size >= _PROTOBUF_LIMIT:
            raise InputError(f"{path}: 2 GiB or more; ONNX files of that size need their weights in external data.")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error


def input_specs(path: Path, model: onnx.ModelProto) -> tuple[InputSpec, ...]:
    """The inputs a caller must give: those of the graph that have no initializer. InputError names one that is no
    tensor, or of an element type that cannot be drawn (strings, 4 and 8 bit floats)."""
    initialized = {tensor.name for tensor in model.graph.initializer}
    initialized |= {tensor.values.name for tensor in model.graph.sparse_initializer}
    return tuple(_spec(path, value) for value in model.graph.input if value.name not in initialized)


def _spec(path: Path, value: onnx.ValueInfoProto) -> InputSpec:
    import onnx

    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        what = (kind or "untyped").removesuffix("_type").replace("_", " ")
        raise InputError(f"{path}: input {value.name!r} is a {what}; only tensors can be fed.")
    tensor = value.type.tensor_type
    types = onnx.TensorProto
    known: dict[int, str] = {
        types.FLOAT: "float32",
        types.FLOAT16: "float16",
        types.BFLOAT16: "bfloat16",
        types.DOUBLE: "float64",
        types.INT8: "int8",
        types.INT16: "int16",
        types.INT32: "int32",
        types.INT64: "int64",
        types.UINT8: "uint8",
        types.UINT16: "uint16",
        types.UINT32: "uint32",
        types.UINT64: "uint64",
        types.BOOL: "bool",
    }
    if tensor.elem_type not in known:
        called = (
            types.DataType.Name(tensor.elem_type).lower() if tensor.elem_type in types.DataType.values() else "unknown"
        )
        raise InputError(
            f"{path}: input {value.name!r} has elements of type {called}, which cannot be fed. "
            f"Supported: {', '.join(known.values())}."
        )
    if not tensor.HasField("shape"):
        return InputSpec(value.name, UNKNOWN_RANK, known[tensor.elem_type])
    return InputSpec(value.name, tuple(_size(dimension) for dimension in tensor.shape.dim), known[tensor.elem_type])


def _size(dimension: onnx.TensorShapeProto.Dimension) -> int | str | None:
    # Some exporters write an open dimension as 0 or -1.
    if dimension.WhichOneof("value") == "dim_value" and dimension.dim_value > 0:
        return int(dimension.dim_value)
    return str(dimension.dim_param) or None


def count_parameters(model: onnx.ModelProto) -> int:
    """Elements of the graph's initializers that hold weights: floats, and quantised ones of 8 bits or fewer.

    Wider integers are shapes, indices and axes.
    """
    import onnx

    types = onnx.TensorProto
    not_weights = {
        types.INT16,
        types.INT32,
        types.INT64,
        types.UINT16,
        types.UINT32,
        types.UINT64,
        types.BOOL,
        types.STRING,
    }
    dense = (tensor for tensor in model.graph.initializer if tensor.data_type not in not_weights)
    sparse = (tensor.values for tensor in model.graph.sparse_initializer)
    return sum(math.prod(tensor.dims) for tensor in (*dense, *sparse))
