# SPDX-License-Identifier: Apache-2.0
"""A model in float16: what an export of that precision is made of."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyperf_infer.models.spec import InputSpec, LoadedModel

_FLOATING = ("float16", "float32", "float64", "bfloat16")


def half_specs(specs: Sequence[InputSpec]) -> tuple[InputSpec, ...]:
    """The inputs with every floating one as float16; indices and masks stay as they are."""
    return tuple(replace(spec, dtype="float16") if spec.dtype in _FLOATING else spec for spec in specs)


def half_copy(model: LoadedModel) -> LoadedModel:
    """A copy of the module with float16 parameters, buffers and inputs; the model given stays as it is.

    Raises:
        InputError: an ONNX file, whose element types are its own, or a module that cannot be copied.
    """
    if model.module is None:
        raise InputError(
            f"{model.name} is an ONNX file, which keeps the element types that it has; give a float16 file of it, "
            "without --precision float16"
        )
    try:
        module = copy.deepcopy(model.module).half().eval()
    except (TypeError, RuntimeError) as error:
        first_line = str(error).strip().split("\n", 1)[0]
        raise InputError(f"{model.name} cannot be copied to float16: {first_line}") from error
    return replace(model, module=module, inputs=half_specs(model.inputs))
