# SPDX-License-Identifier: Apache-2.0
"""From when calls began and ended to what each layer took itself and with its parts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    """A call of the layer `number`, in the order in which calls ended. `took_ns` may be of another clock."""

    number: int
    begin_ns: int
    thread: int
    took_ns: int


class Totals:
    """Sums over inferences, by the layer's number."""

    def __init__(self, layers: int) -> None:
        self.inferences = 0
        self.calls = [0] * layers
        self.own_ns = [0] * layers  # what the layers called within took is theirs
        self.total_ns = [0] * layers  # of a layer that calls itself, the outermost call

    def add(self, spans: Sequence[Span], inferences: int = 1) -> None:
        """The calls of whole inferences, in the order in which they ended."""
        self.inferences += inferences
        threads: dict[int, list[Span]] = defaultdict(list)
        for span in spans:
            threads[span.thread].append(span)
        for calls in threads.values():
            self._add_thread(calls)

    def _add_thread(self, calls: Sequence[Span]) -> None:
        # A call ends after those that it made. Those are the ones that wait here and began after it.
        waiting: list[Span] = []
        for span in calls:
            parts_ns = 0
            while waiting and waiting[-1].begin_ns >= span.begin_ns:
                parts_ns += waiting.pop().took_ns
            waiting.append(span)
            self.calls[span.number] += 1
            self.own_ns[span.number] += span.took_ns - parts_ns
        # Backwards, a call comes before those that it made.
        reached: dict[int, int] = {}
        for span in reversed(calls):
            if span.number in reached and span.begin_ns >= reached[span.number]:
                continue
            reached[span.number] = span.begin_ns
            self.total_ns[span.number] += span.took_ns
