# SPDX-License-Identifier: Apache-2.0
"""Times by a device's figures, batches that fit, and several devices."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.roofline.hardware import Device
from pyperf_infer.roofline.what_if import largest_batch, memory_bytes, scaled, turning_batch, what_if
from pyperf_infer.roofline.work.counts import Kernel, ModelWork, Operation, Work

DEVICE = Device(
    name="d", gpus=1, memory_bytes=1e6, bandwidth_bytes_per_s=1e6, peak_flops_per_s={"float32": 1e9},
    interconnect="PCIE", links={"PCIE": 2e5}, source="s",
)  # fmt: skip


def work_at(batch: int, *, weights: int = 1000, each: int = 100, macs: int = 100_000, fixed: int = 0) -> ModelWork:
    """One kernel: bytes of weights, and activations and products that grow with the batch."""
    operation = Operation("op", "layer", (), (), Work("matrix", macs * batch))
    return ModelWork(
        "m", {"x": (batch,)}, weights // 4, weights, 10 * batch, 10 * batch, fixed + each * batch, 0,
        (Kernel((operation,), weights + each * batch // 2, each * batch - each * batch // 2),),
    )  # fmt: skip


def test_a_kernel_takes_the_longer_of_its_products_and_its_bytes() -> None:
    (kernel,) = what_if(work_at(1), DEVICE, "float32").kernels
    assert (kernel.compute_s, kernel.memory_s) == pytest.approx((2e5 / 1e9, 1100 / 1e6))
    assert (kernel.time_s, kernel.bound) == (kernel.memory_s, "memory")
    large = what_if(work_at(100), DEVICE, "float32")
    assert large.kernels[0].bound == "compute"
    assert large.time_s == pytest.approx(2e7 / 1e9)
    assert large.compute_bound_share == 1.0


@given(weights=st.integers(0, 2_000_000), each=st.integers(2, 300_000), fixed=st.integers(0, 100_000))
def test_the_largest_batch_fits_and_the_next_does_not(weights: int, each: int, fixed: int) -> None:
    """The peak moves from one place to another as the batch grows, where something of a fixed size stands beside it."""

    def at(batch: int) -> ModelWork:
        return work_at(batch, weights=weights, each=each, fixed=max(0, fixed - each * batch // 2))

    found = largest_batch(at, DEVICE)
    assert found is not None
    assert found == 0 or memory_bytes(at(found)) <= DEVICE.memory_bytes
    assert memory_bytes(at(found + 1)) > DEVICE.memory_bytes


def test_without_growth_there_is_no_largest_batch() -> None:
    assert largest_batch(lambda _: work_at(1), DEVICE) is None


@given(weights=st.integers(0, 1_000_000), each=st.integers(1, 150))
def test_from_the_turning_batch_on_products_take_longer_than_bytes(weights: int, each: int) -> None:
    def at(batch: int) -> ModelWork:
        return work_at(batch, weights=weights, each=each)

    found = turning_batch(at, DEVICE, "float32")
    assert found is not None
    times = {batch: what_if(at(batch), DEVICE, "float32").kernels[0] for batch in (found, max(1, found - 1))}
    assert times[found].compute_s >= times[found].memory_s * (1 - 1e-9)
    if found > 1:
        assert times[found - 1].compute_s <= times[found - 1].memory_s * (1 + 1e-9)


def test_where_bytes_grow_faster_than_products_no_batch_turns() -> None:
    assert turning_batch(lambda batch: work_at(batch, each=1000), DEVICE, "float32") is None


def test_several_devices_take_the_time_of_a_part_and_that_of_handing_it_out() -> None:
    found = scaled(work_at, DEVICE, "float32", 100, 4)
    part = what_if(work_at(25), DEVICE, "float32").time_s
    transfer = 3 * 25 * 20 / 1e5
    assert found.transfer_s == pytest.approx(transfer)
    assert found.time_s == pytest.approx(part + transfer)
    assert found.efficiency == pytest.approx(what_if(work_at(100), DEVICE, "float32").time_s / (4 * found.time_s))


def test_one_device_hands_nothing_out() -> None:
    found = scaled(work_at, DEVICE, "float32", 8, 1)
    assert (found.transfer_s, found.efficiency) == (0.0, 1.0)


def test_more_devices_than_items_stand_idle() -> None:
    found = scaled(work_at, DEVICE, "float32", 3, 8)
    assert found.transfer_s == pytest.approx(2 * 20 / 1e5)
    assert math.isfinite(found.efficiency)
