# SPDX-License-Identifier: Apache-2.0
"""Changes of level in synthetic samples: how many are found, how exactly, and what is found where there is none.

Takes some minutes on two CPUs; every trial has a seed of its own, so that two runs give the same figures but for the
cost.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from common import Claim, Report, parser
from numpy.typing import NDArray

Samples = NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]

NEAR = 5  # samples, within which a change counts as found
FOUND, FALSE_UNSTEADY, FALSE_SHAPE, COST_S = 95.0, 2.0, 1.0, 0.4  # the bounds: %, %, %, s
BASE_NS, SIGMA_NS = 1e7, 1e5
SEED = 20260101
SIGMAS = (2, 3, 5)
LEAST_LEVEL = 20  # samples before and after a change
STEP_TRIALS = {100: 1000, 300: 700, 1000: 500, 10_000: 150, 100_000: 60}
STAIR_TRIALS = {200: 700, 1000: 500, 10_000: 100, 100_000: 50}
STEADY_TRIALS = {30: 2000, 100: 1500, 1000: 400, 10_000: 80, 100_000: 30}


def autoregressive(phi: float, random: np.random.Generator, count: int) -> NDArray[np.float64]:
    from scipy.signal import lfilter

    noise = random.standard_normal(count + 200)
    filtered: NDArray[np.float64] = lfilter([1.0], [1.0, -phi], noise)
    return filtered[200:] * float(np.sqrt(1 - phi**2))


def log_normal(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Of shape 0.5, as long-tailed as latencies are, with mean 0 and standard deviation 1."""
    drawn = np.exp(0.5 * random.standard_normal(count))
    values: NDArray[np.float64] = (drawn - np.exp(0.125)) / np.sqrt((np.exp(0.25) - 1) * np.exp(0.25))
    return values


def normal(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = random.standard_normal(count)
    return drawn


NOISES: dict[str, Draw] = {"normal": normal, "log-normal": log_normal}
# In units of SIGMA_NS, but for the last.
STEADY: dict[str, Draw] = {
    **NOISES,
    **{f"AR(1) {phi}": partial(autoregressive, phi) for phi in (0.3, 0.5, 0.8)},
    "two modes, 30% slow": lambda random, count: random.standard_normal(count) + 10 * (random.random(count) < 0.3),
    "two modes, 50% slow": lambda random, count: random.standard_normal(count) + 20 * (random.random(count) < 0.5),
    "Student's t, 3": lambda random, count: np.maximum(-90, random.standard_t(3, count)),
    "Pareto 1.5": lambda random, count: np.minimum(1e6, random.pareto(1.5, count)),
    "clock step of 1 sigma": lambda random, count: np.round(random.standard_normal(count)),
    "constant": lambda _random, count: np.zeros(count),
}


def to_ns(values: NDArray[np.float64]) -> Samples:
    return np.round(BASE_NS + SIGMA_NS * values).astype(np.int64)


def seeded(*numbers: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *numbers])


def is_found(change: int, found: Iterable[int]) -> bool:
    return any(abs(index - change) <= NEAR for index in found)


def step_trials(noise: str, sigma: int, count: int, trials: int) -> tuple[int, int, int]:
    """Steps up and down in turn: how many were found, how many there were, and how many found points were none."""
    from pyperf_infer.statistics.change_points import change_points

    hits = extra = 0
    for trial in range(trials):
        random = seeded(1, list(NOISES).index(noise), sigma, count, trial)
        change = int(random.integers(LEAST_LEVEL, count - LEAST_LEVEL + 1))
        values = NOISES[noise](random, count)
        values[change:] += sigma if trial % 2 else -sigma
        found = change_points(to_ns(values))
        hits += is_found(change, found)
        extra += sum(not is_found(change, [index]) for index in found)
    return hits, trials, extra


def stair_trials(noise: str, count: int, trials: int) -> tuple[Counter[int], Counter[int], int]:
    """A warm-up of three steps down, of 2, 3 and 5 sigma in random order: found and all, by size; points that are none.

    Each level before the last is 20 to 59 samples long, 20 to 24 in the shortest.
    """
    from pyperf_infer.statistics.change_points import change_points

    hits, every, extra = Counter[int](), Counter[int](), 0
    for trial in range(trials):
        random = seeded(2, list(NOISES).index(noise), count, trial)
        changes = np.cumsum(random.integers(LEAST_LEVEL, min(60, count // 8), len(SIGMAS))).tolist()
        sizes = random.permutation(SIGMAS).tolist()
        values = NOISES[noise](random, count)
        for change, size in zip(changes, sizes, strict=True):
            values[:change] += size
        found = change_points(to_ns(values))
        for change, size in zip(changes, sizes, strict=True):
            every[size] += 1
            hits[size] += is_found(change, found)
        extra += sum(not is_found(index, changes) for index in found)
    return hits, every, extra


def steady_trials(kind: str, count: int, trials: int) -> Counter[str]:
    """What is found in steady samples, where nothing is to be found but two modes in those that have them."""
    from pyperf_infer.statistics.periodic import periodic
    from pyperf_infer.statistics.shape import drift, two_modes
    from pyperf_infer.statistics.steady import examine

    said = Counter[str]()
    for trial in range(trials):
        samples = to_ns(STEADY[kind](seeded(3, list(STEADY).index(kind), count, trial), count))
        said[examine(samples).status] += 1
        said["drift"] += drift(samples) is not None
        said["two modes"] += two_modes(samples) is not None
        said["periodic"] += periodic(samples) is not None
    return said


def percent(part: int, whole: int) -> float:
    return 100 * part / whole


def steps(report: Report, pool: ProcessPoolExecutor) -> None:
    report.say(f"one step, {LEAST_LEVEL} samples or more from either end: found within {NEAR} samples; false ones")
    cells = [(noise, sigma, n) for noise in NOISES for sigma in SIGMAS for n in STEP_TRIALS]
    done = [pool.submit(step_trials, *cell, STEP_TRIALS[cell[2]]) for cell in cells]
    totals: dict[tuple[str, int], list[int]] = {}
    for (noise, sigma, count), future in zip(cells, done, strict=True):
        hits, trials, extra = future.result()
        share = percent(hits, trials)
        false = percent(extra, trials)
        report.say(f"  {noise}, {sigma} sigma, {count:,} samples: {share:.1f}% of {trials}; {false:.2f}% false")
        totals.setdefault((noise, sigma), [0, 0])
        totals[noise, sigma][0] += hits
        totals[noise, sigma][1] += trials
    for (noise, sigma), (hits, trials) in totals.items():
        name = f"steps of {sigma} sigma found, {noise} noise"
        report.claim(Claim(name, percent(hits, trials), FOUND, at_most=False, unit="%"))


def stairs(report: Report, pool: ProcessPoolExecutor) -> None:
    report.say("a warm-up of three levels, 20 to 59 samples each: found within 5 samples; false ones")
    cells = [(noise, n) for noise in NOISES for n in STAIR_TRIALS]
    done = [pool.submit(stair_trials, *cell, STAIR_TRIALS[cell[1]]) for cell in cells]
    found, every = Counter[int](), Counter[int]()
    for (noise, count), future in zip(cells, done, strict=True):
        hits, trials, extra = future.result()
        shares = ", ".join(f"{size} sigma {percent(hits[size], trials[size]):.1f}%" for size in SIGMAS)
        false = percent(extra, trials.total())
        report.say(f"  {noise}, {count:,} samples: {shares}, of {trials[SIGMAS[0]]} each; {false:.2f}% false")
        found, every = found + hits, every + trials
    for size in SIGMAS:
        name = f"steps of {size} sigma found in a warm-up of three"
        report.claim(Claim(name, percent(found[size], every[size]), FOUND, at_most=False, unit="%"))


def steady(report: Report, pool: ProcessPoolExecutor) -> None:
    report.say("steady noise: never steady; warming up; drift; two modes; periodic")
    cells = [(kind, n) for kind in STEADY for n in STEADY_TRIALS]
    done = [pool.submit(steady_trials, *cell, STEADY_TRIALS[cell[1]]) for cell in cells]
    totals: dict[str, Counter[str]] = {}
    for (kind, count), future in zip(cells, done, strict=True):
        said, trials = future.result(), STEADY_TRIALS[count]
        names = ("never steady", "warming up", "drift", "two modes", "periodic")
        shares = "; ".join(f"{percent(said[name], trials):.2f}%" for name in names)
        report.say(f"  {kind}, {count:,} samples: {shares}, of {trials}")
        totals[kind] = totals.get(kind, Counter()) + said
    trials = sum(STEADY_TRIALS.values())
    claims: tuple[tuple[str, tuple[str, ...], float], ...] = (
        ("false never steady", ("never steady",), FALSE_UNSTEADY),
        ("false changes of level, warming up too", ("never steady", "warming up"), FALSE_UNSTEADY),
        ("false drift", ("drift",), FALSE_SHAPE),
        ("false two modes", ("two modes",), FALSE_SHAPE),
        ("false periodic", ("periodic",), FALSE_SHAPE),
    )
    for what, counted, bound in claims:
        kinds = [kind for kind in totals if not (what == "false two modes" and kind.startswith("two modes"))]
        worst = max(kinds, key=lambda kind: sum(totals[kind][name] for name in counted))
        share = percent(sum(totals[worst][name] for name in counted), trials)
        report.claim(Claim(f"{what}, the worst kind of noise ({worst})", share, bound, unit="%"))


def cost(report: Report) -> None:
    from pyperf_infer.statistics.estimate import estimate
    from pyperf_infer.statistics.periodic import periodic
    from pyperf_infer.statistics.shape import drift, two_modes
    from pyperf_infer.statistics.steady import examine

    parts: tuple[Callable[[Samples], object], ...] = (estimate, examine, drift, two_modes, periodic)
    medians: dict[str, float] = {}
    for kind, draw in STEADY.items():
        samples = to_ns(draw(seeded(4, list(STEADY).index(kind)), 100_000))
        taken = []
        for _ in range(6):
            begin = time.perf_counter()
            for part in parts:
                part(samples)
            taken.append(time.perf_counter() - begin)
        medians[kind] = statistics.median(taken[1:])  # the first imports
    worst = max(medians, key=medians.__getitem__)
    name = f"estimates, change points and shape of 100,000 samples, the worst kind ({worst})"
    report.claim(Claim(name, medians[worst], COST_S, unit="s"))


def main() -> int:
    arguments = parser(__doc__).parse_args()
    report = Report("steady_state")
    cost(report)  # before the other CPUs have work
    with ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        steps(report, pool)
        stairs(report, pool)
        steady(report, pool)
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
