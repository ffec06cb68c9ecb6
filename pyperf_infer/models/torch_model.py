# SPDX-License-Identifier: Apache-2.0
"""What all sources of torch modules share: shapes that the user asked for, weights, and the finished LoadedModel."""

from __future__ import annotations

import os
import sysconfig
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pyperf_infer.errors import InputError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.random_weights import randomize
from pyperf_infer.models.shapes import named_shapes, resolve_shapes
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo
from pyperf_infer.models.weights import hash_weights, load_weights
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pyperf_infer.models.weights import Adapt


def with_shapes(
    specs: Sequence[InputSpec], shapes: Mapping[str, tuple[int, ...]] | None
) -> tuple[tuple[InputSpec, ...], bool]:
    """The inputs as `--shape` wants them, the first dimension left open; and whether that changed anything.

    A module's own input shape is only a default (a ResNet takes images of many sizes), so `--shape` may differ from it.
    The number of dimensions may not.
    """
    named = named_shapes(specs, shapes)
    changed: list[InputSpec] = []
    for spec in specs:
        shape = named.get(spec.name, spec.shape)
        if len(shape) != len(spec.shape):
            raise InputError(
                f"--shape {'x'.join(map(str, shape))}: input {spec.name!r} has {len(spec.shape)} dimensions, such as "
                f"{'x'.join(map(str, spec.shape))}, not {len(shape)}."
            )
        changed.append(replace(spec, shape=spec.shape[:1] + shape[1:]))
    return tuple(changed), tuple(changed) != tuple(specs)


def set_weights(
    name: str,
    module: nn.Module,
    own_specs: Sequence[InputSpec],
    seed: int,
    weights: Path | None,
    adapt: Adapt | None = None,
) -> WeightsInfo:
    """Load `weights`, their names first changed by `adapt`, or draw random ones.

    `own_specs` are the inputs the model is made for, not those that `--shape` asks for: so the seed alone decides the
    weights, and runs at several resolutions time the same network.
    """
    if weights is not None:
        load_weights(module, weights, adapt)
        return WeightsInfo(str(weights), None, hash_weights(module))
    try:
        randomize(module, seed, example_inputs(own_specs, seed))
    except RECOVERABLE as error:
        raise _does_not_take(name, own_specs, error) from error
    return WeightsInfo("random", seed, hash_weights(module))


def example_inputs(specs: Sequence[InputSpec], seed: int) -> tuple[Tensor, ...]:
    """A batch of one for every input, as positional arguments."""
    arrays = make_inputs(specs, resolve_shapes(specs), seed)
    return tuple(torch.from_numpy(array) for array in arrays.values())


def meta_inputs(specs: Sequence[InputSpec]) -> tuple[Tensor, ...]:
    """The same without data, for a module on the meta device."""
    shapes = resolve_shapes(specs)
    return tuple(torch.empty(shapes[spec.name], dtype=getattr(torch, spec.dtype), device="meta") for spec in specs)


# What a module raises on inputs that are not for it. Not MemoryError, and nothing that ends a process.
RECOVERABLE = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    AssertionError,
    NotImplementedError,
)


def check_forward(name: str, module: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Run `module` once. InputError says why it does not take `inputs`."""
    try:
        with torch.no_grad():
            module(*inputs)
    except RECOVERABLE as error:
        specs = [InputSpec("", tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for tensor in inputs]
        raise _does_not_take(name, specs, error) from error


def _does_not_take(name: str, specs: Sequence[InputSpec], error: BaseException) -> InputError:
    shapes = ", ".join(f"{spec.dtype} {'x'.join(map(str, spec.shape)) or 'scalar'}" for spec in specs)
    return InputError(f"{name}: the model does not take these inputs ({shapes}): {where_it_failed(error)}")


def where_it_failed(error: BaseException, file: str | None = None) -> str:
    """`ValueError: text (model.py:12, in forward)`: the innermost frame in `file`, else outside installed packages."""
    text = str(error).strip()
    summary = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    if isinstance(error, SyntaxError):  # its text names the line already
        return f"{summary}."
    frames = traceback.extract_tb(error.__traceback__)
    not_theirs = ("<", *sysconfig.get_paths().values(), str(Path(__file__).parent))
    mine = [f for f in frames if f.filename == file] or [f for f in frames if not f.filename.startswith(not_theirs)]
    return f"{summary} ({mine[-1].filename}:{mine[-1].lineno}, in {mine[-1].name})." if mine else f"{summary}."


def count_parameters(module: nn.Module) -> int:
    """Elements of all parameters; one that is used in several places counts once."""
    return sum(parameter.numel() for parameter in module.parameters())


def check_memory(name: str, parameters: int) -> None:
    """InputError where float32 parameters alone exceed this machine's memory (a typing error in a YAML, mostly)."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if 4 * parameters > physical:
        raise InputError(
            f"{name}: its {parameters:,} parameters take {format_bytes(4 * parameters)} and this machine has "
            f"{format_bytes(physical)}."
        )


def finished(
    name: str, source: str, module: nn.Module, specs: tuple[InputSpec, ...], info: WeightsInfo, *, has_run: bool
) -> LoadedModel:
    return LoadedModel(name, source, specs, info, count_parameters(module), module.eval(), None, has_run)
