# SPDX-License-Identifier: Apache-2.0
"""Ceilings of an NVIDIA GPU, measured: bytes a second to and from its memory and L2 cache, operations by precision.

Work is queued without a pause for a second, and timed by the device's clock between two completions. A ceiling is the
highest of ten parts of that time. What no device of its kind can do is an error of ours, and raised.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pyperf_infer import __version__
from pyperf_infer.errors import MeasurementError, OutOfMemoryError
from pyperf_infer.results.ceilings_schema import Ceilings, ComputeCeiling, MemoryCeiling, MemoryLevel
from pyperf_infer.results.schema import utc_now
from pyperf_infer.roofline.ceilings.gpu_work import PRECISIONS, GpuWork, why_not
from pyperf_infer.roofline.gpu_peaks import GpuPeaks, most_bytes_per_s, most_flops_per_s, peaks_of
from pyperf_infer.system.environment import collect
from pyperf_infer.system.floor_file import machine_key
from pyperf_infer.system.gpu import describe_gpus
from pyperf_infer.system.gpu_activity import activity_of
from pyperf_infer.system.gpu_advice import advise_gpu
from pyperf_infer.system.gpu_monitor import GpuMonitor
from pyperf_infer.timing.cuda import gpu_count, open_gpu
from pyperf_infer.timing.measurement import measure
from pyperf_infer.units import format_bytes, format_rate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pyperf_infer import _core
    from pyperf_infer.results.schema import Gpu, GpuActivity

SIZES = (8192, 4096)  # of square matrices; small ones do not fill a large device
RUNS = 10
SECONDS = 1.0  # of work, after the warm-up
_WARMUP_S = 1.0
_FEWEST = 3 * RUNS
_BUDGET_S = 20.0
# A working set of N times the cache can find up to 1/N of itself there: at 16 that hides in what a memory loses anyway.
_CACHES = 16
_LARGE = 1 << 30
_FEWEST_CACHES = 4
_SMALLEST = 256 << 20
_SHARE_OF_FREE = 4  # a quarter
_REPLAYS = {"memory": 4, "L2": 64}  # so that a graph takes the device much longer than starting it takes the host
_PATTERNS = ("copy", "triad")
# How torch says that its libraries have nothing for this type on this device, in an error's first line. Words such as
# "expected" and "requires" stand in errors of every kind.
_LACKING = re.compile(
    r"NOT_SUPPORTED|ARCH_MISMATCH"
    r"|\bnot (?:implemented|supported|compiled) (?:for|on|by|with)\b|\bonly supported (?:for|on)\b"
)


def measure_gpu(index: int, *, progress: Callable[[str], None] | None = None) -> Ceilings:
    """All ceilings of the GPU that CUDA calls `index`, in some 40 seconds. `progress` is told what comes next.

    Raises:
        BackendError: no driver, no such GPU, or a torch that does not see it.
        MeasurementError: other processes are on the GPU; or more was measured than the device can do.
        OutOfMemoryError: what is free of its memory is too little.
    """
    tell = progress or (lambda _: None)
    context = open_gpu(index)
    gpu = _Gpu(context)
    begin_ns = time.monotonic_ns()
    work = GpuWork(index)
    measured_utc = utc_now()
    with GpuMonitor(gpu.facts.uuid) as monitor:
        tell(f"cuda:{index}: who else is on it")
        monitor.ready()
        gpu.refuse_neighbours(monitor, begin_ns)
        with work.open():
            memory = list(_memory(work, gpu, tell))
            not_measured: list[str] = []
            compute = list(_compute(work, gpu, monitor, not_measured, tell))
        end_ns = time.monotonic_ns()
        activity = gpu.refuse_neighbours(monitor, begin_ns)
    environment = collect()
    environment.gpus = gpu.all
    notices = advise_gpu(activity, gpu.described, {}, gpus=gpu_count())
    if gpu.peaks is None:
        not_measured.append(f"there are no datasheet figures of {gpu.facts.name} here to judge these by")
    return Ceilings(
        device=f"cuda:{index}",
        device_name=gpu.facts.name,
        machine=machine_key(environment),
        measured_utc=measured_utc,
        tool_version=__version__,
        threads=1,
        microarchitecture=None,
        microarchitecture_source=None,
        levels=gpu.levels,
        compute=compute,
        memory=memory,
        not_measured=not_measured,
        other_load=None,
        sm_clock_mhz=activity.sm_clock_mhz_median,
        power_w=activity.power_w_mean,
        warnings=[f"{one.message} {one.remedy}".strip() for one in notices],
        duration_s=(end_ns - begin_ns) / 1e9,
    )


class _Gpu:
    """What is known of the device, and the bounds that follow."""

    def __init__(self, context: _core.GpuContext) -> None:
        self._context = context
        self.facts = context.facts
        self.capability = (self.facts.compute_major, self.facts.compute_minor)
        self.peaks: GpuPeaks | None = peaks_of(self.facts.name)
        self.all: list[Gpu] = describe_gpus()
        self.described = next((one for one in self.all if _same(one.uuid, self.facts.uuid)), None)
        told = self.described.max_sm_clock_mhz if self.described else None
        self.max_sm_clock_mhz = told or self.facts.sm_clock_khz / 1e3 or None
        self.levels = [MemoryLevel(level="memory", capacity_bytes=None)]
        if self.facts.l2_bytes:
            self.levels.insert(0, MemoryLevel(level="L2", capacity_bytes=self.facts.l2_bytes))

    @property
    def free_bytes(self) -> int:
        return self._context.free_memory_bytes()

    def activity(self, monitor: GpuMonitor, begin_ns: int, requests: int = 0) -> GpuActivity:
        end_ns = time.monotonic_ns()
        return activity_of(
            monitor.readings(begin_ns, end_ns),
            begin_ns,
            end_ns,
            requests=requests,
            polling_interval_ms=monitor.interval_ms,
            own_pids={os.getpid()},
            max_sm_clock_mhz=self.max_sm_clock_mhz,
            missing=monitor.why_not,
        )

    def refuse_neighbours(self, monitor: GpuMonitor, begin_ns: int) -> GpuActivity:
        found = self.activity(monitor, begin_ns)
        if found.other_processes:
            named = ", ".join(
                f"process {one.pid}" + (f" ({one.name})" if one.name else "") for one in found.other_processes
            )
            raise MeasurementError(
                f"Other processes are on {self.facts.name}: {named}. What they run there would make its ceilings too "
                "low. Stop them and measure again."
            )
        return found

    def most_bytes_per_s(self) -> float | None:
        return most_bytes_per_s(self.peaks, self.facts.memory_bandwidth_bytes_per_s)

    def most_flops_per_s(self, precision: str) -> float | None:
        return most_flops_per_s(self.peaks, [precision], self.max_sm_clock_mhz)


def _same(one: str | None, other: str | None) -> bool:
    """By what is behind the prefix, which differs for an instance of a partitioned GPU."""
    return bool(one and other) and str(one).partition("-")[2].lower() == str(other).partition("-")[2].lower()


def _memory(work: GpuWork, gpu: _Gpu, tell: Callable[[str], None]) -> Iterator[MemoryCeiling]:
    for level in gpu.levels:
        working_set, times = _working_set(gpu, level.level), _REPLAYS[level.level]
        for pattern in _PATTERNS:
            tell(f"{pattern}, {level.level}")
            how, moved, rates = _fastest_move(work, pattern, working_set, times)
            highest = float(rates.max())
            most = gpu.most_bytes_per_s() if level.level == "memory" else None
            _judge(f"a {pattern} in {gpu.facts.name}'s memory ({how})", highest, most, "B")
            yield MemoryCeiling(
                level=level.level,
                pattern="copy" if pattern == "copy" else "triad",
                threads=1,
                bytes_per_s=highest,
                median_bytes_per_s=float(np.median(rates)),
                spread=_spread(rates),
                runs=len(rates),
                working_set_bytes=moved,
                non_temporal=False,
                datasheet_bytes_per_s=_datasheet_bandwidth(gpu) if level.level == "memory" else None,
            )


def _fastest_move(
    work: GpuWork, pattern: str, working_set_bytes: int, times: int
) -> tuple[str, int, NDArray[np.float64]]:
    """What moved, the bytes of a call, and their rates. Nothing of the arrays is kept."""
    with work.moving(pattern, working_set_bytes) as pieces:
        found = [(one.how, one.amount, _rates(work.replayed(one, times), one.amount * times)) for one in pieces]
    return max(found, key=lambda one: float(one[2].max()))


def _datasheet_bandwidth(gpu: _Gpu) -> float | None:
    return gpu.peaks.memory_bandwidth_bytes_per_s if gpu.peaks else None


def _working_set(gpu: _Gpu, level: str) -> int:
    """Bytes of all arrays together.

    Raises:
        OutOfMemoryError: a quarter of the free memory is too little to leave the cache behind.
    """
    cache = gpu.facts.l2_bytes
    if level == "L2":
        return cache // 2
    least = max(_FEWEST_CACHES * cache, _SMALLEST)
    given = gpu.free_bytes // _SHARE_OF_FREE
    if given < least:
        raise OutOfMemoryError(
            f"{format_bytes(gpu.free_bytes)} of {gpu.facts.name}'s memory are free, and measuring its bandwidth takes "
            f"{format_bytes(_SHARE_OF_FREE * least)}. Stop what else uses it and measure again."
        )
    return min(max(_CACHES * cache, _LARGE), given)


def _compute(
    work: GpuWork, gpu: _Gpu, monitor: GpuMonitor, not_measured: list[str], tell: Callable[[str], None]
) -> Iterator[ComputeCeiling]:
    for precision in PRECISIONS:
        reason = why_not(precision, gpu.capability)
        if reason is not None:
            not_measured.append(reason)
            continue
        tell(f"{precision} products")
        begin_ns = time.monotonic_ns()
        try:
            how, rates = _fastest_product(work, gpu, precision)
        except RuntimeError as error:  # torch's
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            said = f"{precision} products on {gpu.facts.name}: torch raised {type(error).__name__}: {first}"
            if not _LACKING.search(first):
                raise MeasurementError(said) from error
            not_measured.append(said)
            continue
        highest = float(rates.max())
        most = gpu.most_flops_per_s(precision)
        _judge(f"{precision} products on {gpu.facts.name} ({how})", highest, most, "FLOP")
        clock = gpu.activity(monitor, begin_ns).sm_clock_mhz_max
        yield ComputeCeiling(
            precision=precision,  # type: ignore[arg-type]
            threads=1,
            instructions=how,
            flops_per_s=highest,
            median_flops_per_s=float(np.median(rates)),
            spread=_spread(rates),
            runs=len(rates),
            clock_hz=clock * 1e6 if clock else None,
            flops_per_cycle=None,
            share_of_theory=None,
            datasheet_flops_per_s=gpu.peaks.flops_per_s.get(precision) if gpu.peaks else None,
        )


def _fastest_product(work: GpuWork, gpu: _Gpu, precision: str) -> tuple[str, NDArray[np.float64]]:
    """Of the sizes that fit, the one with the highest rate. Nothing of the matrices is kept."""
    found: list[tuple[str, NDArray[np.float64]]] = []
    for size in SIZES:
        # Two operands and the result, and the float32 data that the operands are made of.
        if 5 * 4 * size * size > gpu.free_bytes // 2 and size != SIZES[-1]:
            continue
        with work.product(precision, size) as piece:
            found.append((piece.how, _rates(work.queued(piece), piece.amount)))
    return max(found, key=lambda one: float(one[1].max()))


def _rates(target: Any, amount: int) -> NDArray[np.float64]:
    """`amount` a second in each of ten parts of a second of calls that are queued one behind the other."""
    samples = measure(
        target,
        mode="throughput",
        duration=SECONDS,
        max_duration=_BUDGET_S,
        iterations=_FEWEST,
        ci=0.1,
        warmup=_WARMUP_S,
    )
    parts = np.array_split(samples.ns, RUNS)
    return np.array([amount * len(part) / (float(part.sum()) / 1e9) for part in parts if part.sum() > 0])


def _spread(rates: NDArray[np.float64]) -> float:
    return float((rates.max() - rates.min()) / np.median(rates))


def _judge(what: str, rate: float, most: float | None, unit: str) -> None:
    if most is not None and rate > most:
        raise MeasurementError(
            f"{what} came out at {format_rate(rate, unit)}, and no such device can do more than "
            f"{format_rate(most, unit)}: this is an error of the measurement. Please report it."
        )
