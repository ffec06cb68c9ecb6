# SPDX-License-Identifier: Apache-2.0
"""What a result says of GPUs: part of the result document's schema, whose users import it from ``results.schema``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import AboveZero, Count, NonNegative, Part, Positive  # noqa: TC001  msgspec reads them


class Gpu(Struct, kw_only=True):
    """A GPU in the machine. ``None`` where neither the driver nor NVML tells."""

    name: str
    index: Count | None = None  # the driver's own, after CUDA_VISIBLE_DEVICES
    uuid: str | None = None
    driver: str | None = None  # version of the kernel's driver: "580.65.06"
    cuda_driver: str | None = None  # the newest CUDA that the driver supports: "13.0"
    memory_bytes: Positive | None = None
    compute_capability: str | None = None
    multiprocessors: Positive | None = None
    l2_bytes: Positive | None = None
    memory_bandwidth_bytes_per_s: AboveZero | None = None  # theoretical: from the memory clock and the bus width
    max_sm_clock_mhz: NonNegative | None = None
    max_memory_clock_mhz: NonNegative | None = None
    power_limit_w: NonNegative | None = None
    mig: bool | None = None  # whether it is partitioned: Multi-Instance GPU


class GpuProcess(Struct, kw_only=True):
    """Another process that holds memory on the same GPU."""

    pid: Count
    name: str | None = None
    memory_bytes: Count | None = None


class GpuActivity(Struct, kw_only=True):
    """What NVML told of the GPU between the first and the last sample, polled off the timed path."""

    polling_interval_ms: NonNegative
    readings: Count
    window_s: NonNegative  # from the first reading to the last
    samples_covered: Count  # requests that were done within that window
    sm_clock_mhz_min: NonNegative | None = None
    sm_clock_mhz_median: NonNegative | None = None
    sm_clock_mhz_max: NonNegative | None = None
    memory_clock_mhz_min: NonNegative | None = None
    memory_clock_mhz_max: NonNegative | None = None
    max_sm_clock_mhz: NonNegative | None = None  # the highest that the device allows
    temperature_c_max: NonNegative | None = None
    power_w_mean: NonNegative | None = None
    power_w_max: NonNegative | None = None
    throttle_reasons: dict[str, Part] = {}  # NVML's name for the reason -> share of the readings that gave it
    energy_j: NonNegative | None = None
    energy_j_per_request: NonNegative | None = None
    energy_method: str | None = None
    clock_normalised_p50_ms: NonNegative | None = None  # p50 as it would be at the device's highest clock
    memory_used_peak_bytes: Count | None = None  # on the device, by all processes
    other_processes: list[GpuProcess] = []
    missing: str | None = None  # why there are no readings, or which are not there

    def __post_init__(self) -> None:
        if not self.readings and self.missing is None:
            raise ValueError("a GPU's activity without readings needs the reason in missing")


class GpuMethod(Struct, kw_only=True):
    """How the work was timed on its GPU."""

    device_index: Count
    device_name: str
    streams: Positive
    wait: Literal["spin", "block"]
    event_overhead_ns: NonNegative | None = None  # the gpu span of an empty pair of events on this device
    event_step_ns: NonNegative | None = None
    asynchronous: Literal["proved", "sync_inside_submit", "unknown"]
    asynchrony_evidence: str
    gated: bool | None = None  # None outside mode cold
    gate_reason: str | None = None  # why it was not gated
    gate_timeouts: Count = 0  # samples that were discarded, since the gate's watchdog had opened it
    flush_bytes: Count | None = None
    include_transfers: bool = False
    profile_range: bool = False

    def __post_init__(self) -> None:
        if self.gated is False and self.gate_reason is None:
            raise ValueError("work that was not gated needs the reason in gate_reason")
        if self.gated and self.gate_reason is not None:
            raise ValueError(f"the work was gated, and gate_reason says why not: {self.gate_reason!r}")


class Integrity(Struct, kw_only=True):
    """Whether the time measured is possible on this device: not below what its bytes or its FLOPs need at the peak."""

    status: Literal["ok", "impossible", "not checked"]
    bytes_min: Count | None = None  # that must be read or written at least once
    bandwidth_bytes_per_s: AboveZero | None = None
    floor_bytes_ms: NonNegative | None = None  # the least time for those bytes, from memory
    flops: Count | None = None
    peak_flops_per_s: AboveZero | None = None
    floor_flops_ms: NonNegative | None = None  # the least time for those FLOPs
    measured_ms: NonNegative | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.status != "ok" and self.reason is None:
            raise ValueError(f"the integrity {self.status!r} needs its reason")
