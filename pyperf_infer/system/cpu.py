# SPDX-License-Identifier: Apache-2.0
"""What the kernel tells about the processor."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

from pyperf_infer.results.schema import Cache
from pyperf_infer.system.files import parse_cpu_list, parse_size, read_fields, read_int, read_text

_CPUS = "sys/devices/system/cpu"
# Makers' and products' names in the firmware's tables that stand for a virtual machine. Amazon's and Google's bare
# machines carry their maker's name too, so that these two count only beside the CPU's own flag.
_VIRTUAL_FIRMWARE = {
    "QEMU": "KVM/QEMU",
    "KVM": "KVM",
    "VMware": "VMware",
    "VirtualBox": "VirtualBox",
    "innotek": "VirtualBox",
    "Xen": "Xen",
    "Virtual Machine": "Hyper-V",
    "Parallels": "Parallels",
    "bhyve": "bhyve",
    "OpenStack": "OpenStack",
}
_CLOUD_FIRMWARE = {"Amazon EC2": "Amazon EC2", "Google": "Google Compute Engine"}


class Frequency(NamedTuple):
    """Of the first CPU that may be used, in MHz."""

    current: float | None
    minimum: float | None
    maximum: float | None


def affinity() -> list[int]:
    """The CPUs this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def model_name(root: Path) -> str | None:
    """x86 writes a name; 64-bit Arm only codes, which are better than nothing where firmware has no name either."""
    fields = read_fields(root / "proc/cpuinfo")
    for key in ("model name", "cpu model", "cpu", "Model", "Hardware"):
        if fields.get(key):
            return fields[key]
    if "CPU part" in fields:
        return f"Arm implementer {fields.get('CPU implementer', '?')}, part {fields['CPU part']}"
    return None


def features(root: Path) -> frozenset[str]:
    """Sets of instructions by the kernel's names, as x86's "flags" and Arm's "Features" list them; empty where it does
    not tell.
    """
    fields = read_fields(root / "proc/cpuinfo")
    return frozenset((fields.get("flags") or fields.get("Features") or "").split())


def logical_cores(root: Path) -> int:
    """CPUs that are online, usable by this process or not."""
    return len(parse_cpu_list(read_text(root / _CPUS / "online"))) or os.cpu_count() or 1


def physical_cores(root: Path) -> int | None:
    """Distinct sets of hardware threads that share a core."""
    cores = set()
    for topology in (root / _CPUS).glob("cpu[0-9]*/topology"):
        siblings = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
        if siblings:
            cores.add(siblings)
    return len(cores) or None


def cores(root: Path = Path("/")) -> list[int]:
    """The first CPU of each physical core among those that this process may use: as many threads as there are of them
    run without sharing a core."""
    first: dict[tuple[int, ...], int] = {}
    for cpu in affinity():
        first.setdefault(tuple(siblings_of(cpu, root)), cpu)
    return list(first.values())


def siblings_of(cpu: int, root: Path = Path("/")) -> list[int]:
    """The hardware threads of the core of `cpu`, itself among them; alone where the system does not tell."""
    topology = root / _CPUS / f"cpu{cpu}" / "topology"
    text = read_text(topology / "core_cpus_list") or read_text(topology / "thread_siblings_list")
    return parse_cpu_list(text) or [cpu]


def usable_cores(root: Path = Path("/")) -> int:
    """How many of them there are."""
    return len(cores(root))


def caches(root: Path, cpu: int) -> list[Cache]:
    """The caches that `cpu` sees, innermost first."""
    found = []
    for index in sorted((root / _CPUS / f"cpu{cpu}/cache").glob("index[0-9]*")):
        level, size = read_int(index / "level"), parse_size(read_text(index / "size"))
        kind = (read_text(index / "type") or "").lower()
        if not level or not size or kind not in ("data", "instruction", "unified"):
            continue
        shared = len(parse_cpu_list(read_text(index / "shared_cpu_list"))) or None
        literal = cast("Literal['data', 'instruction', 'unified']", kind)
        found.append(Cache(level=level, kind=literal, size_bytes=size, shared_by_cpus=shared))
    return found


def cache_parts(root: Path, cpu: int, usable: Collection[int]) -> list[int]:
    """Of each cache of data that `cpu` sees, the bytes that fall to it where only the `usable` CPUs share it."""
    parts = []
    for index in sorted((root / _CPUS / f"cpu{cpu}/cache").glob("index[0-9]*")):
        size, kind = parse_size(read_text(index / "size")), (read_text(index / "type") or "").lower()
        if not size or kind not in ("data", "unified"):
            continue
        sharing = len(set(parse_cpu_list(read_text(index / "shared_cpu_list"))).intersection(usable))
        parts.append(-(-size // max(1, sharing)))
    return parts


def governor(root: Path, cpus: Sequence[int]) -> str | None:
    """cpufreq's governor of the usable CPUs; several, separated by commas, where they differ."""
    names = {read_text(root / _CPUS / f"cpu{cpu}/cpufreq/scaling_governor") for cpu in cpus}
    return ", ".join(sorted(name for name in names if name)) or None


def frequency(root: Path, cpu: int) -> Frequency:
    """Current frequency and the bounds that cpufreq keeps to."""
    folder = root / _CPUS / f"cpu{cpu}/cpufreq"

    def megahertz(*names: str) -> float | None:
        return next((khz / 1000 for name in names if (khz := read_int(folder / name)) is not None), None)

    current = megahertz("scaling_cur_freq", "cpuinfo_cur_freq")
    if current is None:
        try:
            current = float(read_fields(root / "proc/cpuinfo").get("cpu MHz", ""))
        except ValueError:
            current = None
    return Frequency(
        current, megahertz("scaling_min_freq", "cpuinfo_min_freq"), megahertz("scaling_max_freq", "cpuinfo_max_freq")
    )


def virtualisation(root: Path) -> tuple[bool | None, str | None]:
    """Whether this is a virtual machine, and whose. None where nothing tells. A container is none."""
    flags = read_fields(root / "proc/cpuinfo").get("flags")
    flagged = None if flags is None else "hypervisor" in flags.split()
    kind = read_text(root / "sys/hypervisor/type")
    firmware = " ".join(
        read_text(root / "sys/class/dmi/id" / name) or "" for name in ("sys_vendor", "product_name", "bios_vendor")
    )
    names = _VIRTUAL_FIRMWARE | (_CLOUD_FIRMWARE if flagged else {})
    vendor = next((name for text, name in names.items() if text in firmware), None)
    if kind or vendor:
        return True, vendor or (kind or "").capitalize()
    return flagged, None
