# SPDX-License-Identifier: Apache-2.0
"""Whether a measured time is possible at all: not below what its bytes need at the memory's bandwidth, nor below what
its FLOPs need at the device's peak. A time that is, is an error of the measurement.

Every figure leans to the measurement's side: bytes and FLOPs are the least that will do, bandwidth and peak the most.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyperf_infer.results.schema import Integrity
from pyperf_infer.units import format_bytes, format_count, format_duration_ms, format_rate

if TYPE_CHECKING:
    from pyperf_infer.roofline.least import LeastBytes, LeastFlops


def check(
    mode: str,
    gpu_p50_ns: float | None,
    *,
    least_bytes: LeastBytes | None,
    least_flops: LeastFlops | None,
    bandwidth_bytes_per_s: float | None,
    peak_flops_per_s: float | None,
    l2_bytes: int | None,
    copies_inputs: bool = False,
    measured: str = "median GPU span",
) -> Integrity:
    """Judges the median of the GPU spans, in nanoseconds; None where the mode measures none.

    `measured` says what it is the median of, where that is another time in which a request surely ran by itself.
    `bandwidth_bytes_per_s` and `peak_flops_per_s` are those of `gpu_peaks.most_bytes_per_s` and `most_flops_per_s`.
    `copies_inputs`: they were copied to the device just before the span. What is not known (None) is not judged; where
    nothing is, the status is "not checked", and the reason says what is missing.
    """
    if gpu_p50_ns is None:
        return Integrity(status="not checked", reason=f"mode {mode} measures no GPU span of a single request")
    measured_ms = gpu_p50_ns / 1e6
    crossing = None if least_bytes is None else bytes_across_bus(mode, least_bytes, l2_bytes, copies_inputs)
    flops = None if least_flops is None else least_flops.floor
    floor_bytes_ms = _milliseconds(crossing, bandwidth_bytes_per_s)
    floor_flops_ms = _milliseconds(flops, peak_flops_per_s)
    broken = [
        f"the {measured}, {format_duration_ms(measured_ms)}, is shorter than the {format_duration_ms(floor)} that "
        f"{work} at {rate}"
        for floor, work, rate in (
            (floor_bytes_ms, f"{format_bytes(crossing or 0)} take", format_rate(bandwidth_bytes_per_s or 0, "B")),
            (floor_flops_ms, f"{format_count(flops or 0)} FLOPs take", format_rate(peak_flops_per_s or 0, "FLOP")),
        )
        if floor is not None and measured_ms < floor
    ]
    unjudged = [
        *_why_no_bytes_floor(least_bytes, crossing, bandwidth_bytes_per_s),
        *_why_no_flops_floor(flops, peak_flops_per_s),
    ]
    notes = least_flops.notes if least_flops is not None and floor_flops_ms else ()
    return Integrity(
        status="impossible" if broken else "ok" if floor_bytes_ms or floor_flops_ms else "not checked",
        bytes_min=crossing,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        floor_bytes_ms=floor_bytes_ms,
        flops=flops,
        peak_flops_per_s=peak_flops_per_s,
        floor_flops_ms=floor_flops_ms,
        measured_ms=measured_ms,
        reason="; ".join((*broken, *notes, *unjudged)) or None,
    )


def bytes_across_bus(mode: str, least: LeastBytes, l2_bytes: int | None, copies_inputs: bool) -> int | None:
    """Bytes that must go to or from the device's memory within the span; None where that takes an unknown L2 capacity.

    In mode `cold` the caches hold nothing of the model, but they may keep back, at the end, as much of the outputs as
    fits, and the inputs if those have just been written. In the other modes the same memory is gone through again and
    again: what does not fit in the L2 cache goes in or out every time, and the rest may never do.
    """

    def beyond_cache(size: int) -> int:
        return 0 if l2_bytes is None else max(0, size - l2_bytes)

    if mode == "cold":
        inputs = beyond_cache(least.inputs) if copies_inputs else least.inputs
        return least.weights + inputs + beyond_cache(least.outputs)
    return None if l2_bytes is None else beyond_cache(least.weights + least.inputs + least.outputs)


def _milliseconds(amount: int | None, per_s: float | None) -> float | None:
    return None if amount is None or per_s is None else amount / per_s * 1e3


def _why_no_bytes_floor(least: LeastBytes | None, crossing: int | None, bandwidth: float | None) -> Iterator[str]:
    if least is None:
        yield "how many bytes a call must move is not known"
    elif crossing is None:
        yield "the capacity of the L2 cache is not known"
    elif crossing == 0:
        yield "all bytes that a call surely moves fit in the L2 cache"
    elif bandwidth is None:
        yield "the bandwidth of the memory is not known"


def _why_no_flops_floor(flops: int | None, peak: float | None) -> Iterator[str]:
    if flops is None:
        yield "how many FLOPs a call must take is not known"
    elif flops == 0:
        yield "no convolution or matrix product has a known least number of FLOPs"
    elif peak is None:
        yield "the peak of the device at this precision is not known"
