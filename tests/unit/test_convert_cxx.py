# SPDX-License-Identifier: Apache-2.0
"""Compilers that are missing or broken, each a few lines of shell."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from pyperf_infer.convert import cxx
from pyperf_infer.errors import BackendError


@pytest.fixture(autouse=True)
def kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the files that errors point to."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def compiler(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> str:
    path = folder / "c++of-the-test"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("CXX", str(path))
    return str(path)


def test_the_compiler_of_this_machine_works_and_tells_its_version(
    kept_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    assert cxx.require() == cxx.command()
    assert re.search(r"\d+\.\d+", str(cxx.version()))
    assert list(kept_here.iterdir()) == []


@pytest.mark.parametrize("command", ["/nowhere/g++", "no-such-compiler -O2", "g++ 'unmatched", "  "])
def test_a_missing_compiler_is_named_with_what_to_install(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", command)
    with pytest.raises(BackendError) as caught:
        cxx.require()
    assert repr(command) in str(caught.value)
    assert "apt install g++" in str(caught.value)
    assert cxx.version() is None


def test_without_a_variable_and_a_path_it_is_gxx_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match=r"no 'g\+\+' on the PATH"):
        cxx.require()


def test_a_compiler_that_fails_shows_its_errors_and_keeps_all_that_it_said(
    tmp_path: Path, kept_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "echo note: before; for n in 1 2 3 4; do echo x.cpp:$n: error: number $n >&2; done; exit 1"
    path = compiler(tmp_path, script, monkeypatch)
    with pytest.raises(BackendError) as caught:
        cxx.require()
    message = str(caught.value)
    assert path in message
    assert re.findall(r"error: number (\d)", message) == ["1", "2", "3"]
    assert "note: before" not in message
    (file,) = kept_here.iterdir()
    assert str(file) in message
    assert file.read_text() == "note: before\n" + "".join(f"x.cpp:{n}: error: number {n}\n" for n in range(1, 5))


def test_a_compiler_that_says_all_in_a_line_needs_no_file(
    tmp_path: Path, kept_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, "echo cannot find -lgomp; exit 1", monkeypatch)
    with pytest.raises(BackendError, match="\n  cannot find -lgomp\n"):
        cxx.require()
    assert list(kept_here.iterdir()) == []


def test_a_silent_failure_and_one_that_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compiler(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(BackendError, match="It printed nothing"):
        cxx.require()
    Path(path).write_bytes(b"\x7fELF is what it says")
    with pytest.raises(BackendError, match="cannot be run"):
        cxx.require()
    assert cxx.version() is None


def test_output_that_is_no_text_does_no_harm(tmp_path: Path, kept_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path, r"printf 'error: \377\376\na\nb\n'; exit 1", monkeypatch)
    with pytest.raises(BackendError, match="error: "):
        cxx.require()
    assert len(list(kept_here.iterdir())) == 1
