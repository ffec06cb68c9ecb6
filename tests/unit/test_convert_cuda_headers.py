# SPDX-License-Identifier: Apache-2.0
"""Where CUDA's headers are taken from, in folders that only look like the wheels'."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyperf_infer.convert import cuda_toolchain
from pyperf_infer.convert.cuda_toolchain import find_headers, include_folders
from pyperf_infer.errors import BackendError

RUNTIME = ("cuda.h", "cuda_runtime.h", "cuda_runtime_api.h", "cuda_bf16.h", "cuda_fp16.h", "cuda_fp8.h")


def folder(path: Path, *headers: str, version: int = 13000) -> Path:
    for header in headers:
        (path / header).parent.mkdir(parents=True, exist_ok=True)
        (path / header).write_text(f"#define CUDA_VERSION {version}\n" if header == "cuda.h" else f"// {path.name}\n")
    path.mkdir(parents=True, exist_ok=True)
    return path


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cuda_toolchain, "_package_folders", lambda name: [tmp_path / name])
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_first_folder_that_has_a_header_is_where_it_is_from(tmp_path: Path) -> None:
    wheels = folder(tmp_path / "wheels", *RUNTIME, "nv/target")
    triton = folder(tmp_path / "triton", *RUNTIME, "crt/host_config.h", "only_there.h")
    found = find_headers([wheels, triton], 13)
    assert found["cuda.h"] == wheels / "cuda.h"
    assert found["nv"] == wheels / "nv"
    assert found["crt"] == triton / "crt"
    assert found["only_there.h"] == triton / "only_there.h"


def test_a_crt_without_its_headers_gives_way(tmp_path: Path) -> None:
    wheels = folder(tmp_path / "wheels", *RUNTIME, "nv/target", "crt/link.stub")
    triton = folder(tmp_path / "triton", "crt/host_config.h")
    assert find_headers([wheels, triton], 13)["crt"] == triton / "crt"


@pytest.mark.parametrize(
    ("missing", "major", "package"),
    [
        ("cuda.h", 13, "nvidia-cuda-runtime==13.*"),
        ("cuda_fp16.h", 12, "nvidia-cuda-runtime-cu12"),
        ("crt/host_config.h", 13, "nvidia-cuda-crt==13.*"),
        ("crt/host_config.h", 12, "nvidia-cuda-nvcc-cu12"),
        ("nv/target", 13, "nvidia-cuda-cccl==13.*"),
        ("nv/target", 12, "nvidia-cuda-cccl-cu12"),
    ],
)
def test_a_missing_header_is_refused_with_the_package_that_has_it(
    missing: str, major: int, package: str, tmp_path: Path
) -> None:
    headers = [header for header in (*RUNTIME, "nv/target", "crt/host_config.h") if header != missing]
    with pytest.raises(BackendError) as caught:
        find_headers([folder(tmp_path / "wheels", *headers)], major)
    assert f"{missing} of CUDA {major}" in str(caught.value)
    assert f"pip install '{package}'" in str(caught.value)


def test_wheels_come_before_triton_and_a_toolkit_comes_last(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = folder(packages / "nvidia/cu13/include", "cuda.h")
    triton = folder(packages / "triton/backends/nvidia/include", "cuda.h", version=13010)
    toolkit = folder(tmp_path / "toolkit/include", "cuda.h")
    assert include_folders(13) == [wheel, triton]
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "toolkit"))
    assert include_folders(13) == [wheel, triton, toolkit]


def test_headers_of_another_major_version_are_left_alone(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(packages / "nvidia/cu13/include", "cuda.h")
    folder(packages / "triton/backends/nvidia/include", "cuda.h", version=13010)
    runtime = folder(packages / "nvidia/cuda_runtime/include", "cuda.h", version=12080)
    compiler = folder(packages / "nvidia/cuda_nvcc/include", "crt/host_config.h")
    assert include_folders(12) == [runtime, compiler]


def test_a_torch_without_cuda_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(BackendError, match="built without CUDA"), cuda_toolchain.cuda_toolchain():
        pass
