# SPDX-License-Identifier: Apache-2.0
"""The fake AOTInductor of tests/helpers/fake_aoti for tests in Python, on the CPU or on the fake driver.

    with FakeAoti.loaded() as fake:
        target = fake.target(np.ones((2, 3), np.float32))

`tests/helpers/fake_aoti/fake_aoti.h` says what its one model does and what each switch means. There is one of it in a
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
from typing import Any

import numpy as np
import numpy.typing as npt
from fake_cuda import FakeCuda, cuda_include_folder
from native_build import REPOSITORY

from pyperf_infer import _core

SOURCES = Path(__file__).parent / "fake_aoti"
Array = npt.NDArray[Any]


@functools.cache
def built_library() -> Path:
    """The library of the sources as they are, from build/fake_aoti where it has been built before."""
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++20", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-isystem",
               cuda_include_folder()]  # fmt: skip
    sources = sorted(SOURCES.glob("*.cpp"))
    identity = hashlib.sha256(repr(command).encode())
    for file in sorted(SOURCES.iterdir()):
        identity.update(file.read_bytes())
    folder = REPOSITORY / "build" / "fake_aoti"
    library = folder / f"libfake_aoti_{identity.hexdigest()[:16]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            output = Path(unfinished) / library.name
            subprocess.run([*command, "-o", str(output), *map(str, sources), "-ldl"], check=True)
            output.replace(library)  # at once, as another session may look
    return library


class FakeAoti:
    """The controls of the fake library, which is both the compiled model and libtorch."""

    def __init__(self, path: Path, cuda: FakeCuda | None) -> None:
        self.path = path
        self._cuda = cuda
        self._library = ctypes.CDLL(str(path))
        self._library.fake_aoti_count.restype = ctypes.c_longlong
        self._library.fake_aoti_log_text.restype = ctypes.c_ulong
        self._library.aoti_torch_grad_mode_is_enabled.restype = ctypes.c_bool

    @classmethod
    @contextlib.contextmanager
    def loaded(cls, cuda: FakeCuda | None = None) -> Iterator[FakeAoti]:
        """The fake library, built if need be, with its defaults."""
        fake = cls(built_library(), cuda)
        fake.reset()
        yield fake
        fake.reset()

    def reset(self) -> None:
        self._library.fake_aoti_reset(None if self._cuda is None else str(self._cuda.path).encode())

    def set(self, **switches: int) -> None:
        for name, value in switches.items():
            if self._library.fake_aoti_set(name.encode(), ctypes.c_longlong(value)) != 0:
                raise KeyError(name)

    def fail(self, function: str, nth_call: int = 1) -> None:
        self._library.fake_aoti_fail(function.encode(), nth_call)

    def count(self, what: str) -> int:
        count = int(self._library.fake_aoti_count(what.encode()))
        if count == -1:
            raise KeyError(what)
        return count

    def empty_cache(self) -> None:
        self._library.fake_aoti_empty_cache()

    def log(self, on: bool = True) -> None:
        self._library.fake_aoti_log(ctypes.c_bool(on))

    def log_lines(self) -> list[str]:
        text = ctypes.create_string_buffer(self._library.fake_aoti_log_text(None, ctypes.c_ulong(0)) + 1)
        self._library.fake_aoti_log_text(text, ctypes.c_ulong(len(text)))
        return text.value.decode().splitlines()

    def grad_mode(self) -> bool:
        """Of this thread."""
        return bool(self._library.aoti_torch_grad_mode_is_enabled())

    def set_grad_mode(self, on: bool) -> None:
        self._library.aoti_torch_grad_mode_set_enabled(ctypes.c_bool(on))

    # ---- objects of the code under test

    def model(self, device: str = "cpu") -> _core.AotiModel:
        return _core.AotiModel(str(self.path), str(self.path), device=device)

    def target(self, *inputs: Array) -> _core.AotiTarget:
        """Of a model on the CPU, bound."""
        self.set(inputs=len(inputs))
        target = _core.AotiTarget(self.model())
        target.bind([tensor(values) for values in inputs])
        return target


def tensor(values: Array, *, keep: object = None) -> _core.AotiTensor:
    """An array of the host where it lies."""
    return _core.AotiTensor(
        data=values.ctypes.data,
        shape=list(values.shape),
        strides=[stride // values.itemsize for stride in values.strides],
        dtype=str(values.dtype),
        device_index=None,
        keep=values if keep is None else keep,
    )


def array(output: tuple[str, str, list[int], list[int], bytes]) -> Array:
    """What an output holds, with its strides."""
    _, dtype, shape, strides, content = output
    values = np.frombuffer(content, dtype)
    return np.lib.stride_tricks.as_strided(values, shape, [stride * values.itemsize for stride in strides])
