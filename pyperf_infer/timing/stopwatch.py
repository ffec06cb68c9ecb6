# SPDX-License-Identifier: Apache-2.0
"""Host time of a block of code."""

from __future__ import annotations

from time import perf_counter_ns

from pyperf_infer.errors import UsageError


class Stopwatch:
    """Host time of a block of code.

    >>> with Stopwatch() as watch:
    ...     total = sum(range(1000))
    >>> watch.ns > 0
    True

    `ns` reads the time so far inside the block and the whole of it afterwards. Entering and leaving cost Python some
    hundred nanoseconds, `Stopwatch.overhead_ns()` here: for short calls use `measure`.
    """

    def __init__(self) -> None:
        self._begin_ns: int | None = None
        self._ns: int | None = None

    def __enter__(self) -> Stopwatch:
        self._ns = None
        self._begin_ns = perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        end_ns = perf_counter_ns()
        assert self._begin_ns is not None  # noqa: S101  entered before it is left
        self._ns = end_ns - self._begin_ns

    @property
    def ns(self) -> int:
        """Elapsed nanoseconds.

        Raises:
            UsageError: it was never started.
        """
        if self._begin_ns is None:
            raise UsageError("this Stopwatch was never started: with Stopwatch() as watch: ...")
        return self._ns if self._ns is not None else perf_counter_ns() - self._begin_ns

    @staticmethod
    def overhead_ns() -> int:
        """What an empty block reads on this machine: the median of 1000."""
        readings = []
        for _ in range(1000):
            with Stopwatch() as watch:
                pass
            readings.append(watch.ns)
        return sorted(readings)[500]
