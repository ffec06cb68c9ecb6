# SPDX-License-Identifier: Apache-2.0
"""The one command of the GPU proof, with a machine and rows that are made up: order, budget, resuming, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gpu_proof
import pytest
from gpu import build, prove, runner
from gpu.build import BuildError
from gpu.page import Page, load
from gpu.plan import PlannedRow

ROW = """
import sys
from pathlib import Path
from gpu.common import run_row
from gpu.figures import at_most

def run(row, options):
    Path({ran!r}).open("a").write("{name} ")
    {body}
    row.add(at_most("figure", {value}, 1.0, "us"))

sys.exit(run_row(None, run))
"""


class Machine:
    """A GPU, a build and rows as a test wants them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.out, self.ran_file = folder, folder / "out", folder / "ran"
        self.plan: list[PlannedRow] = []
        self.gpu, self.source, self.build_error = "Some GPU", "source one", ""
        monkeypatch.setattr(prove, "look_for_gpu", lambda: self.gpu)
        monkeypatch.setattr(prove, "rows", lambda mode: tuple(self.plan))
        monkeypatch.setattr(prove, "describe_machine", lambda library: {"GPU": self.gpu})
        monkeypatch.setattr(runner, "WORK", folder / "work")
        monkeypatch.setattr(build, "source_hash", lambda: self.source)
        monkeypatch.setattr(build, "build", self._build)
        path = os.pathsep.join([str(folder), str(gpu_proof.BENCHMARKS)])
        monkeypatch.setattr(build, "environment", lambda library=None: {**os.environ, "PYTHONPATH": path})

    def _build(self, wheels: Path | None, library: Path | None) -> float:
        if self.build_error:
            raise BuildError(self.build_error)
        return 1.5

    def row(
        self, name: str, *, value: float = 0.5, body: str = "pass", budget_s: float = 1, timeout_s: float = 30
    ) -> None:
        text = ROW.format(ran=str(self.ran_file), name=name, body=body, value=value)
        (self.folder / f"made_{name}.py").write_text(text)
        self.plan.append(PlannedRow(name, f"what {name} shows", f"made_{name}", budget_s, timeout_s))

    @property
    def ran(self) -> list[str]:
        return self.ran_file.read_text().split() if self.ran_file.exists() else []

    def prove(self, *arguments: str) -> int:
        return prove.main([*arguments, "--out", str(self.out)])

    def pages(self) -> list[Page]:
        return [load(file) for file in sorted(self.out.glob("*.json"))]

    def statuses(self) -> dict[str, str]:
        (page,) = self.pages()
        return {row.name: row.status for row in page.rows}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_every_row_runs_in_order_and_the_page_says_so(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.row("one")
    machine.row("two")
    assert machine.prove() == prove.PASSED
    assert machine.ran == ["one", "two"]
    assert machine.statuses() == {"build": "pass", "one": "pass", "two": "pass"}
    assert "Every row that could run passed." in capsys.readouterr().out
    (text,) = machine.out.glob("*.md")
    assert "| two | what two shows | pass |" in text.read_text()


def test_a_row_that_fails_or_raises_stops_no_other(machine: Machine) -> None:
    machine.row("beyond", value=7.0)
    machine.row("raises", body="raise LookupError('no')")
    machine.row("last")
    assert machine.prove() == prove.FAILED
    assert machine.ran == ["beyond", "raises", "last"]
    assert machine.statuses() == {"build": "pass", "beyond": "fail", "raises": "fail", "last": "pass"}


def test_figures_that_are_not_there_are_counted_where_a_row_passes(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.row("one", body="from gpu.figures import not_yet; row.add(not_yet('a', 'no x'), not_yet('b', 'no y'))")
    assert machine.prove() == prove.PASSED
    assert machine.statuses()["one"] == "pass"
    said = capsys.readouterr().out
    assert "-- one: pass (2 figures not yet) (" in said
    assert "Every row that could run passed. Rows: 2 pass. Figures not yet: 2 in one." in said


def test_a_row_that_hangs_is_killed_and_the_next_one_runs(machine: Machine) -> None:
    machine.row("hangs", body="__import__('time').sleep(300)", timeout_s=2)
    machine.row("last")
    assert machine.prove() == prove.FAILED
    assert machine.statuses() == {"build": "pass", "hangs": "fail", "last": "pass"}


def test_what_the_time_does_not_allow_is_left_and_resumed(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.row("one")
    machine.row("long", budget_s=1000)
    machine.row("three")
    assert machine.prove("--limit", "60") == prove.ROWS_LEFT
    assert machine.ran == ["one"]
    assert machine.statuses() == {"build": "pass", "one": "pass", "long": "left", "three": "left"}
    assert "left: long, three. The same command with --resume goes on." in capsys.readouterr().out
    assert machine.prove("--resume", "--limit", "2000") == prove.PASSED
    assert machine.ran == ["one", "long", "three"]
    (page,) = machine.pages()
    assert len(page.calls) == 2


def test_a_failure_of_an_earlier_call_stays(machine: Machine) -> None:
    machine.row("beyond", value=7.0)
    machine.row("long", budget_s=1000)
    assert machine.prove("--limit", "60") == prove.FAILED
    assert machine.prove("--resume", "--limit", "2000") == prove.FAILED
    assert machine.ran == ["beyond", "long"]
    assert machine.statuses() == {"build": "pass", "beyond": "fail", "long": "pass"}


@pytest.mark.parametrize("what", ["gpu", "source"])
def test_the_page_of_another_gpu_or_source_is_not_gone_on_with(
    machine: Machine, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.row("long", budget_s=1000)
    assert machine.prove("--limit", "60") == prove.ROWS_LEFT
    setattr(machine, what, "another one")
    assert machine.prove("--resume") == prove.USAGE
    assert "is of another" in capsys.readouterr().err
    assert machine.ran == []


def test_nothing_to_resume_is_a_usage_error(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.row("one")
    assert machine.prove("--resume") == prove.USAGE
    assert "nothing to resume" in capsys.readouterr().err


def test_a_second_run_has_a_page_of_its_own(machine: Machine) -> None:
    machine.row("one", value=7.0)
    assert machine.prove() == prove.FAILED
    machine.plan.clear()
    machine.row("one")
    assert machine.prove() == prove.PASSED
    assert sorted(row.status for page in machine.pages() for row in page.rows) == ["fail", "pass", "pass", "pass"]


def test_a_build_that_fails_runs_no_row_and_is_on_the_page(machine: Machine) -> None:
    machine.row("one")
    machine.build_error = "the package does not build:\ncannot find cuda.h"
    assert machine.prove() == prove.FAILED
    assert machine.ran == []
    (page,) = machine.pages()
    assert page.rows[0].reason == "the package does not build:"
    assert page.rows[0].lines == ("cannot find cuda.h",)
    assert page.left == ["one"]


def test_ctrl_c_saves_what_there_is(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.row("one")
    machine.row("two")
    run_planned: Callable[..., object] = prove.run_planned

    def interrupted(row: PlannedRow, *arguments: object, **options: object) -> object:
        if row.name == "two":
            raise KeyboardInterrupt
        return run_planned(row, *arguments, **options)

    monkeypatch.setattr(prove, "run_planned", interrupted)
    assert machine.prove() == prove.INTERRUPTED
    assert machine.statuses() == {"build": "pass", "one": "pass", "two": "left"}


def test_without_a_gpu_it_says_so_and_writes_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> str:
        raise prove.NotThereError("No GPU: there is no NVIDIA driver.")

    monkeypatch.setattr(prove, "look_for_gpu", none)
    assert machine.prove() == prove.NOT_THERE
    assert "No GPU: there is no NVIDIA driver.\nNothing was measured." in capsys.readouterr().err
    assert not machine.out.exists()


def test_an_archive_without_the_cuda_provider_is_refused(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    capi = machine.folder / "capi"
    capi.mkdir()
    assert machine.prove("--ort-capi", str(machine.folder)) == prove.NOT_THERE
    assert "libonnxruntime.so" in capsys.readouterr().err
    (capi / "libonnxruntime.so.1.31.1").touch()
    assert machine.prove("--ort-capi", str(machine.folder)) == prove.NOT_THERE
    assert "libonnxruntime_providers_cuda.so" in capsys.readouterr().err


def test_a_dry_run_runs_nothing_and_claims_nothing(machine: Machine) -> None:
    machine.row("one")
    assert machine.prove("--dry-run") == prove.PASSED
    assert machine.ran == []
    assert machine.statuses() == {"one": "not run"}


def test_the_libraries_of_an_archive_are_found_side_by_side(tmp_path: Path) -> None:
    capi = tmp_path / "capi"
    capi.mkdir()
    for name in ("libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"):
        (capi / name).touch()
    assert build.find_ort_library(tmp_path) == build.find_ort_library(capi) == capi / "libonnxruntime.so.1.31.1"


def test_the_libraries_of_an_archive_are_what_the_product_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capi = tmp_path / "ort" / "capi"
    capi.mkdir(parents=True)
    library = capi / "libonnxruntime.so.9.9.9"
    library.touch()
    monkeypatch.setattr(build, "SITE", tmp_path / "site")
    (tmp_path / "site").mkdir()
    build._stand_in(library)
    program = "from pyperf_infer.ort_session import find_library; print(find_library().resolve())"
    command = [sys.executable, "-P", "-c", f"{program}\nimport onnxruntime"]
    done = subprocess.run(command, env=build.environment(), capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(library)
    assert "ImportError: only the libraries of ONNX Runtime are here" in done.stderr


def test_a_package_that_hides_what_was_built_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SITE", tmp_path)
    monkeypatch.setattr(build, "WORK", tmp_path)
    with pytest.raises(BuildError, match="which hides what was built"):
        build._check_place()


def test_missing_packages_are_named_as_they_are_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "WORK", tmp_path)
    with pytest.raises(BuildError, match=r"not installed here: pyyaml-of-nobody\. Give their wheels: --wheels DIR"):
        build._require({"json": "json", "yaml_of_nobody": "pyyaml-of-nobody"})


def test_the_command_itself_needs_the_standard_library_alone() -> None:
    program = "import gpu.prove, json, sys; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    path = os.pathsep.join([str(gpu_proof.BENCHMARKS), str(gpu_proof.BENCHMARKS.parent / "tests" / "helpers")])
    done = subprocess.run(
        [sys.executable, "-P", "-I", "-S", "-c", f"import sys; sys.path += {path.split(os.pathsep)}; {program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    others = {name for name in json.loads(done.stdout) if name not in sys.stdlib_module_names and name != "gpu"}
    assert others <= {"__main__", "_distutils_hack"}
