# SPDX-License-Identifier: Apache-2.0
"""Prints what has to stand beside a figure as one JSON object: device, driver, versions. Runs where the package is."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# fmt: off
PACKAGES = (
    "pyperf-infer", "torch", "triton", "numpy", "onnx", "onnxscript", "cuda-bindings", "cuda-core", "cuda-python",
    "cuda-bench", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "nvidia-cuda-cupti", "nvidia-cudnn-cu12",
    "nvidia-cudnn-cu13", "nvidia-cublas", "pybind11", "scikit-build-core", "cmake", "pytest", "msgspec",
)
# fmt: on


def versions() -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def driver_version() -> str | None:
    """Of the kernel's driver, from /proc or nvidia-smi; None where neither tells."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        text = _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    found = re.search(r"\b\d{3}\.\d+(\.\d+)?\b", text)
    return found[0] if found else None


def describe() -> dict[str, Any]:
    """All of it."""
    import torch

    from pyperf_infer.system.environment import collect
    from pyperf_infer.timing.cuda import open_gpu

    host = collect()
    context = open_gpu()
    facts = context.facts
    return {
        "GPU": facts.name,
        "compute capability": f"{facts.compute_major}.{facts.compute_minor}",
        "multiprocessors": facts.multiprocessors,
        "memory": f"{facts.memory_bytes:,} bytes",
        "bandwidth by the memory's clock and bus": f"{facts.memory_bandwidth_bytes_per_s / 1e9:,.5g} GB/s",
        "L2": f"{facts.l2_bytes:,} bytes",
        "driver": driver_version(),
        "CUDA of the driver": f"{context.driver_version // 1000}.{context.driver_version % 1000 // 10}",
        "CUDA of torch": torch.version.cuda,
        "cuDNN of torch": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "ONNX Runtime given": os.environ.get("PYPERF_INFER_TEST_ORT_CUDA"),
        "host": f"{host.cpu_model}, {len(host.affinity)} CPUs",
        "system": f"{host.os}, {host.kernel}, {host.python}",
        "compiler": _output(os.environ.get("CXX", "c++"), "--version").partition("\n")[0] or None,
        "load average": list(os.getloadavg()),
        "commit": _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty").strip() or None,
        "versions": versions(),
    }


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


if __name__ == "__main__":
    json.dump(describe(), sys.stdout)
