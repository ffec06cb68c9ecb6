# SPDX-License-Identifier: Apache-2.0
"""How often the intervals of median and percentiles hold the true value: 10,000 made series each of many kinds.

Three ways to end a series: where the stop rule does, looking from 30 samples on with no least duration, which is the
hardest; where it does from 400 on, where p99 has an interval; and at a count that was fixed before. Claims are the
worst of each: the least coverage, and the most above what the binomial distribution itself gives for the ranks used
(of the effective count, where samples depend on one another). A percentile that fewer than half of the series carry
is shown and not judged: those that carry it are no random choice.

It takes some minutes on one core.
"""

from __future__ import annotations

import math
import time
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from common import Claim, Report, parser

from pyperf_infer import _core
from pyperf_infer.selftest.synthetic import (
    DISTRIBUTIONS,
    PERCENTILES,
    Coverage,
    Distribution,
    Draw,
    coverage_of,
    plan_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

TRIALS = 10_000
PROBED = 100
LEAST = 93.0  # percent
MOST_ABOVE = 1.0  # percentage points
FEWEST_GIVEN = 0.5
MEDIAN_NS = 1_000_000
NEVER_NS = 10**18
STANDARD = NormalDist()


class Case(NamedTuple):
    """`judged` is false where a bound cannot hold, and `about` says why."""

    ended: str
    distribution: Distribution
    plan: _core.StopPlan
    judged: bool = True


def made(name: str, about: str, draw: Draw, quantile: Callable[[float], float]) -> Distribution:
    return Distribution(name, about, draw, quantile, half_width=0.01)


def normal(sd: float) -> Distribution:
    return made(
        "normal",
        f"sd {sd:.0%}",
        lambda generator, rows, count: MEDIAN_NS * (1 + sd * generator.standard_normal((rows, count))),
        lambda share: MEDIAN_NS * (1 + sd * STANDARD.inv_cdf(share)),
    )


def log_normal(sigma: float) -> Distribution:
    return made(
        "log-normal",
        f"sigma {sigma:g}",
        lambda generator, rows, count: MEDIAN_NS * np.exp(sigma * generator.standard_normal((rows, count))),
        lambda share: MEDIAN_NS * math.exp(sigma * STANDARD.inv_cdf(share)),
    )


def laplace(scale: float) -> Distribution:
    def quantile(share: float) -> float:
        off = math.log(2 * share) if share < 0.5 else -math.log(2 * (1 - share))
        return MEDIAN_NS * (1 + scale * off)

    def draw(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
        return MEDIAN_NS * (1 + generator.laplace(0, scale, (rows, count)))

    return made("Laplace", f"scale {scale:.0%}", draw, quantile)


def pareto(shape: float, scale: float) -> Distribution:
    """A tail so heavy that a shape of 2 or less has no variance."""

    def draw(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
        return MEDIAN_NS * (1 + scale * generator.pareto(shape, (rows, count)))

    return made(
        "Pareto tail",
        f"shape {shape:g}, scale {scale:.0%}",
        draw,
        lambda share: MEDIAN_NS * (1 + scale * ((1 - share) ** (-1 / shape) - 1)),
    )


def two_modes(fast_share: float, gap: float = 0.3, sd: float = 0.01) -> Distribution:
    fast, slow = NormalDist(1.0, sd), NormalDist(1.0 + gap, sd)

    def quantile(share: float) -> float:
        low, high = 0.5, 2.0 + gap
        for _ in range(100):
            middle = (low + high) / 2
            below = fast_share * fast.cdf(middle) + (1 - fast_share) * slow.cdf(middle)
            low, high = (middle, high) if below < share else (low, middle)
        return MEDIAN_NS * low

    def draw(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
        centres = np.where(generator.random((rows, count)) < fast_share, 1.0, 1.0 + gap)
        return MEDIAN_NS * (centres + sd * generator.standard_normal((rows, count)))

    return made(f"modes {fast_share:.0%}/{1 - fast_share:.0%}", f"{gap:.0%} apart, sd {sd:.0%}", draw, quantile)


def autoregressive(coefficient: float, sd: float) -> Distribution:
    def draw(generator: np.random.Generator, rows: int, count: int) -> NDArray[np.float64]:
        drawn = generator.standard_normal((count, rows))
        fresh = math.sqrt(1 - coefficient**2)
        for at in range(1, count):
            drawn[at] = coefficient * drawn[at - 1] + fresh * drawn[at]
        return MEDIAN_NS * (1 + sd * drawn.T)

    return made(
        f"AR(1) {coefficient:g}",
        f"sd {sd:.0%}",
        draw,
        lambda share: MEDIAN_NS * (1 + sd * STANDARD.inv_cdf(share)),
    )


def coarse(sd: float, step: int) -> Distribution:
    """As a clock whose step is a good part of the spread reads it."""
    smooth = normal(sd)
    return made(
        "coarse clock",
        f"normal, sd {sd:.0%}, read in steps of {step / MEDIAN_NS:.0%}: no interval is narrower than a step",
        lambda generator, rows, count: step * np.rint(smooth.draw(generator, rows, count) / step),
        lambda share: step * math.ceil(smooth.quantile(share) / step - 0.5),
    )


def plan(fewest: int, most: int, *, ci: float = 0.01, quantile: float = 0.5) -> _core.StopPlan:
    return _core.StopPlan(
        min_samples=fewest,
        max_samples=most,
        min_duration_ns=0,
        max_duration_ns=NEVER_NS,
        relative_half_width=ci,
        quantile=quantile,
    )


def cases() -> Iterator[Case]:
    yield from (Case("stop rule, from 400", one, plan_of(one)) for one in DISTRIBUTIONS)
    for one in (
        *(normal(0.02), normal(0.05), log_normal(0.1), laplace(0.05), pareto(2.0, 0.1)),
        *(two_modes(0.5), two_modes(0.55), two_modes(0.7), two_modes(0.9)),
        *(autoregressive(0.3, 0.05), autoregressive(0.5, 0.05), autoregressive(0.8, 0.05)),
    ):
        yield Case("stop rule, from 30", one, plan(30, 4_000))
    yield Case("stop rule of p90, from 30", normal(0.05), plan(30, 4_000, quantile=0.9))
    yield Case("stop rule of p90, from 30", two_modes(0.9), plan(30, 4_000, quantile=0.9))
    yield Case("stop rule of p99, from 30", normal(0.05), plan(30, 6_000, quantile=0.99))
    for count in (100, 1_000):
        yield from (Case(f"fixed {count}", one, plan(count, count)) for one in (normal(0.05), log_normal(0.1)))
        yield from (Case(f"fixed {count}", one, plan(count, count)) for one in (two_modes(0.5), pareto(2.0, 0.1)))
    for count in (300, 1_000, 10_000):
        for coefficient in (0.3, 0.5, 0.8):
            yield Case(f"fixed {count}", autoregressive(coefficient, 0.05), plan(count, count))
    yield Case("stop rule, from 30", coarse(0.03, 20_000), plan(30, 4_000), judged=False)


def say_case(report: Report, case: Case, found: list[Coverage], trials: int) -> list[tuple[Case, Coverage]]:
    """A line a case; the coverages that are held against the bounds."""
    judged = []
    parts = []
    for one in found:
        given = one.trials / trials
        holds = case.judged and given >= FEWEST_GIVEN
        mark = "" if holds else "~"
        some = "" if one.trials == trials else f" in {given:.0%}"
        parts.append(f"p{one.percent:g} {mark}{one.share_covering:.2%} ({one.exact_share:.2%}){some}")
        if holds:
            judged.append((case, one))
    report.say(
        f"{case.ended:25} {case.distribution.name:12} {case.distribution.about}; "
        f"{found[0].mean_count:,.0f} samples: {'; '.join(parts)}"
    )
    return judged


def claim_bounds(report: Report, kind: str, judged: list[tuple[Case, Coverage]]) -> None:
    def named(case: Case, one: Coverage) -> str:
        return f"{case.distribution.name} {case.distribution.about}, p{one.percent:g}, {case.ended}"

    case, least = min(judged, key=lambda pair: pair[1].share_covering)
    report.claim(
        Claim(f"{kind}: least coverage ({named(case, least)})", 100 * least.share_covering, LEAST, False, unit="%")
    )
    case, most = max(judged, key=lambda pair: pair[1].share_covering - pair[1].exact_share)
    above = 100 * (most.share_covering - most.exact_share)
    report.claim(
        Claim(f"{kind}: most above the binomial's own ({named(case, most)})", above, MOST_ABOVE, unit="points")
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=TRIALS, help="series a case")
    given = options.parse_args()
    report = Report("interval_coverage")
    report.say(
        f"{given.trials:,} series a case, intervals at 95%; in brackets what the binomial gives for the ranks used"
    )
    report.say("~: not judged, since fewer than half of the series carry it, or the line says why")
    judged: list[tuple[Case, Coverage]] = []
    begin = time.perf_counter()
    for number, case in enumerate(cases()):
        found = coverages(case, given.trials, seed=number)
        judged += say_case(report, case, found, given.trials)
    report.say(f"{time.perf_counter() - begin:.0f} s")
    with_rule = [pair for pair in judged if pair[0].ended.startswith("stop rule")]
    claim_bounds(report, "stop rule included", with_rule)
    claim_bounds(report, "fixed count", [pair for pair in judged if pair not in with_rule])
    return report.finish(given.record)


def coverages(case: Case, trials: int, seed: int) -> list[Coverage]:
    """Of the percentiles that some series carry, as a few of them tell."""

    def ask(trials: int, percentiles: tuple[float, ...]) -> list[Coverage]:
        return coverage_of(case.distribution, trials=trials, plan=case.plan, percentiles=percentiles, seed=seed)

    def carried(percent: float) -> bool:
        try:
            return bool(ask(PROBED, (percent,)))
        except ValueError:
            return False

    return ask(trials, tuple(percent for percent in PERCENTILES if carried(percent)))


if __name__ == "__main__":
    raise SystemExit(main())
