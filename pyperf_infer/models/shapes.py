# SPDX-License-Identifier: Apache-2.0
"""From `--shape` and `--batch-size` to the shape of every input."""

from __future__ import annotations

import math
import os
import re
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyperf_infer.models.spec import InputSpec

ITEM_BYTES = {"float64": 8, "int64": 8, "uint64": 8, "float32": 4, "int32": 4, "uint32": 4}
ITEM_BYTES |= {"float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1}


def parse_shape(text: str) -> tuple[str | None, tuple[int, ...]]:
    """`input_ids:1x128` -> ("input_ids", (1, 128)); `1x3x224x224` -> (None, ...). UsageError where it is neither.

    A name may hold colons itself, as TensorFlow's do (`input:0:1x3x224x224`): the shape is what follows the last.
    """
    name, colon, dimensions = text.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,18}(x[0-9]{1,18})*", dimensions, re.IGNORECASE | re.ASCII) or (colon and not name):
        raise UsageError(
            f"--shape {text!r}: write [name:]sizes with an x between them, such as 1x3x224x224 or ids:1x128."
        )
    shape = tuple(int(size) for size in re.split("[xX]", dimensions))
    if 0 in shape:
        raise UsageError(f"--shape {text!r}: every size must be at least 1.")
    return name or None, shape


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """All `--shape` flags of a command by input name; "" stands for the only input. UsageError where two contradict."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, shape = parse_shape(text)
        if shapes.setdefault(name or "", shape) != shape:
            raise UsageError(
                f"--shape is given twice for {name or 'the input'}: {_text(shapes[name or ''])}, {_text(shape)}."
            )
    return shapes


def named_shapes(
    specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]] | None
) -> dict[str, tuple[int, ...]]:
    """`shapes` with "" replaced by the only input's name. InputError for a name that no input has."""
    named: dict[str, tuple[int, ...]] = {}
    known = ", ".join(spec.name for spec in specs)
    for name, shape in (shapes or {}).items():
        if name == "" and len(specs) != 1:
            raise InputError(
                f"--shape {_text(shape)}: say which input it is for, as name:{_text(shape)}; there are {known}."
            )
        actual = name or specs[0].name
        if actual not in {spec.name for spec in specs}:
            raise InputError(f"--shape {name}:{_text(shape)}: the model has no input {name!r}; its inputs are {known}.")
        if named.setdefault(actual, shape) != shape:
            raise InputError(f"--shape is given twice for input {actual!r}: {_text(named[actual])}, {_text(shape)}.")
    return named


def resolve_shapes(
    specs: Sequence[InputSpec],
    batch_size: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    *,
    drawn: bool = True,
) -> dict[str, tuple[int, ...]]:
    """The full shape of every input.

    `--shape` fixes an input's whole shape. `batch_size` fills the first dimension of every other input that leaves it
    open; None means that the user asked for none: 1 where it is open. Another open dimension takes its size from a
    `--shape` that fills a dimension of the same name. InputError names the input, the dimension and the flag where
    something contradicts, stays open, or, where inputs are to be `drawn`, cannot fit in this machine's memory;
    UsageError for a batch size below 1.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"--batch-size {batch_size}: a batch has at least one item.")
    given = named_shapes(specs, shapes)
    symbols: dict[str, int] = {}
    for spec in specs:
        if spec.name in given:
            _check_given(spec, given[spec.name], batch_size)
            named = zip(spec.shape, given[spec.name], strict=True)
            symbols |= {size: actual for size, actual in named if isinstance(size, str)}
    resolved = {spec.name: given.get(spec.name) or _fill(spec, batch_size, symbols) for spec in specs}
    _check_fixed_batch(specs, batch_size, resolved)
    if drawn:
        _check_memory(specs, resolved)
    return resolved


def batch_of(specs: Sequence[InputSpec], resolved: Mapping[str, tuple[int, ...]]) -> int:
    """How many items a call works on: the first dimension of the first input that leaves it open, else of the first."""
    batched = [spec for spec in specs if spec.shape and not isinstance(spec.shape[0], int)]
    for spec in batched or [spec for spec in specs if spec.shape]:
        return resolved[spec.name][0]
    return 1


def _check_given(spec: InputSpec, shape: tuple[int, ...], batch_size: int | None) -> None:
    if len(shape) != len(spec.shape):
        raise InputError(
            f"--shape {_text(shape)}: input {spec.name!r} has {len(spec.shape)} dimensions "
            f"({_text(spec.shape)}), not {len(shape)}."
        )
    for index, (wanted, actual) in enumerate(zip(spec.shape, shape, strict=True)):
        if isinstance(wanted, int) and wanted != actual:
            raise InputError(
                f"--shape {_text(shape)}: dimension {index} of input {spec.name!r} is fixed at {wanted} in the model "
                f"({_text(spec.shape)}), not {actual}."
            )
    is_batch = bool(shape) and not isinstance(spec.shape[0], int)
    if is_batch and batch_size is not None and shape[0] != batch_size:
        raise InputError(
            f"--shape {_text(shape)} gives input {spec.name!r} a batch of {shape[0]} and --batch-size asks for "
            f"{batch_size}; leave one of the two out."
        )


def _fill(spec: InputSpec, batch_size: int | None, symbols: Mapping[str, int]) -> tuple[int, ...]:
    filled: list[int] = []
    for index, size in enumerate(spec.shape):
        if isinstance(size, int):
            filled.append(size)
        elif index == 0 and batch_size is not None:
            filled.append(batch_size)
        elif isinstance(size, str) and size in symbols:
            filled.append(symbols[size])
        elif index == 0:
            filled.append(1)
        else:
            example = "x".join(
                str(s) if isinstance(s, int) else ("1" if i == 0 else "N") for i, s in enumerate(spec.shape)
            )
            called = f" ({size})" if size else ""
            raise InputError(
                f"input {spec.name!r}: dimension {index}{called} is open in the model; give the whole shape with "
                f"--shape {spec.name}:{example}, a number for each N."
            )
    return tuple(filled)


def _check_fixed_batch(
    specs: Sequence[InputSpec], batch_size: int | None, resolved: Mapping[str, tuple[int, ...]]
) -> None:
    """Refuse a batch size that no input takes. Where one does, others may have a fixed first dimension (a table)."""
    batched = [spec for spec in specs if spec.shape]
    if batch_size is None or not batched or any(resolved[spec.name][0] == batch_size for spec in batched):
        return
    spec = batched[0]
    raise InputError(
        f"--batch-size {batch_size}: dimension 0 of input {spec.name!r} is fixed at {spec.shape[0]} in the model "
        f"({_text(spec.shape)}); leave --batch-size out, or export the model with an open first dimension."
    )


def _check_memory(specs: Sequence[InputSpec], resolved: Mapping[str, tuple[int, ...]]) -> None:
    sizes = {spec.name: math.prod(resolved[spec.name]) * ITEM_BYTES[spec.dtype] for spec in specs}
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if sum(sizes.values()) > physical:
        largest = max(sizes, key=sizes.__getitem__)
        raise InputError(
            f"the inputs alone need {format_bytes(sum(sizes.values()))} and this machine has {format_bytes(physical)}: "
            f"input {largest!r} at {_text(resolved[largest])} takes {format_bytes(sizes[largest])}. "
            "Lower --batch-size or --shape."
        )


def _text(shape: Iterable[int | str | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "a single value"
