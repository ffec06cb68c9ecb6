# SPDX-License-Identifier: Apache-2.0
"""A module whose outputs an exporter takes: a tensor, or a flat tuple of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyperf_infer.convert.outputs import named_outputs

if TYPE_CHECKING:
    import torch


def is_flat(value: Any) -> bool:
    """Whether a model that returns this needs no wrapper."""
    import torch

    return isinstance(value, torch.Tensor) or (
        type(value) is tuple and all(isinstance(element, torch.Tensor) for element in value)
    )


def takes_varargs(forward: Callable[..., Any]) -> bool:
    return any(
        parameter.kind is inspect.Parameter.VAR_POSITIONAL
        for parameter in inspect.signature(forward).parameters.values()
    )


def flattened(module: torch.nn.Module, names: list[str] | None = None) -> torch.nn.Module:
    """`module` behind a forward that returns a tuple of tensors, in flatten_outputs' order.

    Exporters know tuples and dicts; dataclasses, None and numbers among the outputs they do not. Each call leaves the
    outputs' names in `names`, so that a trace tells them and the model need not be run for it.
    """
    import torch

    class Flattened(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
            found = named_outputs(self.module(*inputs))
            if names is not None:
                names[:] = [name for name, _ in found]
            return tuple(tensor for _, tensor in found)

    return Flattened().eval()
