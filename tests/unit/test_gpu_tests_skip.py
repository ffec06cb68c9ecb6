# SPDX-License-Identifier: Apache-2.0
"""How tests/gpu behave where there is no GPU, and where its driver is at fault."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from native_build import REPOSITORY

pytest_plugins = ["pytester"]

PRESENCE = """
from dataclasses import dataclass

class DriverError(RuntimeError): pass

@dataclass
class Presence:
    why_none: str | None

def look():
    {look}
"""
TEST = "def test_it():\n    pass\n"
ELSEWHERE = "import pytest\n\ndef test_other(request):\n    assert not request.node.get_closest_marker('gpu')\n"


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project with the conftest of tests/gpu and one test in it and beside it."""
    folder = pytester.mkdir("tests") / "gpu"
    folder.mkdir()
    shutil.copy(REPOSITORY / "tests" / "gpu" / "conftest.py", folder)
    (folder / "test_it.py").write_text(TEST)
    (pytester.path / "tests" / "test_other.py").write_text(ELSEWHERE)
    (pytester.path / "helpers").mkdir()
    pytester.makeini("[pytest]\naddopts = --import-mode=importlib --strict-markers\npythonpath = helpers\n")
    return pytester


def presence(project: pytest.Pytester, look: str) -> None:
    Path(project.path / "helpers" / "gpu_presence.py").write_text(PRESENCE.format(look=look))


@pytest.mark.parametrize("where", ["tests", "tests/gpu"])
def test_without_a_gpu_they_are_skipped_and_say_why(project: pytest.Pytester, where: str) -> None:
    presence(project, "return Presence('there is no GPU here')")
    result = project.runpytest_subprocess(where, "-rs")
    result.assert_outcomes(skipped=1, passed=where.count("/") == 0)
    result.stdout.fnmatch_lines(["*there is no GPU here*"])


def test_without_a_gpu_they_fail_where_one_is_required(project: pytest.Pytester) -> None:
    presence(project, "return Presence('there is no GPU here')")
    result = project.runpytest_subprocess("tests/gpu", "--require-gpu")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*there is no GPU here, and --require-gpu was given*"])
    assert result.ret == 1


@pytest.mark.parametrize("arguments", [(), ("--require-gpu",)])
def test_a_driver_at_fault_is_never_a_reason_to_skip(project: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    presence(project, "raise DriverError('the driver does not work')")
    result = project.runpytest_subprocess("tests/gpu", *arguments)
    result.assert_outcomes(errors=1)


def test_with_a_gpu_they_run_and_carry_the_marker(project: pytest.Pytester) -> None:
    presence(project, "return Presence(None)")
    project.runpytest_subprocess("tests", "-m", "gpu").assert_outcomes(passed=1, deselected=1)
