# SPDX-License-Identifier: Apache-2.0
"""What the torch backends share: arrays and tensors, and the words for what failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pyperf_infer.errors import MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array


def tensor_of(array: Array) -> torch.Tensor:
    """A tensor on the CPU in the array's own memory."""
    if array.dtype.name == "bfloat16":  # a type of ml_dtypes, which torch does not know
        return torch.from_numpy(array.view("uint16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def array_of(tensor: torch.Tensor) -> Array:
    """A copy, from wherever the tensor is."""
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes

        array: Array = tensor.cpu().contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16).copy()
        return array
    return tensor.numpy(force=True).copy()


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Turns whatever a model raises into an error that says so. `what` names the model, and what was done with it.

    Raises:
        OutOfMemoryError, MeasurementError: in place of what the block raises, but for errors of this package.
    """
    try:
        yield
    except PyperfInferError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"PyTorch ran out of memory on {what}: {first_line(error)}") from error
        raise MeasurementError(f"PyTorch failed on {what}: {type(error).__name__}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Of its text: torch's go on with advice to its developers."""
    return str(error).strip().split("\n", 1)[0]
