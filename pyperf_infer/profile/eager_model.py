# SPDX-License-Identifier: Apache-2.0
"""A PyTorch model ready to be called eagerly, as backend `torch` calls it, with its module at hand."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from pyperf_infer.backends.torch_common import explained
from pyperf_infer.backends.torch_cpu import check_cpu_precision, cpu_autocast, cpu_module, cpu_tensor
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.models.spec import LoadedModel


@dataclass(frozen=True)
class EagerModel:
    """`call` is one inference, to be made inside of `running`; on a GPU it is done when `wait` returns."""

    module: torch.nn.Module
    call: Callable[[], object]
    wait: Callable[[], object] | None  # None on the CPU, where a call that returns is done
    running: Callable[[], AbstractContextManager[object]]
    close: Callable[[], object]
    gpu_index: int | None

    def whole(self, call: Callable[[], object]) -> Callable[[], object]:
        """`call` until it is done."""
        wait = self.wait
        if wait is None:
            return call

        def until_done() -> object:
            result = call()
            wait()
            return result

        return until_done


def open_eager(model: LoadedModel, inputs: Mapping[str, Array], options: BackendOptions) -> EagerModel:
    """The model in the options' precision on their device, run once.

    Raises:
        InputError: an ONNX file, which PyTorch does not run. UsageError, BackendError: as backend `torch`.
        MeasurementError, OutOfMemoryError: the model fails.
    """
    if model.module is None:
        raise InputError(f"{model.name} is an ONNX file, which PyTorch does not run; use --backend onnxruntime")
    torch.set_num_threads(options.threads)
    opened = (
        _on_cpu(model, model.module, inputs, options) if options.gpu_index is None else _on_gpu(model, inputs, options)
    )
    model.has_run = True
    return opened


def _on_cpu(
    model: LoadedModel, given: torch.nn.Module, inputs: Mapping[str, Array], options: BackendOptions
) -> EagerModel:
    check_cpu_precision(options)
    module = cpu_module(given, options, model.name)
    call = functools.partial(module, *(cpu_tensor(inputs[spec.name], options) for spec in model.inputs))

    @contextlib.contextmanager
    def running() -> Iterator[None]:
        with torch.inference_mode(), cpu_autocast(options):
            yield

    with explained(model.name), running():
        call()
    return EagerModel(module, call, None, running, lambda: None, None)


def _on_gpu(model: LoadedModel, inputs: Mapping[str, Array], options: BackendOptions) -> EagerModel:
    from pyperf_infer.backends.registry import make_backend
    from pyperf_infer.backends.torch_cuda import PreparedTorchCuda
    from pyperf_infer.backends.torch_device import WAIT_TIMEOUT_NS, native_stream

    alone = replace(options, streams=1, include_transfers=False)
    prepared = make_backend("torch", alone).prepare(model, inputs)
    assert isinstance(prepared, PreparedTorchCuda)  # noqa: S101  what backend torch makes on a GPU
    lane = prepared.lanes[0]
    stream = native_stream(prepared.gpu, lane.stream)
    wait = functools.partial(stream.synchronize, timeout_ns=WAIT_TIMEOUT_NS)
    return EagerModel(prepared.module, lane.call, wait, prepared.running, prepared.close, prepared.gpu.index)
