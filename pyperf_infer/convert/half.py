# SPDX-License-Identifier: Apache-2.0
"""A model in float16 or bfloat16: what an export of that precision is made of."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyperf_infer.models.spec import InputSpec, LoadedModel

Short = Literal["float16", "bfloat16"]

_FLOATING = ("float16", "float32", "float64", "bfloat16")


def short_type(precision: str) -> Short | None:
    """The type that a precision makes of floating numbers; None where it leaves them as they are."""
    return "float16" if precision == "float16" else "bfloat16" if precision == "bfloat16" else None


def half_specs(specs: Sequence[InputSpec], dtype: Short = "float16") -> tuple[InputSpec, ...]:
    """The inputs with every floating one as `dtype`; indices and masks stay as they are."""
    return tuple(replace(spec, dtype=dtype) if spec.dtype in _FLOATING else spec for spec in specs)


def half_copy(model: LoadedModel, dtype: Short = "float16") -> LoadedModel:
    """A copy of the module with parameters, buffers and inputs of `dtype`; the model given stays as it is.

    Raises:
        InputError: an ONNX file, whose element types are its own, or a module that cannot be copied.
    """
    if model.module is None:
        raise InputError(
            f"{model.name} is an ONNX file, which keeps the element types that it has, and they are not {dtype}; give "
            f"a {dtype} file of it, or leave --precision {dtype} away"
        )
    try:
        module = copy.deepcopy(model.module).eval()
        module = module.bfloat16() if dtype == "bfloat16" else module.half()
    except (TypeError, RuntimeError) as error:
        first_line = str(error).strip().split("\n", 1)[0]
        raise InputError(f"{model.name} cannot be copied to {dtype}: {first_line}") from error
    return replace(model, module=module, inputs=half_specs(model.inputs, dtype))
