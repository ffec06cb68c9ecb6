# SPDX-License-Identifier: Apache-2.0
"""A GPU for the rows of the GPU proof, on the fake driver: torch captures nothing here, a graph is work of that driver
of a known duration, and a kernel that spins writes the records that the driver's clock gives.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gpu.spin import Record

from pyperf_infer import _core, timers

if TYPE_CHECKING:
    import pytest
    from fake_cuda import FakeCuda

CLOCKS_PER_NS = 1.75
OVERHEAD_NS = 1_500  # of a graph's launch on the device, beside its work
STEP_NS = 32


class FakeStream(_core.GpuStream):
    """The driver's stream, with the attribute that torch's has."""

    @property
    def cuda_stream(self) -> int:
        return self.handle


class FakeGraph:
    """As torch.cuda.CUDAGraph, once it is instantiated."""

    def __init__(self, fake: FakeCuda, stream: FakeStream, duration_ns: int) -> None:
        self._launch = fake.driver_function("cuGraphLaunch", ctypes.c_void_p, ctypes.c_void_p)
        self._stream = stream
        self.exec = fake.graph(duration_ns)

    def raw_cuda_graph_exec(self) -> int:
        return self.exec

    def replay(self) -> None:
        assert self._launch(self.exec, self._stream.handle) == 0


class FakeGpu:
    """As gpu.device.Gpu. Work is a callable with `duration_ns`; called, it queues that much on the stream."""

    def __init__(self, fake: FakeCuda, index: int = 0) -> None:
        self.fake, self.index = fake, index
        self.context = _core.GpuContext(index, str(fake.path))
        self.facts = self.context.facts
        self.device = "the fake one"
        self.stream = FakeStream(self.context)
        self._driver = fake.driver_function

    def __enter__(self) -> FakeGpu:
        """Makes the context current, as torch keeps it."""
        context = ctypes.c_void_p()
        assert self._driver("cuDevicePrimaryCtxRetain", ctypes.c_void_p, ctypes.c_int)(ctypes.byref(context), 0) == 0
        assert self._driver("cuCtxPushCurrent", ctypes.c_void_p)(context) == 0
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.synchronize()
        assert self._driver("cuCtxPopCurrent", ctypes.c_void_p)(ctypes.byref(ctypes.c_void_p())) == 0
        assert self._driver("cuDevicePrimaryCtxRelease", ctypes.c_int)(0) == 0

    def capture(self, work: Any) -> FakeGraph:
        return FakeGraph(self.fake, self.stream, OVERHEAD_NS + work.duration_ns)

    def graph_target(self, graph: FakeGraph, keep: object = None) -> _core.StreamTarget:
        return timers.cuda_graph(graph.raw_cuda_graph_exec(), self.stream, keep=(graph, keep))

    def eager_target(self, work: Callable[[], object]) -> _core.StreamTarget:
        return timers.on_stream(work, self.stream)


class FakeWork:
    """Queues work of a duration."""

    def __init__(self, gpu: FakeGpu, duration_ns: int, bytes_read: int = 0) -> None:
        self._gpu, self.duration_ns, self.bytes_read = gpu, duration_ns, bytes_read

    def __call__(self) -> None:
        assert self._gpu.fake.enqueue(self._gpu.stream.handle, self.duration_ns) == 0


class FakeSpinner:
    """As gpu.spin.Spinner. `error_ns` is what its records say too much."""

    error_ns = 0

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu
        self._clocks: tuple[int, ...] = ()
        self._before = 0

    def launch(self, clocks: int) -> None:
        FakeWork(self._gpu, OVERHEAD_NS + round(clocks / CLOCKS_PER_NS))()

    def graph(self, *clocks: int) -> FakeGraph:
        self._clocks = clocks
        self.forget()
        return FakeGraph(self._gpu.fake, self._gpu.stream, OVERHEAD_NS + round(sum(clocks) / CLOCKS_PER_NS))

    def forget(self) -> None:
        self._before = self._gpu.fake.calls("cuGraphLaunch")

    def records(self) -> list[Record]:
        """Back to back: the driver does not tell when its work began."""
        launches = self._gpu.fake.calls("cuGraphLaunch") - self._before
        found, now_ns = [], 0
        for _ in range(launches):
            now_ns += OVERHEAD_NS
            for clocks in self._clocks:
                took_ns = round(clocks / CLOCKS_PER_NS) + (self.error_ns if clocks else 0)
                found.append(Record(now_ns, now_ns + took_ns, clocks))
                now_ns += took_ns
        return found

    def wall_clock_step_ns(self) -> int:
        return STEP_NS

    def clocks_per_ns(self) -> float:
        return CLOCKS_PER_NS


class FakeEvent:
    """As torch.cuda.Event, by the driver's clock. It waits for the work before it, which makes no difference here."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu
        self.at_ns = 0

    def record(self, stream: FakeStream) -> None:
        stream.synchronize()
        self.at_ns = self._gpu.fake.now_ns()

    def synchronize(self) -> None:
        """What was recorded is done."""

    def elapsed_time(self, end: FakeEvent) -> float:
        return (end.at_ns - self.at_ns) / 1e6


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, *modules: Any) -> FakeGpu:
    """Has rows use the fake driver, which PYPERF_INFER_LIBCUDA names; the GPU that they will open."""
    gpu = FakeGpu(fake)
    for module in modules:
        for name, value in (("Gpu", lambda index: gpu), ("Spinner", FakeSpinner)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
        if hasattr(module, "torch"):
            cuda = SimpleNamespace(Event=lambda enable_timing: FakeEvent(gpu), synchronize=gpu.stream.synchronize)
            monkeypatch.setattr(module, "torch", SimpleNamespace(cuda=cuda))
    return gpu
