# SPDX-License-Identifier: Apache-2.0
"""Builds native code for tests with the CMake and Ninja of the `test` extra."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def tool(name: str) -> str:
    """A program of this virtual environment, activated or not, else one on the PATH."""
    beside_python = Path(sys.executable).parent / name
    found = str(beside_python) if beside_python.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed; it comes with pip install '.[test]'")
    return found


def build_core_tests(folder: Path, sanitize: str = "") -> None:
    """Configures and builds tests/native in `folder`; its output is in the error when that fails."""
    configure = [
        tool("cmake"), "-S", str(REPOSITORY), "-B", str(folder), "-G", "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}", "-DCMAKE_BUILD_TYPE=Debug",
        "-DCMAKE_CXX_FLAGS_DEBUG=-O1", f"-DPython_EXECUTABLE={sys.executable}",
        "-DPYPERF_INFER_BUILD_TESTS=ON", f"-DPYPERF_INFER_SANITIZE={sanitize}",
    ]  # fmt: skip
    for command in (configure, [tool("cmake"), "--build", str(folder), "--target", "core_tests"]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def run_core_tests(folder: Path) -> subprocess.CompletedProcess[str]:
    """ctest over what `build_core_tests` made."""
    command = [tool("ctest"), "--test-dir", str(folder), "--output-on-failure", "--no-tests=error"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def compile_shared_library(source: Path, output: Path) -> Path:
    """One C++ file into one shared library, with the compiler that the extension was built with ($CXX, else c++)."""
    compiler = os.environ.get("CXX", "c++")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(output), str(source), "-ldl"], check=True)
    return output
