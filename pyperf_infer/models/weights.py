# SPDX-License-Identifier: Apache-2.0
"""Weights from a file into a module, strictly; and the hash by which a result says which weights it was."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pyperf_infer.errors import InputError
from pyperf_infer.models.weights_file import read_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Adapt = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]

_SHOWN = 5
# Wrappers (DataParallel, torch.compile) put these before every name.
_PREFIXES = ("module.", "_orig_mod.")
# How many training steps batch norm has seen. Files from before 2018 do not hold it, and inference does not read it.
_OPTIONAL = "num_batches_tracked"


def load_weights(module: nn.Module, path: Path, adapt: Adapt | None = None) -> None:
    """Copy the tensors of `path` (.pth, .pt, .safetensors) into `module`, in place.

    Every name must be there, none may be left over, shapes must be equal: InputError lists those that are not, and
    leaves the module as it was. Floating-point types are converted to the module's. `adapt` gives the file's tensors
    the module's names where a library has its own habits.
    """
    tensors = _without_prefix(read_tensors(path))
    if adapt is not None:
        tensors = adapt(tensors)
    wanted = module.state_dict()
    missing = [name for name in wanted if name not in tensors and not name.endswith(_OPTIONAL)]
    unexpected = [name for name in tensors if name not in wanted]
    reshaped = [
        f"{name} is {tuple(tensors[name].shape)}, must be {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = [
        f"{len(found)} {kind}: {', '.join(found[:_SHOWN])}{', ...' if len(found) > _SHOWN else ''}"
        for kind, found in (("missing", missing), ("unexpected", unexpected), ("of another shape", reshaped))
        if found
    ]
    if problems:
        raise InputError(
            f"{path}: these weights do not fit the model's {len(wanted)} tensors; {'; '.join(problems)}. "
            "Are they another model's, or another number of classes?"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            if name in tensors:
                tensor.copy_(tensors[name])
            else:
                tensor.zero_()


def _without_prefix(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def hash_weights(module: nn.Module) -> str:
    """sha256 (hex) over name, dtype, shape and bytes of every tensor of the module's state_dict, in its order."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, Tensor):  # a module's own extra state
            digest.update(f"{name} {type(tensor).__name__}\n".encode())
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        plain = tensor.dequantize() if tensor.is_quantized else tensor
        if plain.numel():
            # Bytes, because numpy has no name for bfloat16; contiguous() copies only what is not.
            digest.update(plain.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
