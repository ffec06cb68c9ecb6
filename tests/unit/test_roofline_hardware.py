# SPDX-License-Identifier: Apache-2.0
"""Devices by name and by a file of figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyperf_infer.errors import InputError
from pyperf_infer.roofline.hardware import device_of, read_device

GOOD = """
name: lab box
gpus: 4
memory: 80 GB
bandwidth: 2.039 TB/s
interconnect: nvlink
interconnect_bandwidth: 600 GB/s
float32: 19.5 TFLOP/s
float16: 312 TFLOPS
int8: 624 TOPS
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "box.yaml"
    path.write_text(text)
    return path


def test_a_device_of_the_table_has_the_figures_of_its_datasheet() -> None:
    device = device_of("NVIDIA H200", Path("NVIDIA H200"))
    assert device.name == "H200 SXM"
    assert (device.memory_bytes, device.bandwidth_bytes_per_s) == (141e9, 4800e9)
    assert device.peak("bfloat16") == 989.4e12
    assert (device.interconnect, device.interconnect_bytes_per_s) == ("NVLINK", 900e9)
    assert "datasheet" in device.source


def test_a_file_of_figures_is_read_with_its_units(tmp_path: Path) -> None:
    device = read_device(written(tmp_path, GOOD))
    assert (device.name, device.gpus) == ("lab box", 4)
    assert (device.memory_bytes, device.bandwidth_bytes_per_s) == pytest.approx((80e9, 2.039e12))
    assert device.peak_flops_per_s == {"float32": 19.5e12, "float16": 312e12, "int8": 624e12}
    assert (device.interconnect, device.interconnect_bytes_per_s) == ("NVLINK", 600e9)
    assert device.links["PCIE"] == 64e9


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    device = read_device(written(tmp_path, "memory: 16 GiB\nbandwidth: 300 GB/s\nfloat32: 8 TFLOP/s\n"))
    assert (device.name, device.gpus, device.interconnect) == ("box", 1, "PCIE")
    assert device.memory_bytes == 16 * 2**30


@pytest.mark.parametrize(
    ("name", "near"), [("H100", "H100 SXM or H100 PCIe"), ("a100", "A100 80GB SXM"), ("RTX4090", "RTX 4090")]
)
def test_an_unknown_device_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(InputError, match=f"unknown device '{name}'. Did you mean .*{near}"):
        device_of(name, Path(name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("80 GB", "80"), "memory: 80 is no number with a unit"),
        (("80 GB", "80 GB/s"), "is no unit of it"),
        (("80 GB", "80 XB"), "is no unit of it"),
        (("80 GB", "80000 TB"), "memory: 80000 TB is impossible"),
        (("80 GB", "0 GB"), "is impossible"),
        (("80 GB", "-80 GB"), "is no number with a unit"),
        (("80 GB", "80,000 MB"), "is no number with a unit"),
        (("80 GB", "80 Gb"), "is no unit of it"),
        (("80 GB", "8 TB"), "is impossible"),
        (("312 TFLOPS", "312 PFLOP/s"), "is impossible"),
        (("600 GB/s", "600 TB/s"), "is (impossible|more than)"),
        (("600 GB/s", "3 TB/s"), "more than the memory's own"),
        (("lab box", "2024-99-99"), "not YAML|name is a text"),
        (("lab box", "[1]"), "name is a text"),
        (("gpus: 4\n", "gpus: " + "9" * 5000 + "\n"), "not YAML"),
        (("2.039 TB/s", "2.039 TB"), "is no unit of it"),
        (("312 TFLOPS", "312 GB/s"), "is no unit of it"),
        (("312 TFLOPS", "312e9 TFLOPS"), "is impossible"),
        (("nvlink", "carrier pigeon"), "interconnect is NVLINK or PCIE"),
        (("interconnect_bandwidth: 600 GB/s\n", ""), "say how fast the NVLINK is"),
        (("gpus: 4", "gpus: 0"), "gpus is a number from 1"),
        (("gpus: 4", "gpus: many"), "gpus is a number from 1"),
        (("memory: 80 GB\n", ""), "memory is missing"),
        (("bandwidth: 2.039", "bandwith: 2.039"), r"unknown key 'bandwith' \(did you mean bandwidth\?\)"),
        ((GOOD, "- a list"), "a device is a mapping"),
        ((GOOD, "a: [1"), "not YAML"),
        ((GOOD, ""), "a device is a mapping"),
    ],
)
def test_figures_that_cannot_be_are_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_device(written(tmp_path, GOOD.replace(*change)))


def test_without_any_peak_there_is_no_device(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give a peak"):
        read_device(written(tmp_path, "memory: 16 GB\nbandwidth: 300 GB/s\n"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read"):
        read_device(tmp_path / "none.yaml")


def test_a_precision_without_a_peak_names_those_with_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no peak is known in tf32; known: float32, float16, int8"):
        read_device(written(tmp_path, GOOD)).peak("tf32")
