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
    "onnxruntime": "pyperf_infer.backends.onnxruntime:OnnxRuntime",
}
NAMES = tuple(_CLASSES)


def make_backend(name: str, options: BackendOptions) -> Backend:
    """The backend called `name`.

    Raises:
        UsageError: there is none.
    """
    if name not in _CLASSES:
        raise UsageError(f"backend '{name}' is unknown; it can be {', '.join(NAMES)}")
    module, class_name = _CLASSES[name].split(":")
    backend: Backend = getattr(import_module(module), class_name)(options)
    return backend
