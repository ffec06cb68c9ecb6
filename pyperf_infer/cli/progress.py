# SPDX-License-Identifier: Apache-2.0
"""The live progress bar, on standard error and only where that is a terminal."""

from __future__ import annotations

import traceback
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.measure.observer import Observer
from pyperf_infer.reports.escape import printable
from pyperf_infer.units import format_duration_ns


class ProgressBar(Observer):
    """Shows the step at hand, how much of its budget is spent, and the last sample. Ctrl-C is looked for at each."""

    def __init__(self, *, quiet: bool, debug: bool) -> None:
        self._console = Console(stderr=True)
        self._debug = debug
        self._quiet = quiet
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> ProgressBar:
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[detail]}"),
                console=self._console,
                transient=True,
                # Drawn between batches only: a thread that draws by itself would take CPU time inside the windows.
                auto_refresh=False,
            )
            self._task = self._bar.add_task("starting", total=None, detail="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def stage(self, text: str) -> None:
        INTERRUPTS.check()
        if self._bar is not None:
            self._bar.update(self._task, description=escape(printable(text)), total=None, completed=0, detail="")
            self._bar.refresh()

    def progress(self, phase: str, calls: int, elapsed_ns: int, budget_ns: int, last_ns: int) -> None:
        INTERRUPTS.check()
        if self._bar is not None:
            unit = "rounds" if phase == "interleave" else "calls"
            detail = (
                f"{phase}: {calls} {unit}, {elapsed_ns / 1e9:.1f} of at most {budget_ns / 1e9:.0f} s, "
                f"last {format_duration_ns(last_ns)}"
            )
            completed = min(elapsed_ns, budget_ns)
            self._bar.update(self._task, total=max(1, budget_ns), completed=completed, detail=detail)
            self._bar.refresh()

    def notice(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False)

    def failed(self, error: Exception) -> None:
        INTERRUPTS.check()  # then it is Ctrl-C that failed, somewhere in a library
        if self._debug:
            traceback.print_exception(error)
