# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C is held while results are at stake and let through while the job runs."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
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


@pytest.fixture
def pressing_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module in whose import Ctrl-C is pressed, and which then takes its time."""
    code = "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(0.1)\nimported = True\n"
    (tmp_path / "pressed_while_imported.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pressed_while_imported", raising=False)
    return "pressed_while_imported"


def test_an_import_ends_before_it_is_raised(interrupts: Interrupts, pressing_module: str) -> None:
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012  the next look may come as soon as the import has ended
        importlib.import_module(pressing_module)
        time.sleep(30)
    assert sys.modules[pressing_module].imported


def test_pressed_again_after_a_pause_it_does_not_wait_for_an_import(
    interrupts: Interrupts, pressing_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BETWEEN_LOOKS_S", 30.0)
    importlib.import_module(pressing_module)
    now = module.monotonic() + 3.01
    monkeypatch.setattr(module, "monotonic", lambda: now)
    with pytest.raises(KeyboardInterrupt):
        _press()


def test_one_that_waits_for_an_import_is_not_raised_where_it_is_held(
    interrupts: Interrupts, pressing_module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BETWEEN_LOOKS_S", 30.0)
    importlib.import_module(pressing_module)
    with interrupts.held():
        signal.raise_signal(signal.SIGALRM)  # the next look
    with pytest.raises(KeyboardInterrupt):
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
