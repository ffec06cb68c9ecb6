# SPDX-License-Identifier: Apache-2.0
"""What can be read of a GPU from outside the work that runs on it, and who reads it.

These are also the lines (JSON, one a line) that the process of gpu_monitor writes, so that every one names its kind.
``None`` stands for what the driver does not tell about this GPU, or not to this user.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from pyperf_infer.results.schema import GpuProcess  # noqa: TC001  msgspec reads it


class GpuFacts(Struct, kw_only=True, tag="gpu"):
    """What does not change while a run lasts."""

    name: str
    uuid: str | None = None
    driver: str | None = None
    cuda_driver: str | None = None
    memory_bytes: int | None = None
    compute_capability: str | None = None
    memory_bus_bits: int | None = None
    max_sm_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    power_limit_w: float | None = None  # the one in force, after every limiter
    mig: bool | None = None
    ecc: bool | None = None


class Reading(Struct, kw_only=True, tag="reading"):
    """One look at the GPU. ``monotonic_ns`` is the clock that time.monotonic_ns and the timing loop read."""

    monotonic_ns: int
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    clocks_event_reasons: int | None = None  # bits, see gpu_activity.REASONS
    energy_mj: int | None = None  # since the driver was loaded
    memory_used_bytes: int | None = None
    processes: list[GpuProcess] | None = None  # with a context on this GPU


class End(Struct, kw_only=True, tag="end"):
    """The last line of a process that cannot go on."""

    why: str


Line = GpuFacts | Reading | End


class GpuReader(Protocol):
    """Reads one GPU. Either call may raise; a later one may succeed all the same."""

    def facts(self) -> GpuFacts: ...

    def poll(self) -> Reading: ...
