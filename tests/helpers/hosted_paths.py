# SPDX-License-Identifier: Apache-2.0
"""Paths for a process of its own that do what a test tells them to. Needs neither torch nor ONNX Runtime."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pyperf_infer import _core
from pyperf_infer.errors import BackendError

Outs = dict[str, np.ndarray[Any, Any]]


def _spin(ns: int) -> None:
    until_ns = time.perf_counter_ns() + ns
    while time.perf_counter_ns() < until_ns:
        pass


def _refuse() -> None:
    raise BackendError("the provider went away\nand more")


def _break() -> None:
    raise ValueError("broken\nand more")


def _die() -> None:
    sys.stderr.write("a last word\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def _sleep() -> None:
    time.sleep(3600)


CALLS: dict[str, Callable[[], None]] = {
    "short": lambda: _spin(20_000),
    "long": lambda: _spin(60_000),
    "refuse": _refuse,
    "break": _break,
    "die": _die,
    "sleep": _sleep,
}


class Paths:
    """Every path of CALLS; `told` may name a file that each call of "short" adds a letter to."""

    paths = tuple(CALLS)
    settings: ClassVar[dict[str, str]] = {"version": "1.2"}

    def __init__(self, told: dict[str, str]) -> None:
        self._told = told

    def target(self, path: str) -> _core.Target:
        file = self._told.get("calls")
        if file is None:
            return _core.CallableTarget(CALLS[path])
        log = Path(file)

        def call() -> None:
            with log.open("a") as opened:
                opened.write(path[0])
            CALLS[path]()

        return _core.CallableTarget(call)

    def outputs(self, path: str) -> tuple[Outs, Outs]:
        import ml_dtypes

        CALLS[path]()
        first = np.arange(6, dtype=np.float32).reshape(2, 3)
        short = np.ones(3, dtype=ml_dtypes.bfloat16)
        return {"y": first, "a b/c": short}, {"y": first + 1, "a b/c": short * 2}


def make(arguments: str) -> Paths:
    """Prints, as libraries do, and raises where it is told to."""
    sys.stdout.write("a library says hello\n")
    sys.stdout.flush()
    told = json.loads(arguments)
    if told.get("open") in CALLS:
        CALLS[told["open"]]()
    return Paths(told)
