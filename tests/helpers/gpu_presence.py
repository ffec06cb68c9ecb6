# SPDX-License-Identifier: Apache-2.0
"""Whether there is a GPU, by asking the driver alone: tests and benchmarks must not ask the code that they test.

    python tests/helpers/gpu_presence.py      prints what there is as one JSON object

There is none on exactly three conditions: no driver library, a driver that says it has no device, and one that counts
none. Everything else that goes wrong is a fault, and raises.
"""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

LIBRARY = "libcuda.so.1"
_NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
_STUB_LIBRARY = 34  # CUDA_ERROR_STUB_LIBRARY: the toolkit's stand-in for linking, which is no driver
_NAME_BYTES = 256


class DriverError(RuntimeError):
    """There is a driver, and it does not work."""


@dataclass(frozen=True)
class Presence:
    """GPUs by name, in the driver's order, and the CUDA version that it supports; or why there is none."""

    gpus: tuple[str, ...]
    cuda: str | None
    why_none: str | None


def look(library: str = LIBRARY) -> Presence:
    """Asks the driver.

    Raises:
        DriverError: a driver that does not start, or a library that is no driver.
    """
    try:
        driver = ctypes.CDLL(library)
    except OSError as error:
        if not str(error).startswith(
            f"{library}: cannot open shared object file: No such file"
        ):  # but a library it needs
            raise DriverError(f"{library} is there and does not load: {error}") from error
        return Presence((), None, f"there is no NVIDIA driver: {error}")
    result = _call(driver, "cuInit", 0)
    if result == _NO_DEVICE:
        return Presence((), None, "there is no GPU: the NVIDIA driver sees none (cuInit gives CUDA_ERROR_NO_DEVICE)")
    if result == _STUB_LIBRARY:
        return Presence((), None, f"there is no NVIDIA driver: {library} is the toolkit's stub for linking")
    _check(result, "cuInit")
    count, version = ctypes.c_int(), ctypes.c_int()
    _check(_call(driver, "cuDeviceGetCount", ctypes.byref(count)), "cuDeviceGetCount")
    _check(_call(driver, "cuDriverGetVersion", ctypes.byref(version)), "cuDriverGetVersion")
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    if count.value == 0:
        return Presence((), cuda, "there is no GPU: the NVIDIA driver counts none")
    return Presence(tuple(_name(driver, index) for index in range(count.value)), cuda, None)


def _name(driver: ctypes.CDLL, index: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    _check(_call(driver, "cuDeviceGet", ctypes.byref(device), index), "cuDeviceGet")
    _check(_call(driver, "cuDeviceGetName", text, _NAME_BYTES, device), "cuDeviceGetName")
    return text.value.decode(errors="replace")


def _call(driver: ctypes.CDLL, name: str, *arguments: Any) -> int:
    try:
        function = getattr(driver, name)
    except AttributeError as error:
        raise DriverError(f"{driver._name} is no CUDA driver: it has no {name}") from error
    return int(function(*arguments))


def _check(result: int, name: str) -> None:
    if result != 0:
        raise DriverError(f"the NVIDIA driver does not work: {name} gives CUresult {result}; nvidia-smi may tell more")


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(asdict(look())) + "\n")
    except DriverError as fault:
        sys.exit(str(fault))
