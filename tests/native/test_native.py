# SPDX-License-Identifier: Apache-2.0
"""The C++ tests of csrc/core, which know nothing of Python, built and run through ctest."""

from __future__ import annotations

from pathlib import Path

from native_build import build_core_tests, run_core_tests


def test_the_native_core(tmp_path: Path) -> None:
    build_core_tests(tmp_path)
    done = run_core_tests(tmp_path)
    print(done.stdout)  # noqa: T201 - what pytest shows of a failure
    assert done.returncode == 0, f"ctest failed:\n{done.stdout}{done.stderr}"
    concepts = [path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.cpp")]
    for concept in concepts:
        assert f"native.{concept} " in done.stdout, f"test_{concept}.cpp was not run; is it in CMakeLists.txt?"
