# SPDX-License-Identifier: Apache-2.0
"""Warnings from what a GPU did during a run: clocks that were held down, heat, other work on it, a share of a board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pyperf_infer.results.schema import Gpu, GpuActivity, GpuProcess
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.units import format_bytes

# As for the CPU's clock (load_advice): some percent is what boost does all the time; more than a tenth shows.
CLOCK_SPREAD = 0.10
# Of the readings. A power cap touches a busy GPU now and then; a twentieth of the samples moves no median.
THROTTLED_SHARE = 0.05
# The driver slows a GPU down above the board's "GPU Max Operating Temp" (`nvidia-smi -q -d TEMPERATURE`); boards state
# 83 degrees and more.
HOT_C = 83.0
# Every name makes the line longer, and a few are enough to find the rest.
_MOST_NAMED = 4

# What holds the clock down, and what helps. Ordered: where several hold, the first names the cause of the others.
_THROTTLING = {
    "hw_thermal_slowdown": ("the hardware slowed down as it was too hot", "cool"),
    "sw_thermal_slowdown": ("the driver slowed down as it was too hot", "cool"),
    "hw_power_brake_slowdown": ("the power supply asked for less", "supply"),
    "sw_power_cap": ("the power limit was reached", "power"),
    "hw_slowdown": ("the hardware slowed down: heat or power supply", "supply"),
    "board_limit": ("the board's limit was reached", "power"),
    "reliability": ("the board's reliability limit was reached", "power"),
    "sync_boost": ("it keeps to the clock of the GPUs it is grouped with", "group"),
    "display_clock_setting": ("it keeps to the display's clock", "display"),
}


def advise_gpu(
    activity: GpuActivity | None, gpu: Gpu | None, flags: Mapping[str, object], *, gpus: int = 1
) -> list[Notice]:
    """Warnings about the `gpu` that was measured on, one of `gpus` in the machine; the gravest first.

    `flags` maps every flag of the command at hand to its effective value (advice.advise): no other is named.
    """
    warnings: list[Notice] = [*_mig(gpu)]
    if activity is not None:
        warnings = [
            *_shared(activity, flags, gpus),
            *_throttled(activity, gpu, flags),
            *_clock(activity, gpu),
            *_hot(activity, flags),
            *warnings,
            *_not_watched(activity, flags),
        ]
    return warnings


def _shared(activity: GpuActivity, flags: Mapping[str, object], gpus: int) -> Iterator[Notice]:
    others = activity.other_processes
    if not others:
        return
    named = ", ".join(_described(process) for process in others[:_MOST_NAMED])
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    elsewhere = " Or measure on another GPU with --device cuda:N." if "--device" in flags and gpus > 1 else ""
    yield Notice(
        code="gpu_shared",
        message=f"Other processes were on this GPU: {named}{more}. What they run there delays this run's work.",
        remedy=f"Stop them and measure again.{elsewhere}",
    )


def _described(process: GpuProcess) -> str:
    details = [process.name] if process.name is not None else []
    if process.memory_bytes is not None:
        details.append(format_bytes(process.memory_bytes))
    return f"process {process.pid}" + (f" ({', '.join(details)})" if details else "")


def _throttled(activity: GpuActivity, gpu: Gpu | None, flags: Mapping[str, object]) -> Iterator[Notice]:
    found = {name: share for name, share in activity.throttle_reasons.items() if share > THROTTLED_SHARE}
    if not found:
        return
    known = [name for name in _THROTTLING if name in found]
    listed = [f"{name}, {share:.0%} of the readings" for name, share in found.items() if name not in _THROTTLING]
    told = [f"{_THROTTLING[name][0]} ({name}, {found[name]:.0%} of the readings)" for name in known]
    yield Notice(
        code="gpu_throttled",
        message=f"The GPU's clock was held down: {'; '.join([*told, *listed])}.",
        remedy=_against(_THROTTLING[known[0]][1] if known else "power", activity, gpu, flags),
    )


def _against(cause: str, activity: GpuActivity, gpu: Gpu | None, flags: Mapping[str, object]) -> str:
    lock = _lock(activity.sm_clock_mhz_min, gpu)
    match cause:
        case "cool":
            return f"Cool it better{_pauses(flags)}, or lock the clock where it stays cool: {lock}"
        case "supply":
            return "Check the power supply, its cables and the cooling; ask the machine's operator."
        case "group":
            return "Take the GPU out of its synchronised boost group (`dcgmi config`)."
        case "display":
            return "Measure on a GPU that drives no display."
        case _:
            return f"Raise the power limit (`sudo nvidia-smi -pl WATTS`), or lock a clock that it can hold: {lock}"


def _clock(activity: GpuActivity, gpu: Gpu | None) -> Iterator[Notice]:
    low, median, high = activity.sm_clock_mhz_min, activity.sm_clock_mhz_median, activity.sm_clock_mhz_max
    if low is None or median is None or high is None or high <= 0:
        return
    highest = activity.max_sm_clock_mhz
    varied = (high - low) / high > CLOCK_SPREAD
    if not varied and (not highest or (highest - median) / highest <= CLOCK_SPREAD):
        return
    if varied:
        message = f"The SM clock varied between {low:.0f} and {high:.0f} MHz while the GPU was busy."
    else:
        message = f"The SM clock was {median:.0f} MHz (median) while the GPU was busy; it goes up to {highest:.0f} MHz."
    yield Notice(
        code="gpu_clock",
        message=message,
        remedy=f"Lock it and compare only results at the same clock: {_lock(low, gpu)}",
    )


def _hot(activity: GpuActivity, flags: Mapping[str, object]) -> Iterator[Notice]:
    hottest = activity.temperature_c_max
    if hottest is not None and hottest >= HOT_C:
        yield Notice(
            code="gpu_hot",
            message=f"The GPU was at {hottest:.0f} °C, where it slows down or is about to.",
            remedy=f"Cool it better{_pauses(flags)}.",
        )


def _mig(gpu: Gpu | None) -> Iterator[Notice]:
    if gpu is not None and gpu.mig:
        yield Notice(
            code="gpu_mig",
            message=(
                "The GPU is partitioned (MIG): clock, power, energy and temperature are those of the whole board, "
                "which other instances share."
            ),
            remedy="Keep the other instances idle, or turn MIG off: `sudo nvidia-smi -mig 0`.",
        )


def _not_watched(activity: GpuActivity, flags: Mapping[str, object]) -> Iterator[Notice]:
    if activity.missing is None:
        return
    unknown = "Its clocks, throttling and other processes are not known"
    if activity.readings:
        unknown = f"Its clocks and other processes are known for {activity.window_s:.3g} s of the measuring only"
    longer = " Or measure for a second or more with --duration 1." if _shorter_than_a_second(flags) else ""
    yield Notice(
        code="gpu_not_watched",
        message=f"{activity.missing.rstrip('.')}. {unknown}.",
        remedy=f"Watch it by hand meanwhile: `nvidia-smi dmon`.{longer}",
    )


def _shorter_than_a_second(flags: Mapping[str, object]) -> bool:
    duration = flags.get("--duration")
    return isinstance(duration, int | float) and duration < 1


def _lock(clock_mhz: float | None, gpu: Gpu | None) -> str:
    which = f" -i {gpu.uuid}" if gpu is not None and gpu.uuid is not None else ""
    clock = f"{clock_mhz:.0f}" if clock_mhz is not None else "MHZ"
    return f"`sudo nvidia-smi{which} --lock-gpu-clocks={clock}`."


def _pauses(flags: Mapping[str, object]) -> str:
    """Rest between requests, unless the command has no such flag or it rests already."""
    return " or pause between requests with --idle-ms" if "--idle-ms" in flags and not flags["--idle-ms"] else ""
