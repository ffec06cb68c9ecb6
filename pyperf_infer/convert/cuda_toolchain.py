# SPDX-License-Identifier: Apache-2.0
"""CUDA's headers and libraries for AOTInductor's C++ compile, from the installed wheels: no toolkit, no nvcc.

Inductor takes both from one folder, torch.utils.cpp_extension.CUDA_HOME. The wheels have them in several, and no
libcuda.so to link with, since that is the driver's; so a folder of links stands in. Of the runtime nothing is linked:
libtorch_cuda.so, which is, has it loaded.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pyperf_infer.errors import BackendError

_VARIABLES = ("CUDA_HOME", "CUDA_PATH")
_DRIVER = "libcuda.so.1"
# What torch's headers of a compiled model include, directly or not.
_NEEDED = (
    "cuda.h",
    "cuda_runtime.h",
    "cuda_runtime_api.h",
    "cuda_bf16.h",
    "cuda_fp16.h",
    "cuda_fp8.h",
    "nv/target",
    "crt/host_config.h",
)
_VERSION = re.compile(r"^\s*#\s*define\s+CUDA_VERSION\s+(\d+)", re.MULTILINE)


@contextlib.contextmanager
def cuda_toolchain(driver: str = _DRIVER) -> Iterator[Path]:
    """While the block runs, Inductor finds CUDA in a folder of links, which is yielded. `driver`: a name or a path.

    Raises:
        BackendError: torch has no CUDA, or a header or the driver's library is not there; with what is missing and
            the package that has it.
    """
    major = _cuda_major()
    headers = find_headers(include_folders(major), major)
    library = _driver_file(driver)
    from torch.utils import cpp_extension

    with tempfile.TemporaryDirectory(prefix="pyperf-infer-cuda-") as home:
        _link(Path(home) / "include", headers)
        _link(Path(home) / "lib64", {"libcuda.so": library})
        before = {name: os.environ.get(name) for name in _VARIABLES}
        home_before = cpp_extension.CUDA_HOME
        os.environ.update(dict.fromkeys(_VARIABLES, home))
        cpp_extension.CUDA_HOME = home  # it was worked out when cpp_extension was imported, and no later
        try:
            yield Path(home)
        finally:
            cpp_extension.CUDA_HOME = home_before
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def include_folders(major: int) -> list[Path]:
    """The folders with headers of CUDA `major`, where there are any: the first that has a file is where it is from.

    NVIDIA's wheels come before Triton's copy, which may be of a later minor version, but is whole; a toolkit that the
    environment names comes last.
    """
    parts = (f"cu{major}",) if major >= 13 else ("cuda_runtime", "cuda_cccl", "cuda_nvcc")
    places = [
        *(folder / part / "include" for part in parts for folder in _package_folders("nvidia")),
        *(folder / "backends/nvidia/include" for folder in _package_folders("triton")),
        *(Path(home) / "include" for name in _VARIABLES if (home := os.environ.get(name))),
    ]
    return [place for place in places if place.is_dir() and _major_of(place) in (None, major)]


def find_headers(folders: Sequence[Path], major: int) -> dict[str, Path]:
    """By name, what an include folder of CUDA `major` is made of.

    Raises:
        BackendError: a header is in none of `folders`.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for path in folder.iterdir():
            if path.name != "crt" or (path / "host_config.h").is_file():
                found.setdefault(path.name, path)
    for header in _NEEDED:
        first, _, rest = header.partition("/")
        if first not in found or not (found[first] / rest).is_file():
            raise BackendError(
                f"AOTInductor's compile for a GPU includes {header} of CUDA {major}, and no installed package has it: "
                f"pip install '{_package(first, major)}'"
            )
    return found


def _package(name: str, major: int) -> str:
    """What to give pip for it."""
    part = {"crt": "crt" if major >= 13 else "nvcc", "nv": "cccl"}.get(name, "runtime")
    return f"nvidia-cuda-{part}=={major}.*" if major >= 13 else f"nvidia-cuda-{part}-cu{major}"


def _cuda_major() -> int:
    import torch

    version = torch.version.cuda
    if version is None:
        raise BackendError(
            f"torch {torch.__version__} is built without CUDA, so that it compiles nothing for a GPU; install a build "
            "with CUDA (pytorch.org says how), or use --device cpu"
        )
    return int(version.partition(".")[0])


def _package_folders(name: str) -> list[Path]:
    spec = importlib.util.find_spec(name)
    return [Path(folder) for folder in (spec and spec.submodule_search_locations) or ()]


def _major_of(folder: Path) -> int | None:
    """Of the CUDA that the headers belong to; None where no cuda.h tells."""
    try:
        found = _VERSION.search((folder / "cuda.h").read_text(errors="replace"))
    except OSError:
        return None
    return int(found[1]) // 1000 if found else None


def _driver_file(name: str) -> Path:
    """Where the loader finds the driver's library."""
    try:
        ctypes.CDLL(name)
        maps = Path("/proc/self/maps").read_text()
    except OSError as error:
        raise BackendError(
            f"AOTInductor links a model for a GPU with the NVIDIA driver's library, which does not load ({error}); "
            "nvidia-smi tells whether there is a driver"
        ) from error
    stem = Path(name).name.partition(".so")[0]
    # A mapping's last column is its file, which may be another name of the one that was asked for.
    files = {line.split(maxsplit=5)[5] for line in maps.splitlines() if f"/{stem}.so" in line}
    if not files:
        raise BackendError(f"{name} is loaded from no file, so that nothing can be linked with it")
    return Path(min(files))


def _link(folder: Path, targets: Mapping[str, Path]) -> None:
    folder.mkdir()
    for name, target in targets.items():
        (folder / name).symlink_to(target)
