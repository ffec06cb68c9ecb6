# SPDX-License-Identifier: Apache-2.0
"""The fake driver of tests/helpers/fake_cuda for tests in Python: a libcuda whose clock, work and faults a test sets.

    with FakeCuda.loaded() as fake:
        graph = fake.graph(100_000)
        ...  # code under test that is given str(fake.path) as its libcuda
        assert fake.live("events") == 0

`tests/helpers/fake_cuda/fake_cuda.h` says what the fake driver does and what each control means. There is one of it in
a process, so two tests must not use it at the same time.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from native_build import REPOSITORY

SOURCES = Path(__file__).parent / "fake_cuda"

_INT, _LONG, _SIZE, _HANDLE = ctypes.c_int, ctypes.c_longlong, ctypes.c_size_t, ctypes.c_void_p
_DOUBLE, _BOOL, _NAME, _ADDRESS = ctypes.c_double, ctypes.c_bool, ctypes.c_char_p, ctypes.c_uint64

_CONTROLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "reset": (None, ()),
    "forget_init": (None, ()),
    "now_ns": (_LONG, ()),
    "advance": (None, (_LONG,)),
    "call_cost": (None, (_NAME, _LONG)),
    "poll_step": (None, (_LONG,)),
    "record_cost": (None, (_LONG,)),
    "event_tick": (None, (_LONG,)),
    "memory_bandwidth": (None, (_DOUBLE,)),
    "transfer_bandwidth": (None, (_DOUBLE,)),
    "clock_drop": (None, (_DOUBLE,)),
    "slow_first_launch": (None, (_LONG,)),
    "free_waits": (None, (_BOOL,)),
    "sync_inside_launch": (None, (_BOOL,)),
    "block_submit_behind_gate": (None, (_BOOL,)),
    "queue_limit": (None, (_INT,)),
    "graph_create": (_HANDLE, (_LONG,)),
    "graph_destroy": (_INT, (_HANDLE,)),
    "graph_durations": (_INT, (_HANDLE, ctypes.POINTER(_LONG), _INT)),
    "graph_copy": (_INT, (_HANDLE, _ADDRESS, _ADDRESS, _SIZE)),
    "graph_fault": (_INT, (_HANDLE, _INT, _INT)),
    "enqueue": (_INT, (_HANDLE, _LONG)),
    "pending": (_INT, (_HANDLE,)),
    "fail": (None, (_NAME, _INT, _INT)),
    "fail_from": (None, (_NAME, _INT, _INT)),
    "device_lost": (None, ()),
    "hang": (_INT, (_HANDLE,)),
    "unhang": (None, ()),
    "hide": (None, (_NAME,)),
    "driver_version": (None, (_INT,)),
    "device_count": (None, (_INT,)),
    "device_name": (_INT, (_INT, _NAME)),
    "device_attribute": (_INT, (_INT, _INT, _INT)),
    "device_memory": (_INT, (_INT, _SIZE)),
    "memory_limit": (None, (_SIZE,)),
    "live": (_LONG, (_NAME,)),
    "calls": (_LONG, (_NAME,)),
    "log": (None, (_BOOL,)),
    "log_text": (_SIZE, (_NAME, _SIZE)),
}


def cuda_include_folder() -> str:
    """The folder of cuda.h, found as the build of the extension finds it."""
    find = [sys.executable, str(REPOSITORY / "csrc" / "gpu" / "find_cuda_h.py")]
    return subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()


@functools.cache
def built_library() -> Path:
    """The library of the sources as they are, from build/fake_cuda where it has been built before.

    A copy of it under another path is, in the same process, a second driver.
    """
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-std=c++20", "-O1", "-g", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread",
               "-isystem", cuda_include_folder()]  # fmt: skip
    sources = sorted(SOURCES.glob("*.cpp"))
    identity = hashlib.sha256(repr(command).encode())
    for file in sorted(SOURCES.iterdir()):
        identity.update(file.read_bytes())
    folder = REPOSITORY / "build" / "fake_cuda"
    library = folder / f"libfake_cuda_{identity.hexdigest()[:16]}.so"
    if not library.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            output = Path(unfinished) / library.name
            subprocess.run([*command, "-o", str(output), *map(str, sources)], check=True)
            output.replace(library)  # at once, as another session may look
    return library


class FakeCuda:
    """The controls of the fake driver. Times are in ns; handles and results are ints; an unknown handle: KeyError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))
        for name, (result, arguments) in _CONTROLS.items():
            function = self._control(name)
            function.restype = result
            function.argtypes = arguments

    @classmethod
    @contextlib.contextmanager
    def loaded(cls, path: Path | None = None) -> Iterator[FakeCuda]:
        """The fake driver, built if need be and reset before and after."""
        fake = cls(path or built_library())
        fake.reset()
        try:
            yield fake
        finally:
            fake.reset()

    def reset(self) -> None:
        self._control("reset")()

    def forget_init(self) -> None:
        self._control("forget_init")()

    # ---- the clock and what things take

    def now_ns(self) -> int:
        return int(self._control("now_ns")())

    def advance(self, ns: int) -> None:
        self._control("advance")(ns)

    def call_cost(self, ns: int, function: str | None = None) -> None:
        self._control("call_cost")(None if function is None else function.encode(), ns)

    def poll_step(self, ns: int) -> None:
        self._control("poll_step")(ns)

    def record_cost(self, ns: int) -> None:
        self._control("record_cost")(ns)

    def event_tick(self, ns: int) -> None:
        self._control("event_tick")(ns)

    def memory_bandwidth(self, bytes_per_s: float) -> None:
        self._control("memory_bandwidth")(bytes_per_s)

    def transfer_bandwidth(self, bytes_per_s: float) -> None:
        self._control("transfer_bandwidth")(bytes_per_s)

    def clock_drop(self, factor: float) -> None:
        self._control("clock_drop")(factor)

    def slow_first_launch(self, ns: int) -> None:
        self._control("slow_first_launch")(ns)

    def free_waits(self, on: bool) -> None:
        self._control("free_waits")(on)

    def sync_inside_launch(self, on: bool) -> None:
        self._control("sync_inside_launch")(on)

    def block_submit_behind_gate(self, on: bool) -> None:
        self._control("block_submit_behind_gate")(on)

    def queue_limit(self, operations: int) -> None:
        self._control("queue_limit")(operations)

    # ---- device work

    def graph(self, *durations_ns: int) -> int:
        """A CUgraphExec whose launches take these durations in turn."""
        graph = int(self._control("graph_create")(durations_ns[0]))
        self.graph_durations(graph, durations_ns)
        return graph

    def graph_durations(self, graph: int, durations_ns: Sequence[int]) -> None:
        values = (_LONG * len(durations_ns))(*durations_ns)
        _known(self._control("graph_durations")(graph, values, len(durations_ns)), graph)

    def graph_copy(self, graph: int, to: int, source: int, size: int) -> None:
        _known(self._control("graph_copy")(graph, to, source, size), (graph, to, source, size))

    def graph_fault(self, graph: int, result: int, nth_launch: int = 1) -> None:
        _known(self._control("graph_fault")(graph, nth_launch, result), graph)

    def graph_destroy(self, graph: int) -> None:
        _known(self._control("graph_destroy")(graph), graph)

    def enqueue(self, stream: int, duration_ns: int) -> int:
        """Arbitrary work on a stream; returns the CUresult."""
        return int(self._control("enqueue")(stream, duration_ns))

    def pending(self, stream: int) -> int:
        return _known(self._control("pending")(stream), stream)

    # ---- faults

    def fail(self, function: str, result: int, nth_call: int = 1) -> None:
        self._control("fail")(function.encode(), nth_call, result)

    def fail_from(self, function: str, result: int, nth_call: int = 1) -> None:
        self._control("fail_from")(function.encode(), nth_call, result)

    def device_lost(self) -> None:
        self._control("device_lost")()

    def hang(self, stream: int | None = None) -> None:
        _known(self._control("hang")(stream), stream)

    def unhang(self) -> None:
        self._control("unhang")()

    def hide(self, function: str) -> None:
        self._control("hide")(function.encode())

    # ---- devices

    def driver_version(self, version: int) -> None:
        self._control("driver_version")(version)

    def device_count(self, count: int) -> None:
        self._control("device_count")(count)

    def device_name(self, device: int, name: str) -> None:
        _known(self._control("device_name")(device, name.encode()), device)

    def device_attribute(self, device: int, attribute: int, value: int) -> None:
        _known(self._control("device_attribute")(device, attribute, value), device)

    def device_memory(self, device: int, size: int) -> None:
        _known(self._control("device_memory")(device, size), device)

    def memory_limit(self, size: int) -> None:
        self._control("memory_limit")(size)

    # ---- accounts

    def live(self, what: str) -> int:
        return _known(self._control("live")(what.encode()), what)

    def calls(self, function: str) -> int:
        return int(self._control("calls")(function.encode()))

    def log(self, on: bool = True) -> None:
        self._control("log")(on)

    def log_lines(self) -> list[str]:
        """The names of the calls since `log()`, in the order in which they began."""
        text = ctypes.create_string_buffer(self._control("log_text")(None, 0) + 1)
        self._control("log_text")(text, len(text))
        return text.value.decode().splitlines()

    # ---- the driver itself

    def driver_function(self, name: str, *arguments: Any, cuda_version: int = 12000) -> Callable[..., int]:
        """A function as cuGetProcAddress finds it, given the ctypes of its arguments; LookupError if not found."""
        address, status = ctypes.c_void_p(), ctypes.c_int()
        find = self._library.cuGetProcAddress_v2
        find.argtypes = [_NAME, _HANDLE, _INT, ctypes.c_uint64, _HANDLE]
        result = find(name.encode(), ctypes.byref(address), cuda_version, 0, ctypes.byref(status))
        if result != 0 or address.value is None:
            raise LookupError(f"{name}: CUresult {result}, symbol status {status.value}")
        return ctypes.CFUNCTYPE(_INT, *arguments)(address.value)

    def _control(self, name: str) -> Any:
        return getattr(self._library, f"fake_{name}")


def _known(result: int, what: object) -> int:
    if result == -1:
        raise KeyError(what)
    return result
