# SPDX-License-Identifier: Apache-2.0
"""NVML's own bindings over a driver's library that is made for this: every call crosses both."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from native_build import compile_shared_library

from pyperf_infer.errors import BackendError
from pyperf_infer.results.schema import Gpu, GpuProcess
from pyperf_infer.system import nvml
from pyperf_infer.system.gpu import describe_gpus, gpu_of
from pyperf_infer.system.gpu_monitor import GpuMonitor
from pyperf_infer.system.gpu_reader import GpuFacts, Reading

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NVIDIA's driver is read on Linux")

BOARD = "GPU-01020304-0506-0708-090a-0b0c0d0e0f10"
INSTANCE = "MIG-a1a2a3a4-a5a6-a7a8-a9aa-abacadaeafb0"
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST, OLD_DRIVER, UNKNOWN = 3, 4, 9, 15, 25, 999
OTHERS = [
    GpuProcess(pid=1, name="/usr/bin/trainer", memory_bytes=3 * 10**9),
    GpuProcess(pid=4294967),
    GpuProcess(pid=99, memory_bytes=1000),
]

# What a process that may load NVML finds, as JSON, or the error's type and text.
PROGRAM = """
import sys, msgspec
from pyperf_infer.system import nvml
gpu = bytes.fromhex(sys.argv[1]) if len(sys.argv[1]) == 32 else sys.argv[1]
try:
    reader = nvml.NvmlReader(nvml.gpu_id(gpu))
    found = {"facts": reader.facts(), "reading": [reader.poll() for _ in range(2)][-1]}
except Exception as error:
    found = {"error": type(error).__name__, "text": str(error)}
sys.stdout.buffer.write(msgspec.json.encode(found))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(__file__).parents[1] / "helpers" / "fake_nvml.cpp"
    return compile_shared_library(source, tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1")


@pytest.fixture(autouse=True)
def fake_driver(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.environ.get("LD_LIBRARY_PATH")
    monkeypatch.setenv("LD_LIBRARY_PATH", os.pathsep.join([str(library.parent), *([before] if before else [])]))


def read(gpu: str, **faults: int) -> dict[str, Any]:
    env = {**os.environ, **{f"NVML_FAULT_nvml{name}": str(code) for name, code in faults.items()}}
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM, gpu], env=env, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def facts_and_reading(gpu: str, **faults: int) -> tuple[GpuFacts, Reading]:
    found = read(gpu, **faults)
    assert "error" not in found, found
    return msgspec.convert(found["facts"], GpuFacts), msgspec.convert(found["reading"], Reading)


def test_everything_that_the_driver_tells_is_read() -> None:
    before = time.monotonic_ns()
    facts, reading = facts_and_reading(BOARD)
    assert facts == GpuFacts(
        name="Fake GPU",
        uuid=BOARD,
        driver="580.65.06",
        cuda_driver="13.1",
        memory_bytes=80 * 10**9,
        compute_capability="9.0",
        memory_bus_bits=5120,
        max_sm_clock_mhz=1980,
        max_memory_clock_mhz=2619,
        power_limit_w=700.0,
        mig=True,
        ecc=None,  # the function is not in that library, as in an old driver's
    )
    assert before < reading.monotonic_ns < time.monotonic_ns()
    assert reading.energy_mj is not None
    # The fake board takes 300 W; the clock is read a moment before its energy is.
    assert 0 <= reading.energy_mj - reading.monotonic_ns * 300 // 10**6 + 300 < 300_000
    assert msgspec.structs.replace(reading, monotonic_ns=0, energy_mj=None) == Reading(
        monotonic_ns=0,
        sm_clock_mhz=1755,
        memory_clock_mhz=2600,
        power_w=310.5,
        temperature_c=61,
        clocks_event_reasons=0x4,
        memory_used_bytes=5 * 10**9,
        processes=OTHERS,
    )


@pytest.mark.parametrize(
    ("gpu", "uuid"),
    [
        ("0000:3b:00.0", BOARD),
        (BOARD.removeprefix("GPU-").replace("-", ""), BOARD),
        (INSTANCE, INSTANCE),
        (INSTANCE.removeprefix("MIG-").replace("-", ""), INSTANCE),  # CUDA's bytes do not say which of the two it is
    ],
)
def test_a_gpu_is_found_by_any_of_its_names(gpu: str, uuid: str) -> None:
    facts, _ = facts_and_reading(gpu)
    assert facts.uuid == uuid


def test_an_instance_has_its_own_memory_and_the_boards_clocks() -> None:
    facts, reading = facts_and_reading(INSTANCE)
    assert (facts.name, facts.memory_bytes, facts.max_sm_clock_mhz) == ("Fake GPU MIG 1g.10gb", 10**10, 1980)
    assert (reading.memory_used_bytes, reading.sm_clock_mhz, reading.power_w) == (10**9, 1755, 310.5)


@pytest.mark.parametrize("code", [NOT_SUPPORTED, NO_PERMISSION, OLD_DRIVER])
def test_what_is_not_told_is_none_and_hides_nothing_else(code: int) -> None:
    facts, reading = facts_and_reading(
        BOARD,
        DeviceGetTotalEnergyConsumption=code,
        DeviceGetPowerUsage=code,
        DeviceGetTemperatureV=code,
        DeviceGetMigMode=code,
        DeviceGetMemoryInfo_v2=code,
        DeviceGetComputeRunningProcesses_v3=code,
        DeviceGetEnforcedPowerLimit=code,
        SystemGetCudaDriverVersion_v2=code,
        DeviceGetCudaComputeCapability=code,
    )
    assert (facts.mig, facts.memory_bytes, facts.power_limit_w) == (None, None, None)
    assert (facts.cuda_driver, facts.compute_capability) == (None, None)
    assert (reading.energy_mj, reading.power_w, reading.temperature_c, reading.memory_used_bytes) == (None,) * 4
    assert (facts.max_sm_clock_mhz, reading.sm_clock_mhz) == (1980, 1755)
    assert reading.processes == [OTHERS[0], OTHERS[2]]  # those that draw


def test_processes_that_are_not_told_are_not_none_at_all() -> None:
    hidden = {"DeviceGetComputeRunningProcesses_v3": NO_PERMISSION, "DeviceGetGraphicsRunningProcesses_v3": 3}
    assert facts_and_reading(BOARD, **hidden)[1].processes is None


@pytest.mark.parametrize("code", [GPU_IS_LOST, UNKNOWN])
def test_a_fault_is_raised_and_not_taken_for_silence(code: int) -> None:
    assert "Error" in read(BOARD, DeviceGetPowerUsage=code)["error"]


@pytest.mark.parametrize(
    ("gpu", "faults", "text"),
    [
        ("GPU-1", {}, "NVML knows no GPU GPU-1."),
        ("0000:ff:00.0", {}, "NVML knows no GPU 0000:ff:00.0."),
        (BOARD, {"Init_v2": DRIVER_NOT_LOADED}, "NVML cannot be read: Driver Not Loaded"),
        (BOARD, {"DeviceGetHandleByUUID": NO_PERMISSION}, f"NVML does not give access to the GPU {BOARD}: some fault"),
    ],
)
def test_a_gpu_that_cannot_be_read_says_why(gpu: str, faults: dict[str, int], text: str) -> None:
    assert read(gpu, **faults) == {"error": "BackendError", "text": text}


@pytest.mark.parametrize("fault", [ImportError("No module named 'cuda'"), ModuleNotFoundError("cuda.bindings.nvml")])
def test_without_the_bindings_the_package_that_has_them_is_named(
    fault: ImportError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        assert name == "cuda.bindings.nvml"
        raise fault

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(BackendError, match=r"cuda-python 13\.2 or newer"):
        nvml.open_nvml()


def test_the_monitor_reads_nvml_from_its_own_process() -> None:
    with GpuMonitor(BOARD, interval_ms=5) as monitor:
        assert monitor.ready(60.0), monitor.why_not
        assert monitor.facts is not None
        assert monitor.facts.name == "Fake GPU"
        assert monitor.readings(0, time.monotonic_ns())[0].power_w == 310.5


def test_a_gpu_that_is_lost_while_it_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVML_FAULT_nvmlDeviceGetTotalEnergyConsumption", str(GPU_IS_LOST))
    with GpuMonitor(BOARD, interval_ms=5) as monitor:
        assert not monitor.ready(60.0)
        assert monitor.why_not == "The GPU could not be read: GPU is lost"


def test_all_gpus_but_the_lost_one_are_described() -> None:
    assert describe_gpus() == [
        Gpu(
            name="Fake GPU",
            uuid=BOARD,
            driver="580.65.06",
            cuda_driver="13.1",
            memory_bytes=80 * 10**9,
            compute_capability="9.0",
            memory_bandwidth_bytes_per_s=2 * 2619e6 * 640,
            max_sm_clock_mhz=1980,
            max_memory_clock_mhz=2619,
            power_limit_w=700.0,
            mig=True,
        )
    ]


@pytest.mark.parametrize(("bits", "mhz"), [(None, 2619), (5120, None), (0, 2619), (5120, 0)])
def test_a_bandwidth_of_unknown_parts_is_unknown(bits: int | None, mhz: int | None) -> None:
    gpu = gpu_of(GpuFacts(name="GPU", memory_bus_bits=bits, max_memory_clock_mhz=mhz))
    assert gpu.memory_bandwidth_bytes_per_s is None


@pytest.mark.parametrize("function", ["Init_v2", "DeviceGetCount_v2"])
def test_without_a_working_driver_there_are_no_gpus(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"NVML_FAULT_nvml{function}", str(DRIVER_NOT_LOADED))
    assert describe_gpus() == []


@pytest.mark.parametrize("does", ["exec sleep 600", "echo '[{}]'", r"""printf '[{"name":"\377"}]'""", "kill -9 $$"])
def test_a_process_that_does_not_answer_means_no_gpus(
    does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{does}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert describe_gpus(patience_s=0.5) == []


def test_an_interpreter_that_does_not_start_means_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert describe_gpus() == []
