# SPDX-License-Identifier: Apache-2.0
"""Blocks of calls of one target, in this process or in another: what paths are measured with, alone and in turn."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Protocol

import msgspec

from pyperf_infer import _core
from pyperf_infer.timing.measurement import measure

if TYPE_CHECKING:
    from pyperf_infer.timing.target import Progress

# As in the native schedule (csrc/core/schedule.cpp): after a switch, chunks of at least this long and of one call are
# thrown away until the medians of three in a row agree, or ten went by.
_CHUNK_NS = 1_000_000
_STEADY_CHUNKS = 3
_MOST_CHUNKS = 10
_STEADY_WITHIN = 0.05
_BATCH_NS = 50_000_000


class Alone(msgspec.Struct, frozen=True):
    """What a call takes while nothing else runs: the median, and its interval; None where too few calls support one."""

    median_ns: float
    interval_ns: tuple[float, float] | None


class BlockPlan(msgspec.Struct, frozen=True):
    """One block: spin for `jitter_ns`, throw calls away until steady, then call for `length_ns` and `calls` times.

    Both of these are the least. Where `budget_ns` is spent the block ends, and does not count.
    """

    jitter_ns: int
    length_ns: int
    calls: int
    budget_ns: int


class Block(msgspec.Struct, frozen=True):
    """What a block found; `median_ns` None where its budget was spent before it was whole."""

    median_ns: int | None
    discarded: int


ONE_CALL = BlockPlan(jitter_ns=0, length_ns=0, calls=1, budget_ns=10**18)  # to see whether a path works at all


class Lane(Protocol):
    """A target that blocks are run on, wherever it is."""

    def alone(self, budget_s: float, ci: float, progress: Progress | None) -> Alone:
        """Warms it up and measures it, in `budget_s` seconds at most. Raises what the target raises."""
        ...

    def block(self, plan: BlockPlan) -> Block:
        """Runs one block. Raises what the target raises."""
        ...


class LocalLane:
    """A target of this process."""

    def __init__(self, target: _core.Target) -> None:
        self.target = target
        self._per_call_ns = 0  # 0: it has not been called yet

    def alone(self, budget_s: float, ci: float, progress: Progress | None = None) -> Alone:
        half = budget_s / 2
        samples = measure(
            self.target,
            duration=half / 2,
            max_duration=half,
            iterations=1,
            ci=ci,
            warmup=half,
            collect_garbage=False,
            progress=progress,
        )
        return Alone(samples.median_ns, samples.interval_ns)

    def block(self, plan: BlockPlan) -> Block:
        begin_ns = perf_counter_ns()
        deadline_ns = begin_ns + plan.budget_ns
        while perf_counter_ns() < begin_ns + plan.jitter_ns:
            pass  # a core that sleeps clocks down
        discarded = self._discard_until_steady(deadline_ns)
        kept = _core.Samples()
        until_ns = perf_counter_ns() + plan.length_ns
        while (left_ns := until_ns - perf_counter_ns()) > 0 or len(kept) < plan.calls:
            if not self._batch(kept, min(max(left_ns, 1), _BATCH_NS), deadline_ns):
                return Block(None, discarded)
        return Block(_median(kept), discarded)

    def _discard_until_steady(self, deadline_ns: int) -> int:
        thrown_away, medians = 0, list[int]()
        for _ in range(_MOST_CHUNKS):
            chunk = _core.Samples()
            if not self._batch(chunk, _CHUNK_NS, deadline_ns):
                break
            thrown_away += len(chunk)
            medians = [*medians, _median(chunk)][-_STEADY_CHUNKS:]
            if len(medians) == _STEADY_CHUNKS and max(medians) - min(medians) <= _STEADY_WITHIN * min(medians):
                break
        return thrown_away

    def _batch(self, samples: _core.Samples, length_ns: int, deadline_ns: int) -> bool:
        """Calls for about so long, once at least; False where the deadline is over."""
        begin_ns = perf_counter_ns()
        if begin_ns >= deadline_ns:
            return False
        calls = 1 if self._per_call_ns == 0 else max(1, length_ns // self._per_call_ns)
        _core.run_batch(self.target, samples, calls)
        self._per_call_ns = max(1, (perf_counter_ns() - begin_ns) // calls)
        return True


def _median(samples: _core.Samples) -> int:
    """Of the first quantity, which is the one from the call until the work is done."""
    times = sorted(samples.column(samples.columns[0]).tolist())
    median: int = times[(len(times) - 1) // 2]
    return max(1, median)
