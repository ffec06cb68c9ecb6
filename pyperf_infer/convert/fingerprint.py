# SPDX-License-Identifier: Apache-2.0
"""What an exported file depends on: the cache's key."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyperf_infer
from pyperf_infer.system.files import read_fields

if TYPE_CHECKING:
    import torch

    from pyperf_infer.models.spec import LoadedModel


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


def describe_package(
    model: LoadedModel,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    threads: int,
    precision: str,
    device: str,
    channels_last: bool,
    autocast: bool,
) -> dict[str, Any]:
    """Everything that decides what a compiled model is, ready for JSON: what is compiled, and what it is made with."""
    import torch

    from pyperf_infer.convert import cxx
    from pyperf_infer.convert.aoti import inductor_environment, inductor_options

    compiler = cxx.command()
    options = inductor_options(compiler, threads)
    del options["cpp.cxx"]  # stands under "compiler"
    return {
        "model": model.name,
        "weights_sha256": model.weights.sha256,
        "structure_sha256": hash_structure(model),
        "inputs": [[spec.name, spec.dtype, list(shapes[spec.name])] for spec in model.inputs],
        "precision": precision,
        "channels_last": channels_last,
        "autocast": autocast,
        "device": _device(device),
        # Also where the count stays open: Inductor splits loops with it in mind.
        "threads": threads,
        "inductor_options": options,
        "inductor_environment": inductor_environment(),
        "versions": {"torch": torch.__version__, "pyperf-infer": pyperf_infer.__version__},
        "compiler": {"command": compiler, "version": cxx.version()},
        "cpu": _cpu(),
    }


def _device(device: str) -> dict[str, Any]:
    if device == "cpu":
        return {"kind": "cpu"}
    import torch

    major, minor = torch.cuda.get_device_capability(device)
    return {
        "kind": device,
        "name": torch.cuda.get_device_name(device),
        "compute_capability": f"{major}.{minor}",
        "cuda": torch.version.cuda,
        "triton": _version_of("triton"),
    }


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu() -> dict[str, str]:
    """What torch and the compiler tell CPUs apart by; "flags" of x86 and "Features" of Arm have AMX and the like."""
    import torch

    fields = read_fields(Path("/proc/cpuinfo"))
    flags = " ".join(sorted((fields.get("flags") or fields.get("Features") or "").split()))
    return {
        "machine": platform.machine(),
        "torch_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_flags": hashlib.sha256(flags.encode()).hexdigest(),
    }


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
