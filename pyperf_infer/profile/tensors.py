# SPDX-License-Identifier: Apache-2.0
"""The tensors in what a module takes and returns, whatever that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

_DEEPEST = 20  # a list inside of lists, say


def tensors_in(value: Any) -> list[torch.Tensor]:
    """Depth first, in sequences, sets, mappings and dataclasses; what is anything else holds none. Never fails."""
    try:
        return list(_walk(value, ()))
    except Exception:  # what an object raises when it is looked through is its own affair
        return []


def shapes_of(tensors: list[torch.Tensor]) -> list[list[int]]:
    return [[int(size) for size in tensor.shape] for tensor in tensors]


def bytes_of(tensors: list[torch.Tensor]) -> int:
    """Elements times their size, of each tensor once; what a sparse tensor has stored."""
    return sum(_nbytes(tensor) for tensor in {id(one): one for one in tensors}.values())


def _walk(value: Any, around: tuple[int, ...]) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
        return
    if id(value) in around or len(around) == _DEEPEST:  # what holds itself has no end
        return
    children: Any = ()
    if isinstance(value, Mapping):
        children = list(value.values())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        children = [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    elif isinstance(value, tuple | list | set | frozenset):
        children = list(value)
    for child in children:
        yield from _walk(child, (*around, id(value)))


def _nbytes(tensor: torch.Tensor) -> int:
    if tensor.is_sparse:
        tensor = tensor.coalesce()
        return _nbytes(tensor.indices()) + _nbytes(tensor.values())
    return tensor.numel() * tensor.element_size()
