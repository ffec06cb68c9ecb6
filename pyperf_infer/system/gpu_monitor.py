# SPDX-License-Identifier: Apache-2.0
"""Watches a GPU from a process of its own while this one measures.

The measuring process starts it, and reads what it wrote when asked; it has no thread for it and makes no call into
NVML, so that nothing of this is on the timed path and a stuck driver hangs nobody. The other process is this module as
a program::

    python -m pyperf_infer.system.gpu_monitor --uuid GPU-... [--interval-ms 100] [--reader module:factory]

It writes one JSON line for the GPU, then one for each reading (gpu_reader), into a file without a name: a file never
blocks who writes, whether anybody reads or not. It ends when its stdin closes, as it does when its parent dies, on
SIGTERM, when its parent is another one than at the start, or when the reader fails for good, which the last line tells.
"""

from __future__ import annotations

import argparse
import importlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import IO

import msgspec

from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.system import child
from pyperf_infer.system.gpu_reader import End, GpuFacts, GpuReader, Line, Reading
from pyperf_infer.system.nvml import NvmlReader, gpu_id

INTERVAL_MS = 100.0
# How long the measuring process waits: for a reading beyond the window's end, and for the other one to end.
PATIENCE_S = 1.0
# A single call to the driver that takes longer ends the process that made it.
CALL_S = 10.0
# One failure may pass (a reset, a time-out inside the driver); so many in a row do not.
FAILURES_FOR_GOOD = 3
# Beside threads that measure on every CPU, a reading that is late is the better choice.
_NICE = 10
_STEP_S = 0.01
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class GpuMonitor:
    """Readings of one GPU, taken by another process while the ``with`` block lasts.

    ``facts`` is what does not change, None until it is known. ``why_not`` says why there are no (more) readings; None
    while all is well. Whatever becomes of the other process, nothing is raised here.
    """

    def __init__(self, uuid: str | bytes, interval_ms: float = INTERVAL_MS, reader: str | None = None) -> None:
        """`uuid`: the GPU as CUDA's 16 bytes, "GPU-..." or "MIG-..." text, or its PCI bus id; never an index.

        `reader`: ``module:factory``, called with the GPU's text, in place of NVML.

        Raises:
            UsageError: an interval that is not above zero.
        """
        if not interval_ms > 0:
            raise UsageError(f"A GPU cannot be polled every {interval_ms:g} ms: the interval must be above 0.")
        self.interval_ms = interval_ms
        self.facts: GpuFacts | None = None
        self._arguments = ["--uuid", gpu_id(uuid), "--interval-ms", str(interval_ms)]
        self._arguments += ["--reader", reader] if reader is not None else []
        self._why_not: str | None = None
        self._readings: list[Reading] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: IO[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._offset = 0
        self._partial = b""

    @property
    def pid(self) -> int | None:
        """Of the other process, while the block lasts."""
        return self._process.pid if self._process is not None else None

    @property
    def why_not(self) -> str | None:
        self._collect()
        return self._why_not

    def ready(self, timeout_s: float = 5.0) -> bool:
        """Waits for the first reading, half a second after the start as a rule; False where none came in time."""
        return self._wait(lambda: bool(self._readings), timeout_s)

    def readings(self, begin_ns: int, end_ns: int) -> list[Reading]:
        """All in the window and, as far as there are any, the last before it and the first after it.

        The bounds are in time.monotonic_ns' time. The one after the window is waited for, a second at most; there is
        none to come once the block is left.

        Raises:
            UsageError: a window that runs backwards.
        """
        if end_ns < begin_ns:
            raise UsageError(f"The window of a GPU's readings ends ({end_ns} ns) before it begins ({begin_ns} ns).")
        self._wait(lambda: bool(self._readings) and self._readings[-1].monotonic_ns >= end_ns, PATIENCE_S)
        times = [reading.monotonic_ns for reading in self._readings]
        return self._readings[max(0, bisect_right(times, begin_ns) - 1) : bisect_left(times, end_ns) + 1]

    def __enter__(self) -> GpuMonitor:
        try:
            self._lines, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
            self._process = child.start_module(
                "pyperf_infer.system.gpu_monitor",
                *self._arguments,
                stdin=subprocess.PIPE,
                stdout=self._lines,
                stderr=self._errors,
            )
        except OSError as error:
            self._why_not = f"The process that watches the GPU could not be started: {error}"
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._collect_from(process)
            if process.stdin is not None:
                process.stdin.close()
            if not child.end(process, PATIENCE_S) and self._why_not is None:
                self._why_not = "The process that watched the GPU did not answer and was killed."
            self._read_lines()
            if self._why_not is None and not self._readings:
                self._why_not = "The run was over before the first reading of the GPU."
        for file in (self._lines, self._errors):
            if file is not None:
                file.close()
        self._lines = self._errors = None

    def _wait(self, reached: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        self._collect()
        while not reached():
            if self._process is None or self._why_not is not None or time.monotonic() >= deadline:
                return False
            time.sleep(_STEP_S)
            self._collect()
        return True

    def _collect(self) -> None:
        if self._process is not None:
            self._collect_from(self._process)

    def _collect_from(self, process: subprocess.Popen[bytes]) -> None:
        status = process.poll()  # before the lines, so that none is missed of a process that has ended
        self._read_lines()
        if status is not None and self._why_not is None:
            self._why_not = f"The process that watched the GPU {_ending(status, self._last_error())}"

    def _read_lines(self) -> None:
        """What was written since the last time. The file's position is the writer's: it is read at our own offset."""
        if self._lines is None:
            return
        while block := os.pread(self._lines.fileno(), 1 << 16, self._offset):
            self._offset += len(block)
            *lines, self._partial = (self._partial + block).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            entry = _DECODER.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return  # a library that prints to stdout
        match entry:
            case GpuFacts():
                self.facts = entry
            case Reading():
                self._readings.append(entry)
            case End():
                self._why_not = entry.why

    def _last_error(self) -> str:
        size = os.fstat(self._errors.fileno()).st_size if self._errors is not None else 0
        if self._errors is None or not size:
            return ""
        text = os.pread(self._errors.fileno(), 4096, max(0, size - 4096)).decode(errors="replace").strip()
        return text.splitlines()[-1] if text else ""


def _ending(status: int, last_error: str) -> str:
    if status == -signal.SIGALRM:
        return f"ended: the driver did not answer it for {CALL_S:g} s."
    if status < 0:
        return f"was ended by signal {-status}."
    return f"ended with status {status}" + (f": {last_error}" if last_error else ".")


def main(arguments: list[str] | None = None) -> int:
    """The program. 0 when it was told to end, 1 where the GPU cannot be read (any more)."""
    parser = argparse.ArgumentParser(prog="gpu_monitor", description="Writes readings of a GPU, one JSON line each.")
    parser.add_argument("--uuid", required=True, help="GPU-... or MIG-..., or a PCI bus id")
    parser.add_argument("--interval-ms", type=float, default=INTERVAL_MS)
    parser.add_argument("--reader", default=None, metavar="MODULE:FACTORY", help="in place of NVML")
    options = parser.parse_args(arguments)
    _set_signals()
    os.nice(_NICE)
    try:
        _arm(CALL_S)
        reader = _open(options.reader, options.uuid)
        _write(reader.facts())
        _poll(reader, round(options.interval_ms * 1e6))
    except Exception as error:  # whatever it was, the last line tells those who wait for readings
        text = str(error) or type(error).__name__
        _write(End(why=text if isinstance(error, BackendError) else f"The GPU could not be read: {text}"))
        return 1
    return 0


def _poll(reader: GpuReader, interval_ns: int) -> None:
    parent, failures, due = os.getppid(), 0, time.monotonic_ns()
    while True:
        _arm(CALL_S)
        try:
            _write(reader.poll())
            failures = 0
        except Exception:
            failures += 1
            if failures == FAILURES_FOR_GOOD:
                raise
        _arm(0)
        due += interval_ns
        behind = time.monotonic_ns() - due
        if behind > 0:  # what is missed is not made up for
            due += -(-behind // interval_ns) * interval_ns
        if _stdin_closes_by(due) or os.getppid() != parent:
            return


def _stdin_closes_by(due_ns: int) -> bool:
    """Sleeps until then, or until stdin ends."""
    while True:
        left_s = max(0, due_ns - time.monotonic_ns()) / 1e9
        if not select.select([0], [], [], left_s)[0]:
            return False
        if not os.read(0, 4096):
            return True


def _set_signals() -> None:
    """Ctrl-C is the parent's business. The other two end the process inside a call too, so Python handles neither."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGALRM})


def _arm(seconds: float) -> None:
    """The kernel ends this process when it is not armed anew in time: a stuck call outlives no parent."""
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _open(name: str | None, gpu: str) -> GpuReader:
    if name is None:
        return NvmlReader(gpu)
    module, _, factory = name.partition(":")
    reader: GpuReader = getattr(importlib.import_module(module), factory)(gpu)
    return reader


def _write(line: Line) -> None:
    os.write(1, msgspec.json.encode(line) + b"\n")


if __name__ == "__main__":
    sys.exit(main())
