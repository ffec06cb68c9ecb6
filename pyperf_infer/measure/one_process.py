# SPDX-License-Identifier: Apache-2.0
"""One fresh process of a run with several, as the process that starts it sees it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from pyperf_infer.errors import InputError, MeasurementError, PyperfInferError
from pyperf_infer.measure.process_messages import Ended, Message, Stage, Told, document_name
from pyperf_infer.results.files import load_all_samples, read_document
from pyperf_infer.system import child

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.results.schema import Document

    Columns = Mapping[str, NDArray[np.int64]]

MODULE = "pyperf_infer.cli.one_process"
# For what a process still has to do once it has been told to stop: end a call, summarise, write.
STOP_PATIENCE_S = 30.0
_END_PATIENCE_S = 10.0  # from its last message to its end
_TAIL_BYTES, _TAIL_LINES, _TAIL_CHARACTERS = 4096, 3, 400
_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a process. Without a document, `error` says why; with one, what ended its run early if anything.

    `kind` is the name of the error's class there, which may be none of this package's.
    """

    number: int
    exit_code: int
    document: Document | None = None
    samples: Sequence[Columns | None] = field(default_factory=list)
    error: PyperfInferError | None = None
    kind: str | None = None
    unsaved: bool = False  # its results could not be written


class Stopped(KeyboardInterrupt):
    """Ctrl-C, with what the process had measured until then."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


def run_process(folder: Path, number: int, asked: int, observer: Observer, *, module: str = MODULE) -> Outcome:
    """Runs the plan in `folder` in a process of its own, to its end.

    Raises:
        Stopped: Ctrl-C. The process was told, and has ended.
    """
    name = f"process {number} of {asked}"
    try:
        kept = _errors_file()
    except OSError as error:
        message = f"{name}: no temporary file can be made: {error}. Set TMPDIR to a folder with room"
        return Outcome(number=number, exit_code=InputError.exit_code, error=InputError(message), unsaved=True)
    with kept as errors:
        try:
            process = child.start_module(
                module, str(folder), str(number), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            return _lost(number, f"{name} could not be started: {error.strerror or error}")
        running = _Running(process, name, observer)
        try:
            ended = running.listen()
            status = running.finish()
        except KeyboardInterrupt:
            stopped = running.stop()
            raise Stopped(_outcome(folder, number, name, stopped, running.status, errors)) from None
        finally:
            running.close()
        return _outcome(folder, number, name, ended, status, errors)


class _Running:
    """A process that has been started."""

    def __init__(self, process: subprocess.Popen[bytes], name: str, observer: Observer) -> None:
        self._process, self._name, self._observer = process, name, observer
        self._held = b""
        self._ended: Ended | None = None

    @property
    def status(self) -> int | None:
        return self._process.returncode

    def listen(self, until_s: float | None = None) -> Ended | None:
        """Hands on what it says until it has no more to say, or until `until_s`. None: it ended without a last word."""
        assert self._process.stdout is not None  # noqa: S101  it was started with a pipe
        descriptor = self._process.stdout.fileno()
        while True:
            left_s = None if until_s is None else until_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return self._ended
            if not select.select([descriptor], [], [], left_s)[0]:
                continue
            more = os.read(descriptor, 1 << 16)
            if not more:
                return self._ended
            *lines, self._held = (self._held + more).split(b"\n")
            for line in lines:
                self._hear(line, quiet=until_s is not None)

    def finish(self) -> int | None:
        """Waits for its end, which has to be near. Returns its status; None where not even a kill has ended it."""
        child.end(self._process, _END_PATIENCE_S)
        return self._process.returncode

    def stop(self) -> Ended | None:
        """Ctrl-C for the process, then patience, then an end."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        ended = self.listen(time.monotonic() + STOP_PATIENCE_S)
        if ended is not None:
            self.finish()
        return ended

    def close(self) -> None:
        """Where it did not come to its end: ends it, and what it had started, a compiler for one."""
        if self._ended is None or self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            child.end(self._process, 0.0)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _hear(self, line: bytes, *, quiet: bool) -> None:
        with suppress(msgspec.MsgspecError):  # not ours: what the interpreter itself printed before the program began
            message = _DECODER.decode(line)
            if isinstance(message, Ended):
                self._ended = message
            elif quiet:
                pass  # a bar looks for Ctrl-C each time, and would find the one that is being answered
            elif isinstance(message, Stage):
                self._observer.stage(f"{self._name}: {message.text}")
            elif isinstance(message, Told):
                self._observer.notice(f"{self._name}: {message.text}")


def _errors_file() -> IO[bytes]:
    """Where what it writes to stderr goes: to the user where everything is to be seen, else to a file, for its tail."""
    if "PYPERF_INFER_DEBUG" in os.environ:
        return os.fdopen(os.dup(2), "wb", buffering=0)
    return tempfile.TemporaryFile()


def _outcome(
    folder: Path, number: int, name: str, ended: Ended | None, status: int | None, errors: IO[bytes]
) -> Outcome:
    if ended is None:
        said = _tail(errors)
        return _lost(number, f"{name} {child.ending(status)} and left no results{f': {said}' if said else ''}")
    if not ended.saved:
        why = ended.message.rstrip(".")
        message = f"{name} could not keep its results in '{folder}': {why}. Set TMPDIR to a folder with room"
        return Outcome(number=number, exit_code=ended.exit_code, error=InputError(message), unsaved=True)
    path = folder / document_name(number)
    try:
        document = read_document(path)
        samples = load_all_samples(document, folder)
    except PyperfInferError as error:
        return _lost(number, f"{name} left results that cannot be read: {error}")
    return Outcome(
        number=number,
        exit_code=ended.exit_code,
        document=document,
        samples=samples,
        error=None if ended.kind is None else _error(ended),
        kind=ended.kind,
    )


def _lost(number: int, message: str) -> Outcome:
    return Outcome(number=number, exit_code=MeasurementError.exit_code, error=MeasurementError(message))


def _error(ended: Ended) -> PyperfInferError:
    from pyperf_infer import errors

    kind = getattr(errors, ended.kind or "", None)
    if isinstance(kind, type) and issubclass(kind, PyperfInferError):
        return kind(ended.message)
    return MeasurementError(f"{ended.kind}: {ended.message}")


def _tail(errors: IO[bytes]) -> str:
    """The last lines of what it wrote to stderr, as one."""
    try:
        size = os.fstat(errors.fileno()).st_size
        text = os.pread(errors.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode(errors="replace")
    except OSError:  # it went to a terminal
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-_TAIL_LINES:])[-_TAIL_CHARACTERS:]
