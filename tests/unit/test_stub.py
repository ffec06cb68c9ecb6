# SPDX-License-Identifier: Apache-2.0
"""pyperf_infer/_core.pyi says what the built extension offers."""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

from native_build import REPOSITORY, tool

STUB = Path("pyperf_infer") / "_core.pyi"
REGENERATE = "pybind11-stubgen pyperf_infer._core -o ."


def generated(folder: Path) -> str:
    command = [tool("pybind11-stubgen"), "pyperf_infer._core", "--exit-code", "-o", str(folder)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"types that a stub cannot name:\n{done.stderr}"
    return (folder / STUB).read_text()


def test_the_stub_is_up_to_date(tmp_path: Path) -> None:
    stored, fresh = (REPOSITORY / STUB).read_text(), generated(tmp_path)
    difference = "".join(difflib.unified_diff(stored.splitlines(True), fresh.splitlines(True), "stored", "generated"))
    assert not difference, f"{STUB} is stale; run `{REGENERATE}` in the repository's root:\n{difference}"
