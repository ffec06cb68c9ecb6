# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's management library (NVML) through ``cuda.bindings.nvml``, public since cuda-python 13.2.

Only processes that measure nothing import the bindings: they load NumPy and the driver's library, and a call into a
driver that is stuck does not return. NVML is initialised once a process and not shut down; the process is short-lived.

Documentation: https://docs.nvidia.com/deploy/nvml-api/
"""

from __future__ import annotations

import importlib
import re
import time
import uuid
from types import ModuleType
from typing import Any

from pyperf_infer.errors import BackendError
from pyperf_infer.results.schema import GpuProcess
from pyperf_infer.system.gpu_reader import GpuFacts, Reading

# Not told: by this GPU, to this user, or by a driver older than the question. The bindings raise a class of their own,
# of the same name as NVML's, where the driver's library lacks the function.
_NOT_TOLD = frozenset(
    {
        "ArgumentVersionMismatchError",
        "FunctionNotFoundError",
        "NoDataError",
        "NoPermissionError",
        "NotFoundError",
        "NotSupportedError",
    }
)
_PCI_BUS_ID = re.compile(r"([0-9a-f]{1,8}:)?[0-9a-f]{1,2}:[0-9a-f]{1,2}(\.[0-9a-f])?", re.IGNORECASE)
# NVML_VALUE_NOT_AVAILABLE as an unsigned 64-bit number: memory of a process that is not told.
_NOT_AVAILABLE = 2**64 - 1


def gpu_id(gpu: str | bytes) -> str:
    """What names a GPU here and in NVML alike: "GPU-..." or "MIG-..." text, or a PCI bus id.

    CUDA's index does not: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER renumber. CUDA gives the UUID as 16 bytes.
    """
    return f"GPU-{uuid.UUID(bytes=gpu)}" if isinstance(gpu, bytes) else gpu


def open_nvml() -> ModuleType:
    """The bindings, with NVML initialised.

    Raises:
        BackendError: no bindings, or too old ones; no driver; a driver that does not match its library.
    """
    try:
        nvml = importlib.import_module("cuda.bindings.nvml")
    except ImportError as error:
        raise BackendError(
            f"NVML cannot be read: cuda.bindings.nvml does not load ({error}). Install cuda-python 13.2 or newer."
        ) from error
    # RuntimeError: what cuda.pathfinder raises where the library is not there.
    try:
        nvml.init_v2()
    except (nvml.NvmlError, RuntimeError) as error:
        raise BackendError(f"NVML cannot be read: {error}") from error
    return nvml


def every_gpu(nvml: ModuleType) -> list[GpuFacts]:
    """All GPUs that NVML shows, but for those that do not answer."""
    found = []
    for index in range(nvml.device_get_count_v2()):
        try:
            found.append(NvmlReader.at(nvml, nvml.device_get_handle_by_index_v2(index)).facts())
        except nvml.NvmlError:  # one that is lost or that this user must not see hides none of the others
            continue
    return found


class NvmlReader:
    """One GPU, or one instance of a partitioned GPU (MIG): then clocks, power and energy are the whole board's."""

    def __init__(self, gpu: str) -> None:
        """`gpu` as gpu_id gives it. Raises BackendError where NVML is not there or knows no such GPU."""
        nvml = open_nvml()
        self._set(nvml, _find(nvml, gpu))

    @classmethod
    def at(cls, nvml: ModuleType, handle: int) -> NvmlReader:
        """The GPU of a handle that NVML gave."""
        reader = cls.__new__(cls)
        reader._set(nvml, handle)
        return reader

    def _set(self, nvml: ModuleType, handle: int) -> None:
        self._nvml = nvml
        self._own = self._board = handle
        self._names: dict[int, str | None] = {}
        if self._ask("device_is_mig_device_handle", handle):
            self._board = nvml.device_get_device_handle_from_mig_device_handle(handle)

    def facts(self) -> GpuFacts:
        nvml, board = self._nvml, self._board
        cuda = self._ask("system_get_cuda_driver_version_v2")
        capability = self._ask("device_get_cuda_compute_capability", board)
        memory = self._ask("device_get_memory_info_v2", self._own)
        limit_mw = self._ask("device_get_enforced_power_limit", board)
        return GpuFacts(
            name=nvml.device_get_name(self._own),
            uuid=self._ask("device_get_uuid", self._own),
            driver=self._ask("system_get_driver_version"),
            cuda_driver=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else None,
            memory_bytes=int(memory.total) if memory is not None else None,
            compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
            memory_bus_bits=self._ask("device_get_memory_bus_width", board) or None,
            max_sm_clock_mhz=self._ask("device_get_max_clock_info", board, nvml.ClockType.CLOCK_SM),
            max_memory_clock_mhz=self._ask("device_get_max_clock_info", board, nvml.ClockType.CLOCK_MEM),
            power_limit_w=limit_mw / 1000 if limit_mw is not None else None,
            mig=self._enabled("device_get_mig_mode"),
            ecc=self._enabled("device_get_ecc_mode"),
        )

    def poll(self) -> Reading:
        nvml, board = self._nvml, self._board
        # Next to each other: the energy is what is interpolated in time.
        now, energy_mj = time.monotonic_ns(), self._ask("device_get_total_energy_consumption", board)
        memory = self._ask("device_get_memory_info_v2", self._own)
        power_mw = self._ask("device_get_power_usage", board)
        return Reading(
            monotonic_ns=now,
            energy_mj=energy_mj,
            sm_clock_mhz=self._ask("device_get_clock_info", board, nvml.ClockType.CLOCK_SM),
            memory_clock_mhz=self._ask("device_get_clock_info", board, nvml.ClockType.CLOCK_MEM),
            power_w=power_mw / 1000 if power_mw is not None else None,
            temperature_c=self._ask("device_get_temperature_v", board, nvml.TemperatureSensors.TEMPERATURE_GPU),
            clocks_event_reasons=self._ask("device_get_current_clocks_event_reasons", board),
            memory_used_bytes=int(memory.used) if memory is not None else None,
            processes=self._processes(),
        )

    def _ask(self, name: str, *arguments: object) -> Any:
        """The answer, or None where it is not told. Raises what else NVML raises: a GPU that is lost, say."""
        call = getattr(self._nvml, name, None)
        if call is None:
            return None
        try:
            return call(*arguments)
        except (self._nvml.NvmlError, RuntimeError) as error:
            if type(error).__name__ in _NOT_TOLD:
                return None
            raise

    def _enabled(self, name: str) -> bool | None:
        mode = self._ask(name, self._board)  # (now, after the next reset)
        return bool(mode[0] == self._nvml.EnableState.FEATURE_ENABLED) if mode is not None else None

    def _processes(self) -> list[GpuProcess] | None:
        kinds = ("compute", "graphics")
        lists = [self._ask(f"device_get_{kind}_running_processes_v3", self._own) for kind in kinds]
        if all(entries is None for entries in lists):
            return None
        found: dict[int, GpuProcess] = {}
        for entry in (entry for entries in lists if entries is not None for entry in entries):
            pid, used = int(entry.pid), int(entry.used_gpu_memory)
            memory_bytes = used if used != _NOT_AVAILABLE else None
            # One that draws and computes stands in both lists, with the same memory.
            found.setdefault(pid, GpuProcess(pid=pid, name=self._name(pid), memory_bytes=memory_bytes))
        return list(found.values())

    def _name(self, pid: int) -> str | None:
        if pid not in self._names:
            try:
                self._names[pid] = self._ask("system_get_process_name", pid)
            except UnicodeDecodeError:  # a file may be named in any bytes
                self._names[pid] = None
        return self._names[pid]


def _find(nvml: ModuleType, gpu: str) -> int:
    if _PCI_BUS_ID.fullmatch(gpu):
        lookup, names = nvml.device_get_handle_by_pci_bus_id_v2, [gpu]
    else:
        # CUDA's 16 bytes do not say whether they name a board or an instance of one.
        lookup, names = nvml.device_get_handle_by_uuid, [gpu, gpu.replace("GPU-", "MIG-", 1)]
    for name in names:
        try:
            return int(lookup(name))
        except (nvml.NotFoundError, nvml.InvalidArgumentError):
            continue
        except nvml.NvmlError as error:
            raise BackendError(f"NVML does not give access to the GPU {gpu}: {error}") from error
    raise BackendError(f"NVML knows no GPU {gpu}.")
