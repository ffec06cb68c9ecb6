# SPDX-License-Identifier: Apache-2.0
"""Where a module is compiled for: copies of it and of its inputs, in the precision and layout that are asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

import torch

from pyperf_infer.backends.torch_cpu import cpu_module, cpu_settings, cpu_tensor

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.backends.torch_device import TorchGpu
    from pyperf_infer.models.spec import LoadedModel
    from pyperf_infer.results.schema import Setting

_CAST_TO = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Place(Protocol):
    """The CPU, or a GPU."""

    def module(self, model: LoadedModel, module: torch.nn.Module) -> torch.nn.Module:
        """The module as it is to be compiled: a copy, or itself where nothing is changed."""
        ...

    def tensors(self, model: LoadedModel, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        """The inputs in the model's order. On a GPU each call gives memory of its own."""
        ...

    def running(self) -> contextlib.AbstractContextManager[object]:
        """What holds while it is compiled, and while it runs."""
        ...

    def settings(self) -> dict[str, Setting]:
        """What torch says of itself; to be asked while `running`."""
        ...

    def release(self) -> None:
        """Gives back memory that copies took."""
        ...


class OnCpu:
    """The CPU. See Place."""

    def __init__(self, options: BackendOptions) -> None:
        self._options = options

    def module(self, model: LoadedModel, module: torch.nn.Module) -> torch.nn.Module:
        return _with_autocast(cpu_module(module, self._options, model.name), "cpu", self._options)

    def tensors(self, model: LoadedModel, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        return [cpu_tensor(inputs[spec.name], self._options) for spec in model.inputs]

    def running(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def settings(self) -> dict[str, Setting]:
        return {**cpu_settings(self._options), "autocast": _compiled_in(self._options)}

    def release(self) -> None:
        pass


class OnGpu:
    """A GPU. See Place."""

    def __init__(self, gpu: TorchGpu, options: BackendOptions) -> None:
        self._gpu, self._options = gpu, options

    def module(self, model: LoadedModel, module: torch.nn.Module) -> torch.nn.Module:
        from pyperf_infer.backends.torch_cuda import copy_to

        return _with_autocast(copy_to(self._gpu, module, model.name, self._options), "cuda", self._options)

    def tensors(self, model: LoadedModel, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        from pyperf_infer.backends.torch_common import tensor_of
        from pyperf_infer.backends.torch_cuda import place_for
        from pyperf_infer.backends.torch_device import lane_stream, wait_for

        stream = lane_stream(self._gpu.index, 0)
        placed = []
        with torch.cuda.stream(stream):
            for spec in model.inputs:
                tensor = tensor_of(inputs[spec.name])
                placed.append(place_for(tensor, self._gpu, self._options))
                placed[-1].copy_(tensor)
        wait_for(self._gpu, stream)
        return placed

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        from pyperf_infer.backends.torch_device import lane_stream
        from pyperf_infer.backends.torch_precision import switches

        stream = lane_stream(self._gpu.index, 0)
        with switches(self._options), torch.cuda.device(self._gpu.index), torch.cuda.stream(stream):
            yield

    def settings(self) -> dict[str, Setting]:
        from pyperf_infer.backends.torch_precision import effective_settings

        return {
            "torch_num_threads": torch.get_num_threads(),
            "inference_mode": torch.is_inference_mode_enabled(),
            "channels_last": self._options.channels_last,
            **effective_settings(),
            "autocast": _compiled_in(self._options),
        }

    def release(self) -> None:
        from pyperf_infer.backends.torch_device import release_memory

        release_memory(gpu=self._gpu)


class _Autocast(torch.nn.Module):
    """Lets torch pick each operation's type inside, so that it is a part of what is exported."""

    def __init__(self, module: torch.nn.Module, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.module, self._device, self._dtype = module, device, dtype

    def forward(self, *inputs: torch.Tensor) -> object:
        with torch.autocast(self._device, dtype=self._dtype, cache_enabled=False):
            result: object = self.module(*inputs)
            return result


def _with_autocast(module: torch.nn.Module, device: str, options: BackendOptions) -> torch.nn.Module:
    return _Autocast(module, device, _CAST_TO[options.precision]).eval() if options.autocast else module


def _compiled_in(options: BackendOptions) -> str | None:
    return f"{options.precision}, compiled in" if options.autocast else None
