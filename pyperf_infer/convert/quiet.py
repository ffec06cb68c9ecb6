# SPDX-License-Identifier: Apache-2.0
"""Keeps the exporter's chatter off the terminal and holds it for the error message that may need it."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, TextIO, cast

_LOGGER_FAMILIES = ("torch", "onnx")  # the second covers onnxscript and onnx_ir


class _CallersOutput:
    """Takes what the calling thread writes; hands on what others write, so that a progress display stays alive."""

    def __init__(self, original: TextIO, kept: io.StringIO) -> None:
        self._original = original
        self._kept = kept
        self._owner: int | None = threading.get_ident()

    def write(self, text: str) -> int:
        return (self._kept if threading.get_ident() == self._owner else self._original).write(text)

    def flush(self) -> None:
        self._original.flush()

    def let_go(self) -> None:
        # A logger made meanwhile may have kept this object; from here on it is the original stream to it.
        self._owner = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


@contextlib.contextmanager
def captured_chatter() -> Iterator[io.StringIO]:
    """Collects prints, warnings and log lines of torch and onnx from this thread until the block ends."""
    kept = io.StringIO()
    terminal = [sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__]
    outputs = [_CallersOutput(sys.stdout, kept), _CallersOutput(sys.stderr, kept)]
    with (
        contextlib.redirect_stdout(cast("TextIO", outputs[0])),
        contextlib.redirect_stderr(cast("TextIO", outputs[1])),
        warnings.catch_warnings(record=True) as caught,
        _redirected_handlers(kept, terminal),
    ):
        warnings.simplefilter("default")
        try:
            yield kept
        finally:
            kept.writelines(f"{warning.category.__name__}: {warning.message}\n" for warning in caught)
            for output in outputs:
                output.let_go()


@contextlib.contextmanager
def _redirected_handlers(kept: io.StringIO, terminal: Sequence[object]) -> Iterator[None]:
    """Plain handlers hold the stream of the day they were made; redirecting sys.stderr does not reach them."""
    # Handlers that write elsewhere on purpose are left alone.
    handlers = {
        handler
        for name in list(logging.Logger.manager.loggerDict)
        if name.startswith(_LOGGER_FAMILIES)
        for handler in logging.getLogger(name).handlers
        if isinstance(handler, logging.StreamHandler) and handler.stream in terminal
    }
    moved = [(handler, handler.setStream(kept)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)
