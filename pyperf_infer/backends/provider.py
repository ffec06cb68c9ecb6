# SPDX-License-Identifier: Apache-2.0
"""Execution providers by the names that people type."""

from __future__ import annotations

from pyperf_infer import _core
from pyperf_infer.errors import BackendError
from pyperf_infer.ort_session import CPU_PROVIDER, find_library

_SUFFIX = "ExecutionProvider"
_ON_A_GPU = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


def provider_named(name: str) -> str:
    """The full name of a provider: "cpu" is CPUExecutionProvider.

    Raises:
        BackendError: this build of ONNX Runtime does not have it, or it runs on a GPU.
    """
    wanted = name if name.endswith(_SUFFIX) else name + _SUFFIX
    if wanted.lower() == CPU_PROVIDER.lower():
        return CPU_PROVIDER
    environment = _core.load_ort(str(find_library()))
    available = environment.available_providers
    found = next((provider for provider in available if provider.lower() == wanted.lower()), None)
    if found is None:
        raise BackendError(
            f"provider '{name}' is not in this build of ONNX Runtime {environment.version}; "
            f"it has {', '.join(available)}"
        )
    if found in _ON_A_GPU:
        raise BackendError(f"{found} runs on a GPU, and this version times the CPU only; use --provider cpu")
    return found
