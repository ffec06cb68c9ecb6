# SPDX-License-Identifier: Apache-2.0
"""A profile's job: which backends it profiles, and that a failure of one costs nothing of the others."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import profile_documents as made
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.cli.profile_folder import ProfileFolder, default_folder
from pyperf_infer.errors import BackendError, InputError, OutOfMemoryError, UsageError
from pyperf_infer.measure.observer import Observer
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo
from pyperf_infer.profile import job as job_module
from pyperf_infer.profile.job import Job, Profiling
from pyperf_infer.profile.plan import ProfilePlan

SPEC = InputSpec("x", ("batch", 4), "float32")
FAILURES = {
    "BackendError": (BackendError("no such CPU"), 4, "no such CPU"),
    "MemoryError": (MemoryError("64 GiB"), 5, "net does not fit in memory on torch: 64 GiB"),
    "KeyError": (KeyError("x"), 5, "torch failed on net: KeyError: 'x'"),
}


class Source:
    source = "factory"
    name = "net"

    def __init__(self, module: Any = "a module", error: Exception | None = None) -> None:
        self.module, self.error = module, error
        self.asked: dict[str, Any] = {}

    def load(self, **asked: Any) -> LoadedModel:
        self.asked = asked
        if self.error is not None:
            raise self.error
        onnx = None if self.module is not None else Path("net.onnx")
        return LoadedModel("net", self.source, (SPEC,), WeightsInfo("factory", 1, "0" * 64), 9, self.module, onnx)


class Profilers:
    """In the place of both sides; the ways in which they are called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.errors: dict[str, BaseException] = {}
        for backend in ("torch", "onnxruntime"):
            name = f"pyperf_infer.profile.{backend}_profile"
            module = ModuleType(name)
            setattr(module, f"profile_{backend}", self._profiler(backend))
            monkeypatch.setitem(sys.modules, name, module)

    def _profiler(self, backend: str) -> Any:
        def profile(
            model: LoadedModel,
            shapes: Mapping[str, Any],
            options: BackendOptions,
            folder: Path,
            plan: Any,
            *,
            seed: int,
        ) -> Any:
            self.calls.append((backend, {"shapes": dict(shapes), "folder": folder, "plan": plan, "seed": seed}))
            if backend in self.errors:
                raise self.errors[backend]
            return made.profile(backend=backend)

        return profile


@pytest.fixture
def profilers(monkeypatch: pytest.MonkeyPatch) -> Profilers:
    return Profilers(monkeypatch)


def _work(monkeypatch: pytest.MonkeyPatch, source: Source, **asked: Any) -> Profiling:
    monkeypatch.setattr(job_module, "resolve", lambda _name: source)
    job = Job(
        model="net", options=BackendOptions(threads=1), plan=ProfilePlan(duration_s=0.1), folder=Path("there"), **asked
    )
    return Profiling(job, command=["pyperf-infer"], observer=Observer())


def test_by_default_both_sides_are_profiled_on_the_same_inputs(
    monkeypatch: pytest.MonkeyPatch, profilers: Profilers
) -> None:
    source = Source()
    work = _work(monkeypatch, source, batch_size=3, seed=7, weights=Path("w"))
    work.execute()
    assert [backend for backend, _ in profilers.calls] == ["torch", "onnxruntime"]
    wanted = {"shapes": {"x": (3, 4)}, "folder": Path("there"), "plan": ProfilePlan(duration_s=0.1), "seed": 7}
    assert [asked for _, asked in profilers.calls] == [wanted, wanted]
    assert (source.asked["seed"], source.asked["weights"]) == (7, Path("w"))
    document = work.document("complete")
    assert [one.backend for one in document.profiles] == ["torch", "onnxruntime"]
    assert document.warnings == []
    assert {"load model", "profile torch", "profile onnxruntime"} <= {one.name for one in document.phases}
    assert work.exit_code == 0


def test_an_onnx_file_is_profiled_on_onnx_runtime_alone(monkeypatch: pytest.MonkeyPatch, profilers: Profilers) -> None:
    _work(monkeypatch, Source(module=None)).execute()
    assert [backend for backend, _ in profilers.calls] == ["onnxruntime"]
    with pytest.raises(InputError, match="net is an ONNX file, which backend torch does not run"):
        _work(monkeypatch, Source(module=None), backends=("torch",)).execute()


@pytest.mark.parametrize("kind", list(FAILURES))
def test_what_fails_on_one_side_is_said_and_the_other_one_stands(
    kind: str, monkeypatch: pytest.MonkeyPatch, profilers: Profilers
) -> None:
    error, code, said = FAILURES[kind]
    profilers.errors["torch"] = error
    work = _work(monkeypatch, Source())
    work.execute()
    assert [one.backend for one in work.profiles] == ["onnxruntime"]
    assert work.exit_code == code
    ((backend, failure),) = work.failures
    assert backend == "torch"
    assert said in str(failure)
    (notice,) = work.document("failed").warnings
    assert notice.code == "profile_failed"
    assert said in notice.message


def test_ctrl_c_leaves_what_was_profiled_before(monkeypatch: pytest.MonkeyPatch, profilers: Profilers) -> None:
    profilers.errors["onnxruntime"] = KeyboardInterrupt()
    work = _work(monkeypatch, Source())
    with pytest.raises(KeyboardInterrupt):
        work.execute()
    document = work.document("interrupted")
    assert [one.backend for one in document.profiles] == ["torch"]
    assert document.status == "interrupted"


def test_a_model_that_does_not_load_ends_the_job(monkeypatch: pytest.MonkeyPatch, profilers: Profilers) -> None:
    with pytest.raises(OutOfMemoryError, match="net does not fit in memory"):
        _work(monkeypatch, Source(error=MemoryError())).execute()
    with pytest.raises(InputError, match="no such factory"):
        _work(monkeypatch, Source(error=InputError("no such factory"))).execute()
    assert profilers.calls == []


def test_a_folder_is_made_and_gone_again_where_nothing_came_of_it(tmp_path: Path) -> None:
    folder = ProfileFolder(tmp_path / "a" / "b")
    assert folder.files == []
    (folder.path / "x").write_text("")
    folder.remove_if_empty()
    assert folder.files == ["x"]
    (folder.path / "x").unlink()
    folder.remove_if_empty()
    assert not folder.path.exists()
    (tmp_path / "own").mkdir()
    ProfileFolder(tmp_path / "own").remove_if_empty()
    assert (tmp_path / "own").is_dir()  # the user made it


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty \(it holds 'notes.txt'"):
        ProfileFolder(tmp_path)
    with pytest.raises(InputError, match="Cannot make the folder"):
        ProfileFolder(tmp_path / "notes.txt")
    with pytest.raises(InputError, match="A part of the path is a file"):
        ProfileFolder(tmp_path / "notes.txt" / "deeper")


def test_a_results_file_keeps_off_the_names_of_the_profile(tmp_path: Path) -> None:
    folder = ProfileFolder(tmp_path / "p")
    for name in ("profile.json", "profile.md", "torch-layers.csv", "onnxruntime-trace.json"):
        with pytest.raises(UsageError, match="is a name that the profile uses"):
            folder.refuse(folder.path / name)
    folder.refuse(folder.path / "mine.json")
    folder.refuse(tmp_path / "profile.json")
    folder.refuse(None)


@given(st.text())
def test_a_folder_for_any_model_is_one_name_in_the_working_directory(model: str) -> None:
    path = default_folder(model, datetime(2026, 11, 25, 9, 30, 5, tzinfo=UTC))
    assert path.parent == Path()
    assert path.name.endswith("-profile-20261125-093005")
    assert path.name.isascii()
    assert not path.name.startswith((".", "-"))


def test_a_folder_is_named_after_the_model() -> None:
    now = datetime(2026, 11, 25, 9, 30, 5, tzinfo=UTC)
    stamp = "-profile-20261125-093005"
    names = {
        "resnet18": "resnet18",
        "timm:vit": "timm-vit",
        "dir/net.onnx": "net",
        "package.module:make": "package.module-make",
    }
    assert {model: default_folder(model, now).name for model in names} == {
        model: f"{name}{stamp}" for model, name in names.items()
    }
