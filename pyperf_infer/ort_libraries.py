# SPDX-License-Identifier: Apache-2.0
"""The CUDA libraries that ONNX Runtime's GPU providers need, loaded beforehand from the installed NVIDIA wheels.

A provider is a shared library of its own, which names others (cuBLAS, cuDNN, ...) without saying where they are. The
loader takes those that are loaded already, whatever their folder, so that loading them first is all it takes. Only the
wheels' own folders are looked at; what is in none of them is left to the loader's own search.
"""

from __future__ import annotations

import ctypes
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from pyperf_infer.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PROVIDER_FILES = {
    "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
    "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
}

# Packages of the wheels: nvidia/cublas/lib of CUDA 12, nvidia/cu13/lib of 13, nvidia/cudnn/lib of both.
_FOLDERS = (("nvidia", "*/lib"), ("tensorrt_libs", "."))

# By library, the pip package that has it, whose major version is the library's. {n} is CUDA's; from 13 on most names
# have no suffix.
_PACKAGES = {
    "libcublas": "nvidia-cublas{suffix}",
    "libcublasLt": "nvidia-cublas{suffix}",
    "libcudart": "nvidia-cuda-runtime{suffix}",
    "libcudnn": "nvidia-cudnn-cu{n}",
    "libcufft": "nvidia-cufft{suffix}",
    "libcurand": "nvidia-curand{suffix}",
    "libnvJitLink": "nvidia-nvjitlink{suffix}",
    "libnvrtc": "nvidia-cuda-nvrtc{suffix}",
    "libnvinfer": "tensorrt-cu{n}",
    "libnvinfer_plugin": "tensorrt-cu{n}",
    "libnvonnxparser": "tensorrt-cu{n}",
}
# Those whose version is CUDA's; that of cuDNN, say, is its own.
_VERSIONED_LIKE_CUDA = ("libcudart", "libcublas", "libcublasLt", "libnvrtc", "libnvJitLink")

# What the providers open themselves when it is first needed, by CUDA's major version.
_OPENED_LATER = {
    12: ("libcudnn.so.9", "libcufft.so.11", "libnvrtc.so.12"),
    13: ("libcudnn.so.9", "libcufft.so.12", "libnvrtc.so.13"),
}
_NEWEST_CUDA = max(_OPENED_LATER)

_NAME = re.compile(r"(lib[\w+-]+)\.so(?:\.(\d+))?[\d.]*")
_NOT_FOUND = re.compile(r"(lib[\w+-]+\.so[\d.]*): cannot open shared object file")


class Loaded(NamedTuple):
    """What `load_for` found: the files it loaded, and the names of what is opened later and is in no wheel."""

    files: tuple[str, ...]
    missing_later: tuple[str, ...]


def load_for(provider: str, library: Path) -> Loaded:
    """Loads what the provider beside ONNX Runtime's `library` needs, as far as it is in installed wheels.

    Raises:
        BackendError: the provider's file is not there, or a library that it needs; with the package that has it.
    """
    needed = _needed(provider, library)
    cuda = cuda_major(needed)
    files = []
    for name in needed:
        if _package(name, cuda) is None or _is_loaded(name):
            continue
        found = _in_wheels(name) or name
        failure = _load(found)
        if failure is not None:
            raise BackendError(f"{provider} does not load: {_explained(failure, cuda) or failure}")
        files.append(found)
    missing = []
    for name in _OPENED_LATER.get(cuda, ()):
        if _is_loaded(name):
            continue
        in_wheel = _in_wheels(name)
        if in_wheel is None or _load(in_wheel) is not None:
            missing.append(name)
        else:
            files.append(in_wheel)
    return Loaded(tuple(files), tuple(missing))


def explain(message: str, provider: str, library: Path) -> str | None:
    """The dependency that ONNX Runtime, or the loader, says is not there, and where it comes from; None where neither
    names one."""
    text = _explained(message, cuda_major(_needed(provider, library)))
    return text and f"{provider} does not load: {text}"


def cuda_major(needed: Iterable[str]) -> int:
    """CUDA's major version, told by such names as "libcudart.so.12"; the newest that is known where none tells."""
    parts = [_NAME.fullmatch(name) for name in needed]
    return next((int(one[2]) for one in parts if one and one[1] in _VERSIONED_LIKE_CUDA and one[2]), _NEWEST_CUDA)


def _needed(provider: str, library: Path) -> tuple[str, ...]:
    from pyperf_infer.system.elf import needed_libraries

    file = library.parent / PROVIDER_FILES[provider]
    if not file.is_file():
        raise BackendError(
            f"{provider} is not there: {file.parent} holds no {file.name}. It comes with onnxruntime-gpu, which shares "
            "a folder with onnxruntime: pip uninstall onnxruntime; pip install --force-reinstall onnxruntime-gpu"
        )
    try:
        return needed_libraries(file)
    except ValueError as error:
        raise BackendError(f"{provider} does not load: {error}; reinstall onnxruntime-gpu") from error


def _explained(message: str, cuda: int) -> str | None:
    found = _NOT_FOUND.search(message)
    if found is None:
        return None
    name = found[1]
    if name.startswith("libcuda.so"):
        return f"it needs {name}, which comes with the NVIDIA driver (nvidia-smi tells whether there is one)"
    package = _package(name, cuda)
    remedy = f" (pip install '{package}')" if package else ""
    return f"it needs {name}, which is not there{remedy}"


def _package(name: str, cuda: int) -> str | None:
    """What to give pip for it; None for a library that is in no wheel we know."""
    parts = _NAME.fullmatch(name)
    pattern = _PACKAGES.get(parts[1]) if parts else None
    if parts is None or pattern is None:
        return None
    package = pattern.format(n=cuda, suffix="" if cuda >= 13 else f"-cu{cuda}")
    return f"{package}=={parts[2]}.*" if parts[2] else package


def _in_wheels(name: str) -> str | None:
    """The path of the library of exactly that name, version included, in the folder of an installed wheel."""
    import importlib.util
    from pathlib import Path

    for package, folder in _FOLDERS:
        spec = importlib.util.find_spec(package)
        for root in (spec and spec.submodule_search_locations) or ():
            for path in sorted(Path(root).glob(f"{folder}/{name}")):
                return str(path)
    return None


def _is_loaded(name: str) -> bool:
    try:
        ctypes.CDLL(name, mode=os.RTLD_NOLOAD | ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    return True


def _load(path_or_name: str) -> str | None:
    """None, or why it does not load."""
    try:
        ctypes.CDLL(path_or_name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return None
