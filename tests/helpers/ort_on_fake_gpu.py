# SPDX-License-Identifier: Apache-2.0
"""OnnxSession on a fake GPU: the fake ONNX Runtime over the fake driver, for tests of what needs a GPU otherwise."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from fake_cuda import FakeCuda
from fake_ort import FakeOrt
from onnx_graphs import save_scale_model

from pyperf_infer import ort_device
from pyperf_infer.ort_session import OnnxSession

if TYPE_CHECKING:
    import pytest

X = np.arange(8, dtype=np.float32).reshape(2, 4)
OTHER_X = X[::-1] + 1
TIMEOUT_S = 0.2  # of real time, where something hangs

_DRIVER_OBJECTS = ("streams", "events", "device_bytes", "host_bytes", "contexts")


class FakeGpu:
    """A driver, an ONNX Runtime and a model file, whatever is in it: y is x."""

    def __init__(self, cuda: FakeCuda, ort: FakeOrt, model: Path) -> None:
        self.cuda = cuda
        self.ort = ort
        self.model = model
        self._before = ort.live()  # what tests of lost devices have left behind

    def session(self, **options: Any) -> OnnxSession:
        settings = {"provider": ort_device.CUDA_PROVIDER, "library": self.ort.path, "timeout": TIMEOUT_S, **options}
        return OnnxSession(self.model, **settings)

    def left(self) -> dict[str, int]:
        """Objects of the driver and of ONNX Runtime that nobody has released, by kind."""
        gc.collect()
        counts = {what: self.cuda.live(what) for what in _DRIVER_OBJECTS}
        counts["onnxruntime"] = self.ort.live() - self._before
        return {what: count for what, count in counts.items() if count}


@contextlib.contextmanager
def _no_session_so_far() -> Iterator[None]:
    """Takes the finder that a GPU session installs out of sys.meta_path, and puts back what was. The rest stays."""
    finder = ort_device._PYTHONS_OWN_REFUSED
    before = finder in sys.meta_path
    if before:
        sys.meta_path.remove(finder)
    try:
        yield
    finally:
        while finder in sys.meta_path:
            sys.meta_path.remove(finder)
        if before:
            sys.meta_path.insert(0, finder)


@contextlib.contextmanager
def fake_gpu(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FakeGpu]:
    """The fake GPU as the only one that there is, with a library that has never had a session.

    Other tests of the process may import Python's onnxruntime when this is over.
    """
    model = save_scale_model(folder / "scale.onnx")
    with FakeCuda.loaded() as cuda, FakeOrt.loaded(cuda) as ort, _no_session_so_far():
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(cuda.path))
        monkeypatch.setattr(ort_device, "_first_library", [])
        monkeypatch.delitem(sys.modules, ort_device._PYTHONS_OWN, raising=False)
        yield FakeGpu(cuda, ort, model)
        gc.collect()
