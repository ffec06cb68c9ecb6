# SPDX-License-Identifier: Apache-2.0
"""Without a usable driver `timers` is there all the same, and asking for a GPU says what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_cuda import FakeCuda, built_library
from native_build import compile_shared_library

from pyperf_infer import timers
from pyperf_infer.errors import BackendError
from pyperf_infer.timing import cuda
from pyperf_infer.timing.cuda import open_gpu

ASKING: list[Callable[[], object]] = [timers.gpu_count, open_gpu, timers.CudaStream]

# As of CUDA 11: cuGetProcAddress is there, in the form that was replaced.
OLD_DRIVER = """
extern "C" int cuInit(unsigned) { return 0; }
extern "C" int cuGetProcAddress(const char*, void**, int, unsigned long long) { return 1; }
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded(Path(shutil.copy(built_library(), tmp_path))) as loaded:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(loaded.path))
        yield loaded


def refusals() -> list[str]:
    """What each way of asking for a GPU says."""
    said = []
    for ask in ASKING:
        with pytest.raises(BackendError) as caught:
            ask()
        said.append(str(caught.value))
    return said


def test_timers_can_be_imported_and_measure_on_the_cpu() -> None:
    script = (
        "from pyperf_infer import timers; timers.measure(lambda: None, duration=0, max_duration=0.01, warmup=0); "
        "import sys; assert 'torch' not in sys.modules"
    )
    environment = os.environ | {"PYPERF_INFER_LIBCUDA": "/nowhere/libcuda.so.1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-P", "-c", script], check=True, env=environment)


def test_an_empty_path_is_the_systems_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", "")
    assert cuda._library() == "libcuda.so.1"


def test_no_library_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", "/nowhere/libcuda.so.1")
    for said in refusals():
        assert "there is no NVIDIA driver here: /nowhere/libcuda.so.1 does not load" in said
        assert "docker run --gpus all" in said


def test_a_library_that_is_no_driver_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "none.cpp"
    source.write_text('extern "C" int nothing() { return 0; }')
    library = compile_shared_library(source, tmp_path / "libnone.so")
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(library))
    for said in refusals():
        assert said == f"{library} is no CUDA driver: it has no cuGetProcAddress_v2"


def test_a_file_that_is_no_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "libcuda.so.1"
    library.write_text("not a library")
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(library))
    for said in refusals():
        assert f"{library} does not load" in said


def test_a_driver_older_than_cuda_12_is_to_be_updated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "old.cpp"
    source.write_text(OLD_DRIVER)
    library = compile_shared_library(source, tmp_path / "libold.so")
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(library))
    for said in refusals():
        assert said == f"the NVIDIA driver in {library} is older than CUDA 12.0, which is needed: update it"


def test_a_driver_that_lacks_a_function_is_to_be_updated(fake: FakeCuda) -> None:
    fake.hide("cuGraphLaunch")
    for said in refusals():
        assert "has no cuGraphLaunch: update it to CUDA 12.0 or later" in said


def test_a_driver_without_a_gpu_says_what_may_hide_it(fake: FakeCuda) -> None:
    fake.device_count(0)
    for said in refusals():
        assert "cuInit gives CUDA_ERROR_NO_DEVICE (" in said
        assert "CUDA_VISIBLE_DEVICES" in said


def test_a_driver_that_works_later_is_taken_then(fake: FakeCuda) -> None:
    fake.fail("cuInit", 999)
    with pytest.raises(BackendError, match=r"cuInit gives CUDA_ERROR_UNKNOWN \(.*nvidia-smi"):
        timers.gpu_count()
    assert timers.gpu_count() == 2
