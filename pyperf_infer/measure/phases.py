# SPDX-License-Identifier: Apache-2.0
"""Where the wall time of a command goes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from pyperf_infer.results.schema import Phase


class Phases:
    """Wall time by name, in the order the names first came up. A phase inside another is taken out of the outer one."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._inner: list[float] = []

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        self._seconds.setdefault(name, 0.0)
        self._inner.append(0.0)
        begin = perf_counter()
        try:
            yield
        finally:
            took = perf_counter() - begin
            self._seconds[name] += took - self._inner.pop()
            if self._inner:
                self._inner[-1] += took

    def add(self, name: str, seconds: float) -> None:
        """A phase that was timed elsewhere, such as the start of the process."""
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def listed(self) -> list[Phase]:
        return [Phase(name=name, seconds=max(0.0, seconds)) for name, seconds in self._seconds.items()]
