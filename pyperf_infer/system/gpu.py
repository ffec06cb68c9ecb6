# SPDX-License-Identifier: Apache-2.0
"""The GPUs of this machine as the driver's management library shows them.

As a program (``python -m pyperf_infer.system.gpu``) it prints them as JSON.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import msgspec

from pyperf_infer.errors import BackendError
from pyperf_infer.results.schema import Gpu
from pyperf_infer.system import child, nvml

if TYPE_CHECKING:
    from pyperf_infer.system.gpu_reader import GpuFacts

# Without persistence mode the driver brings up every GPU first, seconds each.
_PATIENCE_S = 20.0


def describe_gpus(patience_s: float = _PATIENCE_S) -> list[Gpu]:
    """Every GPU that NVML shows, in NVML's order; [] where there is no driver or it does not answer in time.

    Takes half a second: NVML is asked by a process of its own, so that neither a stuck driver nor NVML's threads come
    into this one. What NVML does not know stays None: the index in CUDA's order, multiprocessors, the L2 cache.
    """
    try:
        process = child.start_module(
            __name__, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return []
    try:
        output, _ = process.communicate(timeout=patience_s)
        return msgspec.json.decode(output, type=list[Gpu])
    except (subprocess.TimeoutExpired, msgspec.MsgspecError, UnicodeDecodeError):
        return []
    finally:
        child.end(process, patience_s=0)
        if process.stdout is not None:
            process.stdout.close()


def gpu_of(facts: GpuFacts) -> Gpu:
    """The same facts as a result document holds them."""
    return Gpu(
        name=facts.name,
        uuid=facts.uuid,
        driver=facts.driver,
        cuda_driver=facts.cuda_driver,
        memory_bytes=facts.memory_bytes,
        compute_capability=facts.compute_capability,
        memory_bandwidth_bytes_per_s=_bandwidth_bytes_per_s(facts),
        max_sm_clock_mhz=facts.max_sm_clock_mhz,
        max_memory_clock_mhz=facts.max_memory_clock_mhz,
        power_limit_w=facts.power_limit_w,
        mig=facts.mig,
    )


def _bandwidth_bytes_per_s(facts: GpuFacts) -> float | None:
    """Two transfers a clock over the bus: the CUDA C++ Best Practices Guide's "theoretical bandwidth"."""
    if not facts.max_memory_clock_mhz or not facts.memory_bus_bits:
        return None
    return 2 * facts.max_memory_clock_mhz * 1e6 * facts.memory_bus_bits / 8


def main() -> None:
    gpus: list[Gpu] = []
    with contextlib.suppress(BackendError):
        gpus = [gpu_of(facts) for facts in nvml.every_gpu(nvml.open_nvml())]
    os.write(1, msgspec.json.encode(gpus))


if __name__ == "__main__":
    main()
