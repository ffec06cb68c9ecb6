# SPDX-License-Identifier: Apache-2.0
"""A GPU for tests of `timers` and of the extension: the fake driver, exact, and a driver of its own for each test.

Calls and records take no time and events are not rounded, so that a span on a stream is its work and nothing else. What
the host measures is real time all the same.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from fake_cuda import FakeCuda, built_library

from pyperf_infer import _core


class ExactGpu:
    """The controls of the driver, and work for its streams."""

    def __init__(self, fake: FakeCuda) -> None:
        self.fake = fake
        self.library = str(fake.path)
        fake.call_cost(0)
        fake.record_cost(0)
        fake.event_tick(1)
        fake.poll_step(100)

    @classmethod
    @contextlib.contextmanager
    def loaded(cls, folder: Path) -> Iterator[ExactGpu]:
        """A copy of the driver in `folder`: what an earlier test keeps alive has another."""
        with FakeCuda.loaded(Path(shutil.copy(built_library(), folder))) as fake:
            yield cls(fake)
            gc.collect()

    def context(self, ordinal: int = 0) -> _core.GpuContext:
        return _core.GpuContext(ordinal, self.library)

    @contextlib.contextmanager
    def current(self, ordinal: int = 0) -> Iterator[None]:
        """The primary context is this thread's, as torch keeps it."""
        context = ctypes.c_void_p()
        assert self.fake.driver_function("cuInit", ctypes.c_uint)(0) == 0
        retain = self.fake.driver_function("cuDevicePrimaryCtxRetain", ctypes.c_void_p, ctypes.c_int)
        assert retain(ctypes.byref(context), ordinal) == 0
        assert self.fake.driver_function("cuCtxPushCurrent", ctypes.c_void_p)(context) == 0
        try:
            yield
        finally:
            self.fake.driver_function("cuCtxPopCurrent", ctypes.c_void_p)(ctypes.byref(ctypes.c_void_p()))
            self.fake.driver_function("cuDevicePrimaryCtxRelease", ctypes.c_int)(ordinal)

    def work(self, handle: int, *durations_ns: int) -> Callable[[], None]:
        """A callable that queues work on a stream, of these durations in turn, where a context is current."""
        calls = 0

        def queue() -> None:
            nonlocal calls
            result = self.fake.enqueue(handle, durations_ns[calls % len(durations_ns)])
            calls += 1
            if result != 0:
                raise RuntimeError(f"CUresult {result}")

        return queue

    def live(self) -> dict[str, int]:
        """What is made and not freed, without what is not."""
        kinds = ("streams", "events", "device_bytes", "host_bytes", "contexts")
        return {kind: count for kind in kinds if (count := self.fake.live(kind)) != 0}


def quick_plan(count: int = 40) -> _core.StopPlan:
    """At least so many samples, and no real time beyond what they take."""
    return _core.StopPlan(
        min_samples=count, min_duration_ns=0, max_duration_ns=60_000_000_000, relative_half_width=1.0, max_samples=count
    )
