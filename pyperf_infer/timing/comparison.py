# SPDX-License-Identifier: Apache-2.0
"""Several targets, measured in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import perf_counter_ns
from typing import TYPE_CHECKING, NamedTuple

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.statistics.alone import alone_hull
from pyperf_infer.statistics.compare import MARGIN, ClockLimits, Interval, Verdict, compare_all_rounds
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.timing.measurement import Measurement
from pyperf_infer.timing.target import Measurable, Progress, as_target, garbage_collection, to_ns

if TYPE_CHECKING:
    from pyperf_infer.timing.samples import Samples

# Of the budget of a comparison: each target alone before and after, the rest interleaved. Before, half of it warms up.
_SHARE_BEFORE, _SHARE_AFTER = 0.1, 0.04
# A block, and the jitter before it: as long as thread pools need to come to rest, and as the longest timer tick. Where
# the budget has no room for this many rounds of such blocks, both are shorter. What disturbs a shared machine comes and
# goes within tens of milliseconds: of the same second, many short rounds told two equal things from unequal ones ten
# times as finely as few long ones.
_BLOCK_NS, _JITTER_NS = 100_000_000, 10_000_000
_SHORTEST_BLOCK_NS = 1_000_000
_ROUNDS = 64
_SHARE_IN_BLOCKS = 0.6  # the rest is jitter, blocks that are stretched, and calls thrown away after a switch
# Calls in a block: fewer only where there would be fewer rounds than these otherwise.
_CALLS, _FEWEST_CALLS, _ROUNDS_OF_CALLS = 10, 3, 24
_DISCARDED_CALLS = 3  # in each block, of calls that take a millisecond or more
_MOST_ALONE = 100_000  # samples of a stretch: more say nothing that matters, and take time to be looked at
_SHARE_IN_CALLS = 0.8  # kept and discarded; the rest is jitter


class Comparison(NamedTuple):
    """What `compare` found: `ratio` is the time of f over that of g, so that above 1 g is faster.

    `verdict` speaks of g: "faster", "slower", "same" (within the margin) or "undecided", with the `reason`. `interval`
    is the ratio's at `confidence`. `converged` says whether it became as narrow as was asked within the budget;
    `needed_duration_s` is what that would have taken, as far as one can tell (None where it did, or nothing tells).
    `alone` has the samples of f and of g when each ran alone; `discarded_calls` were thrown away after switching.
    """

    ratio: float
    interval: Interval | None
    verdict: Verdict
    reason: str | None
    rounds: int
    discarded_calls: int
    alone: tuple[Samples, Samples]
    confidence: float
    converged: bool
    needed_duration_s: float | None


def compare(
    f: Measurable,
    g: Measurable,
    *,
    max_duration: float = 10.0,
    ci: float | None = None,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    collect_garbage: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Compares two callables or targets in one process, within `max_duration` seconds in all.

    Each runs alone first, then both in blocks of at least 10 calls and 100 ms, in an order drawn anew in every round,
    then each alone once more; blocks are shorter where the budget has no room
    for 64 rounds of them. It stops early
    when the half-width of the ratio's interval is within `ci` (half the margin unless given), whatever the ratio. Calls
    so slow that the budget holds but a few take longer: each is called six times at least.

    Raises:
        UsageError, TypeError: as `measure`. What the callables raise.
    """
    (found,) = compare_all(
        f,
        g,
        max_duration=max_duration,
        ci=ci,
        margin=margin,
        confidence=confidence,
        seed=seed,
        collect_garbage=collect_garbage,
        progress=progress,
    )
    return found


def compare_all(
    baseline: Measurable,
    *contenders: Measurable,
    max_duration: float = 10.0,
    ci: float | None = None,
    margin: float = MARGIN,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    collect_garbage: bool = False,
    progress: Progress | None = None,
) -> tuple[Comparison, ...]:
    """Compares each contender with the baseline, all in turn in one process: as `compare`, one result a contender.

    Verdicts are corrected for the number of contenders (Holm), so that all that are decided hold together with
    `confidence`; the interval of each is at the higher confidence that this took.

    Raises:
        UsageError: no contender, or as `measure`. TypeError, what the callables raise: as `measure`.
    """
    if not (margin > 0 and math.isfinite(margin)):
        raise UsageError("the margin is a positive share, such as 0.01")
    if not contenders:
        raise UsageError("there is nothing to compare with; name a second target")
    ci = margin / 2 if ci is None else ci
    to_ns("max_duration", max_duration)  # refused by its own name
    targets = [as_target(one) for one in (baseline, *contenders)]
    # Two targets take 2 x 14%: more of them share that.
    each = max_duration * 2 / len(targets)
    stretches: list[list[Samples]] = [[], []]

    def alone(share: float, warmup_share: float) -> list[Samples]:
        found = []
        for one in targets:
            measurement = Measurement(
                one,
                duration=share * each,
                max_duration=share * each,
                ci=ci,
                confidence=confidence,
                max_samples=_MOST_ALONE,
            )
            measurement.warm_up(budget=warmup_share * each, progress=progress)
            found.append(measurement.run(batched=False, progress=progress))
        return found

    with garbage_collection(collect_garbage):
        begin_ns = perf_counter_ns()
        stretches[0] = alone(_SHARE_BEFORE / 2, _SHARE_BEFORE / 2)
        spent_s = (perf_counter_ns() - begin_ns) / 1e9
        rounds = interleave(
            targets,
            max_duration=max(0.0, max_duration - spent_s - _SHARE_AFTER * each * len(targets)),
            ci=ci,
            confidence=confidence,
            seed=seed,
            progress=progress,
            call_ns=[one.median_ns for one in stretches[0]],
        )
        stretches[1] = alone(_SHARE_AFTER, 0.0)
    first, *others = zip(*stretches, strict=True)
    needed_s = rounds.needed_duration_s
    if needed_s is not None:  # of the whole, with the stretches alone
        needed_s /= 1 - 2 * (_SHARE_BEFORE + _SHARE_AFTER)
    found = compare_all_rounds(
        rounds.medians_ns,
        alone=[alone_hull(*map(ratio_interval, first, other)) for other in others],
        clocks=[ClockLimits.of(one) for one in stretches[0]],
        margin=margin,
        confidence=confidence,
    )
    return tuple(
        Comparison(
            one.ratio,
            one.interval,
            one.verdict,
            one.reason,
            one.rounds,
            rounds.discarded_calls,
            (first[0], other[0]),
            one.confidence,
            rounds.converged and is_within(one.interval, ci),
            needed_s,
        )
        for one, other in zip(found, others, strict=True)
    )


def block_length_ns(budget_ns: int, targets: int) -> int:
    """How long a block is at least, so that the budget has room for rounds enough to judge."""
    room_ns = round(_SHARE_IN_BLOCKS * budget_ns / (_ROUNDS * max(1, targets)))
    return max(_SHORTEST_BLOCK_NS, min(_BLOCK_NS, room_ns))


def calls_in_block(budget_ns: int, call_ns: Sequence[float]) -> int:
    """How many calls a block has at least: ten, or what leaves the budget room for two dozen rounds, but three."""
    in_round = _SHARE_IN_CALLS * budget_ns / _ROUNDS_OF_CALLS / max(1.0, sum(call_ns))
    return max(_FEWEST_CALLS, min(_CALLS, int(in_round) - _DISCARDED_CALLS))


class Rounds(NamedTuple):
    """The medians of the blocks of several targets, `medians_ns[target][round]`, of complete rounds.

    `needed_duration_s` is what reaching the asked width would have taken, from the width at the end; None where it was
    reached, or too few rounds tell.
    """

    medians_ns: tuple[tuple[int, ...], ...]
    discarded_calls: int
    stop_reason: str
    needed_duration_s: float | None = None

    @property
    def converged(self) -> bool:
        return self.stop_reason == "converged"


def interleave(
    targets: Sequence[Measurable],
    *,
    max_duration: float,
    ci: float = MARGIN / 2,
    confidence: float = CONFIDENCE,
    seed: int = 42,
    progress: Progress | None = None,
    call_ns: Sequence[float] = (),
) -> Rounds:
    """Runs several targets in blocks until the intervals of their ratios to the first are within `ci`.

    `call_ns` is about what a call of each takes, where that is known: blocks of ten long calls leave room for few
    rounds, and are shorter then.
    With several contenders these are the intervals at the highest confidence that correcting for them may ask for.
    """
    native = [as_target(target) for target in targets]
    budget_ns = to_ns("max_duration", max_duration)
    block_ns = block_length_ns(budget_ns, len(native))
    plan = _core.SchedulePlan(
        min_block_calls=calls_in_block(budget_ns, call_ns),
        min_block_ns=block_ns,
        max_jitter_ns=min(_JITTER_NS, block_ns // 4),
        max_duration_ns=budget_ns,
        relative_half_width=ci,
        confidence=1 - (1 - confidence) / max(1, len(native) - 1),
        seed=seed,
    )
    outcome = _core.interleave(native, plan, [_core.Samples() for _ in native], progress=progress)
    medians: list[list[int]] = [[0] * outcome.rounds for _ in native]
    for block in outcome.blocks:
        medians[block.target][block.round] = block.median_ns
    discarded = sum(block.discarded for block in outcome.blocks)
    needed_s = None
    if outcome.reason != "converged" and outcome.half_width is not None:
        needed_s = outcome.duration_ns / 1e9 * (outcome.half_width / ci) ** 2
    return Rounds(tuple(map(tuple, medians)), discarded, outcome.reason, needed_s)


def is_within(interval: Interval | None, ci: float) -> bool:
    """Whether half the width of a ratio's interval is at most `ci`, on the scale of logarithms as in the loop."""
    return interval is not None and math.log(interval[1] / interval[0]) / 2 <= ci * (1 + 1e-6)


def ratio_interval(first: Samples, second: Samples) -> Interval:
    """What the ratio of two medians can be, from the interval of each, or from its extremes where it has none."""
    low, high = first.interval_ns or (first.estimates.min_ns, first.estimates.max_ns)
    other_low, other_high = second.interval_ns or (second.estimates.min_ns, second.estimates.max_ns)
    return max(1.0, low) / max(1.0, other_high), max(1.0, high) / max(1.0, other_low)
