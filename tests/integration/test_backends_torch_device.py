# SPDX-License-Identifier: Apache-2.0
"""What is said where PyTorch cannot use the GPU that was asked for, and which of several reasons is said first."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pyperf_infer.backends import torch_device
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.backends.torch_device import open_torch_gpu, release_memory
from pyperf_infer.errors import BackendError


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A driver for CUDA 13 with any number of GPUs, and a PyTorch that can use two of them."""
    context = SimpleNamespace(driver_version=13000)
    monkeypatch.setattr(torch_device, "open_gpu", lambda index: context)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    return context


def options(device: str = "cuda", **asked: Any) -> BackendOptions:
    return BackendOptions(threads=1, device=device, **asked)


def test_the_gpu_of_the_index_is_the_same_for_driver_and_torch(driver: SimpleNamespace) -> None:
    gpu = open_torch_gpu(1, options())
    assert (gpu.context, gpu.index, gpu.device) == (driver, 1, torch.device("cuda", 1))


@pytest.mark.parametrize("backend", ["torch", "torch-cudagraph"])
def test_without_a_driver_that_is_what_is_missing(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything about torch, which could not mend it."""
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", "/nowhere/libcuda.so.1")
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(BackendError, match=r"/nowhere/libcuda\.so\.1"):
        make_backend(backend, options())


def test_the_cpu_does_not_look_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPERF_INFER_LIBCUDA", "/nowhere/libcuda.so.1")
    assert make_backend("torch", options("cpu")).name == "torch"


@pytest.mark.parametrize(("version", "wheel"), [(12040, "cu126"), (12080, "cu126"), (13000, "cu130"), (14010, "cu130")])
def test_a_cpu_build_is_named_with_the_wheel_for_this_driver(
    version: int, wheel: str, driver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.driver_version = version
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = rf"this PyTorch \(.*\) is a CPU build \(torch.version.cuda is None\).*/whl/{wheel}$"
    with pytest.raises(BackendError, match=said):
        open_torch_gpu(0, options())


def test_a_rocm_build_is_not_called_a_cpu_build(driver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", "7.0")
    with pytest.raises(BackendError, match="is a ROCm build"):
        open_torch_gpu(0, options())


def test_otherwise_torch_gives_its_own_reason(driver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old (found version 11040).\nPlease update")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    with pytest.raises(BackendError, match=r"PyTorch cannot use it: The NVIDIA driver .*\(found version 11040\)\.$"):
        open_torch_gpu(0, options())


def test_an_index_that_torch_does_not_see_is_refused(driver: SimpleNamespace) -> None:
    with pytest.raises(BackendError, match="PyTorch sees 2 GPUs, and cuda:2 is none of them"):
        open_torch_gpu(2, options())


def test_a_precision_that_the_gpu_lacks_is_refused_before_any_work(
    driver: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (7, 0))
    with pytest.raises(BackendError, match=r"tf32 needs .* 7\.0"):
        open_torch_gpu(0, options(precision="tf32"))


def test_what_a_failed_call_held_is_freed_with_its_frames() -> None:
    """Else a batch that did not fit stays in the way of half of it."""
    held: list[weakref.ref[torch.Tensor]] = []

    def fail() -> None:
        tensor = torch.zeros(3)
        held.append(weakref.ref(tensor))
        raise RuntimeError("CUDA out of memory")

    def explain(call: Callable[[], None]) -> None:
        try:
            call()
        except RuntimeError as error:
            raise MemoryError from error

    try:
        explain(fail)
    except MemoryError as error:
        assert held[0]() is not None
        release_memory(error)
        assert held[0]() is None


def test_memory_is_given_back_and_a_broken_gpu_cannot_prevent_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def empty() -> None:
        calls.append("empty")
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "empty_cache", empty)
    release_memory()
    assert calls == ["empty"]
