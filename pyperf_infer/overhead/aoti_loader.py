# SPDX-License-Identifier: Apache-2.0
"""A compiled package as a Python program runs it: through torch's own loader."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from pyperf_infer import _core
from pyperf_infer.backends.torch_common import array_of, explained
from pyperf_infer.backends.torch_places import OnCpu, OnGpu, Place
from pyperf_infer.convert.outputs import flatten_outputs
from pyperf_infer.convert.quiet import captured_chatter
from pyperf_infer.overhead.blocks import Lane, LocalLane
from pyperf_infer.overhead.paths import MeasuredAsItIs

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.convert.aoti_cache import CachedPackage
    from pyperf_infer.overhead.paths import Outs, Request
    from pyperf_infer.results.schema import Setting


class AotiLoaderPath(MeasuredAsItIs):
    """What `torch._inductor.aoti_load_package` gives, called with tensors."""

    def __init__(self, request: Request, package: CachedPackage, options: BackendOptions) -> None:
        self._request, self._package, self._options = request, package, options
        self._lane: Lane | None = None
        with explained(f"{request.model.name}, loading its package"):
            self._place, self._loaded = _place(options), _load(package, options)
        self._bind(request.first)

    def _bind(self, inputs: Mapping[str, Array]) -> None:
        with explained(self._request.model.name), self.measuring():
            tensors = self._place.tensors(self._request.model, inputs)
            # A partial object calls the loader from C: the only Python in the window is torch's own.
            self._call = functools.partial(self._loaded, *tensors)

    @property
    def lane(self) -> Lane:
        if self._lane is None:
            self._lane = LocalLane(self._target())
        return self._lane

    def _target(self) -> _core.Target:
        index = self._options.gpu_index
        if index is None:
            return _core.CallableTarget(self._call)
        from pyperf_infer.backends.torch_device import lane_stream
        from pyperf_infer.timing.cuda import as_stream

        lane = _core.CallableLane(self._call, as_stream(lane_stream(index, 0)))
        return _core.StreamCallableTarget([lane], self._options.stream_plan())

    def outputs(self) -> tuple[Outs, Outs]:
        first = self._outputs()
        self._bind(self._request.second)
        second = self._outputs()
        self._bind(self._request.first)
        return first, second

    def _outputs(self) -> dict[str, Array]:
        with explained(self._request.model.name), self.measuring():
            arrays = map(array_of, flatten_outputs(self._call()))
            return dict(zip(self._package.outputs, arrays, strict=True))

    @contextlib.contextmanager
    def measuring(self) -> Iterator[None]:
        with torch.inference_mode(), self._place.running():
            yield

    @property
    def settings(self) -> Mapping[str, Setting]:
        return {**self._package.settings, "package_cached": self._package.hit}

    def close(self) -> None:
        self._lane = None
        self._call = functools.partial(_closed)
        self._loaded = _closed
        self._place.release()


def _place(options: BackendOptions) -> Place:
    if options.gpu_index is None:
        return OnCpu(options)
    from pyperf_infer.backends.torch_device import open_torch_gpu

    return OnGpu(open_torch_gpu(options.gpu_index, options), options)


def _load(package: CachedPackage, options: BackendOptions) -> Callable[..., object]:
    from torch._inductor import aoti_load_package

    path, index = str(package.path), options.gpu_index
    with captured_chatter():
        return aoti_load_package(path) if index is None else aoti_load_package(path, device_index=index)


def _closed(*_inputs: object) -> object:
    raise RuntimeError("this package is closed")
