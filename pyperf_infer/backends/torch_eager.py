# SPDX-License-Identifier: Apache-2.0
"""PyTorch as most people run it: the module itself, called in inference mode."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

import torch

from pyperf_infer import _core
from pyperf_infer.backends.base import Array, BackendOptions, Facts
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.errors import InputError, MeasurementError, OutOfMemoryError
from pyperf_infer.system.memory import is_out_of_memory
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel


class TorchEager:
    """Backend `torch`."""

    name: ClassVar[str] = "torch"

    def __init__(self, options: BackendOptions) -> None:
        self._threads = options.threads
        torch.set_num_threads(self._threads)

    def accepts(self, model: LoadedModel) -> bool:
        return model.module is not None

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:  # noqa: ARG002
        return None

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedTorch:
        if model.module is None:
            raise InputError(f"{model.name} is an ONNX file, which PyTorch does not run; use --backend onnxruntime")
        torch.set_num_threads(self._threads)  # a model's own module may have changed it since
        return PreparedTorch(model, model.module, inputs)


class PreparedTorch:
    """A module with its input tensors."""

    def __init__(self, model: LoadedModel, module: torch.nn.Module, inputs: Mapping[str, Array]) -> None:
        self._name = model.name
        self._module = module
        self._specs = model.inputs
        self.bind(inputs)
        with Stopwatch() as first:
            self._run()
        self.facts = Facts(
            backend=TorchEager.name,
            provider=None,
            loop="native, Python callable",
            settings=_effective_settings(),
            load_s=None,
            first_inference_ms=first.ns / 1e6,
            first_inference_warm=model.has_run,
            threads=torch.get_num_threads(),
        )
        model.has_run = True

    @property
    def target(self) -> _core.Target:
        return _core.CallableTarget(self._call)

    def bind(self, inputs: Mapping[str, Array]) -> None:
        # A partial object calls the module from C: the only Python in the window is the module's own.
        self._call = functools.partial(self._module, *(_tensor(inputs[spec.name]) for spec in self._specs))

    def outputs(self) -> dict[str, Array]:
        return {name: _array(tensor) for name, tensor in named_outputs(self._run())}

    def measuring(self) -> AbstractContextManager[object]:
        return torch.inference_mode()

    def close(self) -> None:
        self._call = functools.partial(self._module)

    def _run(self) -> object:
        try:
            with torch.inference_mode():
                return self._call()
        except Exception as error:
            first_line = str(error).strip().split("\n", 1)[0]
            if is_out_of_memory(error):
                raise OutOfMemoryError(f"PyTorch ran out of memory on {self._name}: {first_line}") from error
            raise MeasurementError(f"PyTorch failed on {self._name}: {type(error).__name__}: {first_line}") from error


def _tensor(array: Array) -> torch.Tensor:
    if array.dtype.name == "bfloat16":  # a type of ml_dtypes, which torch does not know
        return torch.from_numpy(array.view("uint16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def _array(tensor: torch.Tensor) -> Array:
    if tensor.dtype is torch.bfloat16:
        import ml_dtypes

        array: Array = tensor.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16).copy()
        return array
    return tensor.numpy(force=True).copy()


def _effective_settings() -> dict[str, str | int | float | bool | None]:
    return {
        "torch_num_threads": torch.get_num_threads(),
        "inference_mode": True,
        "onednn": bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),  # type: ignore[no-untyped-call]
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
