# SPDX-License-Identifier: Apache-2.0
"""Which differences of the machines and their software could explain that two times differ."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from pyperf_infer.results.schema import StoredDifference
from pyperf_infer.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyperf_infer.results.schema import Environment, Gpu
    from pyperf_infer.stored.rows import Pool, Row

Weight = Literal["likely", "possible"]

# Steps of a share of the CPUs' time: below the first a neighbour or a hypervisor is everywhere.
_SHARES = ((0.02, "none to speak of"), (0.1, "2% to 10%"), (0.3, "10% to 30%"), (math.inf, "more than 30%"))
_VENDORS = ("NVIDIA", "AMD", "Intel")
# The libraries of a backend's own; what others bring changes its times only in a roundabout way.
_OWN = {
    "torch": ("torch", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "cuda-python"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"),
}


class _Fact(NamedTuple):
    field: str
    value: str | None
    weight: Weight


def differences(baseline: Pool, contender: Pool) -> list[StoredDifference]:
    """The likely ones first. Several documents of one side may hold several values; all of them are told."""
    mine, theirs = _gathered(baseline), _gathered(contender)
    found = []
    for name in dict.fromkeys([*mine, *theirs]):
        sides = [side.get(name) for side in (mine, theirs)]
        values = [", ".join(side[0]) or None if side else None for side in sides]
        if values[0] != values[1] and not _only_not_told(name, values):
            weight: Weight = "likely" if any(side and side[1] == "likely" for side in sides) else "possible"
            found.append(StoredDifference(field=name, baseline=values[0], contender=values[1], weight=weight))
    return sorted(found, key=lambda one: one.weight != "likely")


def _only_not_told(name: str, values: list[str | None]) -> bool:
    """A system that does not tell is no difference; a GPU, a library or a limit that one side lacks is one."""
    may_lack = name in ("gpu", "memory limit", "CPU limit", "hypervisor") or name.startswith("libraries.")
    return None in values and not may_lack


def _gathered(pool: Pool) -> dict[str, tuple[list[str], Weight]]:
    gathered: dict[str, tuple[list[str], Weight]] = {}
    for row in pool:
        for fact in _facts(row):
            values, _ = gathered.setdefault(fact.field, ([], fact.weight))
            if fact.value is not None and fact.value not in values:
                values.append(fact.value)
    for values, _ in gathered.values():
        values.sort()
    return gathered


def _facts(row: Row) -> Iterator[_Fact]:
    method, machine = row.result.method, row.environment
    on_cpu: Weight = "likely" if method.device == "cpu" else "possible"
    yield _Fact("device", "CPU" if method.device == "cpu" else "GPU", "likely")
    yield from _gpu_facts(_gpu_of(row))
    yield _Fact("CPU", machine.cpu_model or machine.architecture, on_cpu)
    yield from _machine_facts(machine, on_cpu)
    yield from _conditions(row, on_cpu)
    own = next((names for backend, names in _OWN.items() if method.backend.startswith(backend)), ())
    for name, version in machine.libraries.items():
        yield _Fact(f"libraries.{name}", version, "likely" if name in own else "possible")
    yield _Fact("pyperf-infer", row.file.tool_version, "possible")
    yield _Fact("python", machine.python, "likely" if "Python" in method.loop else "possible")
    yield _Fact("kernel", machine.kernel, "possible")
    yield _Fact("os", machine.os, "possible")


def _machine_facts(machine: Environment, on_cpu: Weight) -> Iterator[_Fact]:
    yield _Fact("physical cores", _text(machine.physical_cores), on_cpu)
    yield _Fact("logical cores", _text(machine.logical_cores), on_cpu)
    yield _Fact("CPUs allowed", _text(len(machine.affinity)), on_cpu)
    yield _Fact("CPU limit", None if machine.cpu_limit_cores is None else f"{machine.cpu_limit_cores:g} cores", on_cpu)
    yield _Fact("governor", machine.governor, on_cpu)
    yield _Fact("lowest clock", _mhz(machine.frequency_min_mhz), on_cpu)
    yield _Fact("highest clock", _mhz(machine.frequency_max_mhz), on_cpu)
    caches = [
        f"L{one.level} {one.kind} {format_bytes(one.size_bytes)} of {one.shared_by_cpus or '?'}"
        for one in machine.caches
    ]
    yield _Fact("caches", "; ".join(caches) or None, "possible")
    yield _Fact("memory", format_bytes(machine.memory_total_bytes), "possible")
    limit = machine.memory_limit_bytes
    yield _Fact("memory limit", None if limit is None else format_bytes(limit), "possible")
    virtualised = machine.virtualised
    yield _Fact("virtualised", None if virtualised is None else "yes" if virtualised else "no", "possible")
    yield _Fact("hypervisor", machine.hypervisor, "possible")


def _conditions(row: Row, on_cpu: Weight) -> Iterator[_Fact]:
    """What the system did meanwhile, where it was enough to notice."""
    activity = row.result.activity
    if activity is not None and activity.wall_ns:
        whole = activity.wall_ns * activity.cpus
        yield _Fact("CPU time of others", _share(activity.other_cpu_ns, whole), on_cpu)
        yield _Fact("CPU time stolen", _share(activity.steal_ns, whole), on_cpu)
        throttled = activity.throttled_ns
        yield _Fact("throttled by the CPU limit", None if throttled is None else "yes" if throttled else "no", on_cpu)
    if (gpu := row.result.gpu_activity) is not None and gpu.readings:
        yield _Fact("GPU throttled", ", ".join(sorted(gpu.throttle_reasons)) or "no", "likely")


def _gpu_facts(gpu: Gpu | None) -> Iterator[_Fact]:
    """Of the GPU that ran the row. None where none did, so that a GPU against a CPU is one difference and not nine."""
    if gpu is None:
        return
    yield _Fact("gpu", gpu.name, "likely")
    vendor = next((one for one in _VENDORS if one.lower() in gpu.name.lower()), None)
    yield _Fact("GPU vendor", vendor, "likely")
    yield _Fact("GPU driver", gpu.driver, "likely")
    yield _Fact("CUDA of the driver", gpu.cuda_driver, "possible")
    yield _Fact("GPU memory", None if gpu.memory_bytes is None else format_bytes(gpu.memory_bytes), "possible")
    yield _Fact("GPU highest clock", _mhz(gpu.max_sm_clock_mhz), "likely")
    yield _Fact("GPU power limit", None if gpu.power_limit_w is None else f"{gpu.power_limit_w:g} W", "likely")
    yield _Fact("GPU partitioned (MIG)", None if gpu.mig is None else "yes" if gpu.mig else "no", "likely")


def _gpu_of(row: Row) -> Gpu | None:
    method, gpus = row.result.method, row.environment.gpus
    if method.device == "cpu" or not gpus:
        return None
    index = method.gpu.device_index if method.gpu else None
    return next((one for one in gpus if one.index == index), gpus[0])


def _share(part: int | None, whole: int) -> str | None:
    """In steps, so that two machines do not differ by the noise of a figure."""
    return None if part is None else next(text for limit, text in _SHARES if part / whole < limit)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _mhz(value: float | None) -> str | None:
    return None if value is None else f"{value:.0f} MHz"
