# SPDX-License-Identifier: Apache-2.0
"""The process that holds paths which must not share one with others, as a program::

    python -P -m pyperf_infer.overhead.child

It reads requests (messages.py) from stdin and answers each on stdout, one JSON line a message. What libraries print
goes to stderr. It ends when its stdin does, as it does when its parent dies, whatever it is doing then.
"""

from __future__ import annotations

import gc
import importlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from pyperf_infer.errors import MeasurementError, PyperfInferError
from pyperf_infer.overhead.blocks import LocalLane
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
    Saved,
    SavedArray,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer import _core

    Outs = Mapping[str, NDArray[Any]]

_DECODER: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class Hosted(Protocol):
    """Paths of one model, made by a factory from a JSON text."""

    @property
    def paths(self) -> Sequence[str]: ...

    @property
    def settings(self) -> Mapping[str, str | int | float | bool | None]: ...

    def target(self, path: str) -> _core.Target: ...

    def outputs(self, path: str) -> tuple[Outs, Outs]:
        """On the first inputs and on the second; the first are in place afterwards."""
        ...


class _Server:
    def __init__(self) -> None:
        self._hosted: Hosted | None = None
        self._lanes: dict[str, LocalLane] = {}

    def answer(self, request: Request) -> Reply:
        if isinstance(request, Open):
            module, _, function = request.factory.partition(":")
            self._hosted = getattr(importlib.import_module(module), function)(request.arguments)
            return Opened(list(self._paths.paths), dict(self._paths.settings))
        if isinstance(request, Outputs):
            first, second = self._paths.outputs(request.path)
            folder = Path(request.folder)
            return Saved(_save(first, folder, "a"), _save(second, folder, "b"))
        if request.path not in self._lanes:
            self._lanes[request.path] = LocalLane(self._paths.target(request.path))
            gc.collect()
            gc.disable()  # as in the process that measures
        lane = self._lanes[request.path]
        if isinstance(request, MeasureAlone):
            return MeasuredAlone(lane.alone(request.budget_s, request.ci))
        return RanBlock(lane.block(request.plan))

    @property
    def _paths(self) -> Hosted:
        if self._hosted is None:
            raise MeasurementError("the first request must be to open a model")
        return self._hosted


def main() -> int:
    """The program. 0 when its stdin has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    server = _Server()
    while True:
        _write(answers, _answered(server, requests.get()))


def _read(requests: queue.SimpleQueue[bytes]) -> None:
    """Hands requests on. It sleeps in a read meanwhile, and with the end of stdin ends the process."""
    held = b""
    while more := os.read(0, 1 << 16):
        *lines, held = (held + more).split(b"\n")
        for line in lines:
            requests.put(line)
    os._exit(0)


def _answered(server: _Server, line: bytes) -> Reply:
    try:
        return server.answer(_DECODER.decode(line))
    except PyperfInferError as error:
        return Failed(type(error).__name__, str(error))
    except Exception as error:
        said = str(error).strip().split("\n", 1)[0]
        return Failed(MeasurementError.__name__, f"{type(error).__name__}: {said}")


def _write(descriptor: int, reply: Reply) -> None:
    data = msgspec.json.encode(reply) + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]


def _save(arrays: Outs, folder: Path, stem: str) -> list[SavedArray]:
    saved = []
    for index, (name, array) in enumerate(arrays.items()):
        file = f"{stem}{index}.npy"
        np.save(folder / file, array.view(np.uint16) if array.dtype.name == "bfloat16" else array, allow_pickle=False)
        saved.append(SavedArray(name, file, array.dtype.name))
    return saved


if __name__ == "__main__":
    sys.exit(main())
