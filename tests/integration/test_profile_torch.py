# SPDX-License-Identifier: Apache-2.0
"""A whole profile of a PyTorch model: its tables, its files, and what keeps one of them from being made."""

from __future__ import annotations

import csv
import hashlib
import json
import pstats
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from tiny_models import Structured, X, loaded
from torch import Tensor, nn

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.backends.busy import silent_kineto
from pyperf_infer.errors import InputError
from pyperf_infer.models.spec import InputSpec
from pyperf_infer.profile import torch_profile
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.profile.torch_profile import profile_torch
from pyperf_infer.results.profile_schema import Profile, ProfileTable

KIB = 1024
WIDE = 16 * KIB  # floats; what a call needs stands out from what operators hold on the way


class Wide(nn.Module):
    """Holds 64 KiB twice at once, hands back one of them."""

    def forward(self, x: Tensor) -> Tensor:
        first = x.sum() + torch.zeros(WIDE)
        return first + 1


class Wasteful(nn.Module):
    """Keeps 64 KiB while its part runs."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = Wide()
        self.narrow = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept = torch.zeros(WIDE)
        wide = self.wide(x)
        return self.narrow(x) + kept[:4] + wide[:4]  # type: ignore[no-any-return]


QUICK = ProfilePlan(inferences=3, duration_s=0.0, max_duration_s=0.4, ci=50.0)
OPTIONS = BackendOptions(threads=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def profile(folder: Path) -> Profile:
    return profile_torch(loaded(Wasteful(), X, name="wasteful"), {"x": (2, 4)}, OPTIONS, folder, QUICK, seed=1)


def table(profile: Profile, name: str) -> ProfileTable:
    return next(one for one in profile.tables if one.name == name)


def test_it_says_what_it_is_of_and_fits_the_schema(profile: Profile) -> None:
    assert (profile.model, profile.batch_size, profile.shapes) == ("wasteful", 2, {"x": [2, 4]})
    assert (profile.precision, profile.device, profile.backend, profile.threads) == ("float32", "cpu", "torch", 1)
    assert profile.parameters == 20
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


def test_every_table_adds_up_and_states_its_perturbation(profile: Profile) -> None:
    assert [one.name for one in profile.tables] == ["torch layers", "memory", "python"]
    for one in profile.tables:
        assert sum(row.time_ms or 0.0 for row in one.rows) + one.rest_ms == pytest.approx(one.whole_ms)
        assert one.perturbation is not None, one.not_told
        assert one.perturbation.rounds >= 1
        assert not one.not_told


def test_memory_is_what_a_call_holds_at_once_above_what_was_before(profile: Profile) -> None:
    found = table(profile, "memory")
    peaks = {row.name: row.peak_memory_bytes or 0 for row in found.rows}
    array = WIDE * 4
    assert 2 * array <= peaks["wide"] < 2 * array + KIB
    assert 3 * array <= peaks[""] < 3 * array + KIB
    assert 2 * 4 * 4 <= peaks["narrow"] < KIB
    assert profile.peak_memory_bytes == peaks[""]
    assert {row.output_bytes for row in found.rows if row.name == "wide"} == {array}
    assert {row.time_ms for row in found.rows} == {None}
    layers = {row.name: row.peak_memory_bytes for row in table(profile, "torch layers").rows}
    assert layers == peaks
    assert "oneDNN" in (profile.memory_method or "")


def test_files_are_listed_with_their_hashes(profile: Profile, folder: Path) -> None:
    names = {"torch-layers.csv", "torch-trace.json", "torch-python.prof", "torch-python.txt"}
    assert {file.name for file in profile.files} == {path.name for path in folder.iterdir()} == names
    for file in profile.files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256


def test_the_trace_has_operators_within_named_layers(profile: Profile, folder: Path) -> None:
    events = json.loads((folder / "torch-trace.json").read_text())["traceEvents"]
    spans = [event for event in events if event.get("ph") == "X"]
    narrow = [event for event in spans if event["name"] == "narrow"]
    assert len(narrow) == 3
    assert {"Wasteful, the whole model", "wide", "inference 1", "inference 3"} <= {event["name"] for event in spans}
    begin, end = narrow[0]["ts"], narrow[0]["ts"] + narrow[0]["dur"]
    within = [event for event in spans if begin <= event["ts"] <= end and event["name"] == "aten::linear"]
    assert [event["args"]["Input Dims"][0] for event in within] == [[2, 4]]


def test_the_csv_file_has_the_rows(profile: Profile, folder: Path) -> None:
    lines = list(csv.DictReader((folder / "torch-layers.csv").read_text().splitlines()))
    found = table(profile, "torch layers")
    rows, read = found.rows, [line for line in lines if line["record"] == "row"]
    assert [line["record"] for line in lines[len(read) :]] == ["rest", "whole"]
    assert (float(lines[-2]["time_ms"]), float(lines[-1]["time_ms"])) == (found.rest_ms, found.whole_ms)
    assert found.perturbation is not None
    assert {float(line["plain_ms"]) for line in lines} == {found.perturbation.plain_ms}
    assert [(one["name"], one["kind"]) for one in read] == [(row.name, row.kind) for row in rows]
    assert [float(one["time_ms"]) for one in read] == [row.time_ms for row in rows]
    assert [one["input_shapes"] for one in read] == ["2x4"] * 3
    assert read[2]["output_shapes"] == "2x4"
    assert read[2]["parameters"] == "20"


def test_the_python_table_is_of_the_models_functions(profile: Profile, folder: Path) -> None:
    found = table(profile, "python")
    mine = [row for row in found.rows if Path(__file__).name in row.name]
    assert [row.calls for row in mine] == [1.0, 1.0]  # of Wasteful and of Wide
    assert all(row.name.endswith("(forward)") for row in mine)
    assert "torch/nn/modules/linear.py" in " ".join(row.name for row in found.rows)
    stats: Any = pstats.Stats(str(folder / "torch-python.prof"))
    forwards = [value[1] for key, value in stats.stats.items() if key[0] == __file__ and key[2] == "forward"]
    assert forwards == [found.inferences] * 2


def run(tmp_path: Path, *, plan: ProfilePlan = QUICK, options: BackendOptions = OPTIONS) -> Profile:
    return profile_torch(loaded(Wasteful(), X), {"x": (2, 4)}, options, tmp_path, plan, seed=1)


def test_views_that_were_not_asked_for_are_not_made(tmp_path: Path) -> None:
    plan = ProfilePlan(
        inferences=1, duration_s=0.0, max_duration_s=0.2, ci=50.0, memory=False, python=False, trace=False
    )
    found = run(tmp_path, plan=plan)
    assert [one.name for one in found.tables] == ["torch layers"]
    assert [file.name for file in found.files] == ["torch-layers.csv"]
    assert (found.peak_memory_bytes, found.memory_method) == (None, None)
    assert {row.peak_memory_bytes for row in found.tables[0].rows} == {None}


def test_inputs_and_outputs_of_any_structure(tmp_path: Path) -> None:
    plan = ProfilePlan(inferences=1, duration_s=0.0, max_duration_s=0.2, ci=50.0, memory=False, python=False)
    mask = InputSpec("mask", ("batch", 4), "float32")
    found = profile_torch(loaded(Structured(), X, mask), {"x": (3, 4), "mask": (3, 4)}, OPTIONS, tmp_path, plan, seed=1)
    assert found.tables[0].rows[0].input_shapes == [[3, 4], [3, 4]]
    assert found.tables[0].rows[0].output_shapes == [[3], [3, 4], [3]]


def test_a_precision_is_that_of_backend_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyperf_infer.backends.torch_cpu.check_instructions", lambda precision: ())
    plan = ProfilePlan(inferences=1, duration_s=0.0, max_duration_s=0.2, ci=50.0, memory=False, python=False)
    found = run(tmp_path, plan=plan, options=BackendOptions(threads=1, precision="bfloat16"))
    assert found.precision == "bfloat16"
    narrow = next(row for row in found.tables[0].rows if row.name == "narrow")
    assert narrow.output_bytes == 2 * 4 * 2


def test_another_profiler_in_the_process_keeps_from_memory_and_trace_alone(tmp_path: Path) -> None:
    with silent_kineto(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]):
        found = run(tmp_path)
    assert [one.name for one in found.tables] == ["torch layers", "python"]
    assert found.memory_method == "not measured: another torch.profiler is running in this process"
    assert found.peak_memory_bytes is None
    assert found.tables[0].not_told == ["the trace: another torch.profiler is running in this process"]
    assert not (tmp_path / "torch-trace.json").exists()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"start": RuntimeError("no room")}, "does not start: no room"),
        ({"stop": RuntimeError("lost")}, "does not end: lost"),
        ({"trace": b'{"traceEvents": [{"name": "cut'}, "no JSON"),
        ({"trace": b'{"traceEvents": []}'}, "left out layers"),
    ],
)
def test_a_recording_that_fails_is_told_and_harms_no_other_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any], said: str
) -> None:
    class Faulty:
        def __init__(self, **options: bool) -> None:
            pass

        def start(self) -> None:
            if "start" in fault:
                raise fault["start"]

        def stop(self) -> None:
            if "stop" in fault:
                raise fault["stop"]

        def trace(self) -> bytes:
            return fault["trace"]  # type: ignore[no-any-return]

    for module in ("memory", "trace"):
        monkeypatch.setattr(f"pyperf_infer.profile.{module}.Recording", Faulty)
    plan = ProfilePlan(inferences=1, duration_s=0.0, max_duration_s=0.2, ci=50.0, python=False)
    found = run(tmp_path, plan=plan)
    assert [one.name for one in found.tables] == ["torch layers"]
    assert said in found.tables[0].not_told[-1]
    assert (found.memory_method or "").startswith("not measured: PyTorch's profiler")
    assert [file.name for file in found.files] == ["torch-layers.csv"]


def test_the_model_has_run_then(tmp_path: Path) -> None:
    model = loaded(Wasteful(), X)
    plan = ProfilePlan(
        inferences=1, duration_s=0.0, max_duration_s=0.2, ci=50.0, memory=False, python=False, trace=False
    )
    profile_torch(model, {"x": (1, 4)}, OPTIONS, tmp_path, plan, seed=1)
    assert model.has_run


def test_an_onnx_file_is_refused(tmp_path: Path) -> None:
    model = replace(loaded(Wasteful(), X), module=None, onnx_path=tmp_path / "model.onnx")
    with pytest.raises(InputError, match="ONNX file"):
        profile_torch(model, {"x": (2, 4)}, OPTIONS, tmp_path, QUICK, seed=1)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not_there"):
        run(tmp_path / "not_there")


def test_a_budget_without_room_for_a_round_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_profile, "perturbation", lambda *_, **__: None)
    found = run(tmp_path)
    assert [one.perturbation for one in found.tables] == [None] * 3
    assert {one.not_told[-1] for one in found.tables} == {torch_profile.NO_ROUND}
