# SPDX-License-Identifier: Apache-2.0
"""What the statistics cost: all of them over 100,000 samples, and the stop rule's looks within a measurement.

The first is what a result of that many samples waits for, once, after measuring: estimates with every percentile,
steadiness, drift, two modes and periodic jitter. The second is the share of a measurement's wall time that went into
looking, for calls of no time up to a millisecond, as the native loop itself counted it.
"""

from __future__ import annotations

import math
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from common import Claim, Report, parser

from pyperf_infer import _core
from pyperf_infer.statistics.estimate import estimate
from pyperf_infer.statistics.periodic import periodic
from pyperf_infer.statistics.shape import drift, two_modes
from pyperf_infer.statistics.steady import examine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

COUNT = 100_000
PASSES = 5
MOST_S = 0.5
MOST_SHARE = 1.0  # percent
PERCENTILES = (1.0, 5.0, 10.0, 25.0, 75.0, 90.0, 95.0, 99.0, 99.9)
MOST_SAMPLES = 10_000_000
MEDIAN_NS = 1_000_000


class Part(NamedTuple):
    name: str
    run: Callable[[NDArray[np.int64]], object]


PARTS = (
    Part("estimate", lambda samples: estimate(samples, percentiles=PERCENTILES)),
    Part("steadiness", examine),
    Part("drift", drift),
    Part("two modes", two_modes),
    Part("periodic", periodic),
)


def series() -> dict[str, NDArray[np.int64]]:
    """Of the kinds that cost unlike: plain, heavy-tailed, dependent, and with a step from one level to another."""
    generator = np.random.default_rng(42)
    plain = generator.standard_normal(COUNT)
    heavy = generator.pareto(2.0, COUNT)
    dependent = np.empty(COUNT)
    state, coefficient = 0.0, 0.95
    for at, fresh in enumerate(generator.standard_normal(COUNT) * math.sqrt(1 - coefficient**2)):
        state = coefficient * state + fresh
        dependent[at] = state
    stepped = np.where(np.arange(COUNT) < COUNT // 3, 1.1, 1.0) + 0.01 * plain
    kinds = {
        "normal, sd 5%": 1 + 0.05 * plain,
        "Pareto tail, shape 2": 1 + 0.1 * heavy,
        "AR(1) 0.95, sd 5%": 1 + 0.05 * dependent,
        "a step of 10% after a third": stepped,
    }
    return {name: np.rint(MEDIAN_NS * values).astype(np.int64) for name, values in kinds.items()}


def cost_s(samples: NDArray[np.int64], part: Part) -> float:
    """The median of some passes; the first of all imported what is needed, and does not count."""
    taken = []
    for _ in range(PASSES):
        begin = time.perf_counter()
        part.run(samples)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def say_costs(report: Report) -> None:
    worst = 0.0
    for name, samples in series().items():
        for part in PARTS:
            part.run(samples)
        costs = {part.name: cost_s(samples, part) for part in PARTS}
        whole = sum(costs.values())
        worst = max(worst, whole)
        listed = ", ".join(f"{part} {cost:.3f}" for part, cost in costs.items())
        report.say(f"{COUNT:,} samples, {name}: {whole:.3f} s ({listed})")
    report.claim(Claim(f"all statistics of {COUNT:,} samples, the slowest kind", worst, MOST_S, unit="s"))


def steps_of(duration_ns: float) -> int:
    """Of `SpinTarget` for calls of about that length."""
    tried = 1_000_000
    per_step_ns = statistics.median(_core.run_batched(_core.SpinTarget(tried), 1) for _ in range(5)) / tried
    return max(1, round(duration_ns / per_step_ns))


def share_of_looks(target: _core.Target, plan: _core.StopPlan) -> tuple[float, _core.MeasureOutcome, int]:
    """Percent of the wall time from beginning to end."""
    samples = _core.Samples()
    begin_ns = time.perf_counter_ns()
    outcome = _core.measure(target, plan, samples)
    taken_ns = time.perf_counter_ns() - begin_ns
    return 100 * outcome.looks_ns / taken_ns, outcome, len(samples.ns)


def say_looks(report: Report, seconds: float) -> None:
    """Each with an interval that cannot be reached, so that it looks until the end, and with the one of 1%."""
    targets: list[tuple[str, _core.Target]] = [("nothing", _core.NoopTarget())]
    targets += [
        (name, _core.SpinTarget(steps_of(ns)))
        for name, ns in (("100 ns", 100), ("1 us", 1_000), ("100 us", 100_000), ("1 ms", 1_000_000))
    ]
    worst = 0.0
    for name, target in targets:
        for ci in (1e-9, 0.01):
            plan = _core.StopPlan(
                max_samples=MOST_SAMPLES,
                min_duration_ns=round(min(1.0, seconds) * 1e9),
                max_duration_ns=round(seconds * 1e9),
                relative_half_width=ci,
            )
            share, outcome, count = share_of_looks(target, plan)
            worst = max(worst, share)
            report.say(
                f"calls of {name}, asked for {ci:g}: {count:,} samples in {outcome.duration_ns / 1e9:.2f} s, "
                f"{outcome.reason}; {outcome.looks} looks, {outcome.looks_ns / 1e6:.2f} ms, {share:.3f}% of the time"
            )
    report.claim(Claim("the stop rule's share of the measured time, the largest", worst, MOST_SHARE, unit="%"))


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=5.0, help="the budget of a measurement")
    given = options.parse_args()
    report = Report("statistics_cost")
    say_costs(report)
    say_looks(report, given.seconds)
    return report.finish(given.record)


if __name__ == "__main__":
    raise SystemExit(main())
