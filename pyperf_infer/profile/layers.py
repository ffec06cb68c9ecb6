# SPDX-License-Identifier: Apache-2.0
"""The modules of a model: what they are called, which of them can be watched, whose parameters are whose."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

_MOST_NAMED = 3  # of the parts that one line lists


@dataclass(frozen=True, eq=False)
class Layer:
    """A module, once, by the first of its paths. `entry` is the attribute through which a call of it goes."""

    path: str
    aliases: tuple[str, ...]
    kind: str
    module: nn.Module
    entry: str
    closed: bool  # its parts are compiled with it, and are no layers of their own


@dataclass(frozen=True)
class Layers:
    """The layers that can be watched, in the order of `named_modules`, and why others cannot."""

    listed: tuple[Layer, ...]
    not_told: tuple[str, ...]


def find_layers(root: nn.Module) -> Layers:
    """Every module under `root`, with itself. One that is reached by several paths is one layer with aliases."""
    paths: dict[int, list[str]] = {}
    modules: dict[int, nn.Module] = {}
    for path, module in root.named_modules(remove_duplicate=False):
        modules[id(module)] = module
        paths.setdefault(id(module), []).append(path)
    closing = {key: why for key, module in modules.items() if (why := _why_closed(module)) is not None}
    inside = {id(part) for key in closing for part in modules[key].modules() if part is not modules[key]}
    listed, not_told = [], []
    for key, module in modules.items():
        if key in inside:
            continue
        path, *aliases = paths[key]
        if key in closing and len(list(module.modules())) > 1:
            not_told.append(f"{_shown(path)} is {closing[key]}: what is inside of it is told as one")
        if _is_fixed(module):
            not_told.append(
                f"the class of {_shown(path)} ({_kind(module)}) fixes its forward: its time is its caller's"
            )
            continue
        entry = "forward" if _compiled_call(module) is None else "_compiled_call_impl"
        listed.append(Layer(path, tuple(aliases), _kind(module), module, entry, key in closing))
    return Layers(tuple(listed), tuple(not_told))


def parameters_of(root: nn.Module, layers: Sequence[Layer], ran: Collection[int]) -> dict[int, int]:
    """Elements of parameters by the layer's number, for the numbers in `ran`; each tensor counts once.

    A part that was not called by itself leaves its parameters to the module around it, which used them if anything did.
    """
    numbers = {id(layers[number].module): number for number in ran}
    by_path = dict(root.named_modules(remove_duplicate=False))
    around: dict[int, int] = {}  # by a module that has not run, the nearest one around it that has
    for path, module in by_path.items():
        above = (numbers.get(id(by_path[one])) for one in _around(path))
        if id(module) not in numbers and id(module) not in around:
            around |= {id(module): number for number in itertools.islice((one for one in above if one is not None), 1)}
    counts = dict.fromkeys(ran, 0)
    seen: dict[int, nn.Parameter] = {}  # which keeps them alive, so that no id is given twice
    for owners in (numbers, around):
        for module in root.modules():
            number = owners.get(id(module))
            if number is None:
                continue
            for parameter in module.parameters(recurse=False):
                if id(parameter) not in seen and not _is_lazy(parameter):
                    seen[id(parameter)] = parameter
                    counts[number] += parameter.numel()
    return counts


def without(layers: Layers, compiled: Collection[int]) -> Layers:
    """The layers but those whose numbers are in `compiled`, and that they are not told."""
    if not compiled:
        return layers
    inside = [layer.path for number, layer in enumerate(layers.listed) if number in compiled]
    said = f"{parts(inside)}: within code that torch.compile compiled, whose time is its caller's"
    left = tuple(layer for number, layer in enumerate(layers.listed) if number not in compiled)
    return Layers(left, (*layers.not_told, said))


def parts(names: Sequence[str]) -> str:
    """A list for a sentence, cut short where it is long."""
    listed = ", ".join(_shown(name) for name in names[:_MOST_NAMED])
    more = len(names) - _MOST_NAMED
    return f"{listed} and {more} more" if more > 0 else listed


def _around(path: str) -> Iterator[str]:
    """The paths of the modules around one, from the inside out."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _why_closed(module: nn.Module) -> str | None:
    if isinstance(module, torch.jit.ScriptModule):
        return "TorchScript, which calls its parts without Python"
    compiled_forward = hasattr(getattr(type(module), "forward", None), "_torchdynamo_orig_callable")
    is_optimized = type(module).__name__ == "OptimizedModule"  # whose import takes a second
    if compiled_forward or is_optimized or _compiled_call(module) is not None:
        return "compiled by torch.compile"
    return None


def _compiled_call(module: nn.Module) -> object:
    """What `module.compile()` left, which calls go to in place of forward."""
    return vars(module).get("_compiled_call_impl")


def _is_fixed(module: nn.Module) -> bool:
    """Whether the class holds on to its forward, so that an attribute of the object is not looked at."""
    return hasattr(type(inspect.getattr_static(type(module), "forward", None)), "__set__")


def _kind(module: nn.Module) -> str:
    scripted = getattr(module, "original_name", None) if isinstance(module, torch.jit.ScriptModule) else None
    return scripted if isinstance(scripted, str) else type(module).__name__


def _is_lazy(parameter: nn.Parameter) -> bool:
    return isinstance(parameter, nn.parameter.UninitializedParameter)


def _shown(path: str) -> str:
    return path or "the model itself"
