# SPDX-License-Identifier: Apache-2.0
"""What a compile for a GPU includes and links with, found without a toolkit: no nvcc on the PATH, no GPU, no driver.

A few lines that use the headers of a compiled model go through the very command that Inductor makes for one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_cuda import built_library

from pyperf_infer.convert import cuda_toolchain
from pyperf_infer.errors import BackendError

SOURCE = r"""
#include <torch/csrc/inductor/aoti_include/cuda.h>
#include <torch/csrc/inductor/aoti_runtime/model_container.h>
extern "C" CUresult launch(CUfunction kernel) {
  int device = 0;
  AOTI_RUNTIME_CUDA_CHECK(cudaGetDevice(&device));
  return cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr);
}
"""

CHILD = """
import os, sys
import torch
from pyperf_infer.convert.cuda_toolchain import cuda_toolchain
with cuda_toolchain(sys.argv[1]) as home:
    from torch._inductor.cpp_builder import CppBuilder, CppTorchDeviceOptions
    from torch._inductor.cpu_vec_isa import invalid_vec_isa
    options = CppTorchDeviceOptions(vec_isa=invalid_vec_isa, device_type="cuda", aot_mode=True)
    folder = os.getcwd()
    builder = CppBuilder(name="launch", sources=folder + "/launch.cpp", output_dir=folder, BuildOption=options)
    print(builder.get_command_line())
    builder.build()
"""

pytestmark = pytest.mark.skipif(torch.version.cuda is None, reason="torch is built without CUDA")


def path_without_nvcc() -> str:
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not (Path(folder) / "nvcc").exists())


def test_a_compile_for_a_gpu_finds_all_it_needs_in_the_wheels(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CUDA_HOME", "CUDA_PATH")}
    environment["PATH"] = path_without_nvcc()
    assert shutil.which("nvcc", path=environment["PATH"]) is None
    assert shutil.which("g++", path=environment["PATH"]) is not None
    (tmp_path / "launch.cpp").write_text(SOURCE)
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, str(built_library())],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "launch.so").exists()
    # Nothing of a toolkit that may be installed all the same.
    assert "/usr/local/cuda" not in done.stdout
    assert "-lcuda " in done.stdout


def test_a_machine_without_a_driver_is_refused_by_name() -> None:
    toolchain = cuda_toolchain.cuda_toolchain("libcuda-of-the-test.so.1")
    with pytest.raises(BackendError, match=r"libcuda-of-the-test\.so\.1.*nvidia-smi"), toolchain:
        pass


def test_all_is_put_back_where_the_compile_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils import cpp_extension

    monkeypatch.setenv("CUDA_HOME", "/where/it/was")
    monkeypatch.delenv("CUDA_PATH", raising=False)
    monkeypatch.setattr(cpp_extension, "CUDA_HOME", "/what/torch/found")
    homes: list[Path] = []

    def fail() -> None:
        with cuda_toolchain.cuda_toolchain(str(built_library())) as home:
            assert cpp_extension.CUDA_HOME == os.environ["CUDA_HOME"] == os.environ["CUDA_PATH"] == str(home)
            homes.append(home)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (os.environ["CUDA_HOME"], "CUDA_PATH" in os.environ) == ("/where/it/was", False)
    assert cpp_extension.CUDA_HOME == "/what/torch/found"
    assert not homes[0].exists()
