# SPDX-License-Identifier: Apache-2.0
"""Whatever a model or a library raised, as an error of ours."""

from __future__ import annotations

from pyperf_infer.errors import MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.system.memory import is_out_of_memory


def known(error: Exception, backend: str, model: str) -> PyperfInferError:
    """Ours stay as they are; others name the backend, or the step, and the model."""
    if isinstance(error, PyperfInferError):
        return error
    said = str(error).strip().split("\n", 1)[0]
    if is_out_of_memory(error):
        return OutOfMemoryError(f"{model} does not fit in memory on {backend}: {said}. Use a smaller --batch-size.")
    return MeasurementError(f"{backend} failed on {model}: {type(error).__name__}: {said}")
