# SPDX-License-Identifier: Apache-2.0
"""What disturbs samples that keep their level: drift and two modes. See periodic.py for what comes back in time.

Pure functions over int64 arrays of nanoseconds, in the order of measuring. Each finds something in less than about one
of a hundred arrays of steady noise, be it heavy-tailed or dependent, and tells only what exceeds the margin. Dependent
means autoregressive with a coefficient of up to 0.8: of 30 samples at 0.95, drift is found in four of a hundred.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pyperf_infer.statistics.change_points import (
    MOST_RANKED,
    autoregression,
    block_means,
    log_ratio,
    normal_scores,
    order_for,
    thinned,
)
from pyperf_infer.statistics.compare import MARGIN
from pyperf_infer.statistics.dependence import dependence_at
from pyperf_infer.statistics.dip import dip
from pyperf_infer.statistics.samples import as_samples

if TYPE_CHECKING:
    from pyperf_infer.statistics.change_points import Scores
    from pyperf_infer.statistics.samples import Nanoseconds

FEWEST = 30
DRIFT_EVIDENCE = 12.0  # twice the log-likelihood ratio; far beyond chi-squared's, as weights are estimated
DRIFT_BLOCKS = 200
MODE_SHARE = 0.1
# Of sqrt(independent samples) * dip; 0.62 is exceeded by 1% of uniform samples, by far less of bell-shaped ones.
DIP_BOUND = 0.70
DIP_VALUES = 1000
DIP_COUNT = 10_000  # at most


class Modes(NamedTuple):
    """Medians of the two groups that samples fall into, and the share of the slower one."""

    fast_ns: float
    slow_ns: float
    slow_share: float


def drift(samples_ns: Nanoseconds, *, tolerance: float = MARGIN) -> float | None:
    """By how much times grow from the first sample to the last, relative to their median; below 0 where they shrink.

    Theil and Sen's slope of medians of blocks. None where it is within `tolerance`, or where an autoregression explains
    the samples as well without a slope.

    Raises:
        ValueError: not samples (`as_samples`).
    """
    samples_ns = as_samples(samples_ns)
    count = int(samples_ns.size)
    median = float(np.median(samples_ns))
    if count < FEWEST or median <= 0 or int(samples_ns.min()) == int(samples_ns.max()):
        return None
    group = -(-count // DRIFT_BLOCKS)
    medians = np.median(samples_ns[: count // group * group].reshape(-1, group), axis=1)
    first, second = np.triu_indices(medians.size, 1)
    slope = float(np.median((medians[second] - medians[first]) / (second - first)))
    size = slope * medians.size / median
    if abs(size) <= tolerance:
        return None
    means, _ = block_means(normal_scores(thinned(samples_ns)[0]), 2 * DRIFT_BLOCKS)
    return size if _trend_evidence(means) > DRIFT_EVIDENCE else None


def _trend_evidence(means: Scores) -> float:
    centred = means - means.mean()
    line = np.arange(means.size) - (means.size - 1) / 2
    rest = centred - line * float(line @ centred) / float(line @ line)
    order = order_for(means.size)
    return log_ratio(autoregression(centred, order)[1], autoregression(rest, order)[1], means.size - order)


def two_modes(samples_ns: Nanoseconds, *, clock_step_ns: int = 1, tolerance: float = MARGIN) -> Modes | None:
    """The two groups of samples, where there are two with a tenth of the samples each and hardly any between them.

    Hartigan's dip decides, which finds none in skewed or heavy-tailed samples with one mode. Samples are spread evenly
    over a step of the clock first, be it the one given or a coarser one that they show. None also where the modes are
    within `tolerance` of each other, or within 3 steps.

    Raises:
        ValueError: not samples (`as_samples`).
    """
    samples_ns = as_samples(samples_ns)
    count = int(samples_ns.size)
    if count < FEWEST or int(samples_ns.min()) == int(samples_ns.max()):
        return None
    ordered = np.sort(samples_ns[:: -(-count // MOST_RANKED)])
    count = int(ordered.size)
    steps = np.diff(ordered)
    step = max(clock_step_ns, int(np.gcd.reduce(steps[steps > 0])))
    spread = np.random.default_rng(count).random(count) - 0.5
    values = np.sort(ordered + step * spread)
    if count > DIP_VALUES:
        values = values[np.linspace(0, count - 1, DIP_VALUES).round().astype(np.int64)]
    dependence = dependence_at(samples_ns[:MOST_RANKED], int(ordered[(count - 1) // 2]))
    distance = dip(np.unique(values)) - (1 / (2 * values.size) if count > values.size else 0)
    if math.sqrt(min(count / dependence, DIP_COUNT)) * distance <= DIP_BOUND:
        return None
    return _split(ordered, values, step, tolerance)


def _split(ordered: Nanoseconds, values: Scores, step: int, tolerance: float) -> Modes | None:
    inner = values[values.size // 100 : values.size - values.size // 100]  # outliers must not draw the split
    below = np.arange(1, inner.size)
    sums = np.cumsum(inner)[:-1]
    # Otsu's: the split with the largest variance between both sides.
    between = (sums / below - (inner.sum() - sums) / (inner.size - below)) ** 2 * below * (inner.size - below)
    at = int(np.argmax(between))
    split = (inner[at] + inner[at + 1]) / 2
    border = int(np.searchsorted(ordered, split))
    share = 1 - border / ordered.size
    if not MODE_SHARE <= share <= 1 - MODE_SHARE:
        return None
    fast, slow = float(np.median(ordered[:border])), float(np.median(ordered[border:]))
    if slow - fast < 3 * step or slow - fast <= tolerance * fast:
        return None
    third = (slow - fast) / 3
    between_modes = np.searchsorted(ordered, [fast + third, slow - third])
    if (between_modes[1] - between_modes[0]) / ordered.size > min(share, 1 - share) / 2:
        return None
    return Modes(fast, slow, share)
