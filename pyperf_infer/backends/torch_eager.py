# SPDX-License-Identifier: Apache-2.0
"""PyTorch as most people run it: the module itself, called in inference mode."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

import torch

from pyperf_infer import _core
from pyperf_infer.backends.base import Array, BackendOptions, Facts, PreparedBackend
from pyperf_infer.backends.torch_common import array_of, explained
from pyperf_infer.backends.torch_cpu import check_cpu_precision, cpu_autocast, cpu_module, cpu_settings, cpu_tensor
from pyperf_infer.convert.outputs import named_outputs
from pyperf_infer.errors import InputError
from pyperf_infer.timing.stopwatch import Stopwatch

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel


class TorchEager:
    """Backend `torch`.

    Raises:
        BackendError: the GPU that the options name is not there, or PyTorch cannot use it; on the CPU a precision that
            it has no instructions for.
        UsageError: options that contradict each other.
    """

    name: ClassVar[str] = "torch"

    def __init__(self, options: BackendOptions) -> None:
        self._options = options
        torch.set_num_threads(options.threads)
        index = options.gpu_index
        if index is None:
            check_cpu_precision(options)
        else:
            from pyperf_infer.backends.torch_device import open_torch_gpu

            self._gpu = open_torch_gpu(index, options)

    def accepts(self, model: LoadedModel) -> bool:
        return model.module is not None

    def convert(self, model: LoadedModel, shapes: Mapping[str, tuple[int, ...]]) -> float | None:  # noqa: ARG002
        return None

    def prepare(self, model: LoadedModel, inputs: Mapping[str, Array]) -> PreparedBackend:
        module = self._module_of(model)
        if self._options.gpu_index is None:
            return PreparedTorch(model, cpu_module(module, self._options, model.name), inputs, self._options)
        from pyperf_infer.backends.torch_cuda import prepare_on_gpu

        return prepare_on_gpu(self.name, model, module, inputs, self._gpu, self._options)

    def _module_of(self, model: LoadedModel) -> torch.nn.Module:
        if model.module is None:
            raise InputError(f"{model.name} is an ONNX file, which PyTorch does not run; use --backend onnxruntime")
        torch.set_num_threads(self._options.threads)  # a model's own module may have changed it since
        return model.module


class PreparedTorch:
    """A module with its input tensors, on the CPU: `module` is in the options' precision and layout already."""

    def __init__(
        self, model: LoadedModel, module: Callable[..., object], inputs: Mapping[str, Array], options: BackendOptions
    ) -> None:
        self._name = model.name
        self._module = module
        self._options = options
        self._specs = model.inputs
        self.bind(inputs)
        with explained(self._name), self.measuring():
            with Stopwatch() as first:
                self._call()
            settings = cpu_settings(options)
        self.facts = Facts(
            backend=TorchEager.name,
            provider=None,
            loop="native, Python callable",
            settings=settings,
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
        self._call = functools.partial(
            self._module, *(cpu_tensor(inputs[spec.name], self._options) for spec in self._specs)
        )

    def outputs(self) -> dict[str, Array]:
        with explained(self._name), self.measuring():
            return {name: array_of(tensor) for name, tensor in named_outputs(self._call())}

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        with torch.inference_mode(), cpu_autocast(self._options):
            yield

    def close(self) -> None:
        self._module = _closed
        self._call = functools.partial(_closed)


def _closed(*_inputs: object) -> object:
    raise InputError("this module is closed")
