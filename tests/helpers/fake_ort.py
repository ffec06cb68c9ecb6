# SPDX-License-Identifier: Apache-2.0
"""The fake ONNX Runtime of tests/helpers/fake_ort for tests in Python, on the fake driver of tests/helpers/fake_cuda.

    with FakeCuda.loaded() as cuda, FakeOrt.loaded(cuda) as ort:
        ...  # code under test that is given str(ort.path) as its ONNX Runtime and str(cuda.path) as its libcuda

`tests/helpers/fake_ort/fake_ort.h` says what its one model does and what each switch means. There is one of it in a
process, so two tests must not use it at the same time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fake_cuda import FakeCuda, cuda_include_folder
from native_build import REPOSITORY

SOURCES = Path(__file__).parent / "fake_ort"
PROVIDER = "libonnxruntime_providers_cuda.so"
_LIBRARY = "libonnxruntime.so.1.31.0"


@functools.cache
def built_library() -> Path:
    """The library of the sources as they are, with a provider's file beside it, from build/fake_ort if built before."""
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++20", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-isystem",
               cuda_include_folder()]  # fmt: skip
    sources = sorted(SOURCES.glob("*.cpp"))
    identity = hashlib.sha256(repr(command).encode())
    for file in sorted(SOURCES.iterdir()):
        identity.update(file.read_bytes())
    folder = REPOSITORY / "build" / "fake_ort" / identity.hexdigest()[:16]
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
            made = Path(unfinished) / "capi"
            made.mkdir()
            subprocess.run([*command, "-o", str(made / _LIBRARY), *map(str, sources), "-ldl"], check=True)
            build_provider(made / PROVIDER)
            with contextlib.suppress(OSError):  # another session was faster
                made.replace(folder)
    return folder / _LIBRARY


def build_provider(path: Path, *needed: Path) -> None:
    """A library that does nothing and asks the loader for `needed`, which need be there only while it is made."""
    compiler = os.environ.get("CXX", "c++")
    linked = [f"{'-L'}{one.parent}" for one in needed] + [f"-l:{one.name}" for one in needed]
    command = [compiler, "-shared", "-fPIC", "-x", "c++", "-", "-x", "none", "-Wl,--no-as-needed", *linked]
    subprocess.run([*command, "-o", str(path)], input=b"int nothing;", check=True)


class FakeOrt:
    """The controls of the fake library."""

    def __init__(self, path: Path, cuda: FakeCuda) -> None:
        self.path = path
        self._cuda = cuda
        self._library = ctypes.CDLL(str(path))
        self._library.fake_ort_live.restype = ctypes.c_longlong
        self._library.fake_ort_log.restype = ctypes.c_ulong

    @classmethod
    @contextlib.contextmanager
    def loaded(cls, cuda: FakeCuda, path: Path | None = None) -> Iterator[FakeOrt]:
        """The fake library, built if need be, with its defaults."""
        fake = cls(path or built_library(), cuda)
        fake.reset()
        yield fake
        fake.reset()

    def reset(self) -> None:
        self._library.fake_ort_reset(str(self._cuda.path).encode())

    def set(self, name: str, value: int) -> None:
        if self._library.fake_ort_set(name.encode(), ctypes.c_longlong(value)) != 0:
            raise KeyError(name)

    def fail(self, function: str, message: str, nth_call: int = 1) -> None:
        self._library.fake_ort_fail(function.encode(), nth_call, message.encode())

    def live(self) -> int:
        """Objects that were made and not released."""
        return int(self._library.fake_ort_live())

    def log(self) -> list[str]:
        """The calls since the last time, with their arguments."""
        size = self._library.fake_ort_log(None, ctypes.c_ulong(0), 0) + 1
        text = ctypes.create_string_buffer(size)
        self._library.fake_ort_log(text, ctypes.c_ulong(size), 1)
        return text.value.decode().splitlines()
