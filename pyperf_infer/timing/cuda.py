# SPDX-License-Identifier: Apache-2.0
"""Streams, events and targets on an NVIDIA GPU, for scripts; public through `pyperf_infer.timers`."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Literal

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.timing.target import to_ns

if TYPE_CHECKING:
    from collections.abc import Callable

Wait = Literal["spin", "block"]

TIMEOUT_S = 120.0
# Another driver library than the system's, such as one that stands beside it for a test.
_LIBRARY_VARIABLE = "PYPERF_INFER_LIBCUDA"


def open_gpu(index: int = 0) -> _core.GpuContext:
    """The primary context of a GPU, which torch and ONNX Runtime use too.

    Raises:
        BackendError: no driver, one older than CUDA 12, or no such GPU; the message says what is missing.
    """
    return _core.GpuContext(index, _library())


def gpu_count() -> int:
    """GPUs that this process sees. Raises as `open_gpu`."""
    return _core.gpu_count(_library())


def _library() -> str:
    return os.environ.get(_LIBRARY_VARIABLE) or "libcuda.so.1"


def parse_device(text: str) -> int | None:
    """The index of the GPU that "cuda" or "cuda:1" names; None for "cpu".

    Raises:
        UsageError: another device.
    """
    if text == "cpu":
        return None
    found = re.fullmatch(r"cuda(?::([0-9]{1,4}))?", text)
    if found is None:
        raise UsageError(f"'{text}' is no device; it can be cpu, cuda or cuda:N")
    return int(found[1] or 0)


class CudaStream:
    """A stream of a GPU's primary context that does not wait for the default one.

    torch takes it (`torch.cuda.ExternalStream(stream.handle)`), and so does anything that knows `__cuda_stream__`.
    """

    def __init__(self, device: int = 0) -> None:
        self._native = _core.GpuStream(open_gpu(device))

    @property
    def handle(self) -> int:
        """The address of the CUstream."""
        return self._native.handle

    def synchronize(self) -> None:
        """Returns when all that is queued on it is done."""
        self._native.synchronize()

    def __cuda_stream__(self) -> tuple[int, int]:
        return self._native.__cuda_stream__()


def as_stream(stream: object, device: int = 0) -> _core.GpuStream:
    """The native form of a `CudaStream`, a torch.cuda.Stream or anything else with `__cuda_stream__`, kept alive by it.

    Raises:
        TypeError: it has no `__cuda_stream__`.
        InputError: it is a stream of another GPU.
    """
    if isinstance(stream, CudaStream):
        return stream._native
    index = getattr(getattr(stream, "device", None), "index", None)  # torch's streams know theirs
    return _core.GpuStream.view(open_gpu(device if index is None else index), with_protocol(stream))


class _OlderTorchStream:
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._stream.cuda_stream


def with_protocol(stream: object) -> object:
    """The stream itself; a torch.cuda.Stream with the protocol that its class has had only since torch 2.10."""
    if not hasattr(stream, "__cuda_stream__") and isinstance(getattr(stream, "cuda_stream", None), int):
        return _OlderTorchStream(stream)
    return stream


class EventTimer:
    """The span of whatever is queued on a stream inside a ``with`` block, by the device's clock.

        with timers.EventTimer(stream) as timer:
            model(x)  # queued on that stream
        print(timer.ms)

    Reading `ms` or `ns` waits until the work is done. The span begins when the stream reaches the first event: work
    that was queued before is no part of it, and the time in which the GPU waits for the host to queue more is. An empty
    block reads `overhead_ns()` on this device.
    """

    def __init__(self, stream: object, *, device: int = 0, timeout: float = TIMEOUT_S) -> None:
        self._stream = as_stream(stream, device)
        self._pair = _core.EventPair(self._stream, to_ns("timeout", timeout))

    def __enter__(self) -> EventTimer:
        self._pair.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pair.stop()

    @property
    def is_done(self) -> bool:
        """Whether the work is done; does not wait."""
        return self._pair.is_done()

    @property
    def ns(self) -> int:
        """Nanoseconds between the two events. Waits.

        Raises:
            UsageError: there is no block that has ended.
            MeasurementError: the work failed, or did not end within the timeout.
        """
        return self._pair.elapsed_ns()

    @property
    def ms(self) -> float:
        """Milliseconds between the two events. Waits; raises as `ns`."""
        return self.ns / 1e6

    def overhead_ns(self) -> int:
        """What an empty block reads: the median of 101."""
        readings = []
        for _ in range(101):
            with self:
                pass
            readings.append(self.ns)
        return sorted(readings)[50]


def on_stream(
    function: Callable[[], object],
    stream: object,
    *,
    device: int = 0,
    wait: Wait = "spin",
    gate: bool = True,
    timeout: float = TIMEOUT_S,
) -> _core.StreamTarget:
    """A target for `measure` and `compare` from a callable that queues its work on `stream` and returns.

    Its samples have the quantities latency, submit and gpu. The callable itself sees to it that the work lands on the
    stream (with torch: under ``torch.cuda.stream(stream)``).
    """
    lane = _core.CallableLane(function, as_stream(stream, device))
    return _core.StreamCallableTarget([lane], _plan(wait, gate, timeout))


def cuda_graph(
    graph: int,
    stream: object,
    *,
    device: int = 0,
    wait: Wait = "spin",
    gate: bool = True,
    timeout: float = TIMEOUT_S,
    keep: object = None,
) -> _core.StreamTarget:
    """A target from an executable CUDA graph, by the address of its CUgraphExec: launched without Python.

    ``torch.cuda.CUDAGraph.raw_cuda_graph_exec()`` gives the address. `keep` is kept alive with the target: the graph,
    and the tensors it reads and writes.
    """
    lane = _core.GraphLane(graph, as_stream(stream, device))
    return _core.GraphTarget([lane], _plan(wait, gate, timeout), keep)


def _plan(wait: Wait, gate: bool, timeout: float) -> _core.StreamPlan:
    timeout_ns = to_ns("timeout", timeout)
    return _core.StreamPlan(
        wait=wait, gate=gate, timeout_ns=timeout_ns, gate_timeout_ns=max(1, min(500_000_000, timeout_ns // 4))
    )
