# SPDX-License-Identifier: Apache-2.0
"""Modules made of a function and parts, and the least work of their calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pyperf_infer.roofline.least_work import least_work

if TYPE_CHECKING:
    from pyperf_infer.roofline.least import LeastWork


class Calls(nn.Module):
    """Does `forward(self, *inputs)`, with its parts as attributes."""

    def __init__(self, forward: Callable[..., Any], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self._function = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self._function(self, *inputs)


def work_of(module: nn.Module, *inputs: Tensor, **options: Any) -> LeastWork:
    found = least_work(module.eval(), inputs, **options)
    assert found is not None
    return found


def weights_of(module: nn.Module, *inputs: Tensor, **options: Any) -> int:
    return work_of(module, *inputs, **options).bytes.weights


def size_of(*tensors: Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
