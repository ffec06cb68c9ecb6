# SPDX-License-Identifier: Apache-2.0
"""The table of GPUs: whom it knows, whom it must not take for another, and bounds that are never too strict."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyperf_infer.roofline.gpu_peaks
from pyperf_infer.roofline.gpu_peaks import GpuPeaks, most_bytes_per_s, most_flops_per_s, peaks_of

TABLE = Path(pyperf_infer.roofline.gpu_peaks.__file__).with_name("gpus.csv")
ROWS = list(csv.DictReader(TABLE.read_text().splitlines()))
# Multiprocessors, and dense operations a clock of one: float32 without tensor cores, float16 with them (in float32).
CHIPS = {
    "H200 SXM": (132, 256, 4096),
    "H100 SXM": (132, 256, 4096),
    "H100 PCIe": (114, 256, 4096),
    "A100 80GB SXM": (108, 128, 2048),
    "RTX 4090": (128, 256, 512),
}


def known(name: str) -> GpuPeaks:
    peaks = peaks_of(name)
    assert peaks is not None
    return peaks


@pytest.mark.parametrize(
    ("driver_says", "row"),
    [
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        # Otherwise written, as by older drivers and by hand.
        ("A100-SXM4-80GB", "A100 80GB SXM"),
        ("nvidia a100 sxm4 80gb", "A100 80GB SXM"),
        ("H100 SXM", "H100 SXM"),
        ("  NVIDIA  GeForce RTX_4090 ", "RTX 4090"),
    ],
)
def test_names_as_the_driver_prints_them(driver_says: str, row: str) -> None:
    assert known(driver_says).name == row


@pytest.mark.parametrize(
    "resembling",
    [
        "NVIDIA H100 NVL", "NVIDIA H100", "NVIDIA H100 SXM5 96GB", "NVIDIA H100 80GB HBM2e", "NVIDIA H800",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H200 NVL", "NVIDIA GH200 480GB", "NVIDIA H20",
        "NVIDIA A100-SXM4-40GB", "NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIE-40GB", "NVIDIA A800-SXM4-80GB",
        "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA GeForce RTX 4080",
        "GeForce GTX 4090", "", "NVIDIA", "H100PCIe", "AMD Instinct MI300X",
    ],
)  # fmt: skip
def test_what_only_resembles_a_row_is_unknown(resembling: str) -> None:
    assert peaks_of(resembling) is None


SUFFIXES = st.text("ABDGHLMNPSVXabgimnt0123456789", min_size=1, max_size=4).filter(lambda suffix: suffix != "SXM")


@given(st.sampled_from([row["aliases"].split("|")[0] for row in ROWS]), st.sampled_from(["", " ", "-"]), SUFFIXES)
def test_a_longer_name_is_another_device(alias: str, joint: str, suffix: str) -> None:
    assert peaks_of(alias + joint + suffix) is None


def test_no_alias_stands_for_two_devices() -> None:
    names = [alias for row in ROWS for alias in (row["name"], *row["aliases"].split("|"))]
    assert len({" ".join(name.casefold().replace("-", " ").split()) for name in names}) == len(names)
    for row in ROWS:
        assert {known(alias).name for alias in row["aliases"].split("|")} == {row["name"]}


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_a_datasheets_figure_is_what_its_units_do_at_the_boost_clock(row: dict[str, str]) -> None:
    """So the boost clocks are those that the figures were stated at, and none of them is a sparse one."""
    peaks = known(row["name"])
    multiprocessors, plain, tensor = CHIPS[row["name"]]
    assert peaks.flops_per_s["float32"] == pytest.approx(
        multiprocessors * plain * peaks.float32_boost_mhz * 1e6, rel=5e-3
    )
    at_once = multiprocessors * peaks.tensor_boost_mhz * 1e6
    assert peaks.flops_per_s["float16"] == pytest.approx(at_once * tensor, rel=2e-3)
    assert peaks.flops_per_s["tf32"] == pytest.approx(at_once * tensor / 2, rel=2e-3)
    assert peaks.flops_per_s["bfloat16"] == peaks.flops_per_s["float16"]
    assert row["source"].startswith("NVIDIA ")


@pytest.mark.parametrize(
    ("name", "teraflops", "gigabytes_per_s"),
    [
        ("H200 SXM", (66.9, 494.7, 989.4, 989.4, 1979, 1979), 4800),
        ("H100 SXM", (66.9, 494.7, 989.4, 989.4, 1979, 1979), 3350),
        ("H100 PCIe", (51, 378, 756, 756, 1513, 1513), 2000),
        ("A100 80GB SXM", (19.5, 156, 312, 312, None, 624), 2039),
        ("RTX 4090", (82.6, 82.6, 165.2, 165.2, 660.6, 660.6), 1008),
    ],
)
def test_figures_are_the_datasheets_in_base_units_and_what_a_device_lacks_is_missing(
    name: str, teraflops: tuple[float | None, ...], gigabytes_per_s: float
) -> None:
    peaks = known(name)
    precisions = ("float32", "tf32", "float16", "bfloat16", "float8", "int8")
    expected = {key: value * 1e12 for key, value in zip(precisions, teraflops, strict=True) if value is not None}
    assert peaks.flops_per_s == pytest.approx(expected)
    assert peaks.memory_bandwidth_bytes_per_s == gigabytes_per_s * 1e9


def test_the_bound_grows_with_the_clock_the_device_can_reach() -> None:
    h100 = known("NVIDIA H100 80GB HBM3")
    assert most_flops_per_s(h100, ["bfloat16"], 1980) == pytest.approx(989.4e12 * 1980 / 1830)
    rtx = known("NVIDIA GeForce RTX 4090")
    assert most_flops_per_s(rtx, ["float32"], 3120) == pytest.approx(82.6e12 * 3120 / 2520)


@pytest.mark.parametrize("clock_mhz", [None, 0.0, 1200.0, 1980.0])
def test_the_bound_is_never_below_what_rounding_may_hide(clock_mhz: float | None) -> None:
    h100 = known("NVIDIA H100 80GB HBM3")
    assert most_flops_per_s(h100, ["float32"], clock_mhz) == pytest.approx(66.9e12 * 1.02)


def test_float16_is_bounded_by_the_faster_of_its_two_ways_to_sum() -> None:
    rtx = known("NVIDIA GeForce RTX 4090")
    assert rtx.flops_per_s["float16"] == 165.2e12
    assert most_flops_per_s(rtx, ["float16"], None) == pytest.approx(330.3e12 * 1.02)
    assert most_flops_per_s(rtx, ["bfloat16"], None) == pytest.approx(165.2e12 * 1.02)


def test_of_several_precisions_the_fastest_counts_and_an_unknown_one_leaves_none() -> None:
    h100 = known("NVIDIA H100 PCIe")
    assert most_flops_per_s(h100, {"float32", "float16"}, None) == pytest.approx(756e12 * 1.02)
    assert most_flops_per_s(h100, {"float32", "float64"}, None) is None
    assert most_flops_per_s(known("NVIDIA A100-SXM4-80GB"), ["float8"], None) is None
    assert most_flops_per_s(h100, [], None) is None
    assert most_flops_per_s(None, ["float32"], 1980) is None


def test_bandwidth_is_the_larger_of_what_is_known() -> None:
    h200 = known("NVIDIA H200")
    assert most_bytes_per_s(h200, 4916e9) == 4916e9
    assert most_bytes_per_s(h200, 3000e9) == 4800e9
    assert most_bytes_per_s(h200, None) == 4800e9
    assert most_bytes_per_s(None, 900e9) == 900e9
    assert most_bytes_per_s(None, None) is None
