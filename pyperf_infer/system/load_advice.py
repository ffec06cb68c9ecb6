# SPDX-License-Identifier: Apache-2.0
"""Warnings from what the system did during a run: time taken away, other load, clocks, switches, faults."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from pyperf_infer.results.schema import Activity, Environment
from pyperf_infer.results.schema import Warning as Notice

# Shares of the CPU time there was (wall time x CPUs). One percent is the default half-width of an interval: what
# takes more than that from the run can move the result beyond what it claims.
STEAL_SHARE = 0.01
# Other programs mostly fill idle CPUs, so that more of it is harmless; the kernel's own work is about a percent.
OTHER_LOAD_SHARE = 0.05
# Of the wall time: a stop lands in single samples in full, and each lasts tens of milliseconds.
THROTTLED_SHARE = 0.001
# Turbo and heat move clocks by some percent all the time; more than a tenth shows in the median.
FREQUENCY_SPREAD = 0.10
# Per second and thread. The scheduler's tick is 100 to 1000 a second; a thread alone on its CPU sees a few.
INVOLUNTARY_SWITCHES_PER_THREAD_S = 50.0
# Each is a read from a disk, a millisecond or more; a handful is what a library loads lazily.
MAJOR_FAULTS = 10

_NS_PER_S = 1e9


def advise_load(
    threads: int, environment: Environment, activity: Activity | None, flags: Mapping[str, object]
) -> list[Notice]:
    """Warnings about the run's surroundings; those about threads need no activity."""
    warnings = [*_threads(threads, environment, flags)]
    if activity is not None and activity.wall_ns > 0:
        warnings += [
            *_steal(activity),
            *_throttled(threads, environment, activity, flags),
            *_other_load(threads, environment, activity, flags),
            *_switches(threads, environment, activity, flags),
            *_frequency(activity),
            *_faults(activity),
        ]
    return warnings


def _threads(threads: int, environment: Environment, flags: Mapping[str, object]) -> Iterator[Notice]:
    usable = len(environment.affinity)
    if threads > usable:
        yield Notice(
            code="too_many_threads",
            message=f"{threads} threads share {usable} CPUs: they take turns, and wait for each other.",
            remedy=_set_threads(usable, flags) or "Use no more threads than CPUs.",
        )
    limit = environment.cpu_limit_cores
    if limit is not None and min(threads, usable) > math.ceil(limit):
        yield Notice(
            code="cpu_quota",
            message=f"{threads} threads run under a quota of {limit:g} CPUs; when it is used up, all of them stop.",
            remedy=_set_threads(max(1, math.floor(limit)), flags) or "Raise the container's CPU limit.",
        )


def _steal(activity: Activity) -> Iterator[Notice]:
    share = _share(activity.steal_ns, activity)
    if share > STEAL_SHARE:
        yield Notice(
            code="steal",
            message=f"The hypervisor gave {share:.1%} of this machine's CPU time to others (steal).",
            remedy="Measure on a dedicated host or at a quieter hour; burstable instances steal once credits are used.",
        )


def _throttled(
    threads: int, environment: Environment, activity: Activity, flags: Mapping[str, object]
) -> Iterator[Notice]:
    stopped_ns = activity.throttled_ns or 0
    if stopped_ns / activity.wall_ns <= THROTTLED_SHARE:
        return
    limit = environment.cpu_limit_cores
    fewer = _set_threads(max(1, math.floor(limit)), flags) if limit is not None and threads > limit else None
    periods = f" in {activity.throttled_periods} periods" if activity.throttled_periods else ""
    yield Notice(
        code="throttled",
        message=f"The container's CPU quota stopped threads for {stopped_ns / 1e6:.0f} ms in all{periods}.",
        remedy="Raise the container's CPU limit" + (f", or use what it allows. {fewer}" if fewer else "."),
    )


def _other_load(
    threads: int, environment: Environment, activity: Activity, flags: Mapping[str, object]
) -> Iterator[Notice]:
    share = _share(activity.other_cpu_ns, activity)
    if share <= OTHER_LOAD_SHARE:
        return
    pin = ""
    if "--cpu-affinity" in flags and not flags["--cpu-affinity"] and threads < len(environment.affinity):
        pin = " Or keep to CPUs of your own with --cpu-affinity."
    yield Notice(
        code="other_load",
        message=f"Other programs used {share:.0%} of this machine's CPU time during the run.",
        remedy=f"Stop them (`top` shows them) and measure again.{pin}",
    )


def _switches(
    threads: int, environment: Environment, activity: Activity, flags: Mapping[str, object]
) -> Iterator[Notice]:
    rate = activity.involuntary_switches / max(1, threads) / (activity.wall_ns / _NS_PER_S)
    # Over a fraction of a second a single switch would be a high rate.
    if rate <= INVOLUNTARY_SWITCHES_PER_THREAD_S or activity.involuntary_switches < INVOLUNTARY_SWITCHES_PER_THREAD_S:
        return
    usable = len(environment.affinity)
    fewer = _set_threads(max(1, usable - 1), flags) if threads >= usable > 1 else None
    yield Notice(
        code="involuntary_switches",
        message=f"Threads were taken off their CPUs {rate:.0f} times a second each.",
        remedy="Stop other load" + (f", or leave it a CPU. {fewer}" if fewer else "."),
    )


def _frequency(activity: Activity) -> Iterator[Notice]:
    low, high = activity.frequency_mhz_min, activity.frequency_mhz_max
    if low is None or high is None or high <= 0 or (high - low) / high <= FREQUENCY_SPREAD:
        return
    yield Notice(
        code="frequency",
        message=f"The CPU clock varied between {low:.0f} and {high:.0f} MHz during the run.",
        remedy="Fix the clock (`sudo cpupower frequency-set -d FREQ -u FREQ`, turbo off) or let the machine cool.",
    )


def _faults(activity: Activity) -> Iterator[Notice]:
    if activity.major_faults >= MAJOR_FAULTS:
        yield Notice(
            code="major_faults",
            message=f"{activity.major_faults} pages had to be read from disk during the run.",
            remedy="Free memory, so that the model stays in it: close programs, or use a smaller batch.",
        )


def _share(used_ns: int | None, activity: Activity) -> float:
    return (used_ns or 0) / (activity.wall_ns * activity.cpus)


def _set_threads(number: int, flags: Mapping[str, object]) -> str | None:
    """The suggestion, unless the command has no such flag or it has this value already."""
    if "--threads" not in flags or flags["--threads"] == number:
        return None
    return f"Use --threads {number}."
