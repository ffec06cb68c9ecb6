# SPDX-License-Identifier: Apache-2.0
"""How large the elements of ONNX's tensors are."""

from __future__ import annotations

import re

_BITS = {"FLOAT": 32, "DOUBLE": 64, "BOOL": 8}  # of the types that do not say it in their name


def element_bits(data_type: int) -> int:
    """Of one element; 0 of strings and of types that are not known."""
    import onnx

    if data_type not in onnx.TensorProto.DataType.values():
        return 0
    name = onnx.TensorProto.DataType.Name(data_type)
    digits = re.search(r"\d+", name)
    return int(digits[0]) if digits else _BITS.get(name, 0)


def is_floating(data_type: int) -> bool:
    """Of types that are not known, not."""
    import onnx

    known = data_type in onnx.TensorProto.DataType.values()
    return known and onnx.TensorProto.DataType.Name(data_type).startswith(("FLOAT", "DOUBLE", "BFLOAT"))
