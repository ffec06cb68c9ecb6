# SPDX-License-Identifier: Apache-2.0
"""A checked configuration becomes a module: nested `nn.Sequential`s, named by the rows' dotted names.

The one rule of naming: every module a row adds goes to the row's dotted name, and a "*" at its end is the next free
number there. `layer1.*` on a row of two blocks gives layer1.0 and layer1.1; `features.*` for a whole section numbers
all its modules through, which is how torchvision names VGG's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pyperf_infer.errors import InputError
from pyperf_infer.models.layers import BUILDERS
from pyperf_infer.models.signatures import SIGNATURES

if TYPE_CHECKING:
    from pyperf_infer.models.config import ModelConfig, Row


def build(config: ModelConfig) -> nn.Sequential:
    """The module on the meta device (no memory, no initialisation), in eval mode.

    Widths are not written in a configuration: an empty tensor on the meta device runs along and tells each module what
    comes in. That also finds the row at which a model does not fit together; InputError names it.
    """
    root = nn.Sequential()
    with torch.device("meta"), torch.no_grad():
        x = torch.empty(1, *config.input)
        for row in config.rows:
            for repetition in range(row.repeat):
                for module in _modules(row, repetition, x):
                    x = _run(row, module, x)
                    _add(root, row, module)
    return root.eval()


def _modules(row: Row, repetition: int, x: Tensor) -> list[nn.Module]:
    signature = SIGNATURES[row.module]
    if signature.rank is not None and x.ndim != signature.rank:
        remedy = "put Flatten before it" if signature.rank == 2 else "it cannot follow Flatten or Linear"
        raise InputError(
            f"{row.where}: {row.module} works on {signature.rank} dimensions and gets {_shape(x)}; {remedy}."
        )
    arguments = dict(row.arguments)
    if repetition > 0 and signature.strides_once:
        arguments["stride"] = 1
    try:
        return BUILDERS[row.module](x.shape[1], **arguments)
    except (ValueError, RuntimeError, TypeError, ZeroDivisionError) as error:
        raise InputError(
            f"{row.where}: {row.module} with {arguments}, on {_shape(x)}: {_first_line(error)}."
        ) from error


def _run(row: Row, module: nn.Module, x: Tensor) -> Tensor:
    try:
        result: Tensor = module.eval()(x)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"{row.where}: {row.module} does not take {_shape(x)}: {_first_line(error)}.") from error
    return result


def _add(root: nn.Sequential, row: Row, module: nn.Module) -> None:
    *groups, last = row.name.split(".")
    parent = root
    for group in groups:
        child = parent._modules.get(group)
        if child is None:
            child = nn.Sequential()
            _register(parent, row, group, child)
        # Children run in the order in which they came: adding to any but the last would change the order of rows.
        if not isinstance(child, nn.Sequential) or next(reversed(parent._modules)) != group:
            raise InputError(f"{row.where}: the name {row.name!r} goes back to {group!r}, which other rows have left.")
        parent = child
    _register(parent, row, str(len(parent)) if last == "*" else last, module)


def _register(parent: nn.Sequential, row: Row, name: str, module: nn.Module) -> None:
    if name in parent._modules:
        raise InputError(f"{row.where}: the name {row.name!r} is already taken; end it in '*' to number the modules.")
    try:
        parent.add_module(name, module)
    except KeyError as error:
        raise InputError(f"{row.where}: {name!r} is a word of torch's own; choose another name.") from error


def _shape(x: Tensor) -> str:
    return f"(N, {', '.join(map(str, x.shape[1:]))})"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
