# SPDX-License-Identifier: Apache-2.0
"""The GPU side of a run: the device, who watches it, and what a measured row says of both."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pyperf_infer.errors import BackendError, MeasurementError
from pyperf_infer.results.schema import Gpu, GpuActivity, GpuMethod
from pyperf_infer.system.gpu import describe_gpus
from pyperf_infer.system.gpu_activity import activity_of
from pyperf_infer.system.gpu_monitor import GpuMonitor
from pyperf_infer.timing.cuda import gpu_count, open_gpu

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.measure.plan import RunPlan
    from pyperf_infer.timing.samples import Samples

# Where submit takes so much of the span on the GPU, the GPU waits for the host rather than the other way round.
LAUNCH_BOUND_SHARE = 0.8
_POLL_MS = 100.0


@dataclass(frozen=True, kw_only=True)
class DeviceMemory:
    """Of a backend on a GPU, as far as the driver tells: what all processes use together. See docs/results.md."""

    after_preparing_bytes: int
    increase_bytes: int  # may be below zero, where something else gave memory back meanwhile
    after_measuring_bytes: int | None = None
    while_measuring_bytes: int | None = None

    def measured(self, used_bytes: int | None, activity: GpuActivity | None) -> DeviceMemory:
        """With what was in use right after measuring, and what NVML saw meanwhile; None where that is not known."""
        seen = activity.memory_used_peak_bytes if activity else None
        return replace(self, after_measuring_bytes=used_bytes, while_measuring_bytes=seen)

    @property
    def peak_bytes(self) -> int:
        known = (self.after_preparing_bytes, self.after_measuring_bytes, self.while_measuring_bytes)
        return max(one for one in known if one is not None)

    @property
    def method(self) -> str:
        moments = ["after preparing"]
        moments += ["after measuring"] if self.after_measuring_bytes is not None else []
        moments += ["in NVML's readings meanwhile"] if self.while_measuring_bytes is not None else []
        return (
            "device-wide by cuMemGetInfo, other processes and the other backends of this run included; peak: the most "
            f"of {', '.join(moments)}; increase: after preparing and the first runs, less what was in use before, and "
            "the first backend's also has the libraries that were loaded"
        )


class GpuSide:
    """The GPU that a run measures on, and the process that polls it for as long as the block lasts.

    Raises:
        BackendError: no driver, or no such GPU.
    """

    def __init__(self, index: int, *, poll: bool) -> None:
        self.context = open_gpu(index)
        self.facts = self.context.facts
        self.described = _described(self.context)
        self.count = gpu_count()
        self._poll = poll
        self._monitor: GpuMonitor | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Polls while the block lasts, where that is wanted."""
        with ExitStack() as held:
            if self._poll:
                self._monitor = held.enter_context(GpuMonitor(self.facts.uuid, interval_ms=_POLL_MS))
            yield
        self._monitor = None

    def used_memory_bytes(self) -> int:
        """On the device, by all processes.

        Raises:
            PyperfInferError: the device is lost.
        """
        return self.context.used_memory_bytes()

    def release_cached(self) -> None:
        """Has torch give back what it keeps of backends that are closed, so that the next one finds what is free."""
        torch = sys.modules.get("torch")
        if torch is not None and not self.context.is_lost and torch.cuda.is_initialized():
            with suppress(RuntimeError):  # of a device that has failed, which says so itself where it matters
                torch.cuda.empty_cache()

    def activity(self, begin_ns: int, end_ns: int, samples: Samples, plan: RunPlan) -> GpuActivity | None:
        """What the device did in a window of the steady clock; None where nobody watched."""
        monitor = self._monitor
        if monitor is None:
            return None
        found = activity_of(
            monitor.readings(begin_ns, end_ns),
            begin_ns,
            end_ns,
            # A sample of mode throughput is the mean of one period on each stream.
            requests=len(samples.ns) * (plan.options.streams if plan.mode == "throughput" else 1),
            polling_interval_ms=monitor.interval_ms,
            own_pids={os.getpid()},
            max_sm_clock_mhz=self.described.max_sm_clock_mhz,
            p50_ms=samples.median_ns / 1e6,
            missing=monitor.why_not,
        )
        if plan.mode == "cold" and found.energy_method is not None:
            found.energy_j_per_request = None
            found.energy_method += "; none per request, as flushing the caches and waiting took part of it"
        return found


def _described(context: _core.GpuContext) -> Gpu:
    """What NVML and the driver tell of the GPU; either may lack."""
    facts = context.facts
    known = next((one for one in describe_gpus() if _same_gpu(one.uuid, facts.uuid)), None) or Gpu(name=facts.name)
    version = context.driver_version
    known.index = facts.ordinal
    known.uuid = facts.uuid or None
    known.cuda_driver = f"{version // 1000}.{version % 1000 // 10}"
    known.memory_bytes = facts.memory_bytes
    known.compute_capability = f"{facts.compute_major}.{facts.compute_minor}"
    known.multiprocessors = facts.multiprocessors or None
    known.l2_bytes = facts.l2_bytes or None
    known.memory_bandwidth_bytes_per_s = facts.memory_bandwidth_bytes_per_s or None
    known.max_sm_clock_mhz = known.max_sm_clock_mhz or (facts.sm_clock_khz / 1e3 or None)
    known.max_memory_clock_mhz = known.max_memory_clock_mhz or (facts.memory_clock_khz / 1e3 or None)
    return known


def _same_gpu(one: str | None, other: str | None) -> bool:
    """By what is behind the prefix: an instance of a partitioned GPU is "MIG-..." to NVML and "GPU-..." to CUDA."""
    return bool(one and other) and str(one).partition("-")[2].lower() == str(other).partition("-")[2].lower()


def check_asynchrony(target: _core.StreamTarget, backend: str, mode: str) -> None:
    """Finds out whether submit waits for the work, to be called after the warm-up.

    Raises:
        MeasurementError: it does, and the mode takes work that is queued.
    """
    target.probe_asynchrony()
    if mode == "throughput" and target.asynchrony == "sync_inside_submit":
        raise MeasurementError(
            f"{backend} waits for the GPU inside of submit ({target.asynchrony_evidence}), so that no two of its calls "
            "are in flight and there is no throughput of queued work to measure. Use --mode latency"
        )


def gpu_method(
    target: _core.StreamTarget, side: GpuSide, plan: RunPlan, overhead: _core.EventOverhead | None
) -> GpuMethod:
    """How the row was timed on its GPU. Asks the driver nothing, so that it works on one that is lost."""
    options = plan.options
    cold = plan.mode == "cold"
    gated = target.gated if cold else None
    return GpuMethod(
        device_index=side.facts.ordinal,
        device_name=side.facts.name,
        streams=options.streams,
        wait=options.wait,
        event_overhead_ns=overhead.span_ns if overhead else None,
        event_step_ns=overhead.step_ns or None if overhead else None,
        asynchronous=target.asynchrony,  # type: ignore[arg-type]
        asynchrony_evidence=target.asynchrony_evidence,
        gated=gated,
        gate_reason=target.gate_reason if gated is False else None,
        gate_timeouts=target.gate_timeouts,
        flush_bytes=target.flush_bytes if cold else None,
        include_transfers=options.include_transfers,
        profile_range=plan.profile_range,
    )


def launch_bound(samples: Samples, method: GpuMethod) -> tuple[bool | None, str | None]:
    """Whether the GPU waits for the host, with the two medians that say so; withheld where submit waits for the GPU."""
    if samples.submit_ns is None or samples.gpu_ns is None:
        return None, None
    if method.asynchronous != "proved":
        return None, f"withheld: {method.asynchrony_evidence}"
    submit_ms = samples.summarise(quantity="submit").p50_ns / 1e6
    # What submit queues: with --include-transfers the copies too, which are no part of the span.
    parts = [name for name in ("h2d", "gpu", "d2h") if name in samples.columns]
    gpu_ms = float(np.median(sum(samples.columns[name] for name in parts))) / 1e6
    if gpu_ms <= 0:
        return None, "withheld: the span on the GPU is below a step of its clock"
    share = submit_ms / gpu_ms
    against = f"{' + '.join(parts)} p50 {gpu_ms:.4g} ms"
    return share > LAUNCH_BOUND_SHARE, f"submit p50 {submit_ms:.4g} ms is {share:.2f} of {against}"


@contextmanager
def profile_range(name: str, *, enabled: bool) -> Iterator[None]:
    """Marks the block for Nsight: profiler start and stop, and an NVTX range of that name.

    Raises:
        BackendError: this torch has no CUDA, whose profiler calls these are.
    """
    if not enabled:
        yield
        return
    import torch

    if not torch.cuda.is_available():
        raise BackendError("--profile-range takes a torch with CUDA, which tells Nsight when to start")
    torch.cuda.profiler.start()  # type: ignore[no-untyped-call]
    torch.cuda.nvtx.range_push(f"pyperf-infer {name}")  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        torch.cuda.nvtx.range_pop()  # type: ignore[no-untyped-call]
        torch.cuda.profiler.stop()  # type: ignore[no-untyped-call]
