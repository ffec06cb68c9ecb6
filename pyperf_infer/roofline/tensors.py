# SPDX-License-Identifier: Apache-2.0
"""Which memory a tensor stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef


def is_plain(tensor: Tensor) -> bool:
    """Whether its content is what its shape says, in its own storage: not so if sparse, nested or of a subclass, as
    quantised and distributed tensors are."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_nested


def storage_of(tensor: Tensor) -> int:
    """The address of its storage's record: one for all views of it, and its own as long as a reference lives."""
    return int(tensor.untyped_storage()._cdata)


def weak_reference(tensor: Tensor) -> StorageWeakRef:
    """Keeps the record of its storage, and so its address, but not the memory."""
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def extent(tensor: Tensor) -> tuple[int, int] | None:
    """The bytes of its storage that `tensor` fills; None where it leaves gaps or has elements in common."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return None
        expected *= size
    begin = int(tensor.storage_offset()) * tensor.element_size()
    return begin, begin + tensor.numel() * tensor.element_size()


def distinct_bytes(tensor: Tensor) -> int:
    """Bytes of the elements that lie in different places; 0 where that is hard to tell (windows that overlap)."""
    reach = 0
    count = min(tensor.numel(), 1)
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if stride == 0 or size == 1:  # one place for all
            continue
        if stride <= reach:
            return 0
        reach += (size - 1) * stride
        count *= size
    return count * tensor.element_size()


def covered_bytes(ranges: Iterable[tuple[int, int]]) -> int:
    """Bytes that at least one of the ranges covers."""
    total = reached = 0
    for begin, end in sorted(ranges):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors in `value`, however nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from tensors_in(getattr(value, field.name))
