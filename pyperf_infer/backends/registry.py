# SPDX-License-Identifier: Apache-2.0
"""The backends by name. A backend's module is imported when it is first used, since it may import torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Backend, BackendOptions

_CLASSES = {
    "torch": "pyperf_infer.backends.torch_eager:TorchEager",
    "torch-compile": "pyperf_infer.backends.torch_compile:TorchCompile",
    "torch-aoti": "pyperf_infer.backends.torch_aoti:TorchAoti",
    "torch-cudagraph": "pyperf_infer.backends.torch_cudagraph:TorchCudaGraph",
    "onnxruntime": "pyperf_infer.backends.onnxruntime:OnnxRuntime",
    "onnxruntime-cudagraph": "pyperf_infer.backends.onnxruntime:OnnxRuntimeCudaGraph",
}
_PLAIN = ("torch", "onnxruntime")
_GRAPHS = ("torch-cudagraph", "onnxruntime-cudagraph")  # CUDA's, so on a GPU alone
NAMES = tuple(_CLASSES)


def names_for(device: str, everything: bool) -> tuple[str, ...]:
    """The backends to run where none was named: the plain ones, or with `everything` all that the device can run."""
    if not everything:
        return _PLAIN
    return tuple(name for name in NAMES if device != "cpu" or name not in _GRAPHS)


def make_backend(name: str, options: BackendOptions) -> Backend:
    """The backend called `name`.

    Raises:
        UsageError: there is none, or it needs a GPU and the options name none.
        BackendError: a GPU, a provider or a library that is not there.
    """
    if name not in _CLASSES:
        raise UsageError(f"backend '{name}' is unknown; it can be {', '.join(NAMES)}")
    if name in _GRAPHS and options.gpu_index is None:
        plain = name.removesuffix("-cudagraph")
        raise UsageError(f"backend '{name}' needs a GPU; use --device cuda, or --backend {plain} on the CPU")
    module, class_name = _CLASSES[name].split(":")
    backend: Backend = getattr(import_module(module), class_name)(options)
    return backend
