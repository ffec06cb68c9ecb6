# SPDX-License-Identifier: Apache-2.0
"""How often the intervals of median and percentiles cover the truth, where it is known: on made samples.

The stop rule is part of it. A measurement ends when its interval is narrow, and an interval that was waited for could
cover less than one of a count that was fixed before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from pyperf_infer import _core
from pyperf_infer.statistics.estimate import estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

Draw: TypeAlias = "Callable[[np.random.Generator, int, int], NDArray[np.float64]]"  # generator, rows, samples a row

MEDIAN_NS = 1_000_000  # 1 ms: so many steps of a nanosecond that rounding to them does not show
PERCENTILES = (50.0, 90.0, 95.0, 99.0)
# The stop rule may look from here on: p99 has an interval from 368 independent samples on, dependent ones need more.
FEWEST_SAMPLES = 400
_MOST_SAMPLES = 3_000
_CHUNK = 100  # trials drawn at once: some megabytes
_AR_COEFFICIENT = 0.5
_AR_SAMPLES = 4_000  # at most


class Distribution(NamedTuple):
    """Where made samples come from. `quantile` gives the true value in nanoseconds at a share of 0 to 1."""

    name: str
    about: str
    draw: Draw
    quantile: Callable[[float], float]
    half_width: float  # relative, of the median's interval at about twice the fewest samples: where to stop
    fewest_samples: int = FEWEST_SAMPLES
    most_samples: int = _MOST_SAMPLES


class Coverage(NamedTuple):
    """Of `trials` intervals of one percentile, `covering` hold the true value; `refused` trials had no interval.

    `exact_share` is the mean over the trials of what the binomial distribution says that the very ranks used cover: of
    a count fixed before, and of the effective count where samples depend on one another. It is above the confidence
    because ranks are whole numbers. `mean_count` is how many samples the stop rule took.
    """

    distribution: str
    percent: float
    trials: int
    covering: int
    refused: int
    exact_share: float
    mean_count: float

    @property
    def share_covering(self) -> float:
        return self.covering / self.trials


def coverage_of(
    distribution: Distribution,
    *,
    trials: int,
    plan: _core.StopPlan | None = None,
    percentiles: Sequence[float] = PERCENTILES,
    seed: int = 42,
    between: Callable[[int], object] | None = None,
) -> list[Coverage]:
    """Draws `trials` samples, stops each where the stop rule does, and asks whether the intervals cover the truth.

    Args:
        plan: of the stop rule; `plan_of(distribution)` where it is not given. Its confidence is that of the intervals.
        between: called between trials, with how many are done.

    Raises:
        ValueError: no trials, or a percentile of which no trial had an interval.
    """
    if trials < 1:
        raise ValueError("coverage takes at least one trial")
    plan = plan or plan_of(distribution)
    generator = np.random.default_rng(seed)
    tallies = {percent: _Tally(distribution.quantile(percent / 100)) for percent in percentiles}
    counts = 0
    for first in range(0, trials, _CHUNK):
        rows = distribution.draw(generator, min(_CHUNK, trials - first), plan.max_samples)
        for number, row in enumerate(np.rint(rows).astype(np.int64), start=first):
            if between is not None:
                between(number)
            taken = row[: _core.replay_stop_rule(row, plan).count]
            counts += taken.size
            found = estimate(taken, percentiles=percentiles, confidence=plan.confidence)
            intervals = {one.percent: one.interval_ns for one in found.percentiles} | {50.0: found.p50_interval_ns}
            for percent, tally in tallies.items():
                tally.add(taken, intervals[percent], percent / 100, plan.confidence)
    return [tally.coverage(distribution.name, percent, counts / trials) for percent, tally in tallies.items()]


def plan_of(distribution: Distribution, confidence: float = 0.95) -> _core.StopPlan:
    """A stop rule that looks several times before it stops, at counts that carry all of `PERCENTILES`."""
    return _core.StopPlan(
        min_samples=distribution.fewest_samples,
        max_samples=distribution.most_samples,
        min_duration_ns=0,
        max_duration_ns=10**18,
        relative_half_width=distribution.half_width,
        confidence=confidence,
    )


class _Tally:
    def __init__(self, truth_ns: float) -> None:
        self._truth_ns = round(truth_ns)  # as the samples are
        self._covering = self._refused = 0
        self._exact: list[float] = []

    def add(
        self, taken: NDArray[np.int64], interval: tuple[float, float] | None, quantile: float, confidence: float
    ) -> None:
        if interval is None:
            self._refused += 1
            return
        self._covering += interval[0] <= self._truth_ns <= interval[1]
        self._exact.append(_exact_share(taken, quantile, confidence))

    def coverage(self, name: str, percent: float, mean_count: float) -> Coverage:
        if not self._exact:
            raise ValueError(f"no sample of {name} carries an interval of p{percent:g}: let the plan take more")
        share = math.fsum(self._exact) / len(self._exact)
        return Coverage(name, percent, len(self._exact), self._covering, self._refused, share, mean_count)


def _exact_share(taken: NDArray[np.int64], quantile: float, confidence: float) -> float:
    """P(lower <= X < upper) for X ~ binomial(n, quantile): that many samples lie below the true value."""
    rank = _core.quantile_rank(taken.size, quantile) - 1
    dependence = _core.dependence_at(taken, int(np.partition(taken, rank)[rank]))
    effective = max(1, int(taken.size / dependence))
    ranks = _core.quantile_ranks(effective, quantile, confidence)
    assert ranks is not None  # noqa: S101  there was an interval
    return _binomial_between(effective, quantile, *ranks)


_KNOWN: dict[tuple[int, float, int, int], float] = {}  # trials stop at a few counts only


def _binomial_between(count: int, share: float, low: int, high: int) -> float:
    key = (count, share, low, high)
    if key not in _KNOWN:
        hits = range(low, high)
        log_all = math.lgamma(count + 1)
        _KNOWN[key] = math.fsum(
            math.exp(
                log_all
                - math.lgamma(hit + 1)
                - math.lgamma(count - hit + 1)
                + hit * math.log(share)
                + (count - hit) * math.log1p(-share)
            )
            for hit in hits
        )
    return _KNOWN[key]


_STANDARD = NormalDist()


def _normal(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
    return MEDIAN_NS * (1 + 0.05 * generator.standard_normal((rows, count)))


def _log_normal(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = MEDIAN_NS * np.exp(0.3 * generator.standard_normal((rows, count)))
    return drawn


def _two_modes(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
    slow = generator.random((rows, count)) < _SLOW_SHARE
    centres = np.where(slow, _SLOW, 1.0)
    return MEDIAN_NS * (centres + _MODE_SPREAD * generator.standard_normal((rows, count)))


_SLOW, _SLOW_SHARE, _MODE_SPREAD = 1.2, 0.3, 0.02


def _two_modes_quantile(share: float) -> float:
    fast, slow = NormalDist(1.0, _MODE_SPREAD), NormalDist(_SLOW, _MODE_SPREAD)
    low, high = 0.5, 2.0
    for _ in range(100):  # bisection down to what a float can hold
        middle = (low + high) / 2
        below = (1 - _SLOW_SHARE) * fast.cdf(middle) + _SLOW_SHARE * slow.cdf(middle)
        low, high = (middle, high) if below < share else (low, middle)
    return MEDIAN_NS * low


def _autoregressive(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
    """Each value is the coefficient times the one before it plus noise; standard normal by itself, from the first."""
    drawn = generator.standard_normal((count, rows))
    fresh = math.sqrt(1 - _AR_COEFFICIENT**2)
    for at in range(1, count):
        drawn[at] = _AR_COEFFICIENT * drawn[at - 1] + fresh * drawn[at]
    return MEDIAN_NS * (1 + 0.05 * drawn.T)


DISTRIBUTIONS = (
    Distribution(
        "normal",
        "standard deviation 5%",
        _normal,
        lambda share: MEDIAN_NS * (1 + 0.05 * _STANDARD.inv_cdf(share)),
        0.0043,
    ),
    Distribution(
        "log-normal",
        "of the logarithm 0.3",
        _log_normal,
        lambda share: MEDIAN_NS * math.exp(0.3 * _STANDARD.inv_cdf(share)),
        0.026,
    ),
    Distribution(
        "two modes",
        f"{_SLOW_SHARE:.0%} of the samples {_SLOW - 1:.0%} slower, each mode with {_MODE_SPREAD:.0%}",
        _two_modes,
        _two_modes_quantile,
        0.0026,
    ),
    Distribution(
        "AR(1)",
        f"coefficient {_AR_COEFFICIENT:g}, standard deviation 5%, at most {_AR_SAMPLES} samples",
        _autoregressive,
        lambda share: MEDIAN_NS * (1 + 0.05 * _STANDARD.inv_cdf(share)),
        0.004,
        fewest_samples=1_500,
        most_samples=_AR_SAMPLES,
    ),
)
