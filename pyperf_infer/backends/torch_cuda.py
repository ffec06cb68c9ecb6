# SPDX-License-Identifier: Apache-2.0
"""A module on a GPU, called eagerly: on streams of its own, with inputs at addresses that do not change."""

from __future__ import annotations

import contextlib
import copy
import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from pyperf_infer import _core
from pyperf_infer.backends.base import Array, BackendOptions, Facts
from pyperf_infer.backends.torch_common import array_of, explained, tensor_of
from pyperf_infer.backends.torch_device import TorchGpu, lane_stream, native_stream, release_memory, wait_for
from pyperf_infer.backends.torch_precision import autocast, effective_settings, switches, weights_dtype
from pyperf_infer.convert.outputs import flatten_outputs, named_outputs
from pyperf_infer.errors import InputError
from pyperf_infer.timing.stopwatch import Stopwatch
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from pyperf_infer.backends.torch_compile import Compilation
    from pyperf_infer.models.spec import LoadedModel

EAGER_LOOP = "native, Python callable"

# After the first: torch's allocator, cuDNN's search and lazily loaded kernels have then settled, so that no call that
# is timed, or captured in a graph, meets them first.
_MORE_CALLS = 3

_ran_on: dict[int, weakref.ref[LoadedModel]] = {}  # by the GPU's index, the model that torch ran there last


def prepare_on_gpu(
    backend: str, model: LoadedModel, module: torch.nn.Module, inputs: Mapping[str, Array], gpu: TorchGpu,
    options: BackendOptions, compilation: Compilation | None = None,
) -> PreparedTorchCuda:  # fmt: skip
    """A copy of the module on the GPU, run a few times. What it took is given back where that fails.

    With a `compilation`, what that makes of the copy is called in its place.

    Raises:
        InputError: the module cannot be copied. OutOfMemoryError: it does not fit. MeasurementError: it fails, or does
            not end in time.
    """
    try:
        return PreparedTorchCuda(backend, model, module, inputs, gpu, options, compilation)
    except Exception as error:
        release_memory(error, gpu=gpu)
        raise


class Lane:
    """One stream, with inputs of its own that binding copies into, and the module's call on them."""

    def __init__(
        self, number: int, module: Callable[..., object], inputs: Sequence[torch.Tensor], gpu: TorchGpu,
        options: BackendOptions,
    ) -> None:  # fmt: skip
        self._gpu = gpu
        self.stream = lane_stream(gpu.index, number)
        self.inputs = tuple(place_for(tensor, gpu, options) for tensor in inputs)
        # A partial object calls the module from C: the only Python in the window is the module's own.
        self.call = functools.partial(module, *self.inputs)
        self.host_inputs: tuple[torch.Tensor, ...] = ()
        self.host_outputs: tuple[torch.Tensor, ...] = ()
        self._last: object = None
        if options.include_transfers:
            self.host_inputs = tuple(pinned_like(tensor) for tensor in self.inputs)
        self.write(inputs)

    def write(self, tensors: Sequence[torch.Tensor]) -> None:
        """Puts other values in place, on the GPU and in what transfers copy from. Returns when they are there."""
        for there, tensor in zip(self.inputs, tensors, strict=True):
            if there.shape != tensor.shape:  # copying would repeat a smaller one
                raise InputError(f"an input of shape {list(there.shape)} is bound, and not {list(tensor.shape)}")
        wait_for(self._gpu, self.stream)  # torch's copy would wait for what is queued, without end where that hangs
        with torch.cuda.stream(self.stream):
            for place in (self.inputs, self.host_inputs):
                for there, tensor in zip(place, tensors, strict=False):  # there may be no host copies
                    there.copy_(tensor)
        wait_for(self._gpu, self.stream)

    def run(self) -> object:
        """Calls the module and waits until the GPU is done."""
        with torch.cuda.stream(self.stream):
            result = self.call()
        wait_for(self._gpu, self.stream)
        return result

    def expect(self, result: object) -> None:
        """Makes pinned memory for outputs such as these."""
        self.host_outputs = tuple(pinned_like(tensor) for tensor in self._on_gpu(result))

    def copy_in(self) -> None:
        """Queues the copies of the inputs."""
        for there, here in zip(self.inputs, self.host_inputs, strict=True):
            there.copy_(here, non_blocking=True)

    def submit(self) -> None:
        """Calls the module and keeps its outputs for copy_out."""
        self._last = self.call()

    def copy_out(self) -> object:
        """Queues the copies of the outputs of the last call, and hands those over: freeing them is not timed."""
        result, self._last = self._last, None
        for here, there in zip(self.host_outputs, self._on_gpu(result), strict=True):
            here.copy_(there, non_blocking=True)
        return result

    def _on_gpu(self, result: object) -> list[torch.Tensor]:
        tensors = [result] if isinstance(result, torch.Tensor) else flatten_outputs(result)
        return [tensor for tensor in tensors if tensor.device == self._gpu.device]


class PreparedTorchCuda:
    """A module on a GPU with its input tensors. With several streams, one module and a copy of the inputs for each."""

    def __init__(
        self, backend: str, model: LoadedModel, module: torch.nn.Module, inputs: Mapping[str, Array], gpu: TorchGpu,
        options: BackendOptions, compilation: Compilation | None = None,
    ) -> None:  # fmt: skip
        self.model, self.gpu, self.options = model, gpu, options
        self.module = copy_to(gpu, module, model.name, options)
        called = self.module if compilation is None else compilation.of(self.module)
        with explained(model.name), self.running():
            tensors = self._tensors(inputs)
            self.lanes = tuple(Lane(number, called, tensors, gpu, options) for number in range(options.streams))
            if compilation is not None:
                compilation.first_call(self.lanes[0].run)
            with Stopwatch() as first:
                result = self.lanes[0].run()
            for lane in self.lanes:
                for _ in range(_MORE_CALLS):
                    result = lane.run()
                if options.include_transfers:
                    lane.expect(result)
            self._target: _core.Target | None = self._make_target()
            settings = self._settings()
        self.facts = Facts(
            backend=backend,
            provider=None,
            loop=EAGER_LOOP,
            settings=settings,
            load_s=None,
            first_inference_ms=first.ns / 1e6,
            first_inference_warm=_has_run_on(gpu.index, model),
            threads=torch.get_num_threads(),
        )
        model.has_run = True
        _ran_on[gpu.index] = weakref.ref(model)

    @property
    def target(self) -> _core.Target:
        if self._target is None:
            raise InputError("this module is closed")
        return self._target

    def bind(self, inputs: Mapping[str, Array]) -> None:
        with explained(self.model.name), self.running():
            tensors = self._tensors(inputs)
            for lane in self.lanes:
                lane.write(tensors)

    def outputs(self) -> dict[str, Array]:
        with explained(self.model.name), self.running():
            return {name: array_of(tensor) for name, tensor in named_outputs(self.lanes[0].run())}

    def measuring(self) -> AbstractContextManager[object]:
        return self.running()

    def close(self) -> None:
        self._target = None
        self.lanes = ()
        self.module = torch.nn.Identity()
        release_memory(gpu=self.gpu)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """What holds while the module is called. The stream is the first lane's; others enter their own."""
        with (
            switches(self.options),
            torch.inference_mode(),
            torch.cuda.device(self.gpu.index),
            torch.cuda.stream(lane_stream(self.gpu.index, 0)),
            autocast(self.options),
        ):
            yield

    def _tensors(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        return [tensor_of(inputs[spec.name]) for spec in self.model.inputs]

    def _make_target(self) -> _core.Target:
        several = len(self.lanes) > 1
        lanes = []
        for lane in self.lanes:
            calls: list[Callable[[], object]] = [lane.call]
            if self.options.include_transfers:
                calls = [lane.submit, lane.copy_in, lane.copy_out]
            if several:  # the current stream is the first lane's
                calls = [_on_stream(lane.stream, call) for call in calls]
            lanes.append(_core.CallableLane(calls[0], native_stream(self.gpu, lane.stream), *calls[1:]))
        return _core.StreamCallableTarget(lanes, self.options.stream_plan())

    def _settings(self) -> dict[str, str | int | float | bool | None]:
        images = [tensor for tensor in self.lanes[0].inputs if tensor.dim() == 4]
        return {
            "torch_num_threads": torch.get_num_threads(),
            "inference_mode": torch.is_inference_mode_enabled(),
            "channels_last": any(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in images)
            if self.options.channels_last
            else False,
            **effective_settings(),
        }


def pinned_like(tensor: torch.Tensor) -> torch.Tensor:
    """Host memory that the GPU copies to and from by itself, with the same layout."""
    return torch.empty_like(tensor, device="cpu", pin_memory=True)


def place_for(tensor: torch.Tensor, gpu: TorchGpu, options: BackendOptions) -> torch.Tensor:
    """Memory on the GPU for an input, in the precision and layout asked for. Nothing is copied yet."""
    dtype = weights_dtype(options) if tensor.is_floating_point() else None
    is_image = options.channels_last and tensor.dim() == 4
    layout = torch.channels_last if is_image else torch.contiguous_format
    return torch.empty(tensor.shape, dtype=dtype or tensor.dtype, device=gpu.device, memory_format=layout)


def copy_to(gpu: TorchGpu, module: torch.nn.Module, name: str, options: BackendOptions) -> torch.nn.Module:
    """The module itself stays on the CPU: other backends export it."""
    with explained(f"{name}, copying its module (copy.deepcopy)"):
        copied = copy.deepcopy(module)
    weights = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
    with explained(f"{name}, moving its {format_bytes(weights)} of weights to {gpu.device}"), switches(options):
        copied = copied.to(device=gpu.device, dtype=weights_dtype(options))
        return copied.to(memory_format=torch.channels_last) if options.channels_last else copied


def _on_stream(stream: torch.cuda.Stream, call: Callable[[], object]) -> Callable[[], object]:
    def on_its_stream() -> object:
        with torch.cuda.stream(stream):
            return call()

    return on_its_stream


def _has_run_on(index: int, model: LoadedModel) -> bool:
    return index in _ran_on and _ran_on[index]() is model
