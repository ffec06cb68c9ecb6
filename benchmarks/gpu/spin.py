# SPDX-License-Identifier: Apache-2.0
"""Kernels that spin for a known time and write out what they took by the device's own clocks (spin.cu)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch

    from gpu.device import Gpu

SOURCE = Path(__file__).with_name("spin.cu")
# A wall clock that steps by more is not read at the ends of a spin: its clocks are counted, at the rate measured.
FINE_STEP_NS = 100
_ROOM = 100_000
_STEPS, _LOOKS = 64, 10_000_000
_CALIBRATION_CLOCKS = 40_000_000


class Record(NamedTuple):
    """One launch: the device's wall clock at its begin and end, and the clocks it counted in between."""

    begin_ns: int
    end_ns: int
    clocks: int


def cuda_core() -> Any:
    """cuda.core, which was cuda.core.experimental before it was released."""
    try:
        module = importlib.import_module("cuda.core")
        return module if hasattr(module, "Program") else importlib.import_module("cuda.core.experimental")
    except ImportError as error:
        raise RuntimeError(f"kernels are compiled by NVRTC through cuda.core, which does not load: {error}") from error


def compile_spin(architecture: str) -> Any:
    """The object code of spin.cu for an architecture such as "sm_90"; needs no GPU."""
    core = cuda_core()
    options = core.ProgramOptions(arch=architecture, std="c++17")
    return core.Program(SOURCE.read_text(), "c++", options=options).compile("cubin")


class Spinner:
    """Launches the kernels on a GPU's stream. To be used where that GPU and stream are current."""

    def __init__(self, gpu: Gpu) -> None:
        import torch

        self._gpu = gpu
        self._core = cuda_core()
        device = self._core.Device(gpu.index)
        device.set_current()  # the primary context, as torch's
        code = compile_spin(f"sm_{gpu.facts.compute_major}{gpu.facts.compute_minor}")
        self._spin, self._steps = code.get_kernel("spin"), code.get_kernel("wall_clock_steps")
        self._stream = device.create_stream(gpu.stream)
        self._one_thread = self._core.LaunchConfig(grid=1, block=1)
        self._records = torch.zeros(3 * _ROOM, dtype=torch.int64, device=gpu.device)
        self._launches = torch.zeros(1, dtype=torch.int64, device=gpu.device)

    def launch(self, clocks: int) -> None:
        """Queues one spin of so many clocks."""
        arguments = (clocks, self._records.data_ptr(), self._launches.data_ptr(), _ROOM)
        self._core.launch(self._stream, self._one_thread, self._spin, *arguments)

    def graph(self, *clocks: int) -> torch.cuda.CUDAGraph:
        """Spins one after the other as one executable graph. Forgets the records."""

        def work() -> None:
            for one in clocks:
                self.launch(one)

        graph = self._gpu.capture(work)
        self.forget()
        return graph

    def forget(self) -> None:
        """The next launch writes the first record."""
        self._launches.zero_()
        self._gpu.stream.synchronize()

    def records(self) -> list[Record]:
        """Of all launches since `forget`, in their order. Waits for them."""
        self._gpu.stream.synchronize()
        count = min(int(self._launches.item()), _ROOM)
        rows = self._records[: 3 * count].reshape(count, 3).tolist()
        return [Record(*row) for row in rows]

    def wall_clock_step_ns(self) -> int:
        """The smallest step of the device's wall clock that a thread sees.

        Raises:
            RuntimeError: the clock stands still.
        """
        steps = self._records.new_zeros(_STEPS)
        self._core.launch(self._stream, self._one_thread, self._steps, steps.data_ptr(), _STEPS, _LOOKS)
        self._gpu.stream.synchronize()
        seen = [step for step in steps.tolist() if step > 0]
        if not seen:
            raise RuntimeError(f"the wall clock of {self._gpu.facts.name} stood still for {_LOOKS:,} looks")
        return int(min(seen))

    def clocks_per_ns(self) -> float:
        """The rate of the multiprocessor's clock by the wall clock, over some milliseconds, once it is up to speed."""
        self.forget()
        for _ in range(10):
            self.launch(_CALIBRATION_CLOCKS)
        last = self.records()[-1]
        return last.clocks / (last.end_ns - last.begin_ns)


def own_ns(records: list[Record], step_ns: int, clocks_per_ns: float) -> list[float]:
    """What each launch took by the device's own clock: the wall clock where it is fine enough, else its clocks."""
    if step_ns <= FINE_STEP_NS:
        return [float(record.end_ns - record.begin_ns) for record in records]
    return [record.clocks / clocks_per_ns for record in records]


def profiled_ns(work: Callable[[], object], kernel: str, stream: torch.cuda.Stream) -> list[float]:
    """The durations of a kernel's launches as torch's profiler (CUPTI) tells them, in the order in which they began.

    Raises:
        RuntimeError: the profiler saw none.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        stream.synchronize()
    inner: Any = profiler.profiler
    return kernel_ns([] if inner is None else inner.kineto_results.events(), kernel)


def kernel_ns(events: Iterable[Any], kernel: str) -> list[float]:
    """Of the profiler's events, the durations of one kernel's launches, in the order in which they began.

    Raises:
        RuntimeError: there is none.
    """
    on_device = [event for event in events if event.device_type().name == "CUDA"]
    seen = sorted((event.start_ns(), event.end_ns()) for event in on_device if event.name().startswith(kernel))
    if not seen:
        raise RuntimeError(
            f"the profiler saw no kernel {kernel!r} among {len(on_device)} events of the device; CUPTI may be refused"
        )
    return [float(end - begin) for begin, end in seen]
