# SPDX-License-Identifier: Apache-2.0
"""When every call of every layer began and ended: on the CPU by the host's clock, on a GPU by events on the stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from threading import get_ident
from time import perf_counter_ns  # a native function of ours takes longer to call
from typing import TYPE_CHECKING, Any, Protocol

import torch

from pyperf_infer.profile.instrument import Call, Instrument
from pyperf_infer.profile.spans import Span

if TYPE_CHECKING:
    from pyperf_infer.profile.eager_model import EagerModel
    from pyperf_infer.profile.layers import Layer


_SPANS = 5_000  # that are noted before they are added up


class Watch(Protocol):
    """What notes the calls of one inference."""

    def around(self, number: int, call: Call) -> Call:
        """`call`, with its begin and end noted."""
        ...

    def take(self) -> list[Span]:
        """The calls noted since the last time, in the order in which they ended. All of them must be done."""
        ...

    def drop(self) -> None:
        """Forgets what was noted."""
        ...


class HostWatch:
    """On the CPU, where a call that returns is done. Two reads of the clock and a tuple a call."""

    def __init__(self) -> None:
        self._noted: list[tuple[int, int, int, int]] = []
        self.drop = self._noted.clear

    def around(self, number: int, call: Call) -> Call:
        note, now, thread = self._noted.append, perf_counter_ns, get_ident

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = now()
            try:
                return call(*args, **kwargs)
            finally:
                note((number, begin, now(), thread()))

        return timed

    def take(self) -> list[Span]:
        spans = [Span(number, begin, thread, end - begin) for number, begin, end, thread in self._noted]
        self._noted.clear()
        return spans


class StreamWatch:
    """On a GPU: events on the stream that is the current one at each begin and end. Which call is within which is told
    by the host's clock.
    """

    def __init__(self, calls: int) -> None:
        self._free = [_events() for _ in range(calls)]  # making one takes longer than recording it
        self._noted: list[tuple[int, int, int, tuple[torch.cuda.Event, torch.cuda.Event]]] = []

    def around(self, number: int, call: Call) -> Call:
        note, now, thread, free = self._noted.append, perf_counter_ns, get_ident, self._free

        def timed(*args: Any, **kwargs: Any) -> Any:
            pair = free.pop() if free else _events()
            begin = now()
            pair[0].record()
            try:
                return call(*args, **kwargs)
            finally:
                pair[1].record()
                note((number, begin, thread(), pair))

        return timed

    def take(self) -> list[Span]:
        spans = []
        for number, begin, thread, (start, end) in self._noted:
            end.synchronize()  # it may be on another stream than the one that was waited for
            spans.append(Span(number, begin, thread, round(start.elapsed_time(end) * 1e6)))
        self.drop()
        return spans

    def drop(self) -> None:
        self._free.extend(pair for *_, pair in self._noted)
        self._noted.clear()


def _events() -> tuple[torch.cuda.Event, torch.cuda.Event]:
    event: Any = torch.cuda.Event  # which has no types
    return event(enable_timing=True), event(enable_timing=True)


class LayerTimer:
    """A model's inference with a watch on its layers, and on the whole as one number more than there are layers."""

    def __init__(self, model: EagerModel, layers: Sequence[Layer], calls: int) -> None:
        """`calls`: about how many an inference makes."""
        self.whole_number = len(layers)
        self.most = max(1, _SPANS // (calls + 1))  # inferences at once
        self._watch: Watch = HostWatch() if model.gpu_index is None else StreamWatch((calls + 1) * self.most)
        self._instrument = Instrument(layers, self._watch.around)
        self._whole = model.whole(self._watch.around(self.whole_number, model.call))
        self.attach = self._instrument.attach
        self.detach = self._instrument.detach

    def attached(self) -> AbstractContextManager[None]:
        return self._instrument.attached()

    def inference(self) -> None:
        """One whose times nobody takes."""
        self._watch.drop()
        self._whole()

    def time(self, inferences: int) -> list[Span]:
        """The calls of that many inferences, with a span for the whole of each."""
        self._watch.drop()
        whole = self._whole
        for _ in range(inferences):
            whole()
        return self._watch.take()
