# SPDX-License-Identifier: Apache-2.0
"""What makes a number worth less, with the figure, and which flag or command helps.

Pure functions of what was recorded. `flags` maps every flag of the command at hand to its effective value
(``{"--max-duration": 20.0, "--threads": 2, "--cpu-affinity": None}``): a remedy names no flag that the command does
not have, and never the value that is in use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyperf_infer.results.schema import Activity, Environment, QuantityBlock, Result, Steady, Stop, Warmup
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.load_advice import advise_load

Flags = Mapping[str, object]

# pyperf's limit for "unstable" (https://pyperf.readthedocs.io/en/latest/analyze.html): a tenth of the mean.
NOISY_RELATIVE_STDDEV = 0.10
# Governors that raise the clock only after load has shown; "performance" and "userspace" keep it where it is.
SLOW_GOVERNORS = ("powersave", "ondemand", "conservative", "schedutil")
# Beyond this nobody waits; a wider interval is the better offer.
LONGEST_SUGGESTED_S = 600.0
# A warm-up this long that was not enough is no matter of warming up.
LONGEST_SUGGESTED_WARMUP_MS = 10_000.0


@dataclass(frozen=True, kw_only=True)
class ResultFacts:
    """What advice needs to know of one result."""

    threads: int
    latency: QuantityBlock | None = None
    warmup: Warmup | None = None
    steady: Steady | None = None
    stop: Stop | None = None
    measured_duration_s: float | None = None

    @classmethod
    def of(cls, result: Result) -> ResultFacts:
        method = result.method
        return cls(
            threads=method.threads,
            latency=result.summary.timing,
            warmup=method.warmup,
            steady=result.steady,
            stop=method.stop,
            measured_duration_s=method.measured_duration_s,
        )


def advise(facts: ResultFacts, environment: Environment, activity: Activity | None, flags: Flags) -> list[Notice]:
    """All warnings of one result, the gravest first: about the estimate, then what may have caused it."""
    return [
        *_unfinished(facts, flags),
        *_unsteady(facts, flags),
        *_noisy(facts),
        *advise_load(facts.threads, environment, activity, flags),
        *advise_machine(environment),
    ]


def advise_machine(environment: Environment) -> list[Notice]:
    """What holds for every result on this machine."""
    slow = [name for name in (environment.governor or "").split(", ") if name in SLOW_GOVERNORS]
    if not slow:
        return []
    return [
        Notice(
            code="governor",
            message=f"The CPU frequency governor is {environment.governor}: the clock follows the load with a delay.",
            remedy="Run `sudo cpupower frequency-set -g performance` while measuring.",
        )
    ]


def _unfinished(facts: ResultFacts, flags: Flags) -> Iterator[Notice]:
    stop, latency = facts.stop, facts.latency
    # An interrupted run is short because its user said so; the document's status tells.
    if stop is None or stop.converged or "interrupt" in stop.reason:
        return
    took = facts.measured_duration_s or stop.max_duration_s
    what = "median" if stop.quantity == "p50" else stop.quantity
    unknown = stop.quantity != "p50" and stop.relative_half_width is None
    if latency is None or latency.p50_interval_ms is None or latency.p50_ms <= 0 or unknown:
        count = latency.count if latency is not None else 1
        needed = max(took * max(2.0, 1.2 * stop.min_iterations / count), 1.2 * (stop.needed_duration_s or 0.0))
        reached, remedy, taking = "has too few samples for an interval", _longer(needed, stop, flags), ""
    else:
        width = stop.relative_half_width
        if width is None or stop.quantity == "p50":  # of all samples, where the last look was at fewer
            low, high = latency.p50_interval_ms
            width = (high - low) / 2 / latency.p50_ms
        reached = f"is known to ±{width:.2%} only"
        # The width shrinks with the square root of the time; a fifth more, as both are estimates.
        needed = 1.2 * took * (width / stop.ci) ** 2 if stop.ci > 0 else math.inf
        remedy = _longer(needed, stop, flags) or _wider(width, flags)
        taking = f", which would have taken about {needed:.3g} s" if math.isfinite(needed) else ""
    yield Notice(
        code="not_converged",
        message=f"After {took:.3g} s the {what} {reached}; ±{stop.ci:.2%} was asked for{taking}.",
        remedy=remedy or "Quiet the machine and measure again.",
    )


def _longer(seconds: float, stop: Stop, flags: Flags) -> str | None:
    if "--max-duration" not in flags or seconds > LONGEST_SUGGESTED_S:
        return None
    # At least half as long again: a budget a little above the one that was not enough is not enough either.
    return f"Give it more time: --max-duration {math.ceil(max(seconds, 1.5 * stop.max_duration_s))}"


def _wider(width: float, flags: Flags) -> str | None:
    if "--ci" not in flags:
        return None
    return f"Settle for a wider interval, --ci {math.ceil(width * 110)}%, or quiet the machine."


def _unsteady(facts: ResultFacts, flags: Flags) -> Iterator[Notice]:
    warmup, steady = facts.warmup, facts.steady
    if warmup is None or warmup.steady or warmup.budget_ms <= 0:
        return
    # The samples tell themselves whether they still changed, unless they are too few.
    if steady is not None and steady.status != "too few samples":
        return
    budget = min(LONGEST_SUGGESTED_WARMUP_MS, 4 * max(warmup.budget_ms, warmup.duration_ms))
    if "--warmup-ms" in flags and budget > max(warmup.budget_ms, warmup.duration_ms):
        remedy = f"Warm up longer: --warmup-ms {budget:.0f}"
    else:
        remedy = "Look for what changes meanwhile: other load, a clock that heats up or down, a model that caches."
    yield Notice(
        code="warmup_unfinished",
        message=(
            f"Calls had not become steady after {warmup.duration_ms:.0f} ms of warm-up ({warmup.iterations} calls); "
            "the first samples may still be slower or faster than the rest."
        ),
        remedy=remedy,
    )


def _noisy(facts: ResultFacts) -> Iterator[Notice]:
    latency = facts.latency
    if latency is None or latency.stddev_ms is None or latency.mean_ms <= 0:
        return
    spread = latency.stddev_ms / latency.mean_ms
    if spread > NOISY_RELATIVE_STDDEV:
        yield Notice(
            code="noisy",
            message=(
                f"Samples spread by {spread:.0%} of their mean (standard deviation); "
                f"{latency.outliers} of {latency.count} are outliers."
            ),
            remedy="Read the median and its interval rather than the mean, and quiet the machine before comparing.",
        )
