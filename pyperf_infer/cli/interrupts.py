# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: where it stops the work, and where it waits until what was measured is safe."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import monotonic

# Another Ctrl-C this soon is the same wish, and must not cut short the clean-up that the first one began. A later one
# counts again, in case a library has swallowed the first.
_SAME_WISH_S = 3.0


Block = Callable[[], AbstractContextManager[None]]


@contextmanager
def interrupts_held() -> Iterator[Block]:
    """Ctrl-C has no effect inside, but for blocks of what this yields: there it raises KeyboardInterrupt.

    It does so once, however often it is pressed within three seconds. A process that ignored it from its start, as
    under nohup, goes on ignoring it.
    """
    # Only the main thread may set handlers, and only it gets signals.
    if threading.current_thread() is not threading.main_thread():
        yield nullcontext
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield nullcontext if before == signal.SIG_IGN else _raised
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _raised() -> Iterator[None]:
    pressed_s = -_SAME_WISH_S

    def stop(*_: object) -> None:
        nonlocal pressed_s
        before_s, pressed_s = pressed_s, monotonic()
        if pressed_s - before_s >= _SAME_WISH_S:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
