# SPDX-License-Identifier: Apache-2.0
"""How long 1 ms work takes until the 95% interval of its median is within 1%, warm-up included; and how many samples a
harness with a fixed count has to take, so that 95 of 100 of its runs are as precise.

A run of `timers.measure` and a long recording in turn. A fixed count is tried on the recordings: whether the interval
of the first n samples, computed as ours, is within 1%. It is the least n from which on 95% of the recordings are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from common import Claim, Report, parser
from known_answers import clock_line, kept_trials, share_of, state_options

from pyperf_infer import _core, timers
from pyperf_infer.selftest.precision import CI, WORK_S, time_to_precision
from pyperf_infer.selftest.work import ns_per_step, steps_for
from pyperf_infer.statistics.estimate import CONFIDENCE, estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_S = 10.0
OF_RUNS = 0.95
FEWEST, GROWTH = 6, 1.1  # counts that are tried: the first with an interval at 95%, and 10% more each
PYTEST_BENCHMARK_S = 1.0  # its --benchmark-max-time by default; a round is a call where a call takes 1 ms
TIMEIT_REPEATS = 5  # python -m timeit: the best of so many


def recording(step_ns: float, samples: int) -> NDArray[np.int64]:
    """As many samples as asked for, after a warm-up."""
    target = _core.SpinTarget(steps_for(WORK_S, step_ns))
    measurement = timers.Measurement(target, duration=0.0, iterations=samples, max_samples=samples, max_duration=1e4)
    measurement.warm_up()
    return measurement.run(batched=False).ns


def is_precise(samples_ns: NDArray[np.int64]) -> bool:
    found = estimate(samples_ns, percentiles=())
    if found.p50_interval_ns is None:
        return False
    low, high = found.p50_interval_ns
    return (high - low) / 2 <= CI * found.p50_ns


def counts_up_to(most: int) -> list[int]:
    counts = [FEWEST]
    while counts[-1] < most:
        counts.append(min(most, max(counts[-1] + 1, round(counts[-1] * GROWTH))))
    return counts


def fixed_count(recordings: Sequence[NDArray[np.int64]]) -> tuple[int | None, dict[int, float]]:
    """The least count from which on `OF_RUNS` of the recordings are precise, and the share at every count tried."""
    shares = {
        count: sum(is_precise(one[:count]) for one in recordings) / len(recordings)
        for count in counts_up_to(min(len(one) for one in recordings))
    }
    needed = None
    for count in sorted(shares, reverse=True):
        if shares[count] < OF_RUNS:
            break
        needed = count
    return needed, shares


def main() -> int:
    made = state_options(parser(__doc__), "time-to-precision")
    made.add_argument("--runs", type=int, default=40)
    made.add_argument("--samples", type=int, default=5000, help="of a recording")
    arguments = made.parse_args()
    trials = kept_trials(arguments.state, {"samples": arguments.samples}, fresh=arguments.fresh)
    step_ns = ns_per_step()
    try:
        for number in range(len(trials.done), arguments.runs):
            line = time_to_precision(number, step_ns=step_ns, confidence=CONFIDENCE)
            kept = recording(step_ns, arguments.samples).tolist()
            trials.add({"wall_s": line.wall_s, "samples": line.samples, "converged": line.converged, "kept": kept})
    except KeyboardInterrupt:
        print(f"broken off; the same command goes on from {arguments.state}")
        return 130
    report = Report("time_to_precision")
    report.say(clock_line())
    walls = sorted(one["wall_s"] for one in trials.done)
    taken = sorted(one["samples"] for one in trials.done)
    converged = sum(one["converged"] for one in trials.done)
    report.say(f"timers.measure(work of 1 ms, ci=0.01, duration=0), {len(walls)} runs, warm-up included:")
    report.say(f"  wall time median {median(walls):.3f} s, from {walls[0]:.3f} s to {walls[-1]:.3f} s")
    report.say(f"  samples median {median(taken):.0f}, from {taken[0]} to {taken[-1]}")
    report.say(f"  within 1%: {share_of(converged, len(walls))}")
    recordings = [np.array(one["kept"], dtype=np.int64) for one in trials.done]
    needed, shares = fixed_count(recordings)
    a_call_ms = median(float(np.median(one)) for one in recordings) / 1e6
    report.say(f"a fixed count, tried on {len(recordings)} recordings of {arguments.samples} samples:")
    if needed is None:
        report.say(f"  more than {arguments.samples} samples for an interval within 1% in {OF_RUNS:.0%} of the runs")
    else:
        seconds = needed * a_call_ms / 1e3
        report.say(f"  {needed} samples ({seconds:.2f} s without a warm-up) for 1% in {OF_RUNS:.0%} of the runs,")
        report.say(
            f"  {needed / median(taken):.1f} times our median count: it has to do for every run, also a noisy one"
        )
    rounds = min(arguments.samples, round(PYTEST_BENCHMARK_S * 1e3 / a_call_ms))
    precise = sum(is_precise(one[:rounds]) for one in recordings)
    report.say(f"  {rounds} samples, as pytest-benchmark takes in its default of 1 s: within 1% in")
    report.say(f"  {share_of(precise, len(recordings))} of the runs; it reports no interval of the median")
    report.say(f"  timeit's {TIMEIT_REPEATS} repeats support no 95% interval of a median at all (that takes {FEWEST})")
    listed = [count for count in shares if count in (FEWEST, *(count for count in list(shares)[:: len(shares) // 8]))]
    report.say("  within 1% at n samples: " + ", ".join(f"{count}: {shares[count]:.0%}" for count in listed))
    report.claim(Claim("1 ms work to 1%, median", median(walls), MOST_S, unit="s"))
    report.claim(Claim("1 ms work to 1%, the longest run", walls[-1], MOST_S, unit="s"))
    return report.finish(arguments.record)


if __name__ == "__main__":
    sys.exit(main())
