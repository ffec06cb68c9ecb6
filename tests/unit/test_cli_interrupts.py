# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C is held while results are at stake and let through while the job runs."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pyperf_infer.cli import interrupts as module
from pyperf_infer.cli.interrupts import Interrupts


def _press() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    """Watching, as the command does from its start."""
    before = signal.getsignal(signal.SIGINT)
    watching = Interrupts()
    watching.watch()
    yield watching
    signal.signal(signal.SIGINT, before)


def test_it_has_no_effect_while_held_and_works_again_after(interrupts: Interrupts) -> None:
    with interrupts.held():
        _press()
    interrupts.check()
    with pytest.raises(KeyboardInterrupt):
        _press()


def test_it_is_let_through_once_and_held_again(interrupts: Interrupts) -> None:
    with interrupts.held():
        with pytest.raises(KeyboardInterrupt), interrupts.let_through():
            _press()
        _press()


def test_pressed_again_at_once_it_does_not_cut_short_the_clean_up(
    interrupts: Interrupts, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    with pytest.raises(KeyboardInterrupt):
        _press()
    for _ in range(10):
        now[0] += 0.29
        _press()
    # Held down it stays the same wish; after a pause it is another one.
    now[0] += 3.01
    with pytest.raises(KeyboardInterrupt):
        _press()


def test_one_that_a_library_swallowed_is_raised_at_the_next_check_and_at_the_end(interrupts: Interrupts) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts.held(), interrupts.let_through(), suppress(KeyboardInterrupt):
        _press()
    with pytest.raises(KeyboardInterrupt):
        interrupts.check()
    interrupts.answer()
    interrupts.check()


def test_a_process_that_ignores_it_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        ignoring = Interrupts()
        ignoring.watch()
        with ignoring.held(), ignoring.let_through():
            _press()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_the_main_thread_nothing_is_changed() -> None:
    seen: list[object] = []

    def work() -> None:
        elsewhere = Interrupts()
        elsewhere.watch()
        with elsewhere.held(), elsewhere.let_through():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
