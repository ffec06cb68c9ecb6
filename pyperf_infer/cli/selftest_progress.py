# SPDX-License-Identifier: Apache-2.0
"""The progress bar of a self-test: how far all of it is, and the time left."""

from __future__ import annotations

from pyperf_infer.cli.interrupts import INTERRUPTS
from pyperf_infer.cli.progress import ProgressBar


class SelfTestBar(ProgressBar):
    """One bar over all steps, where other commands have one for each."""

    def progress(self, phase: str, calls: int, elapsed_ns: int, budget_ns: int, last_ns: int) -> None:  # noqa: ARG002
        """`elapsed_ns` of `budget_ns` is the time that the steps done were thought to take."""
        INTERRUPTS.check()
        if self._bar is not None:
            left_s = max(0, budget_ns - elapsed_ns) / 1e9
            self._bar.update(
                self._task,
                total=max(1, budget_ns),
                completed=elapsed_ns,
                detail=f"{phase}, about {_rough(left_s)} left",
            )
            self._bar.refresh()


def _rough(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
