# SPDX-License-Identifier: Apache-2.0
"""Execution providers by the names that people type."""

from __future__ import annotations

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.ort_device import GPU_PROVIDERS
from pyperf_infer.ort_session import CPU_PROVIDER, find_library

_SUFFIX = "ExecutionProvider"
_ON_A_GPU = (*GPU_PROVIDERS, "NvTensorRTRTXExecutionProvider")


def provider_named(name: str, device: str = "cpu") -> str:
    """The full name of a provider for `device`: "cpu" is CPUExecutionProvider.

    Raises:
        BackendError: this build of ONNX Runtime does not have it, or it runs on a GPU and `device` is the CPU.
        UsageError: `device` is a GPU, and it does not run there.
    """
    wanted = name if name.endswith(_SUFFIX) else name + _SUFFIX
    found = CPU_PROVIDER if wanted.lower() == CPU_PROVIDER.lower() else _in_this_build(name, wanted)
    if device == "cpu" and found in _ON_A_GPU:
        raise BackendError(f"{found} runs on a GPU; use it with --device cuda, or --provider cpu")
    if device != "cpu" and found not in GPU_PROVIDERS:
        raise UsageError(
            f"--provider {name} contradicts --device {device}: {found} cannot be put on a stream of a GPU here; "
            f"{' and '.join(GPU_PROVIDERS)} can"
        )
    return found


def _in_this_build(name: str, wanted: str) -> str:
    environment = _core.load_ort(str(find_library()))
    available = environment.available_providers
    found = next((provider for provider in available if provider.lower() == wanted.lower()), None)
    if found is None:
        on_a_gpu = wanted.lower() in (provider.lower() for provider in GPU_PROVIDERS)
        remedy = " (pip install onnxruntime-gpu has CUDA and TensorRT)" if on_a_gpu else ""
        raise BackendError(
            f"provider '{name}' is not in this build of ONNX Runtime {environment.version}; "
            f"it has {', '.join(available)}{remedy}"
        )
    return found
