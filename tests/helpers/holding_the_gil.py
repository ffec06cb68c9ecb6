# SPDX-License-Identifier: Apache-2.0
"""Keeps the GIL from every other thread, to see what goes on without it."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_libc_with_the_gil_held = ctypes.PyDLL(None)  # unlike CDLL, its calls do not release the GIL


@contextmanager
def no_thread_switches() -> Iterator[None]:
    """Inside, a thread keeps the GIL until it gives it up of its own accord."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1_000.0)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def wait_holding_the_gil(done: Callable[[], bool], seconds: float) -> bool:
    """Polls `done`, which must not release the GIL, until it is true or `seconds` are over.

    Works inside `no_thread_switches` only.
    """
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        _libc_with_the_gil_held.usleep(1_000)
    return True
