# SPDX-License-Identifier: Apache-2.0
"""Ceilings of a real GPU against its datasheet, where roofline/gpus.csv has one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyperf_infer.roofline.ceilings.gpu import measure_gpu

if TYPE_CHECKING:
    from pyperf_infer.results.ceilings_schema import Ceilings


@pytest.fixture(scope="module")
def found() -> Ceilings:
    return measure_gpu(0)


def test_a_copy_comes_near_the_datasheets_bandwidth(found: Ceilings) -> None:
    (copy,) = (one for one in found.memory if (one.level, one.pattern) == ("memory", "copy"))
    if copy.datasheet_bytes_per_s is None:
        pytest.skip(f"there is no datasheet of {found.device_name} in gpus.csv")
    assert 0.85 <= copy.bytes_per_s / copy.datasheet_bytes_per_s <= 1.0


def test_a_bfloat16_product_comes_near_the_datasheets_peak(found: Ceilings) -> None:
    (product,) = (one for one in found.compute if one.precision == "bfloat16")
    if product.datasheet_flops_per_s is None:
        pytest.skip(f"there is no datasheet of {found.device_name} in gpus.csv")
    assert 0.75 <= product.flops_per_s / product.datasheet_flops_per_s <= 1.02


def test_ceilings_stand_in_their_order(found: Ceilings) -> None:
    rates = {one.precision: one.flops_per_s for one in found.compute}
    assert rates["float32"] < rates["tf32"] < rates["bfloat16"]
    of_level = {(one.level, one.pattern): one.bytes_per_s for one in found.memory}
    if ("L2", "copy") in of_level:
        assert of_level["L2", "copy"] > of_level["memory", "copy"]


def test_clocks_and_power_are_those_of_work(found: Ceilings) -> None:
    assert found.sm_clock_mhz is None or found.sm_clock_mhz > 200
    assert found.power_w is None or found.power_w > 10
