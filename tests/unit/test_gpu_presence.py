# SPDX-License-Identifier: Apache-2.0
"""Whether there is a GPU: none on the exact conditions, a fault on every other."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import gpu_presence
import pytest
from gpu_presence import DriverError, look
from native_build import REPOSITORY, compile_shared_library

DRIVER = """
#include <cstring>
extern "C" {{
int cuInit(unsigned) {{ return {init}; }}
int cuDeviceGetCount(int* count) {{ *count = {count}; return {count_result}; }}
int cuDriverGetVersion(int* version) {{ *version = 13020; return 0; }}
int cuDeviceGet(int* device, int index) {{ *device = 40 + index; return 0; }}
int cuDeviceGetName(char* name, int, int device) {{ std::strcpy(name, device == 40 ? "One" : "Two"); return 0; }}
}}
"""


def driver(folder: Path, *, init: int = 0, count: int = 2, count_result: int = 0) -> str:
    source = folder / "driver.cpp"
    source.write_text(DRIVER.format(init=init, count=count, count_result=count_result))
    return str(compile_shared_library(source, folder / "libcuda_of_test.so"))


def test_gpus_are_named_in_the_drivers_order(tmp_path: Path) -> None:
    seen = look(driver(tmp_path))
    assert (seen.gpus, seen.cuda, seen.why_none) == (("One", "Two"), "13.2", None)


@pytest.mark.parametrize(("init", "why"), [(100, "sees none"), (34, "stub for linking")])
def test_no_device_and_a_stub_are_no_gpu(tmp_path: Path, init: int, why: str) -> None:
    seen = look(driver(tmp_path, init=init))
    assert seen.gpus == ()
    assert why in str(seen.why_none)


def test_a_driver_that_counts_none_is_no_gpu(tmp_path: Path) -> None:
    assert "counts none" in str(look(driver(tmp_path, count=0)).why_none)


def test_a_library_that_is_not_there_is_no_gpu() -> None:
    assert "no NVIDIA driver" in str(look("libcuda_that_nobody_has.so.1").why_none)


@pytest.mark.parametrize("init", [999, 803, 2])
def test_any_other_answer_is_a_fault(tmp_path: Path, init: int) -> None:
    with pytest.raises(DriverError, match=f"cuInit gives CUresult {init}"):
        look(driver(tmp_path, init=init))


def test_a_driver_that_cannot_count_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(DriverError, match="cuDeviceGetCount gives CUresult 3"):
        look(driver(tmp_path, count_result=3))


def test_a_library_that_is_no_driver_is_a_fault(tmp_path: Path) -> None:
    source = tmp_path / "other.cpp"
    source.write_text('extern "C" int other() { return 0; }\n')
    with pytest.raises(DriverError, match="it has no cuInit"):
        look(str(compile_shared_library(source, tmp_path / "libother.so")))


def test_a_file_that_is_no_library_is_a_fault(tmp_path: Path) -> None:
    file = tmp_path / "libcuda.so.1"
    file.write_text("not a library")
    with pytest.raises(DriverError, match="does not load"):
        look(str(file))


def test_a_driver_that_lacks_a_library_of_its_own_is_a_fault(tmp_path: Path) -> None:
    needed = tmp_path / "libneeded.so"
    (tmp_path / "needed.cpp").write_text('extern "C" int needed() { return 0; }\n')
    compile_shared_library(tmp_path / "needed.cpp", needed)
    source, library = tmp_path / "driver.cpp", tmp_path / "libdriver.so"
    source.write_text('extern "C" int needed();\nextern "C" int cuInit(unsigned) { return needed(); }\n')
    command = ["c++", "-shared", "-fPIC", "-o", str(library), str(source), f"-L{tmp_path}", "-lneeded"]
    subprocess.run(command, check=True)
    needed.unlink()
    with pytest.raises(DriverError, match="does not load"):
        look(str(library))


def test_the_program_prints_what_there_is() -> None:
    program = REPOSITORY / "tests" / "helpers" / "gpu_presence.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    values = json.loads(done.stdout)
    assert set(values) == {"gpus", "cuda", "why_none"}
    assert bool(values["gpus"]) == (values["why_none"] is None)
    assert tuple(values["gpus"]) == gpu_presence.look().gpus
