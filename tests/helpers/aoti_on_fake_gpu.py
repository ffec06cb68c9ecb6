# SPDX-License-Identifier: Apache-2.0
"""Compiled models on a fake GPU: the fake AOTInductor over the fake driver, with inputs in that GPU's memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exact_gpu import ExactGpu
from fake_aoti import Array, FakeAoti

from pyperf_infer import _core

TIMEOUT_NS = 200_000_000  # of real time, where something hangs


class AotiGpu:
    """The driver `cuda`, the library `aoti`, and bindings whose outputs are their inputs."""

    def __init__(self, exact: ExactGpu, aoti: FakeAoti) -> None:
        self.exact = exact
        self.cuda = exact.fake
        self.aoti = aoti
        self.context = exact.context()
        self._inputs: list[int] = []
        self._before = self.left()

    @classmethod
    @contextlib.contextmanager
    def loaded(cls, folder: Path) -> Iterator[AotiGpu]:
        with ExactGpu.loaded(folder) as exact, FakeAoti.loaded(exact.fake) as aoti, exact.current():
            yield cls(exact, aoti)
            gc.collect()

    def tensor(self, values: Array) -> _core.AotiTensor:
        """A copy in the GPU's memory, which stays until the end."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc", ctypes.byref(address), ctypes.c_size_t(max(values.nbytes, 1)))
        self._inputs.append(address.value)
        self.write(address.value, values)
        return _core.AotiTensor(
            data=address.value, shape=list(values.shape),
            strides=[stride // values.itemsize for stride in values.strides], dtype=str(values.dtype), device_index=0,
            keep=values,
        )  # fmt: skip

    @property
    def latest_input(self) -> int:
        """The address of the tensor made last."""
        return self._inputs[-1]

    def write(self, address: int, values: Array) -> None:
        self._call("cuMemcpyHtoD", ctypes.c_uint64(address), values.ctypes.data, ctypes.c_size_t(values.nbytes))

    def binding(self, *inputs: Array, stream: _core.GpuStream | None = None, **options: Any) -> _core.AotiStreamBinding:
        """Of a model and a stream of its own, bound to copies of these arrays and run once."""
        self.aoti.set(inputs=len(inputs))
        stream = stream or _core.GpuStream(self.context)
        binding = _core.AotiStreamBinding(self.aoti.model("cuda:0"), stream, **{"timeout_ns": TIMEOUT_NS, **options})
        binding.bind([self.tensor(values) for values in inputs])
        binding.run()
        return binding

    def left(self) -> dict[str, int]:
        """What the code under test has made and not freed, by kind."""
        gc.collect()
        self.aoti.empty_cache()
        kinds = {kind: self.cuda.live(kind) for kind in ("streams", "events", "host_bytes")}
        return {**kinds, "handles": self.aoti.count("handles"), "containers": self.aoti.count("containers")}

    def made(self) -> dict[str, int]:
        """What is left beyond what there was at the beginning."""
        now = self.left()
        return {kind: now[kind] - count for kind, count in self._before.items() if now[kind] != count}

    def _call(self, name: str, *arguments: Any) -> None:
        result = self.cuda.driver_function(
            name, *(type(each) if isinstance(each, ctypes._SimpleCData) else ctypes.c_void_p for each in arguments)
        )(*arguments)
        if result != 0:
            raise RuntimeError(f"{name}: CUresult {result}")
