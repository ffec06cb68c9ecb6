# SPDX-License-Identifier: Apache-2.0
"""The C++ compiler that Inductor's code goes through: which one it is, and whether it works at all."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from pyperf_infer.errors import BackendError

INSTALL = "install one (Debian, Ubuntu: apt install g++), or name one in the environment variable CXX"
_TIMEOUT_S = 60.0
_SHOWN_LINES = 3
# What all of Inductor's code needs: the standard library's headers and OpenMP.
_PROGRAM = (
    "#include <omp.h>\n#include <vector>\nint answer() { return static_cast<int>(std::vector<int>{1}.size()); }\n"
)


def command() -> str:
    """As Inductor chooses it."""
    return os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")


def version() -> str | None:
    """The first line that ``--version`` prints; None where there is no such compiler or it says nothing."""
    try:
        done = _run(["--version"])
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def require() -> str:
    """The compiler's command, tried out on a few lines.

    Inductor tells which vector instructions the compiler knows by trying, once a process: one that fails altogether
    would be taken for one that knows none.

    Raises:
        BackendError: it is missing, or fails; the message says what to install, or where all of its output is.
    """
    compiler = command()
    try:
        missing = shutil.which(shlex.split(compiler)[0]) is None
    except (ValueError, IndexError):  # quotes that do not match, or blanks alone
        missing = True
    if missing:
        raise BackendError(f"AOTInductor needs a C++ compiler, and there is no {compiler!r} on the PATH: {INSTALL}")
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
        source = Path(folder) / "try.cpp"
        source.write_text(_PROGRAM)
        try:
            done = _run(["-shared", "-fPIC", *_openmp(), "-o", str(Path(folder) / "try.so"), str(source)])
        except (OSError, subprocess.SubprocessError) as error:
            raise BackendError(f"The C++ compiler {compiler!r} cannot be run: {error}; {INSTALL}") from error
    if done.returncode != 0:
        raise failed("a program of three lines", done.stdout)
    return compiler


def failed(on_what: str, output: str) -> BackendError:
    """The error for a compiler that exits with another status than 0, all of whose output is kept in a file."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower()] or lines
    said = "".join(f"\n  {line}" for line in telling[:_SHOWN_LINES]) if telling else " It printed nothing."
    kept = f"\nAll of its output is in {_keep(output)}." if len(lines) > len(telling[:_SHOWN_LINES]) else ""
    return BackendError(
        f"The C++ compiler {command()!r} failed on {on_what}.{said}{kept}\n"
        f"If it is too old or lacks a part, {INSTALL}; --backend torch needs none."
    )


def _keep(output: str) -> Path:
    with tempfile.NamedTemporaryFile(
        "w", prefix="pyperf-infer-compiler-", suffix=".txt", delete=False, errors="replace"
    ) as file:
        file.write(output)
    return Path(file.name)


def _openmp() -> tuple[str, ...]:
    return () if sys.platform == "darwin" else ("-fopenmp",)


def _run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  the compiler that the user named, no shell
        [*shlex.split(command()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
