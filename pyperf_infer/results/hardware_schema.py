# SPDX-License-Identifier: Apache-2.0
"""What `hardware` prints as JSON: a list with one of these a device and batch. docs/hardware.md has more."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class ModelledKernel(Struct, kw_only=True):
    """Operators that run in one go, and what they take at the least."""

    ops: list[str]
    layers: list[str]
    compute_ms: float
    memory_ms: float
    time_ms: float  # the longer of the two
    bound: Literal["compute", "memory"]


class ModelledScaling(Struct, kw_only=True):
    """The batch split over several devices."""

    gpus: int
    time_ms: float  # with the transfers
    transfer_ms: float
    throughput_per_s: float
    efficiency: float  # 1 where so many devices are so many times as fast


class ModelledRun(Struct, kw_only=True):
    """One batch of a model on one device, by its figures. Nothing of it was measured, but `measured_ms`."""

    kind: Literal["modelled, not measured"] = "modelled, not measured"
    model: str
    batch_size: int
    shapes: dict[str, list[int]]
    precision: str
    device: str
    source: str  # of the device's figures
    peak_flops_per_s: float
    bandwidth_bytes_per_s: float
    memory_bytes: float  # that the device has
    time_ms: float
    throughput_per_s: float
    compute_bound_share: float  # of the time, in kernels that computing bounds
    memory_needed_bytes: int
    fits: bool
    largest_batch: int | None  # that fits; null where the batch is fixed
    compute_bound_from_batch: int | None  # null where the batch is fixed, or no batch does
    measured_ms: float | None = None  # the median of a run of the same that was given
    measured_over_modelled: float | None = None
    unknown_ops: list[str]  # their bytes are counted, and what they compute is not
    scaling: list[ModelledScaling] = []
    kernels: list[ModelledKernel] | UnsetType = UNSET  # with --per-layer
