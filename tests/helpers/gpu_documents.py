# SPDX-License-Identifier: Apache-2.0
"""Made-up results of runs on a GPU. Numbers are plausible, not measured."""

from __future__ import annotations

from collections.abc import Sequence

import result_documents as made
from msgspec.structs import replace

from pyperf_infer.results import schema

NAME = "NVIDIA H100 80GB HBM3"


def gpu(index: int = 0, name: str = NAME) -> schema.Gpu:
    return schema.Gpu(
        name=name,
        index=index,
        uuid="GPU-00000000-0000-0000-0000-000000000000",
        driver="580.65.06",
        cuda_driver="13.0",
        memory_bytes=80 << 30,
        compute_capability="9.0",
        multiprocessors=132,
        l2_bytes=50 << 20,
        memory_bandwidth_bytes_per_s=3.35e12,
        max_sm_clock_mhz=1980,
        max_memory_clock_mhz=2619,
        power_limit_w=700,
        mig=False,
    )


def gpu_method(**fields: object) -> schema.GpuMethod:
    whole = schema.GpuMethod(
        device_index=0,
        device_name=NAME,
        streams=1,
        wait="spin",
        event_overhead_ns=1440.0,
        event_step_ns=32.0,
        asynchronous="proved",
        asynchrony_evidence="submit returned before the end event in 30 of 30 calls",
    )
    return replace(whole, **fields)


def gpu_activity(**fields: object) -> schema.GpuActivity:
    whole = schema.GpuActivity(
        polling_interval_ms=100,
        readings=51,
        window_s=5.0,
        samples_covered=388,
        sm_clock_mhz_min=1755,
        sm_clock_mhz_median=1905,
        sm_clock_mhz_max=1980,
        memory_clock_mhz_min=2619,
        memory_clock_mhz_max=2619,
        max_sm_clock_mhz=1980,
        temperature_c_max=61,
        power_w_mean=412.5,
        power_w_max=480,
        throttle_reasons={"sw_power_cap": 0.4},
        energy_j=2103.0,
        energy_j_per_request=0.5313,
        energy_method="NVML's energy counter",
        clock_normalised_p50_ms=0.914,
        memory_used_peak_bytes=3 << 30,
    )
    return replace(whole, **fields)


def process(pid: int, name: str | None = None, memory_bytes: int | None = None) -> schema.GpuProcess:
    return schema.GpuProcess(pid=pid, name=name, memory_bytes=memory_bytes)


def integrity(status: str = "ok", reason: str | None = None) -> schema.Integrity:
    return schema.Integrity(
        status=status,  # type: ignore[arg-type]
        bytes_min=102_400_000,
        bandwidth_bytes_per_s=3.35e12,
        floor_bytes_ms=0.03057,
        flops=8_200_000_000,
        peak_flops_per_s=494e12,
        floor_flops_ms=0.0166,
        measured_ms=0.95,
        reason=reason,
    )


def gpu_result(
    backend: str = "torch",
    *,
    mode: str = "latency",
    p50_ms: float = 0.95,
    precision: str = "float32",
    batch_size: int = 1,
    launch_bound: bool | None = True,
    transfers: bool = False,
    activity: schema.GpuActivity | None = None,
    integrity_block: schema.Integrity | None = None,
    method: schema.GpuMethod | None = None,
) -> schema.Result:
    """A row as the mode makes it: latency with submit and gpu; the period alone; or a cold gpu span with submit."""
    row = made.result(batch_size=batch_size, backend=backend, p50_ms=p50_ms)
    row.subject.precision = precision
    row.method.device, row.method.mode, row.method.gpu = "cuda:0", mode, method or gpu_method()
    span, submit = made.block(p50_ms), made.block(p50_ms * 0.9)
    evidence = f"submit p50 {p50_ms * 0.9:.4g} ms is 0.90 of gpu p50 {p50_ms:.4g} ms"
    row.summary = replace(
        row.summary,
        latency=made.block(p50_ms * 1.1) if mode == "latency" else None,
        period=span if mode == "throughput" else None,
        gpu=span if mode != "throughput" else None,
        submit=submit if mode != "throughput" else None,
        h2d=made.block(0.05) if transfers else None,
        d2h=made.block(0.02) if transfers else None,
        launch_bound=launch_bound if mode != "throughput" else None,
        launch_bound_evidence=evidence if launch_bound is not None and mode != "throughput" else None,
        gpu_busy_ms=p50_ms * 0.6,
        gpu_busy_method="union of kernels and copies in a profiler's pass of 20 calls",
        device_peak_memory_bytes=2 << 30,
        device_memory_increase_bytes=1 << 30,
        device_memory_method="cuMemGetInfo before and after",
    )
    row.gpu_activity = activity or gpu_activity()
    row.integrity = integrity_block or integrity()
    row.parity = None
    return row


def gpu_document(rows: Sequence[schema.Result], **fields: object) -> schema.Document:
    """A document of these rows on a machine with two GPUs, of which ``gpu_result`` uses the first."""
    environment = replace(made.environment(), gpus=[gpu(), gpu(1, "NVIDIA T4")])
    return replace(made.document(list(rows)), environment=environment, **fields)
