# SPDX-License-Identifier: Apache-2.0
"""Paths that live in a process of their own, as the process that measures sees them."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np

from pyperf_infer import errors
from pyperf_infer.errors import MeasurementError, PyperfInferError
from pyperf_infer.overhead.messages import (
    Failed,
    MeasureAlone,
    MeasuredAlone,
    Open,
    Opened,
    Outputs,
    RanBlock,
    Reply,
    Request,
    RunBlock,
    Saved,
    SavedArray,
)
from pyperf_infer.system import child

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer.overhead.blocks import Alone, Block, BlockPlan
    from pyperf_infer.timing.target import Progress

    Outs = Mapping[str, NDArray[Any]]

# How long an answer may take beyond the time that the request itself grants: loading a model, a last call.
PATIENCE_S = 300.0
_END_S = 2.0
_DECODER: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)
_Answer = TypeVar("_Answer", Opened, Saved, MeasuredAlone, RanBlock)


class ChildProcess:
    """Another process and the paths in it. It ends when this object is closed, or with this process.

    `what` names it in messages. `factory` ("module:function") makes the paths there from `arguments`, a JSON text.

    Raises:
        MeasurementError: the process cannot be started, ends or does not answer in time.
        What the factory raises, where it is an error of this package; else MeasurementError with its text.
    """

    def __init__(self, what: str, factory: str, arguments: str, *, patience_s: float = PATIENCE_S) -> None:
        self._what, self._patience_s = what, patience_s
        self._held = b""
        self._end: MeasurementError | None = None  # how it ended by itself, for whoever asks it again
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by close
        try:
            self._process = child.start_module(
                "pyperf_infer.overhead.child", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
            )
        except OSError as error:
            self._errors.close()
            raise MeasurementError(f"the process of {what} could not be started: {error}") from error
        try:
            opened = self._ask(Open(factory, arguments), Opened)
        except BaseException:
            self.close()
            raise
        self.paths, self.settings = tuple(opened.paths), opened.settings

    @property
    def pid(self) -> int:
        return self._process.pid

    def outputs(self, path: str) -> tuple[Outs, Outs]:
        """Of a path, on the first inputs and on the second. Raises as the constructor."""
        with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
            saved = self._ask(Outputs(path, folder), Saved)
            return _load(saved.first, Path(folder)), _load(saved.second, Path(folder))

    def alone(self, path: str, budget_s: float, ci: float) -> Alone:
        """See Lane. Raises as the constructor."""
        return self._ask(MeasureAlone(path, budget_s, ci), MeasuredAlone, budget_s).times

    def block(self, path: str, plan: BlockPlan) -> Block:
        """See Lane. Raises as the constructor."""
        return self._ask(RunBlock(path, plan), RanBlock, plan.budget_ns / 1e9).block

    def close(self) -> None:
        """Ends the process, killing it where it does not end by itself. More than once is once."""
        if self._errors.closed:
            return
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what a process that has gone did not take
                    pipe.close()
        child.end(self._process, _END_S)
        self._errors.close()

    def _ask(self, request: Request, answer: type[_Answer], granted_s: float = 0.0) -> _Answer:
        if self._errors.closed:
            raise MeasurementError(str(self._end or f"the process of {self._what} has ended"))
        self._send(msgspec.json.encode(request) + b"\n")
        line = self._receive(time.monotonic() + min(granted_s, 1e6) + self._patience_s)
        try:
            reply = _DECODER.decode(line)
        except msgspec.MsgspecError as error:
            raise self._gone(f"answered what is no answer: {line[:80]!r}") from error
        if isinstance(reply, Failed):
            raise _error(reply)
        if not isinstance(reply, answer):
            raise self._gone(f"answered {type(reply).__name__} to {type(request).__name__}")
        return reply

    def _send(self, data: bytes) -> None:
        assert self._process.stdin is not None  # noqa: S101  it was started with a pipe
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except OSError as error:  # a closed pipe
            raise self._gone() from error

    def _receive(self, deadline_s: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101  it was started with a pipe
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._held:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise self._gone(f"did not answer for {self._patience_s:g} s and was killed")
            if not select.select([descriptor], [], [], min(left_s, 60.0))[0]:
                continue
            more = os.read(descriptor, 1 << 16)
            if not more:
                raise self._gone()
            self._held += more
        line, _, self._held = self._held.partition(b"\n")
        return line

    def _gone(self, how: str = "") -> MeasurementError:
        """Ends it, and says what became of it."""
        if not how:
            child.end(self._process, _END_S)
            how = child.ending(self._process.returncode)
        else:
            self._process.kill()
        said = self._last_error()
        self.close()
        self._end = MeasurementError(f"the process of {self._what} {how}{f': {said}' if said else ''}")
        return self._end

    def _last_error(self) -> str:
        size = os.fstat(self._errors.fileno()).st_size
        text = os.pread(self._errors.fileno(), 4096, max(0, size - 4096)).decode(errors="replace").strip()
        return text.splitlines()[-1] if text else ""


class RemoteLane:
    """A path in another process. See Lane."""

    def __init__(self, process: ChildProcess, path: str) -> None:
        self._process, self._path = process, path

    def alone(self, budget_s: float, ci: float, progress: Progress | None = None) -> Alone:  # noqa: ARG002
        return self._process.alone(self._path, budget_s, ci)  # a bar that moved meanwhile would take time from it

    def block(self, plan: BlockPlan) -> Block:
        return self._process.block(self._path, plan)


def _error(reply: Failed) -> PyperfInferError:
    kind = getattr(errors, reply.kind, None)
    if isinstance(kind, type) and issubclass(kind, PyperfInferError):
        return kind(reply.message)
    return MeasurementError(f"{reply.kind}: {reply.message}")


def _load(saved: list[SavedArray], folder: Path) -> dict[str, NDArray[Any]]:
    return {one.name: _typed(np.load(folder / one.file, allow_pickle=False), one.dtype) for one in saved}


def _typed(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    if dtype != "bfloat16":
        return array
    import ml_dtypes

    bfloat16: NDArray[Any] = array.view(ml_dtypes.bfloat16)
    return bfloat16
