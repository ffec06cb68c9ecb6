# SPDX-License-Identifier: Apache-2.0
"""What most likely moved the samples of a run, from what the system and the GPU recorded meanwhile, and what helps.

A likely cause is no proof: it is what was seen to happen during the run and is known to do this. Where nothing was
seen, the cause says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pyperf_infer.system.gpu_advice import CLOCK_SPREAD
from pyperf_infer.system.load_advice import FREQUENCY_SPREAD, OTHER_LOAD_SHARE, STEAL_SHARE, THROTTLED_SHARE

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Activity, GpuActivity

# Periods of the kernel's timer: CONFIG_HZ is 100, 250, 300 or 1000 (kernel/Kconfig.hz).
TICKS_MS = {100: 10.0, 250: 4.0, 300: 1000 / 300, 1000: 1.0}
# cfs_period_us is 100 ms unless a container sets another (Documentation/scheduler/sched-bwc).
QUOTA_PERIOD_MS = 100.0
_NEAR = 0.015


class Cause(NamedTuple):
    """In words that follow "likely cause:", and what to do about it."""

    cause: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was recorded between the first and the last sample. `flags` are those of the command (advice.advise)."""

    activity: Activity | None = None
    gpu: GpuActivity | None = None
    flags: Mapping[str, object]

    def of_slower(self) -> Cause:
        """Times grew, or became longer at once."""
        return next(self._seen(), None) or Cause(
            "not among what the system told: a clock that sinks with heat, or a neighbour in caches or memory, would "
            "look like this",
            "Watch clocks and temperature, let the machine cool, and measure again.",
        )

    def of_faster(self) -> Cause:
        """Times shrank, or became shorter at once."""
        clock = self._clock("rose with the load")
        if clock is not None:
            return clock
        return Cause("the warm-up went on: caches, memory pools, code that is compiled or chosen late", self._longer())

    def of_changing(self) -> Cause:
        """Times have no level that lasts, or go up and down."""
        return next(self._seen(), None) or Cause(
            "not among what the system told: a neighbour in caches or memory, heat, or work that is not alike from "
            "call to call",
            "Stop other work on the machine, fix its clock, and see whether every call does the same.",
        )

    def of_two_modes(self) -> Cause:
        return next(self._seen(), None) or Cause(
            "two ways through the same work: memory on two NUMA nodes, two code paths, cores of two kinds or two clock "
            "levels",
            "Read both modes rather than a mean."
            + (" Keep to CPUs of one kind and node: --cpu-affinity." if self._unset("--cpu-affinity") else ""),
        )

    def of_period(self, period_ms: float) -> Cause:
        for hertz, tick_ms in TICKS_MS.items():
            if abs(period_ms - tick_ms) <= _NEAR * tick_ms:
                return Cause(
                    f"the kernel's timer tick: {hertz} a second",
                    "Nothing short of CPUs without a tick (nohz_full) takes it away; it is part of each time that is "
                    "longer than the tick, and hits some of the shorter ones.",
                )
        activity = self.activity
        if activity is not None and activity.throttled_ns and abs(period_ms - QUOTA_PERIOD_MS) <= 0.1 * QUOTA_PERIOD_MS:
            return _quota(activity)
        if self.gpu is not None and abs(period_ms - self.gpu.polling_interval_ms) <= _NEAR * period_ms:
            return Cause("the polling of the GPU's clocks and power", "Leave the polling away to see what it costs.")
        return Cause(
            f"something that wakes up every {period_ms:.3g} ms: a timer or a service, here or on the host",
            "Look for it (`perf sched`, `top -d 0.1`), and stop it or keep it off these CPUs.",
        )

    def _seen(self) -> Iterator[Cause]:
        """What happened and makes times longer, the most certain first."""
        activity = self.activity
        if activity is not None and activity.wall_ns > 0:
            total = activity.wall_ns * activity.cpus
            if (activity.throttled_ns or 0) > THROTTLED_SHARE * activity.wall_ns:
                yield _quota(activity)
            clock = self._clock("sank: heat, a power limit, or other cores at work")
            if clock is not None:
                yield clock
            if (activity.steal_ns or 0) > STEAL_SHARE * total:
                share = (activity.steal_ns or 0) / total
                yield Cause(
                    f"a neighbour on the host, which took {share:.1%} of the CPU time (steal)",
                    "Measure on a dedicated host or at a quieter hour.",
                )
            if (activity.other_cpu_ns or 0) > OTHER_LOAD_SHARE * total:
                share = (activity.other_cpu_ns or 0) / total
                yield Cause(
                    f"other programs on this machine, which used {share:.0%} of its CPU time",
                    "Stop them (`top` shows them) and measure again.",
                )
        else:
            clock = self._clock("sank: heat, a power limit, or other cores at work")
            if clock is not None:
                yield clock

    def _clock(self, what: str) -> Cause | None:
        gpu = self.gpu
        if gpu is not None and _spread(gpu.sm_clock_mhz_min, gpu.sm_clock_mhz_max) > CLOCK_SPREAD:
            return Cause(
                f"the GPU's clock, which {what} ({gpu.sm_clock_mhz_min:.0f} to {gpu.sm_clock_mhz_max:.0f} MHz)",
                "Lock it (`sudo nvidia-smi --lock-gpu-clocks=MHZ`) or let the board cool.",
            )
        cpu = self.activity
        if cpu is not None and _spread(cpu.frequency_mhz_min, cpu.frequency_mhz_max) > FREQUENCY_SPREAD:
            return Cause(
                f"the CPU's clock, which {what} ({cpu.frequency_mhz_min:.0f} to {cpu.frequency_mhz_max:.0f} MHz)",
                "Fix it (`sudo cpupower frequency-set -g performance`, turbo off) or let the machine cool.",
            )
        return None

    def _longer(self) -> str:
        now = self.flags.get("--warmup-ms")
        if isinstance(now, int | float):
            return f"Warm up longer: --warmup-ms {max(2000.0, 4 * now):.0f}"
        return "Warm up longer."

    def _unset(self, flag: str) -> bool:
        return flag in self.flags and not self.flags[flag]


def _quota(activity: Activity) -> Cause:
    return Cause(
        f"the container's CPU quota, which stopped threads for {(activity.throttled_ns or 0) / 1e6:.0f} ms in all",
        "Raise the container's CPU limit, or use no more threads than it allows.",
    )


def _spread(low: float | None, high: float | None) -> float:
    return (high - low) / high if low is not None and high else 0.0
