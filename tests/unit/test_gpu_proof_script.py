# SPDX-License-Identifier: Apache-2.0
"""benchmarks/gpu/run.sh as it is called on a machine without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gpu_presence
import gpu_proof
import pytest

SCRIPT = gpu_proof.BENCHMARKS / "gpu" / "run.sh"


def call(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHON": sys.executable}
    return subprocess.run([SCRIPT, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.skipif(gpu_presence.look().why_none is None, reason="there is a GPU, and the proof would run")
def test_without_a_gpu_it_ends_with_4_and_says_why(tmp_path: Path) -> None:
    done = call("--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.startswith("No GPU: ")
    assert "Nothing was measured." in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_dry_run_writes_an_honest_page_where_it_is_told_to(tmp_path: Path) -> None:
    done = call("--dry-run", "--full", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (page,) = (tmp_path / "out").glob("*.md")
    assert "Dry run: nothing was measured." in page.read_text()
    assert "pass" not in page.read_text()


def test_an_unknown_option_is_a_usage_error(tmp_path: Path) -> None:
    assert call("--no-such-option", cwd=tmp_path).returncode == 2


def test_help_tells_the_exit_codes(tmp_path: Path) -> None:
    done = call("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Exit codes: 0 every row passed" in done.stdout
    assert "--ort-capi" in done.stdout
