# SPDX-License-Identifier: Apache-2.0
"""Builds the package for a proof, into a folder of its own, with what the machine has. Standard library alone.

Nothing of the machine's Python is changed: the package and the wheels that are given go into build/gpu/site, which the
rows have first on their path. There is no network, so nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gpu.common import last_lines
from gpu.process import run_group

REPOSITORY = Path(__file__).resolve().parents[2]
WORK = REPOSITORY / "build" / "gpu"
SITE = WORK / "site"
TIMEOUT_S = 300.0
LOG_LINES = 30  # of a build that failed
# What the package imports, and what each is called where it is installed from.
RUNTIME = {
    "click": "click",
    "msgspec": "msgspec",
    "numpy": "numpy",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "platformdirs": "platformdirs",
    "psutil": "psutil",
    "rich": "rich",
    "safetensors": "safetensors",
    "torch": "torch",
    "yaml": "pyyaml",
}
BUILD = {"pip": "pip", "pybind11": "pybind11", "scikit_build_core": "scikit-build-core", "pytest": "pytest"}
_SOURCES = ("csrc", "pyperf_infer", "benchmarks", "tests/gpu", "tests/helpers")
_SOURCE_ENDINGS = {".cpp", ".hpp", ".cu", ".py", ".yaml", ".csv", ".txt", ".sh", ".toml"}
_LIBRARY = "libonnxruntime.so.*"
_CUDA_PROVIDER = "libonnxruntime_providers_cuda.so"
_STAND_IN = '''"""Holds ONNX Runtime's libraries (capi/), for the command line; its Python package is not here."""

raise ImportError("only the libraries of ONNX Runtime are here, for the native loop; its Python package is not")
'''


class BuildError(Exception):
    """What is missing or did not work."""


def environment(ort_library: Path | None = None) -> dict[str, str]:
    """Of the rows: the package that was built first, and a folder of its own for exports."""
    path = [str(SITE), str(REPOSITORY / "benchmarks"), str(REPOSITORY / "tests" / "helpers")]
    made = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONUNBUFFERED": "1",
        "PYPERF_INFER_CACHE_DIR": str(WORK / "cache"),
    }
    if ort_library is not None:
        made["PYPERF_INFER_TEST_ORT_CUDA"] = str(ort_library)
    return made


def find_ort_library(folder: Path) -> Path:
    """ONNX Runtime's library in an unpacked archive, whose libraries lie side by side in `folder` or `folder`/capi.

    Raises:
        BuildError: it is not there, or has no CUDA provider beside it.
    """
    for place in (folder / "capi", folder):
        if found := sorted(place.glob(_LIBRARY)):
            library = found[-1].resolve()
            if not (library.parent / _CUDA_PROVIDER).exists():
                raise BuildError(f"{place} holds {library.name} and no {_CUDA_PROVIDER}")
            return library
    raise BuildError(f"neither {folder} nor {folder / 'capi'} holds {_LIBRARY}")


def source_hash() -> str:
    """Of all that is built and run, so that a page tells what it is of where there is no repository."""
    digest = hashlib.sha256()
    files = [path for part in _SOURCES for path in (REPOSITORY / part).rglob("*") if path.suffix in _SOURCE_ENDINGS]
    files += [REPOSITORY / "CMakeLists.txt", REPOSITORY / "pyproject.toml"]
    for path in sorted(files):
        digest.update(f"{path.relative_to(REPOSITORY)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def build(wheels: Path | None, ort_library: Path | None) -> float:
    """Installs wheels and package into SITE. Returns the seconds taken.

    Raises:
        BuildError: a package that is missing, a wheel or a build that failed, with the end of what was said.
    """
    begin = time.monotonic()
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir(parents=True)
    if wheels is not None:
        _install_wheels(wheels)
    _require({**BUILD, **RUNTIME})
    options = ["--no-build-isolation", "-C", f"build-dir={WORK / 'cmake'}"]
    _pip("the package does not build", *options, str(REPOSITORY))
    _check_place()
    if ort_library is not None:
        _stand_in(ort_library)
    return time.monotonic() - begin


def _install_wheels(folder: Path) -> None:
    wheels = sorted(map(str, folder.glob("*.whl")))
    if not wheels:
        raise BuildError(f"{folder} holds no wheels")
    _pip(f"the wheels of {folder} do not install", *wheels)


def _require(packages: dict[str, str]) -> None:
    """Looks for modules as the rows will find them, without importing them."""
    program = (
        "import importlib.util, json, sys; "
        "print(json.dumps([name for name in sys.argv[1:] if importlib.util.find_spec(name) is None]))"
    )
    done = _run([sys.executable, "-P", "-c", program, *packages], "this Python does not run")
    missing = [packages[name] for name in json.loads(last_lines(done, 1))]
    if missing:
        raise BuildError(f"not installed here: {', '.join(missing)}. Give their wheels: --wheels DIR")


def _check_place() -> None:
    """An editable installation comes before any path: the rows would measure that one."""
    program = "import pyperf_infer; print(pyperf_infer.__file__)"
    found = Path(last_lines(_run([sys.executable, "-P", "-c", program], "the package does not load"), 1))
    if not found.is_relative_to(SITE):
        raise BuildError(
            f"{sys.executable} imports {found.parent}, which hides what was built into {SITE}: as a rule an editable "
            "installation. Name another Python: PYTHON=python3 benchmarks/gpu/run.sh"
        )


def _pip(what_failed: str, *arguments: str) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(SITE),
    ]
    _run([*command, "--upgrade", *arguments], what_failed)


def _run(command: Sequence[str], what_failed: str) -> str:
    """What it printed."""
    log = WORK / "build.log"
    variables = {**environment(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    code = run_group(command, variables, log, TIMEOUT_S)
    said = log.read_text(errors="replace")
    if code is None:
        raise BuildError(f"{what_failed}: not done within {TIMEOUT_S:g} s\n{last_lines(said, LOG_LINES)}")
    if code != 0:
        raise BuildError(f"{what_failed}:\n{last_lines(said, LOG_LINES)}")
    return said


def _stand_in(library: Path) -> None:
    """The command line looks for the library in the installed package, so this takes the place of one."""
    package = SITE / "onnxruntime"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir()
    (package / "__init__.py").write_text(_STAND_IN)
    (package / "capi").symlink_to(library.parent, target_is_directory=True)
