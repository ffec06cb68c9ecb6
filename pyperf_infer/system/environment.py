# SPDX-License-Identifier: Apache-2.0
"""The machine and the software a result was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from pyperf_infer.results.schema import Environment
from pyperf_infer.system import cgroup, cpu
from pyperf_infer.system.files import read_kib, read_text

# What can change a time or an output. Versions come from the packages' metadata: importing them would take seconds.
_LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "numpy",
    "cuda-python",
    "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13",
)


def collect(root: Path = Path("/")) -> Environment:
    """Reads /proc, /sys and /etc below `root`; what they do not tell is None. Takes some milliseconds."""
    cpus = cpu.affinity()
    frequency = cpu.frequency(root, cpus[0])
    virtualised, hypervisor = cpu.virtualisation(root)
    return Environment(
        cpu_model=cpu.model_name(root),
        architecture=platform.machine(),
        physical_cores=cpu.physical_cores(root),
        logical_cores=cpu.logical_cores(root),
        affinity=cpus,
        caches=cpu.caches(root, cpus[0]),
        governor=cpu.governor(root, cpus),
        frequency_mhz=frequency.current,
        frequency_min_mhz=frequency.minimum,
        frequency_max_mhz=frequency.maximum,
        memory_total_bytes=_memory_total_bytes(root),
        memory_limit_bytes=cgroup.memory_limit_bytes(root),
        cpu_limit_cores=cgroup.cpu_limit_cores(root),
        os=_os_name(root),
        kernel=read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        virtualised=virtualised,
        hypervisor=hypervisor,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=_library_versions(),
    )


def _memory_total_bytes(root: Path) -> int:
    return read_kib(root / "proc/meminfo", "MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _os_name(root: Path) -> str:
    for line in (read_text(root / "etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip("\"'")
    return platform.system()


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
