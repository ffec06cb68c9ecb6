# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C: where it stops the work, where it waits until results are safe, and that no library makes it go unheard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import Any

# Another Ctrl-C this soon is the same wish, and must not cut short the clean-up that the first one began.
_SAME_WISH_S = 3.0
_BETWEEN_LOOKS_S = 0.02  # whether an import has ended


class Interrupts:
    """Raises KeyboardInterrupt, and remembers it: torch, for one, swallows it in the midst of being imported."""

    def __init__(self) -> None:
        self.pressed = False
        self._watching = False
        self._waits = False  # for an import to end; pressing again raises all the same
        self._pressed_s = -_SAME_WISH_S

    def watch(self) -> None:
        """Takes Ctrl-C over, unless this process was started to ignore it, as under nohup."""
        self._watching = _in_main_thread() and signal.getsignal(signal.SIGINT) != signal.SIG_IGN
        if self._watching:
            signal.signal(signal.SIGINT, self._press)

    def check(self) -> None:
        """Raises KeyboardInterrupt where Ctrl-C was pressed and the work goes on all the same."""
        if self.pressed:
            raise KeyboardInterrupt

    def answer(self) -> None:
        """The work has stopped; what fails from here on fails by itself."""
        self.pressed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Ctrl-C has no effect inside, but for blocks of `let_through`."""
        with _handler(signal.SIG_IGN):
            yield

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Inside, Ctrl-C raises KeyboardInterrupt: once, however often it is pressed within three seconds.

        Where a library has swallowed it, the end of the block raises it.
        """
        with _handler(self._press if self._watching else signal.SIG_IGN):
            yield
            self.check()

    def _press(self, _: int = 0, frame: FrameType | None = None) -> None:
        self.pressed = True
        before_s, self._pressed_s = self._pressed_s, monotonic()
        if self._pressed_s - before_s >= _SAME_WISH_S:
            self._raise(frame, waits=not self._waits)

    def _raise(self, frame: FrameType | None, *, waits: bool) -> None:
        """At once, or where `waits` once no import is under way: an exception in torch's ends the process in C++."""
        self._waits = waits and _is_importing(frame)
        if not self._waits:
            raise KeyboardInterrupt
        signal.signal(signal.SIGALRM, self._look_again)
        signal.setitimer(signal.ITIMER_REAL, _BETWEEN_LOOKS_S)

    def _look_again(self, _: int, frame: FrameType | None) -> None:
        if self._waits and signal.getsignal(signal.SIGINT) == self._press:  # else nothing is to be raised by now
            self._raise(frame, waits=True)


INTERRUPTS = Interrupts()


@contextmanager
def _handler(handler: Any) -> Iterator[None]:
    if not _in_main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _in_main_thread() -> bool:
    """Only there may handlers be set, and only that thread gets signals."""
    return threading.current_thread() is threading.main_thread()
