# SPDX-License-Identifier: Apache-2.0
"""What an exported file depends on, as one hash: the cache's key."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyperf_infer

if TYPE_CHECKING:
    import torch

    from pyperf_infer.models.spec import LoadedModel

_KEY_LENGTH = 40  # hex digits: 160 bits


def library_versions() -> dict[str, str]:
    """Versions of what writes the file. From the packages' metadata: a hit must not pay for importing them."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "onnx", "onnxscript")}
    return {**versions, "pyperf-infer": pyperf_infer.__version__}


def describe_export(
    model: LoadedModel, opset: int | None, shapes: Mapping[str, tuple[int, ...]], *, half: bool = False
) -> dict[str, Any]:
    """Everything that decides the file's content, ready for JSON. The open batch is not in it: it stays open.

    `half`: it is exported in float16, from the model described here.
    """
    from pyperf_infer.convert.export import example_shapes

    examples = example_shapes(model.inputs, shapes)
    return {
        "model": model.name,
        "weights_sha256": model.weights.sha256,
        "inputs": [
            [spec.name, spec.dtype, [None if example.dynamic_batch else example.shape[0], *example.shape[1:]]]
            if example.shape
            else [spec.name, spec.dtype, []]
            for spec, example in zip(model.inputs, examples, strict=True)
        ],
        "opset": opset,
        "half": half,
        "versions": library_versions(),
        "structure_sha256": hash_structure(model),
    }


def key_of(description: Mapping[str, Any]) -> str:
    """The folder name of an entry."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


def hash_structure(model: LoadedModel) -> str:
    """Hash of what the weights do not show: the modules' settings, buffers outside the state dict, and source files.

    A factory's forward() or a configuration's stride can change while every weight stays as it was.
    """
    module = model.module
    digest = hashlib.sha256()
    if module is None:
        return digest.hexdigest()
    sources = {type(part).__module__ for part in module.modules()} | {model.name.partition(":")[0]}
    for name in sorted(sources):
        digest.update(_file_hash(name))
    for name, part in module.named_modules():
        settings = {key: setting for key, setting in vars(part).items() if _is_plain(setting)}
        digest.update(f"{name} {type(part).__qualname__} {sorted(settings.items())!r}\n".encode())
    _add_hidden_buffers(module, digest)
    return digest.hexdigest()


def _add_hidden_buffers(module: torch.nn.Module, digest: hashlib._Hash) -> None:
    import torch

    known = module.state_dict().keys()
    for name, buffer in module.named_buffers():
        if name not in known:
            digest.update(f"{name} {buffer.dtype} {tuple(buffer.shape)}".encode())
            digest.update(buffer.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())


def _is_plain(setting: object) -> bool:
    if isinstance(setting, tuple | list):
        return all(_is_plain(element) for element in setting)
    return setting is None or isinstance(setting, bool | int | float | str)


@functools.lru_cache
def _file_hash(module_name: str) -> bytes:
    """Hash of a module's source; empty for torch, whose version is in the key, and for what has no file."""
    if module_name.partition(".")[0] == "torch":
        return b""
    file = getattr(sys.modules.get(module_name), "__file__", None)
    try:
        return hashlib.sha256(Path(file).read_bytes()).digest() if file else b""
    except OSError:
        return b""
