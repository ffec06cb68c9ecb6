# SPDX-License-Identifier: Apache-2.0
"""Devices by their figures: from the table of datasheets, or from a YAML of the user's own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import InputError
from pyperf_infer.roofline.gpu_peaks import GpuPeaks, known_gpus, peaks_of

if TYPE_CHECKING:
    from pathlib import Path

PRECISIONS = ("float32", "tf32", "float16", "bfloat16", "float8", "int8")
INTERCONNECTS = ("NVLINK", "PCIE")
_KEYS = ("name", "gpus", "memory", "bandwidth", "interconnect", "interconnect_bandwidth", *PRECISIONS)
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([A-Za-z/]+)\s*", re.IGNORECASE | re.ASCII)
_SCALES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"KI": 2.0**10, "MI": 2.0**20, "GI": 2.0**30, "TI": 2.0**40}
# What lies beyond is a slip of the unit: no device has been near it.
_BOUNDS = {"memory": (1e6, 4e12), "bandwidth": (1e8, 1e14), "interconnect_bandwidth": (1e7, 1e14), "peak": (1e8, 5e16)}
_DEFAULT_PCIE = 64e9  # of 16 lanes of the fourth generation, both directions


@dataclass(frozen=True, kw_only=True)
class Device:
    """What a device can do at most.

    `peak_flops_per_s` has dense peaks by precision; `links` the interconnects that it has, in both directions together,
    of which `interconnect` is used; `source` says where the figures are from.
    """

    name: str
    gpus: int
    memory_bytes: float
    bandwidth_bytes_per_s: float
    peak_flops_per_s: Mapping[str, float]
    interconnect: str
    links: Mapping[str, float]
    source: str

    @property
    def interconnect_bytes_per_s(self) -> float:
        return self.links[self.interconnect]

    def peak(self, precision: str) -> float:
        """InputError where it is not known."""
        found = self.peak_flops_per_s.get(precision)
        if found is None:
            known = ", ".join(self.peak_flops_per_s)
            raise InputError(f"{self.name}: no peak is known in {precision}; known: {known}.")
        return found


def device_of(text: str, path: Path) -> Device:
    """A YAML file, or a device of the table. InputError names the nearest ones, or what is wrong with the file."""
    if path.suffix.lower() in (".yaml", ".yml"):
        return read_device(path)
    peaks = peaks_of(text)
    if peaks is None:
        known = known_gpus()
        lowered = {name.lower(): name for name in known}
        near = [lowered[one] for one in difflib.get_close_matches(text.lower(), lowered, n=3, cutoff=0.4)]
        near += [name for name in known if text.lower() in name.lower() and name not in near]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(
            f"unknown device {text!r}.{hint} Known: {', '.join(known)}; or give a YAML file of its figures "
            "(docs/hardware.md)."
        )
    return _of_table(peaks)


def read_device(path: Path) -> Device:
    """Figures of the user's own; every quantity has its unit. InputError says what is wrong."""
    import yaml

    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none, a number of 5000 digits
        first = (str(error).strip().splitlines() or ["?"])[0]
        raise InputError(f"{path}: not YAML: {first}.") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: a device is a mapping, such as 'memory: 80 GB' and 'bandwidth: 2039 GB/s'.")
    for key in document:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise InputError(f"{path}: unknown key {key!r}{hint}. Known: {', '.join(_KEYS)}.")
    gpus = document.get("gpus", 1)
    if not isinstance(gpus, int) or isinstance(gpus, bool) or not 1 <= gpus <= 4096:
        raise InputError(f"{path}: gpus is a number from 1 to 4096, and not {gpus!r}.")
    peaks = {name: _quantity(path, name, document[name], "FLOP/s", "peak") for name in PRECISIONS if name in document}
    if not peaks:
        raise InputError(f"{path}: give a peak, such as 'float16: 312 TFLOP/s'; known: {', '.join(PRECISIONS)}.")
    interconnect = str(document.get("interconnect", "PCIE")).upper()
    if interconnect not in INTERCONNECTS:
        raise InputError(f"{path}: interconnect is {' or '.join(INTERCONNECTS)}, and not {interconnect!r}.")
    given = document.get("interconnect_bandwidth")
    if given is None and interconnect == "NVLINK":
        raise InputError(f"{path}: say how fast the NVLINK is, such as 'interconnect_bandwidth: 600 GB/s'.")
    links = {"PCIE": _DEFAULT_PCIE}
    if given is not None:
        links[interconnect] = _quantity(path, "interconnect_bandwidth", given, "B/s", "interconnect_bandwidth")
    bandwidth = _quantity(path, "bandwidth", document.get("bandwidth"), "B/s", "bandwidth")
    if links[interconnect] > bandwidth:
        raise InputError(f"{path}: interconnect_bandwidth: {given} is more than the memory's own; is the unit right?")
    name = document.get("name", path.stem)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{path}: name is a text, and not {name!r}.")
    return Device(
        name=name,
        gpus=gpus,
        memory_bytes=_quantity(path, "memory", document.get("memory"), "B", "memory"),
        bandwidth_bytes_per_s=bandwidth,
        peak_flops_per_s=peaks,
        interconnect=interconnect,
        links=links,
        source=str(path),
    )


def _quantity(path: Path, key: str, value: object, unit: str, bound: str) -> float:
    example = {"B": "80 GB", "B/s": "2039 GB/s", "FLOP/s": "312 TFLOP/s"}[unit]
    if value is None:
        raise InputError(f"{path}: {key} is missing; write it with its unit, such as '{key}: {example}'.")
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise InputError(f"{path}: {key}: {value!r} is no number with a unit; write it such as '{key}: {example}'.")
    scale = _scale(match[2], unit)
    if scale is None:
        raise InputError(f"{path}: {key}: {match[2]!r} is no unit of it; write it such as '{key}: {example}'.")
    number = float(match[1]) * scale
    low, high = _BOUNDS[bound]
    if not low <= number <= high:
        raise InputError(f"{path}: {key}: {value} is impossible; is the unit right?")
    return number


def _scale(text: str, unit: str) -> float | None:
    """Of "GB", "GiB/s", "TFLOPS", "TFLOP/s", "TOPS" in the unit that is asked for; None for another one: a small b is
    a bit."""
    spelt = text.upper()
    if unit == "FLOP/s":
        for ending in ("FLOP/S", "FLOPS", "OP/S", "OPS"):
            if spelt.endswith(ending):
                return _SCALES.get(spelt.removesuffix(ending))
        return None
    if unit == "B/s":
        if not spelt.endswith("/S"):
            return None
        spelt = spelt.removesuffix("/S")
    if not spelt.endswith("B") or "b" in text or (unit == "B" and "/" in spelt):
        return None
    prefix = spelt.removesuffix("B")
    return _BINARY.get(prefix) or _SCALES.get(prefix)


def _of_table(peaks: GpuPeaks) -> Device:
    links = {"PCIE": peaks.pcie_bytes_per_s}
    if peaks.nvlink_bytes_per_s is not None:
        links["NVLINK"] = peaks.nvlink_bytes_per_s
    return Device(
        name=peaks.name,
        gpus=1,
        memory_bytes=peaks.memory_bytes,
        bandwidth_bytes_per_s=peaks.memory_bandwidth_bytes_per_s,
        peak_flops_per_s=peaks.flops_per_s,
        interconnect=max(links, key=links.__getitem__),
        links=links,
        source=peaks.source,
    )
