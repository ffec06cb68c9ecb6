# SPDX-License-Identifier: Apache-2.0
"""The backends whose layers or nodes can be timed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel

BackendName = Literal["torch", "onnxruntime"]


def backends_of(model: LoadedModel, asked: Sequence[BackendName]) -> tuple[BackendName, ...]:
    """Those in `asked`, or where that is empty all that take the model.

    Raises:
        InputError: torch is asked for, and the model is an ONNX file.
    """
    if model.module is not None:
        return tuple(asked) or ("torch", "onnxruntime")
    if "torch" in asked:
        raise InputError(f"{model.name} is an ONNX file, which backend torch does not run")
    return ("onnxruntime",)
