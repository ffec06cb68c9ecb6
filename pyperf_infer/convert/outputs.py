# SPDX-License-Identifier: Apache-2.0
"""A model's return value as a flat list of tensors: the order that an exported graph and a torch backend share."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    import torch

# What a model may hand back beside its tensors. It cannot differ between two inputs of one shape, so it is no output.
_CONSTANTS = (type(None), bool, int, float, complex, str, bytes)


def flatten_outputs(value: Any) -> list[torch.Tensor]:
    """The tensors in `value`, depth first.

    Sequences go by index, mappings by insertion order, dataclasses by field. None, numbers and strings are left out.
    Raises InputError for any other object and where there is no tensor at all.
    """
    return [tensor for _, tensor in named_outputs(value)]


def named_outputs(value: Any) -> list[tuple[str, torch.Tensor]]:
    """As flatten_outputs, each tensor with the path that leads to it.

    A lone tensor is ``output``, the elements of a sequence are ``output_0``, ``output_1``; fields and keys keep their
    own names, and what is nested is joined by dots (``hidden.0``).
    """
    found = [(_label(path), tensor) for path, tensor in _walk(value, ())]
    if not found:
        raise InputError(
            f"The model returns {type(value).__name__} without a tensor in it; there is nothing to compare."
        )
    if len(found) == 1 and found[0][0] == "output_0":
        return [("output", found[0][1])]
    return found


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if isinstance(value, _CONSTANTS):
        return
    for name, child in _children(value, path):
        yield from _walk(child, (*path, name))


def _children(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    # Mappings come before dataclasses: Hugging Face's outputs are both, and their keys leave out what is None.
    if isinstance(value, Mapping):
        return ((str(key), child) for key, child in value.items())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, tuple | list):
        names = getattr(value, "_fields", None) or [str(index) for index in range(len(value))]
        return iter(list(zip(names, value, strict=True)))
    place = ".".join(path) or "its return value"
    raise InputError(
        f"The model returns an object of type {type(value).__name__} in {place}; only tensors, tuples, lists, "
        "mappings and dataclasses of them can be compared. Wrap the model in one that returns its tensors."
    )


def _label(path: tuple[str, ...]) -> str:
    if not path:
        return "output"
    return f"output_{'.'.join(path)}" if path[0].isdigit() else ".".join(path)
