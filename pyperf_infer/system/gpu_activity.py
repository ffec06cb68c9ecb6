# SPDX-License-Identifier: Apache-2.0
"""What the GPU did while requests were measured, from the readings that fell into that time."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pyperf_infer.results.schema import GpuActivity, GpuProcess
from pyperf_infer.system.gpu_energy import energy_of

if TYPE_CHECKING:
    from pyperf_infer.system.gpu_reader import Reading

# NVML's nvmlClocksEventReasons: why the clock is where it is.
GPU_IDLE = 0x1
REASONS = {
    GPU_IDLE: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
    0x200: "board_limit",
    0x400: "reliability",
}
# Nothing to do, and a clock that somebody set.
NO_THROTTLING = frozenset({"gpu_idle", "applications_clocks_setting"})

_Value = TypeVar("_Value", int, float)


def activity_of(
    readings: Iterable[Reading],
    begin_ns: int,
    end_ns: int,
    *,
    requests: int,
    polling_interval_ms: float,
    own_pids: Collection[int],
    max_sm_clock_mhz: float | None = None,
    p50_ms: float | None = None,
    missing: str | None = None,
) -> GpuActivity:
    """The readings from `begin_ns` to `end_ns`, between which `requests` were done, at a median of `p50_ms`.

    - ``polling_interval_ms`` is the one asked for; what it came to is ``window_s`` / (``readings`` - 1).
    - ``window_s`` is from the first reading inside to the last, and ``samples_covered`` the requests done meanwhile,
      taken to be spread evenly over `begin_ns` to `end_ns`.
    - Clocks are of readings at which the GPU was not idle: the others say nothing of the clock that the work ran at.
    - ``energy_j`` is that of the whole of `begin_ns` to `end_ns` (gpu_energy); readings on either side serve it.
    - ``clock_normalised_p50_ms`` is p50 times the median SM clock over the highest that the device allows: the time
      that the same number of clock cycles would take there (time = cycles / clock rate; Hennessy and Patterson,
      Computer Architecture, "the processor performance equation"). It compares runs at unlike clocks where the SMs are
      the limit; work limited by memory or by the host does not follow the SM clock, and is shown too short.
    - ``other_processes`` are those seen at any time that are not in `own_pids`, with the most memory each held. The
      driver shows no processes of other containers. Where it numbers them otherwise than this process (an old driver in
      a container) none of `own_pids` is seen; then a single process is taken for this run.
    """
    every = sorted(readings, key=lambda reading: reading.monotonic_ns)
    inside = [reading for reading in every if begin_ns <= reading.monotonic_ns <= end_ns]
    covered_ns = inside[-1].monotonic_ns - inside[0].monotonic_ns if inside else 0
    busy = [reading for reading in inside if not (reading.clocks_event_reasons or 0) & GPU_IDLE]
    sm_clocks = _known(reading.sm_clock_mhz for reading in busy)
    memory_clocks = _known(reading.memory_clock_mhz for reading in busy)
    power = _known(reading.power_w for reading in inside)
    median = statistics.median(sm_clocks) if sm_clocks else None
    energy = energy_of(every, begin_ns, end_ns)
    if not inside and missing is None:
        missing = (
            f"No reading fell into the {(end_ns - begin_ns) / 1e9:.3g} s of measuring; "
            f"the GPU was polled every {polling_interval_ms:g} ms."
        )
    return GpuActivity(
        polling_interval_ms=polling_interval_ms,
        readings=len(inside),
        window_s=covered_ns / 1e9,
        samples_covered=round(requests * covered_ns / (end_ns - begin_ns)) if covered_ns else 0,
        sm_clock_mhz_min=min(sm_clocks, default=None),
        sm_clock_mhz_median=median,
        sm_clock_mhz_max=max(sm_clocks, default=None),
        memory_clock_mhz_min=min(memory_clocks, default=None),
        memory_clock_mhz_max=max(memory_clocks, default=None),
        max_sm_clock_mhz=max_sm_clock_mhz,
        temperature_c_max=max(_known(reading.temperature_c for reading in inside), default=None),
        power_w_mean=statistics.fmean(power) if power else None,
        power_w_max=max(power, default=None),
        throttle_reasons=_throttle_reasons(inside),
        energy_j=energy.joules if energy is not None else None,
        energy_j_per_request=energy.joules / requests if energy is not None and requests else None,
        energy_method=energy.method if energy is not None else None,
        clock_normalised_p50_ms=p50_ms * median / max_sm_clock_mhz if p50_ms and median and max_sm_clock_mhz else None,
        memory_used_peak_bytes=max(_known(reading.memory_used_bytes for reading in inside), default=None),
        other_processes=_other_processes(inside, own_pids),
        missing=missing,
    )


def reason_names(bits: int) -> list[str]:
    """NVML's names in lower case; a bit that has none yet is named by its value ("0x800")."""
    return [REASONS.get(bit, hex(bit)) for bit in (1 << place for place in range(bits.bit_length())) if bits & bit]


def _throttle_reasons(inside: Sequence[Reading]) -> dict[str, float]:
    """Reason -> share of the readings that know any."""
    known = _known(reading.clocks_event_reasons for reading in inside)
    counts = Counter(name for bits in known for name in reason_names(bits) if name not in NO_THROTTLING)
    return {name: count / len(known) for name, count in counts.most_common()}


def _other_processes(inside: Sequence[Reading], own_pids: Collection[int]) -> list[GpuProcess]:
    seen: dict[int, GpuProcess] = {}
    for process in (process for reading in inside for process in reading.processes or ()):
        before = seen.get(process.pid)
        if before is None or (process.memory_bytes or 0) > (before.memory_bytes or 0):
            seen[process.pid] = process
    if len(seen) == 1 and not seen.keys() & set(own_pids):
        return []
    return sorted((process for pid, process in seen.items() if pid not in own_pids), key=lambda process: process.pid)


def _known(values: Iterable[_Value | None]) -> list[_Value]:
    return [value for value in values if value is not None]
