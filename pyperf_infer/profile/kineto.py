# SPDX-License-Identifier: Apache-2.0
"""PyTorch's profiler (Kineto): its recordings, with the layers' names in them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import torch
from torch.profiler import ProfilerActivity, profile, record_function

from pyperf_infer.backends.busy import silent_kineto
from pyperf_infer.backends.torch_common import first_line
from pyperf_infer.profile.instrument import Call, Instrument

if TYPE_CHECKING:
    from pyperf_infer.profile.layers import Layer


class TraceEvent(msgspec.Struct):
    """What is used of an event in a Chrome trace. Times are microseconds."""

    name: str = ""
    cat: str = ""
    ts: float = 0.0
    dur: float = 0.0
    args: dict[str, Any] = {}


class _Trace(msgspec.Struct):
    traceEvents: list[TraceEvent]  # noqa: N815  the format's name


class Recording:
    """One recording of the profiler, to be started once and ended once."""

    def __init__(self, *, memory: bool = False, shapes: bool = False, gpu: bool = False) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
        self._profiler = profile(activities=activities, profile_memory=memory, record_shapes=shapes)

    def start(self) -> None:
        with silent_kineto():
            self._profiler.start()

    def stop(self) -> None:
        with silent_kineto():
            self._profiler.stop()

    def trace(self) -> bytes:
        """The Chrome trace as JSON, once it is stopped."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "trace.json"
            self._profiler.export_chrome_trace(str(path))
            return path.read_bytes()


def why_not() -> str | None:
    """What keeps PyTorch's profiler from recording; None where nothing is known that does."""
    if not torch.profiler.kineto_available():
        return "this PyTorch is built without Kineto"
    if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]
        # A second one takes the first one's place, and the process crashes when the first ends.
        return "another torch.profiler is running in this process"
    return None


def recorded(run: Callable[[], object], recording: Recording) -> str | None:
    """Runs under the profiler. Returns why that records nothing, None where it did; what `run` raises is passed on."""
    try:
        recording.start()
    except (RuntimeError, AssertionError) as error:
        return f"PyTorch's profiler does not start: {first_line(error)}"
    try:
        run()
    except BaseException:
        with contextlib.suppress(Exception):  # what went wrong first is what counts
            recording.stop()
        raise
    try:
        recording.stop()
    except (RuntimeError, AssertionError) as error:
        return f"PyTorch's profiler does not end: {first_line(error)}"
    return None


def annotate(layers: Sequence[Layer], names: Sequence[str]) -> Instrument:
    """Puts a range with its name around every call of each layer."""

    def around(number: int, call: Call) -> Call:
        name = names[number]

        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(name):
                return call(*args, **kwargs)

        return named

    return Instrument(layers, around)


def read_trace(data: bytes) -> list[TraceEvent]:
    """The events of a Chrome trace. Raises msgspec.DecodeError, UnicodeDecodeError where it is none."""
    return msgspec.json.decode(data, type=_Trace).traceEvents
