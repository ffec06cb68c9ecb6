# SPDX-License-Identifier: Apache-2.0
"""Several targets, measured in turn."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.statistics.compare import MARGIN, Interval, Verdict, compare_rounds
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.timing.measurement import measure
from pyperf_infer.timing.target import Measurable, Progress, as_target, garbage_collection, to_ns

if TYPE_CHECKING:
    from pyperf_infer.timing.samples import Samples

# Of the budget of a comparison: each target alone, the rest interleaved.
_SHARE_ALONE = 0.15
# A block, and the jitter before it: as long as thread pools need to come to rest, and as the longest timer tick. Where
# the budget has no room for this many rounds of such blocks, both are shorter: without rounds there is no verdict.
_BLOCK_NS, _JITTER_NS = 100_000_000, 10_000_000
_SHORTEST_BLOCK_NS = 1_000_000
_ROUNDS = 16
_SHARE_IN_BLOCKS = 0.6  # the rest is jitter, blocks that are stretched, and calls thrown away after a switch


class Comparison(NamedTuple):
    """What `compare` found: `ratio` is the time of f over that of g, so that above 1 g is faster.

    `verdict` speaks of g: "faster", "slower", "same" (within the margin) or "undecided", with the `reason`. `alone` has
    the samples of f and of g when each ran alone; `discarded_calls` were thrown away after switching.
    """

    ratio: float
    interval: Interval | None
    verdict: Verdict
    reason: str | None
    rounds: int
    discarded_calls: int
    alone: tuple[Samples, Samples]


def compare(
    f: Measurable,
    g: Measurable,
    *,
    max_duration: float = 10.0,
    ci: float = 0.01,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    collect_garbage: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compares two callables or targets in one process, within `max_duration` seconds in all.

    Each runs alone first, then both in blocks of at least 10 calls and 100 ms, in an order drawn anew in every round;
    blocks are shorter where the budget has no room for 16 rounds of them. It stops early when the interval of the ratio
    is within `ci`.

    Raises:
        UsageError, TypeError: as `measure`. What the callables raise.
    """
    if not margin > 0:
        raise UsageError("the margin is a positive share, such as 0.01")
    share = max_duration * _SHARE_ALONE
    with garbage_collection(collect_garbage):
        begin_ns = perf_counter_ns()
        first, second = (
            measure(
                what,
                duration=share / 2,
                max_duration=share,
                ci=ci,
                confidence=confidence,
                warmup=share / 2,
                collect_garbage=collect_garbage,
                progress=progress,
            )
            for what in (f, g)
        )
        left = max(0.0, max_duration - (perf_counter_ns() - begin_ns) / 1e9)
        rounds = interleave((f, g), max_duration=left, ci=ci, confidence=confidence, seed=seed, progress=progress)
    result = compare_rounds(
        rounds.medians_ns[0],
        rounds.medians_ns[1],
        alone_interval=ratio_interval(first, second),
        margin=margin,
        confidence=confidence,
    )
    return Comparison(
        result.ratio,
        result.interval,
        result.verdict,
        result.reason,
        result.rounds,
        rounds.discarded_calls,
        (first, second),
    )


def block_length_ns(budget_ns: int, targets: int) -> int:
    """How long a block is at least, so that the budget has room for rounds enough to judge."""
    room_ns = round(_SHARE_IN_BLOCKS * budget_ns / (_ROUNDS * max(1, targets)))
    return max(_SHORTEST_BLOCK_NS, min(_BLOCK_NS, room_ns))


class Rounds(NamedTuple):
    """The medians of the blocks of several targets, `medians_ns[target][round]`, of complete rounds."""

    medians_ns: tuple[tuple[int, ...], ...]
    discarded_calls: int
    stop_reason: str


def interleave(
    targets: tuple[Measurable, ...],
    *,
    max_duration: float,
    ci: float = 0.01,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    progress: Progress | None = None,
) -> Rounds:
    """Runs several targets in blocks until the intervals of their ratios to the first are within `ci`."""
    native = [as_target(target) for target in targets]
    budget_ns = to_ns("max_duration", max_duration)
    block_ns = block_length_ns(budget_ns, len(native))
    plan = _core.SchedulePlan(
        min_block_ns=block_ns,
        max_jitter_ns=min(_JITTER_NS, block_ns // 4),
        max_duration_ns=budget_ns,
        relative_half_width=ci,
        confidence=confidence,
        seed=seed,
    )
    outcome = _core.interleave(native, plan, [_core.Samples() for _ in native], progress=progress)
    medians: list[list[int]] = [[0] * outcome.rounds for _ in native]
    for block in outcome.blocks:
        medians[block.target][block.round] = block.median_ns
    discarded = sum(block.discarded for block in outcome.blocks)
    return Rounds(tuple(map(tuple, medians)), discarded, outcome.reason)


def ratio_interval(first: Samples, second: Samples) -> Interval:
    """What the ratio of two medians can be, from the interval of each, or from its extremes where it has none."""
    low, high = first.interval_ns or (first.estimates.min_ns, first.estimates.max_ns)
    other_low, other_high = second.interval_ns or (second.estimates.min_ns, second.estimates.max_ns)
    return max(1.0, low) / max(1.0, other_high), max(1.0, high) / max(1.0, other_low)
