# SPDX-License-Identifier: Apache-2.0
"""The direction in which the parts of this project depend on each other, as docs/architecture.md draws it.

Each row may use only rows above it, and its own folder. Where two parts of one row lean on each other all the same, the
pair is named here.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from native_build import REPOSITORY

NATIVE_ROWS = (("core",), ("gpu", "ceilings"), ("ort", "aoti"), ("bindings",))

PYTHON_ROWS = (
    ("errors", "units"),
    ("results", "statistics", "system", "_core"),
    ("timers", "timing", "ort_session", "ort_device", "ort_libraries", "aoti_model", "aoti_inputs", "aoti_package"),
    ("models", "convert", "backends", "roofline"),
    ("measure",),
    ("overhead", "profile", "stored", "selftest", "attribution"),
    ("reports",),
    ("cli",),
)
BESIDE = {
    ("units", "errors"),
    ("statistics", "_core"),
    ("system", "results"),
    ("system", "statistics"),
    ("timers", "timing"),
    ("timers", "ort_session"),
    ("ort_session", "timing"),
    ("ort_session", "ort_device"),
    ("ort_device", "timing"),
    ("ort_device", "ort_libraries"),
    ("timers", "aoti_model"),
    ("aoti_model", "aoti_inputs"),
    ("aoti_model", "aoti_package"),
    ("aoti_model", "timing"),
    ("convert", "models"),
    ("backends", "models"),
    ("backends", "convert"),
    ("roofline", "models"),
    ("roofline", "convert"),
    ("attribution", "profile"),
}

MOST_LINES = 400
WRITTEN_BY_HAND = ("csrc", "pyperf_infer", "tests", "benchmarks")
SOURCES = {".py", ".cpp", ".hpp"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def native_uses() -> Iterator[tuple[Path, str, str]]:
    """(file, its folder in csrc, the folder or library it includes from)."""
    root = REPOSITORY / "csrc"
    for path in sorted(root.glob("*/**/*.[ch]pp")):
        for bracket, included in INCLUDE.findall(path.read_text()):
            if bracket == '"' or "/" in included or included == "Python.h":
                yield path, path.relative_to(root).parts[0], included.split("/")[0]


def python_uses() -> Iterator[tuple[Path, str, str]]:
    """(file, its part of the package, the part it imports), lazy and typing-only imports not spared."""
    root = REPOSITORY / "pyperf_infer"
    for path in sorted(root.rglob("*.py")):
        part = path.relative_to(root).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            for name in imported_names(node, path):
                if name.startswith("pyperf_infer."):
                    yield path, part, name.split(".")[1]


def imported_names(node: ast.AST, path: Path) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
        if node.module == "pyperf_infer":
            return [f"pyperf_infer.{alias.name}" for alias in node.names]
        return [node.module or ""]
    return []


def row_of(rows: tuple[tuple[str, ...], ...], part: str, path: Path) -> int:
    found = [number for number, row in enumerate(rows) if part in row]
    assert found, f"{path}: {part} stands in no row; draw it in docs/architecture.md and name it here"
    return found[0]


def test_native_folders_include_only_rows_above_them() -> None:
    folders = {folder for row in NATIVE_ROWS for folder in row}
    seen = set()
    for path, folder, included in native_uses():
        row = row_of(NATIVE_ROWS, folder, path)
        if included not in folders:
            continue
        seen.add((folder, included))
        above = row_of(NATIVE_ROWS, included, path) < row
        assert included == folder or above, f"{path} includes {included}, which is not above {folder}"
    assert {("bindings", "core"), ("ort", "core"), ("core", "core")} <= seen


def test_only_the_bindings_know_python() -> None:
    users = {folder for _, folder, included in native_uses() if included in {"pybind11", "Python.h"}}
    assert users == {"bindings"}


def test_native_includes_name_their_folder() -> None:
    folders = {folder for row in NATIVE_ROWS for folder in row}
    for path, _, included in native_uses():
        assert included in folders | {"pybind11", "sys"}, f"{path} includes {included}/..., which is no folder of csrc"


def test_python_parts_import_only_rows_above_them() -> None:
    seen = set()
    for path, part, imported in python_uses():
        if imported in {part, "__version__"}:
            continue
        seen.add((part, imported))
        above = row_of(PYTHON_ROWS, imported, path) < row_of(PYTHON_ROWS, part, path)
        allowed = above or (part, imported) in BESIDE
        assert allowed, f"{path} imports pyperf_infer.{imported}, which is not above {part}"
    assert {("timing", "statistics"), ("cli", "measure")} <= seen


def test_importing_the_package_imports_no_part_of_it() -> None:
    init = (REPOSITORY / "pyperf_infer" / "__init__.py").read_text()
    assert not [node for node in ast.walk(ast.parse(init)) if isinstance(node, ast.Import | ast.ImportFrom)]


@pytest.mark.parametrize("module", ["pyperf_infer.timers", "pyperf_infer.cli.main"])
def test_importing_pulls_in_no_framework(module: str, tmp_path: Path) -> None:
    program = f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert module in loaded
    assert not loaded & {"torch", "onnxruntime", "onnx", "onnxscript", "timm", "torchvision"}


def test_files_stay_small() -> None:
    files = [path for folder in WRITTEN_BY_HAND for path in (REPOSITORY / folder).rglob("*") if path.suffix in SOURCES]
    assert len(files) > 50
    long = {str(path): count for path in files if (count := len(path.read_text().splitlines())) > MOST_LINES}
    assert not long, f"one concept a file, at most {MOST_LINES} lines: {long}"
