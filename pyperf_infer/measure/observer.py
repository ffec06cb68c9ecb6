# SPDX-License-Identifier: Apache-2.0
"""Who watches a run: the command line's progress bar, or nobody."""

from __future__ import annotations


class Observer:
    """Watches and does nothing; a base for those that show something."""

    def stage(self, text: str) -> None:
        """A new step has begun, such as "resnet50, batch 1: measuring torch"."""

    def progress(self, phase: str, calls: int, elapsed_ns: int, budget_ns: int, last_ns: int) -> None:
        """Between batches, at most ten times a second: how far the loop is."""

    def notice(self, text: str) -> None:
        """Something the user should know now and not at the end."""

    def failed(self, error: Exception) -> None:
        """A row has failed; the error is in the row too, without its traceback."""
