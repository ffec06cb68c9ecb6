# SPDX-License-Identifier: Apache-2.0
"""Which CUDA libraries are loaded before a provider of ONNX Runtime, from where, and what is said of any missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_ort import PROVIDER, build_provider
from hypothesis import given
from hypothesis import strategies as st
from native_build import REPOSITORY

from pyperf_infer.errors import BackendError
from pyperf_infer.ort_libraries import cuda_major, explain, load_for

CUDA, TENSORRT = "CUDAExecutionProvider", "TensorrtExecutionProvider"
NAMES = {  # by CUDA's major version, as the providers of that build ask for them
    12: ("libcublasLt.so.12", "libcurand.so.10", "libcudart.so.12"),
    13: ("libcublasLt.so.13", "libcurand.so.10", "libcudart.so.13"),
}


@pytest.fixture
def capi(tmp_path: Path) -> Path:
    folder = tmp_path / "onnxruntime" / "capi"
    folder.mkdir(parents=True)
    return folder


def _provider(capi: Path, *names: str, file: str = PROVIDER) -> Path:
    """A provider that asks for libraries of these names, which are not there afterwards. Returns the core's path."""
    linked = []
    for name in names:
        linked.append(capi / name)
        build_provider(linked[-1])
    build_provider(capi / file, *linked)
    for path in linked:
        path.unlink()
    return capi / "libonnxruntime.so.1.31.0"


def _wheel(site: Path, folder: str, *names: str) -> None:
    (site / folder).mkdir(parents=True)
    for name in names:
        build_provider(site / folder / name)


def _loaded_in_a_process_of_its_own(library: Path, site: Path, provider: str = CUDA, **environment: str) -> list[str]:
    """What load_for loads, and then what is missing, where `site` has the only wheels."""
    program = (
        "import json, sys; from pathlib import Path; from pyperf_infer.ort_libraries import load_for\n"
        "import importlib.util, importlib.machinery\n"
        "find = importlib.machinery.PathFinder.find_spec\n"
        f"importlib.util.find_spec = lambda name: find(name, [{str(site)!r}])\n"
        f"loaded = load_for({provider!r}, Path({str(library)!r}))\n"
        "print(json.dumps([list(loaded.files), list(loaded.missing_later)]))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    files, missing = json.loads(done.stdout)
    return [*files, *missing]


def test_what_the_provider_asks_for_is_loaded_from_the_wheels(capi: Path, tmp_path: Path) -> None:
    """Also cuDNN, which the provider opens itself later on; what no wheel has of those is told."""
    library = _provider(capi, *NAMES[12])
    site = tmp_path / "site"
    _wheel(site, "nvidia/cublas/lib", "libcublasLt.so.12", "libcublasLt.so.13")
    _wheel(site, "nvidia/curand/lib", "libcurand.so.10")
    _wheel(site, "nvidia/cuda_runtime/lib", "libcudart.so.12")
    _wheel(site, "nvidia/cudnn/lib", "libcudnn.so.9")
    assert _loaded_in_a_process_of_its_own(library, site) == [
        str(site / "nvidia/cublas/lib/libcublasLt.so.12"),
        str(site / "nvidia/curand/lib/libcurand.so.10"),
        str(site / "nvidia/cuda_runtime/lib/libcudart.so.12"),
        str(site / "nvidia/cudnn/lib/libcudnn.so.9"),
        "libcufft.so.11",
        "libnvrtc.so.12",
    ]


def test_the_wheels_of_cuda_13_lie_in_one_folder(capi: Path, tmp_path: Path) -> None:
    library = _provider(capi, *NAMES[13])
    site = tmp_path / "site"
    _wheel(site, "nvidia/cu13/lib", *NAMES[13], "libcufft.so.12", "libnvrtc.so.13")
    _wheel(site, "nvidia/cudnn/lib", "libcudnn.so.9")
    loaded = _loaded_in_a_process_of_its_own(library, site)
    assert [Path(path).name for path in loaded] == [*NAMES[13], "libcudnn.so.9", "libcufft.so.12", "libnvrtc.so.13"]
    assert all(path.startswith(str(site)) for path in loaded)


def test_what_is_in_no_wheel_is_left_to_the_loaders_search(capi: Path, tmp_path: Path) -> None:
    library = _provider(capi, *NAMES[12])
    site, system = tmp_path / "site", tmp_path / "system"
    _wheel(site, "nvidia/cublas/lib", "libcublasLt.so.12")
    _wheel(system, ".", "libcurand.so.10", "libcudart.so.12")
    loaded = _loaded_in_a_process_of_its_own(library, site, LD_LIBRARY_PATH=str(system))
    assert loaded[:3] == [str(site / "nvidia/cublas/lib/libcublasLt.so.12"), "libcurand.so.10", "libcudart.so.12"]


def test_a_folder_before_the_wheels_does_not_come_first(capi: Path, tmp_path: Path) -> None:
    """LD_LIBRARY_PATH often names an older toolkit, or one that is gone."""
    library = _provider(capi, "libcudart.so.12")
    site, system = tmp_path / "site", tmp_path / "system"
    _wheel(site, "nvidia/cuda_runtime/lib", "libcudart.so.12")
    system.mkdir()
    (system / "libcudart.so.12").write_bytes(b"broken")
    loaded = _loaded_in_a_process_of_its_own(library, site, LD_LIBRARY_PATH=str(system))
    assert loaded[0] == str(site / "nvidia/cuda_runtime/lib/libcudart.so.12")


@pytest.mark.parametrize(
    ("needed", "package"),
    [
        (("libcublasLt.so.12",), "nvidia-cublas-cu12==12.*"),
        (("libcublasLt.so.99",), "nvidia-cublas==99.*"),
        (("libcudart.so.12", "libcurand.so.77"), "nvidia-cuda-runtime-cu12==12.*"),
        (("libcurand.so.77", "libcublas.so.12"), "nvidia-curand-cu12==77.*"),
        (("libcufft.so.77", "libcudart.so.12"), "nvidia-cufft-cu12==77.*"),
        (("libnvJitLink.so.77",), "nvidia-nvjitlink==77.*"),
        (("libcudnn.so.77", "libcublas.so.12"), "nvidia-cudnn-cu12==77.*"),
        (("libcudnn.so.77",), "nvidia-cudnn-cu13==77.*"),
    ],
)
def test_a_library_that_lacks_is_named_with_its_package(capi: Path, needed: tuple[str, ...], package: str) -> None:
    library = _provider(capi, *needed)
    with pytest.raises(BackendError) as caught:
        load_for(CUDA, library)
    assert f"needs {needed[0]}, which is not there (pip install '{package}')" in str(caught.value)


def test_tensorrt_lacks_tensorrt_of_the_version_that_it_asks_for(capi: Path) -> None:
    library = _provider(capi, "libnvinfer.so.77", file="libonnxruntime_providers_tensorrt.so")
    with pytest.raises(BackendError, match=r"TensorrtExecutionProvider .*pip install 'tensorrt-cu13==77.\*'"):
        load_for(TENSORRT, library)


def test_a_provider_that_is_not_there(capi: Path) -> None:
    with pytest.raises(BackendError, match=f"{capi} holds no {PROVIDER}.*onnxruntime-gpu"):
        load_for(CUDA, capi / "libonnxruntime.so.1.31.0")


def test_a_provider_that_is_cut_off(capi: Path) -> None:
    library = _provider(capi)
    (capi / PROVIDER).write_bytes((capi / PROVIDER).read_bytes()[:3000])
    with pytest.raises(BackendError, match=r"does not load.*reinstall onnxruntime-gpu"):
        load_for(CUDA, library)


def test_the_drivers_library_is_no_packages(capi: Path) -> None:
    library = _provider(capi)
    message = "with error: libcuda.so.1: cannot open shared object file: No such file or directory"
    text = explain(message, CUDA, library)
    assert text is not None
    assert "comes with the NVIDIA driver" in text


def test_a_library_of_nobodys_is_named_all_the_same(capi: Path) -> None:
    text = explain("libodd.so.1: cannot open shared object file", CUDA, _provider(capi))
    assert text == "CUDAExecutionProvider does not load: it needs libodd.so.1, which is not there"


def test_another_failure_is_not_explained(capi: Path) -> None:
    assert explain("the model is broken", CUDA, _provider(capi)) is None


@given(st.integers(1, 99), st.lists(st.sampled_from(["libcurand.so.10", "libc.so.6", "libcudnn.so.9", "odd"])))
def test_cudas_version_is_that_of_its_own_libraries(major: int, others: list[str]) -> None:
    for name in ("libcudart", "libcublas", "libcublasLt"):
        assert cuda_major([*others, f"{name}.so.{major}"]) == major
    assert cuda_major(others) == 13
