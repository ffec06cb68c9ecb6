# SPDX-License-Identifier: Apache-2.0
"""The installed onnxruntime-gpu with a driver that is a fake: how far its CUDA provider loads, and what it says then.

The provider itself is linked with the driver, so that it does not load where there is none. That is all a machine
without a GPU can show of it.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_cuda import FakeCuda
from native_build import REPOSITORY
from onnx_graphs import save_scale_model

from pyperf_infer.errors import BackendError
from pyperf_infer.ort_libraries import PROVIDER_FILES
from pyperf_infer.ort_session import find_library

PROVIDER = "CUDAExecutionProvider"
_TRY = (
    "import sys; from pyperf_infer.errors import PyperfInferError; from pyperf_infer.ort_session import OnnxSession\n"
    "try: OnnxSession(sys.argv[1], provider='CUDAExecutionProvider', library=sys.argv[2])\n"
    "except PyperfInferError as error: print(type(error).__name__, error)"
)


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _has_provider() -> bool:
    try:
        return (find_library().parent / PROVIDER_FILES[PROVIDER]).exists()
    except BackendError:
        return False


pytestmark = [
    pytest.mark.skipif(not _has_provider(), reason="the ONNX Runtime that is installed has no CUDA provider"),
    pytest.mark.skipif(_has_driver(), reason="there is an NVIDIA driver here, which the provider loads"),
]


@pytest.fixture
def driver() -> Iterator[str]:
    with FakeCuda.loaded() as cuda:
        yield str(cuda.path)


def _tried(model: Path, library: Path, **environment: str) -> str:
    """What a session says, in a process of its own: what was loaded once stays."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _TRY, str(model), str(library)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def test_without_a_driver_that_is_what_is_missing(tmp_path: Path) -> None:
    said = _tried(save_scale_model(tmp_path / "m.onnx"), find_library())
    assert said.startswith("BackendError there is no NVIDIA driver here: libcuda.so.1 does not load")


def test_all_but_the_drivers_library_is_found_in_the_wheels(tmp_path: Path, driver: str) -> None:
    said = _tried(save_scale_model(tmp_path / "m.onnx"), find_library(), PYPERF_INFER_LIBCUDA=driver)
    assert said.startswith(f"BackendError {PROVIDER} does not load: it needs libcuda.so.1, which comes with the NVIDIA")


def test_a_search_path_with_broken_libraries_changes_nothing(tmp_path: Path, driver: str) -> None:
    for name in ("libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13", "libcublas.so.12", "libcublasLt.so.12"):
        (tmp_path / name).write_bytes(b"broken")
    said = _tried(
        save_scale_model(tmp_path / "m.onnx"),
        find_library(),
        PYPERF_INFER_LIBCUDA=driver,
        LD_LIBRARY_PATH=str(tmp_path),
    )
    assert "it needs libcuda.so.1" in said


@pytest.mark.parametrize("content", [None, b"broken"])
def test_a_copy_without_its_provider(tmp_path: Path, driver: str, content: bytes | None) -> None:
    capi = tmp_path / "capi"
    capi.mkdir()
    library = capi / find_library().name
    library.symlink_to(find_library())
    if content is not None:
        (capi / PROVIDER_FILES[PROVIDER]).write_bytes(content)
    said = _tried(save_scale_model(tmp_path / "m.onnx"), library, PYPERF_INFER_LIBCUDA=driver)
    reason = "is not there" if content is None else "does not load"
    assert said.startswith(f"BackendError {PROVIDER} {reason}: ")
    assert PROVIDER_FILES[PROVIDER] in said
