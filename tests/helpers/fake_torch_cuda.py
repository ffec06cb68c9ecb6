# SPDX-License-Identifier: Apache-2.0
"""torch.cuda as far as the torch backends use it, on the CPU: streams, capture, replay, and what goes wrong with them.

A capture records the operations that torch dispatches, a replay runs them again into the same tensors, and an operation
that would wait for a GPU breaks the capture as it does there. The native targets are fakes too: what they launch is a
replay. With a fake driver the streams and graphs are that driver's and the native targets are the real ones; a graph is
then work of that driver, which knows nothing of the tensors. What a GPU does beyond that, in time and in memory, is for
tests/gpu.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyperf_infer import _core
from pyperf_infer.backends import base, torch_capture, torch_cuda, torch_cudagraph, torch_device
from pyperf_infer.backends.torch_device import TorchGpu, lane_stream

if TYPE_CHECKING:
    from fake_cuda import FakeCuda

GRAPH_NS = 100_000  # what a launch takes on a fake driver
# As torch 2.11 words them.
SYNC_TEXT = "called a synchronizing CUDA operation"
UNSUPPORTED_TEXT = "CUDA error: operation not permitted when stream is capturing\nSearch for `cudaErrorStream' in"
INVALIDATED_TEXT = "CUDA error: operation failed due to a previous error during capture"
_WAITS = {"item", "_local_scalar_dense", "is_nonzero", "nonzero", "masked_select"}


class FakeStream:
    def __init__(self, world: FakeTorchCuda, number: int) -> None:
        self._world = world
        self._native = None if world.context is None else _core.GpuStream(world.context)
        self.cuda_stream = 0x1000 + number if self._native is None else self._native.handle
        self.device = torch.device("cpu")

    def synchronize(self) -> None:
        raise AssertionError("torch's own wait has no timeout, and does not answer Ctrl-C")


class _NativeStream(int):
    """A handle that can be waited for: what is called on the CPU is done when the call returns."""

    def synchronize(self, timeout_ns: int) -> None:
        assert timeout_ns > 0


class FakeGraph:
    """What torch.cuda.CUDAGraph is to the backends."""

    def __init__(self, world: FakeTorchCuda) -> None:
        self._world = world
        self._steps: list[tuple[Any, Any, Any, Any]] = []
        self._recorder: _Recorder | None = None
        self._frozen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.broken = False
        self.is_ready = False

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        self._world.log.append(f"capture on {self._world.current.cuda_stream:#x}")
        self._world.pools.add(pool)
        self._recorder = _Recorder(self)
        self._recorder.__enter__()  # type: ignore[no-untyped-call]
        self._world.capturing = self

    def capture_end(self) -> None:
        if self._recorder is None:
            raise RuntimeError("capture_end() called before capture_begin().")
        self._recorder.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        self._recorder = None
        self._world.capturing = None
        if self.broken:
            raise RuntimeError(INVALIDATED_TEXT)
        self._world.pools.pop()
        self._frozen = [(out, out.clone()) for *_, outs in self._steps for out in _tensors(outs)]

    def instantiate(self) -> None:
        self.is_ready = True

    def raw_cuda_graph_exec(self) -> int:
        assert self.is_ready
        return self._world.handle_of(self)

    def reset(self) -> None:
        self.is_ready = False
        self._steps = []

    def record(self, func: Any, args: Any, kwargs: Any) -> Any:
        result = func(*args, **kwargs)
        self._steps.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        assert self.is_ready
        self._world.replays += 1
        with torch.inference_mode():
            if self._world.stale:
                for there, then in self._frozen:
                    there.copy_(then)
                return
            for func, args, kwargs, outs in self._steps:
                for there, now in zip(_tensors(outs), _tensors(func(*args, **kwargs)), strict=True):
                    if there.data_ptr() != now.data_ptr():
                        there.copy_(now)


class FakeTorchCuda:
    """The GPU: what was done to it, and switches for what goes wrong."""

    def __init__(self, driver: FakeCuda | None = None) -> None:
        self._driver = driver
        self.context = None if driver is None else _core.GpuContext(0, str(driver.path))
        self.log: list[str] = []
        self.streams: list[FakeStream] = []
        self.current = FakeStream(self, 0xF00)  # the default one
        self.pools: set[object] = set()  # that the allocator believes to be in a capture
        self.released: list[object] = []
        self.capturing: FakeGraph | None = None
        self.generator = torch.zeros(16, dtype=torch.uint8)
        self.graphs: dict[int, FakeGraph] = {}
        self.replays = 0
        self.stale = False  # replays give what the capture gave, whatever the inputs are
        self.native_does_nothing = False
        self.emptied = 0
        self._sync_mode = 0
        self._sync_check: _SyncCheck | None = None

    def handle_of(self, graph: FakeGraph) -> int:
        handle = id(graph) if self._driver is None else self._driver.graph(GRAPH_NS)
        self.graphs[handle] = graph
        return handle

    def new_stream(self, device: object = None) -> FakeStream:
        self.streams.append(FakeStream(self, len(self.streams)))
        return self.streams[-1]

    @contextlib.contextmanager
    def on(self, stream: FakeStream) -> Iterator[None]:
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def new_pool(self) -> object:
        return object()

    def end_pool(self, index: int, pool: object) -> None:
        if pool not in self.pools:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.pools.remove(pool)

    def release_pool(self, index: int, pool: object) -> None:
        self.released.append(pool)

    def empty_cache(self) -> None:
        assert self.capturing is None
        self.emptied += 1

    def synchronize(self, index: int) -> None:
        assert self.capturing is None

    def set_sync_debug_mode(self, mode: int | str) -> None:
        self._sync_mode = {"default": 0, "warn": 1, "error": 2}.get(str(mode), 0) if isinstance(mode, str) else mode
        if self._sync_mode == 2 and self._sync_check is None:
            self._sync_check = _SyncCheck()  # type: ignore[no-untyped-call]
            self._sync_check.__enter__()  # type: ignore[no-untyped-call]
        elif self._sync_mode != 2 and self._sync_check is not None:
            self._sync_check.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._sync_check = None

    def native(self) -> SimpleNamespace:
        """What stands in for `_core`."""

        def run_batched(target: Any, calls: int) -> int:
            for _ in range(calls):
                target.run()
            return calls

        return SimpleNamespace(
            run_batched=run_batched,
            GraphTarget=lambda lanes, plan, keep=None: _GraphTarget(self, lanes, plan),
            GraphLane=lambda graph, stream, inputs=(), outputs=(): SimpleNamespace(
                graph=graph, stream=stream, inputs=inputs, outputs=outputs
            ),
            CallableLane=lambda submit, stream, h2d=None, d2h=None: SimpleNamespace(
                submit=submit, stream=stream, h2d=h2d, d2h=d2h
            ),
            StreamCallableTarget=lambda lanes, plan: SimpleNamespace(lanes=lanes, plan=plan),
            GpuStream=SimpleNamespace(view=lambda context, stream: _NativeStream(stream.__cuda_stream__()[1])),
            StreamPlan=lambda **options: SimpleNamespace(**options),
        )

    @classmethod
    @contextlib.contextmanager
    def installed(cls, driver: FakeCuda | None = None) -> Iterator[FakeTorchCuda]:
        """Takes the place of torch.cuda inside the block, and without a fake driver of the native targets too."""
        world = cls(driver)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {
                "Stream": world.new_stream,
                "stream": world.on,
                "device": lambda index: contextlib.nullcontext(),
                "synchronize": world.synchronize,
                "empty_cache": world.empty_cache,
                "CUDAGraph": lambda keep_graph=False: FakeGraph(world),
                "graph_pool_handle": world.new_pool,
                "get_rng_state": lambda index: world.generator.clone(),
                "get_sync_debug_mode": lambda: world._sync_mode,
                "set_sync_debug_mode": world.set_sync_debug_mode,
            }.items():
                patch.setattr(torch.cuda, name, value)
            patch.setattr(torch._C, "_cuda_endAllocateToPool", world.end_pool)
            patch.setattr(torch._C, "_cuda_releasePool", world.release_pool)
            for module in (torch_cuda, torch_cudagraph, torch_device, base) if driver is None else ():
                patch.setattr(module, "_core", world.native())
            for module in (torch_cuda, torch_cudagraph):
                patch.setattr(module, "pinned_like", torch.empty_like)
            own = (*torch_capture._OWN_FOLDERS, __file__)  # what raises here does so in C++ on a GPU
            patch.setattr(torch_capture, "_OWN_FOLDERS", own)
            patch.setattr(torch_device, "open_torch_gpu", lambda index, options: world.gpu)
            torch_cuda._ran_on.clear()
            lane_stream.cache_clear()
            yield world
            lane_stream.cache_clear()
            torch_cuda._ran_on.clear()
            for stream in (world.current, *world.streams):  # a test may hold on to this longer than to its driver
                stream._native = None
            world.context = None

    @property
    def gpu(self) -> TorchGpu:
        context: Any = self.context or SimpleNamespace(driver_version=13000, is_lost=False)
        return TorchGpu(context, 0, torch.device("cpu"))


class _GraphTarget:
    """Copies as the native one does, by address, and launches."""

    def __init__(self, world: FakeTorchCuda, lanes: list[Any], plan: Any) -> None:
        self._world, self.lanes, self.plan = world, lanes, plan

    def run(self) -> None:
        lane = self.lanes[0]
        for device, host, size in lane.inputs:
            ctypes.memmove(device, host, size)
        if not self._world.native_does_nothing:
            self._world.graphs[lane.graph].replay()
        for device, host, size in lane.outputs:
            ctypes.memmove(host, device, size)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, graph: FakeGraph) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _waits(func, args):
            self._graph.broken = True
            raise RuntimeError(UNSUPPORTED_TEXT)
        return self._graph.record(func, args, kwargs or {})


class _SyncCheck(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _waits(func, args):
            raise RuntimeError(SYNC_TEXT)
        return func(*args, **(kwargs or {}))


def _waits(func: Any, args: Any) -> bool:
    name = str(func.overloadpacket).rpartition(".")[2]
    by_mask = name == "index" and any(one is not None and one.dtype is torch.bool for one in args[1])
    return name in _WAITS or by_mask


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]
