# SPDX-License-Identifier: Apache-2.0
"""A copy of a module without its data, to follow a call through it at no cost and without touching the module."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyperf_infer.roofline.tensors import is_plain, storage_of


def shadow(module: nn.Module, inputs: Sequence[Tensor]) -> tuple[nn.Module, list[Tensor]]:
    """Copies of both whose tensors are on the meta device; those that share memory share it there too.

    Raises ValueError where a call of the copy might not show what a call of the module does. A module that cannot be
    copied raises whatever it likes.
    """
    if any(isinstance(part, nn.TransformerEncoder) for part in module.modules()):
        raise ValueError("nn.TransformerEncoder may drop padded steps, on other devices than this one")
    storages: dict[int, Tensor] = {}
    # What deepcopy finds in its memo it does not copy.
    memo: dict[int, object] = {id(buffer): _shadow_of(buffer, storages) for buffer in module.buffers()}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(_shadow_of(parameter, storages), requires_grad=False)
    return copy.deepcopy(module, memo), [_shadow_of(tensor, storages) for tensor in inputs]


def _shadow_of(tensor: Tensor, storages: dict[int, Tensor]) -> Tensor:
    if not is_plain(tensor):
        raise ValueError(f"a {type(tensor).__name__} may hold its content elsewhere")
    size = tensor.untyped_storage().nbytes()
    whole = storages.setdefault(storage_of(tensor), torch.empty(size, dtype=torch.uint8, device="meta"))
    alike = torch.empty(0, dtype=tensor.dtype, device="meta")
    return alike.set_(whole.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())
