# SPDX-License-Identifier: Apache-2.0
"""A progress bar over files, on standard error and only where that is a terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from pyperf_infer.cli.interrupts import INTERRUPTS


class FileProgress:
    """Shows how many files of how many were looked at. Ctrl-C is looked for at each."""

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
        shown = console.is_terminal and not quiet
        self._bar = Progress(*columns, console=console, transient=True) if shown else None
        self._task = TaskID(0)

    def __enter__(self) -> FileProgress:
        if self._bar is not None:
            self._task = self._bar.add_task("looking at files", total=None)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        INTERRUPTS.check()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total)
