# SPDX-License-Identifier: Apache-2.0
"""Whether samples keep their level, from when on, and which levels they had before.

The classes are those of Barrett et al., Virtual Machine Warmup Blows Hot and Cold (OOPSLA 2017), with its quarter: the
level that lasts to the end has to hold at least that share of the samples.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from pyperf_infer import _core
from pyperf_infer.statistics.change_points import (
    MOST_BLOCKS,
    autoregression,
    block_means,
    change_points,
    normal_scores,
    order_for,
    thinned,
)
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.dependence import dependence_at
from pyperf_infer.statistics.estimate import CONFIDENCE
from pyperf_infer.statistics.samples import as_samples

if TYPE_CHECKING:
    from pyperf_infer.statistics.samples import Nanoseconds

Status = Literal["steady", "warming up", "never steady", "too few samples"]

FEWEST = 30
LASTING_SHARE = 0.25  # Barrett et al.: the last 500 of 2000
# Samples in a row off a level that goes on behind them: outliers, up to the larger of a number and a share. At the very
# end, where nobody knows how it would go on, they are no more than this share besides.
EXCURSION = 10
EXCURSION_SHARE = 0.02
EXCURSION_SHARE_AT_END = 0.05
# A level wanders where so many samples say as much as one independent one, and fewer than so many of those are left.
WANDERING_DEPENDENCE = 30.0
WANDERING_COUNT = 32.0


class Level(NamedTuple):
    """Samples in a row between two changes of level."""

    begin: int
    length: int
    median_ns: float


class Steadiness(NamedTuple):
    """`steady_from` is the first sample of the level that lasts to the end, None where there is none or nobody can say.

    `levels` has every level that was found, also those that count as one. `step` is how far the level before
    `steady_from` is from the lasting one, relative to that, above 0 where it was slower; where none lasts, how far the
    highest level is above the lowest. None where all is one level.
    """

    status: Status
    steady_from: int | None
    levels: tuple[Level, ...]
    step: float | None


def examine(samples_ns: Nanoseconds, *, tolerance: float = MARGIN) -> Steadiness:
    """What the changes of level say of samples in the order they were measured.

    Levels whose medians are within `tolerance` of each other (a share), or within their own uncertainty, count as one;
    a short excursion from one counts as outliers, at the very end too.

    - "steady": one level.
    - "warming up": other levels at the beginning, then one that holds at least a quarter of the samples.
    - "never steady": no such level.
    - "too few samples": below 30.

    Raises:
        ValueError: not samples (`as_samples`), or a tolerance below 0.
    """
    samples_ns = as_samples(samples_ns)
    if not tolerance >= 0:
        raise ValueError(f"a tolerance is not below 0: {tolerance}")
    count = int(samples_ns.size)
    if count < FEWEST:
        return Steadiness("too few samples", None, (_level(samples_ns, 0, count),), None)
    edges = [0, *change_points(samples_ns), count]
    levels = tuple(_level(samples_ns, begin, end) for begin, end in pairwise(edges))
    steady_from = levels[_first_of_last(samples_ns, levels, tolerance)].begin
    step = _step(levels, steady_from)
    if count - steady_from < LASTING_SHARE * count:
        return Steadiness("never steady", None, levels, _spread(levels))
    if _wanders(samples_ns[steady_from:], tolerance):
        return Steadiness("never steady", None, levels, _spread_of_quarters(samples_ns[steady_from:]))
    return Steadiness("warming up" if steady_from else "steady", steady_from, levels, step)


def end_of_warmup(
    warmup_ns: Nanoseconds, samples_ns: Nanoseconds, *, calls: int | None = None, tolerance: float = MARGIN
) -> int | None:
    """Calls after which no change of level was found in the warm-up and the measured samples together.

    0 where the first call was as all others; None where no level lasts to the end, and where too few samples tell.
    `calls` is how many the warm-up had, where `warmup_ns` are the first of them only.

    Raises:
        ValueError: `samples_ns` or a `warmup_ns` that is not empty are no samples (`as_samples`), or fewer `calls`.
    """
    samples_ns = as_samples(samples_ns)
    kept = np.asarray(warmup_ns).size
    if calls is not None and calls < kept:
        raise ValueError(f"a warm-up of {calls} calls cannot have {kept} samples")
    together = np.concatenate((as_samples(warmup_ns), samples_ns)) if kept else samples_ns
    steady_from = examine(together, tolerance=tolerance).steady_from
    if steady_from is None or calls is None or steady_from <= kept:
        return steady_from
    return steady_from + calls - kept


def _level(samples_ns: Nanoseconds, begin: int, end: int) -> Level:
    middle = (end - begin - 1) // 2
    return Level(begin, end - begin, float(np.partition(samples_ns[begin:end], middle)[middle]))


def _first_of_last(samples_ns: Nanoseconds, levels: tuple[Level, ...], tolerance: float) -> int:
    """Number of the level from which on all are the last one's, excursions aside."""
    longest_excursion = max(EXCURSION, EXCURSION_SHARE * samples_ns.size)
    last = first = number = _last_but_for_an_excursion(samples_ns.size, levels, longest_excursion)
    off = 0
    while number > 0:
        number -= 1
        level = levels[number]
        if _alike(samples_ns, level, levels[last], tolerance):
            first, off = number, 0
        else:
            off += level.length
            if off > longest_excursion:
                break
    return first


def _last_but_for_an_excursion(count: int, levels: tuple[Level, ...], longest_excursion: float) -> int:
    """Number of the last level, or of the one before what may be an excursion at the very end."""
    longest = min(longest_excursion, EXCURSION_SHARE_AT_END * count)
    number, off = len(levels) - 1, levels[-1].length
    while number > 0 and off <= longest:
        number -= 1
        off += levels[number].length
    return number


def _alike(samples_ns: Nanoseconds, one: Level, other: Level, tolerance: float) -> bool:
    if abs(one.median_ns - other.median_ns) <= tolerance * other.median_ns:
        return True
    low, high = _interval(samples_ns, one)
    other_low, other_high = _interval(samples_ns, other)
    return low <= other_high and other_low <= high


def _interval(samples_ns: Nanoseconds, level: Level) -> tuple[float, float]:
    """Of the level's median; all of its samples where too few support one."""
    samples = samples_ns[level.begin : level.begin + level.length]
    ordered = np.sort(samples)
    dependence = dependence_at(samples, int(level.median_ns))
    low, high = _core.quantile_ranks(level.length, 0.5, CONFIDENCE, dependence) or (1, level.length)
    return float(ordered[low - 1]), float(ordered[high - 1])


def _step(levels: tuple[Level, ...], steady_from: int) -> float | None:
    before = [level for level in levels if level.begin < steady_from]
    lasting = max((level for level in levels if level.begin >= steady_from), key=lambda level: level.length)
    if not before or lasting.median_ns <= 0:
        return None
    return before[-1].median_ns / lasting.median_ns - 1


def _spread(levels: tuple[Level, ...]) -> float | None:
    medians = [level.median_ns for level in levels]
    return max(medians) / min(medians) - 1 if min(medians) > 0 else None


def _quarters(samples_ns: Nanoseconds) -> list[float]:
    return [float(np.median(part)) for part in np.array_split(samples_ns, 4)]


def _spread_of_quarters(samples_ns: Nanoseconds) -> float | None:
    medians = _quarters(samples_ns)
    return max(medians) / min(medians) - 1 if min(medians) > 0 else None


def _wanders(samples_ns: Nanoseconds, tolerance: float) -> bool:
    """Whether there is no level, only a place that changes a little with each sample, as that of a random walk does."""
    spread = _spread_of_quarters(samples_ns)
    if samples_ns.size < FEWEST or spread is None or spread <= tolerance:
        return False
    means, _ = block_means(normal_scores(thinned(samples_ns)[0]), MOST_BLOCKS)
    weights, rest = autoregression(means - means.mean(), order_for(means.size))
    left = max(1e-9, 1 - float(weights.sum()))
    dependence = rest / float(means @ means) / left**2
    few = WANDERING_DEPENDENCE * 100 / means.size  # of which an autoregression's weights are not well known
    return dependence > max(WANDERING_DEPENDENCE, few, means.size / WANDERING_COUNT)
