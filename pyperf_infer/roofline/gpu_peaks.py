# SPDX-License-Identifier: Apache-2.0
"""What a GPU can do at most: the datasheet's dense peaks, and bounds that nothing it runs can pass.

gpus.csv has few rows, each with its source. A device that is not in it has no peaks here: a name that merely resembles
a row's may be a part with other memory or fewer multiprocessors (H100 NVL, RTX 4090 D, a MIG slice).
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

_TABLE = Path(__file__).with_name("gpus.csv")
# Columns of figures, in units of 10^12 operations a second. Structured sparsity, which doubles some, is left out.
_COLUMNS = {
    "float32": "float32_tflops",
    "tf32": "tf32_tflops",
    "float16": "float16_tflops",
    "bfloat16": "bfloat16_tflops",
    "float8": "float8_tflops",
    "int8": "int8_tops",
}
# What a datasheet's rounding ("51" for 51.2) and a clock's tolerance may hide.
_SLACK = 1.02


@dataclass(frozen=True, kw_only=True)
class GpuPeaks:
    """One row of the table.

    `flops_per_s`: dense peaks by precision ("float32" is the one without tensor cores; products of float16 are summed
    in float32). `fastest_float16_flops_per_s`: where they are summed in float16, which some devices do faster. The
    boost clocks are those at which the datasheet's figures hold: multiprocessors x operations a clock x that clock.
    Links are in both directions together, as datasheets have them; `nvlink_bytes_per_s` is None where there is none.
    """

    name: str
    flops_per_s: Mapping[str, float]
    fastest_float16_flops_per_s: float
    memory_bandwidth_bytes_per_s: float
    memory_bytes: float
    nvlink_bytes_per_s: float | None
    pcie_bytes_per_s: float
    float32_boost_mhz: float
    tensor_boost_mhz: float
    source: str


def peaks_of(device_name: str) -> GpuPeaks | None:
    """The row of the device that the CUDA driver calls `device_name`; None where there is none.

    An alias matches as it is written, or else after this normalisation of both: upper and lower case are one, a leading
    "NVIDIA" is dropped, and any run of spaces, hyphens and underscores is one space. The whole name must match.
    """
    exact, normalised = _tables()
    return exact.get(device_name) or normalised.get(_normalised(device_name))


def known_gpus() -> list[str]:
    """Names of all rows."""
    return sorted({peaks.name for peaks in _tables()[0].values()})


def most_flops_per_s(
    peaks: GpuPeaks | None, precisions: Collection[str], max_sm_clock_mhz: float | None
) -> float | None:
    """FLOP/s that the device cannot pass in any of `precisions`; None where that is not known for all of them.

    The datasheet's figure times (highest SM clock / the boost clock it was stated at), and 1.02 times it at least. A
    float32 product put together from several tensor-core products (3xTF32) may be faster on some devices; PyTorch's,
    cuBLAS' and cuDNN's defaults do not do that, and who asks for it does not ask for float32.
    """
    if peaks is None or not precisions or any(precision not in peaks.flops_per_s for precision in precisions):
        return None
    return max(_most_flops_per_s(peaks, precision, max_sm_clock_mhz) for precision in precisions)


def _most_flops_per_s(peaks: GpuPeaks, precision: str, max_sm_clock_mhz: float | None) -> float:
    stated = peaks.fastest_float16_flops_per_s if precision == "float16" else peaks.flops_per_s[precision]
    boost_mhz = peaks.float32_boost_mhz if precision == "float32" else peaks.tensor_boost_mhz
    return stated * max(_SLACK, (max_sm_clock_mhz or 0.0) / boost_mhz)


def most_bytes_per_s(peaks: GpuPeaks | None, theoretical_bytes_per_s: float | None) -> float | None:
    """Bytes a second that the device's memory cannot pass: the larger of what the datasheet states and the theoretical
    figure (memory clock x bus width x 2, as the driver tells them). None where neither is known."""
    known = [figure for figure in (peaks and peaks.memory_bandwidth_bytes_per_s, theoretical_bytes_per_s) if figure]
    return max(known, default=None)


def _normalised(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold().removeprefix("nvidia ")


@functools.cache
def _tables() -> tuple[dict[str, GpuPeaks], dict[str, GpuPeaks]]:
    """By alias as it is written, and by the alias normalised. A row's name is one of its aliases."""
    exact: dict[str, GpuPeaks] = {}
    with _TABLE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for alias in (row["name"], *row["aliases"].split("|")):
                exact[alias] = _peaks(row)
    return exact, {_normalised(alias): peaks for alias, peaks in exact.items()}


def _peaks(row: Mapping[str, str]) -> GpuPeaks:
    return GpuPeaks(
        name=row["name"],
        flops_per_s={precision: float(row[column]) * 1e12 for precision, column in _COLUMNS.items() if row[column]},
        fastest_float16_flops_per_s=float(row["float16_accumulated_tflops"]) * 1e12,
        memory_bandwidth_bytes_per_s=float(row["memory_gb_per_s"]) * 1e9,
        memory_bytes=float(row["memory_gb"]) * 1e9,
        nvlink_bytes_per_s=float(row["nvlink_gb_per_s"]) * 1e9 if row["nvlink_gb_per_s"] else None,
        pcie_bytes_per_s=float(row["pcie_gb_per_s"]) * 1e9,
        float32_boost_mhz=float(row["float32_boost_mhz"]),
        tensor_boost_mhz=float(row["tensor_boost_mhz"]),
        source=row["source"],
    )
