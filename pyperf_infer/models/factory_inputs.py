# SPDX-License-Identifier: Apache-2.0
"""The inputs of a module that a factory built: from its examples, its `input_specs`, or `--shape`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from pyperf_infer.errors import InputError
from pyperf_infer.models.shapes import ITEM_BYTES
from pyperf_infer.models.spec import InputSpec


def specs_of_module(name: str, module: nn.Module, examples: Any) -> tuple[InputSpec, ...] | None:
    """From the example inputs that the factory returned, `module.example_inputs` or `module.input_specs`; else None."""
    if examples is None:
        examples = getattr(module, "example_inputs", None)
    if examples is not None:
        return _from_examples(name, module, examples)
    specs = getattr(module, "input_specs", None)
    return None if specs is None else _from_specs(name, specs)


def specs_of_shapes(
    name: str, module: nn.Module, shapes: Mapping[str, tuple[int, ...]] | None
) -> tuple[InputSpec, ...]:
    """From `--shape` alone: float32, in the order of `forward`'s arguments, the first dimension open."""
    if not shapes:
        raise InputError(
            f"{name}: its inputs are not known. Give --shape [name:]1x3x224x224, or let the factory return "
            "(module, example_inputs), or set module.example_inputs."
        )
    if set(shapes) == {""}:
        order = [_argument_names(module, 1)[0]]
        shapes = {order[0]: shapes[""]}
    else:
        order = _in_order(name, module, shapes)
    return tuple(InputSpec(key, ("batch", *shapes[key][1:]), "float32") for key in order)


def _from_examples(name: str, module: nn.Module, examples: Any) -> tuple[InputSpec, ...]:
    if isinstance(examples, Mapping):
        named = {key: examples[key] for key in _in_order(name, module, examples)}
    else:
        listed = (
            [examples] if isinstance(examples, Tensor) else list(examples) if isinstance(examples, list | tuple) else []
        )
        named = dict(zip(_argument_names(module, len(listed)), listed, strict=True))
    if not named or not all(isinstance(tensor, Tensor) for tensor in named.values()):
        raise InputError(f"{name}: example_inputs must be a tensor, a tuple of tensors or a dict of names and tensors.")
    batch = next((tensor.shape[0] for tensor in named.values() if tensor.ndim), None)
    specs: list[InputSpec] = []
    for key, tensor in named.items():
        dtype = "float32" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
        if dtype not in ITEM_BYTES:
            raise InputError(f"{name}: input {key!r} has elements of type {dtype}, which cannot be fed.")
        shape: tuple[int | str | None, ...] = tuple(tensor.shape)
        # Inputs with another first dimension than the first one's do not grow with the batch.
        specs.append(InputSpec(key, ("batch", *shape[1:]) if shape and shape[0] == batch else shape, dtype))
    return tuple(specs)


def _from_specs(name: str, specs: Any) -> tuple[InputSpec, ...]:
    checked: list[InputSpec] = []
    for spec in specs if isinstance(specs, Sequence) else [specs]:
        try:
            made = spec if isinstance(spec, InputSpec) else InputSpec(spec[0], tuple(spec[1]), str(spec[2]))
        except (TypeError, IndexError, KeyError) as error:
            raise InputError(
                f"{name}: input_specs is a list of (name, shape, dtype); one entry is {spec!r}."
            ) from error
        sizes_fit = all(
            size is None or isinstance(size, str) or (isinstance(size, int) and size >= 1) for size in made.shape
        )
        if not isinstance(made.name, str) or not sizes_fit or made.dtype not in ITEM_BYTES:
            raise InputError(
                f"{name}: input_specs: {spec!r} is not (name, shape, dtype) with sizes of at least 1 and a dtype of "
                f"{', '.join(ITEM_BYTES)}."
            )
        checked.append(made)
    return tuple(checked)


def _argument_names(module: nn.Module, count: int) -> list[str]:
    """`forward`'s first `count` positional arguments by name; input0, input1 ... where it names fewer."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):  # a forward without a Python signature (TorchScript)
        parameters = []
    names = [parameter.name for parameter in parameters if parameter.kind in kinds][:count]
    return names + [f"input{index}" for index in range(len(names), count)]


def _in_order(name: str, module: nn.Module, given: Mapping[Any, Any]) -> list[str]:
    """`given`'s keys in the order of `forward`'s positional arguments, which is how backends pass them."""
    order = _argument_names(module, len(given))
    if set(order) != set(given):
        raise InputError(
            f"{name}: inputs are passed by position, so they must be the first {len(given)} of forward's arguments: "
            f"{', '.join(order)}; given are {', '.join(map(str, given))}."
        )
    return order
