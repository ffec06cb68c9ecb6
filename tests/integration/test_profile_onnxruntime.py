# SPDX-License-Identifier: Apache-2.0
"""Models profiled node by node on the installed ONNX Runtime."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import msgspec
import numpy as np
import onnx_cases
import pytest
import tiny_models
import torch
from onnx import TensorProto, helper, numpy_helper

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import InputError
from pyperf_infer.models.onnx_source import OnnxSource
from pyperf_infer.models.shapes import resolve_shapes
from pyperf_infer.models.spec import InputSpec, LoadedModel
from pyperf_infer.profile import onnxruntime_runs
from pyperf_infer.profile.onnxruntime_kernels import device_pass
from pyperf_infer.profile.onnxruntime_profile import profile_onnxruntime
from pyperf_infer.profile.onnxruntime_sessions import Sessions
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.results.profile_schema import Profile, ProfileRow

PLAN = ProfilePlan(duration_s=0.0, max_duration_s=0.4, inferences=10)
OPTIONS = BackendOptions(threads=1)


def profiled(model: LoadedModel, folder: Path, options: BackendOptions = OPTIONS, plan: ProfilePlan = PLAN) -> Profile:
    found = profile_onnxruntime(model, resolve_shapes(model.inputs), options, folder, plan, seed=1)
    again = msgspec.json.decode(msgspec.json.encode(found), type=Profile)  # as a document keeps it
    assert again == found
    return found


def of_file(path: Path) -> LoadedModel:
    return OnnxSource(str(path), path).load(seed=0)


def by_name(profile: Profile) -> dict[str, ProfileRow]:
    return {row.name: row for row in profile.tables[0].rows}


def convolutions(path: Path) -> Path:
    """A residual block of 16 channels, which a CPU that has the instructions runs in another layout."""
    weights = [
        numpy_helper.from_array(np.full(shape, 0.01, np.float32), name)
        for name, shape in (("w0", (16, 3, 3, 3)), ("w1", (16, 16, 3, 3)), ("b1", (16,)))
    ]
    padded = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], name="stem", **padded),
        helper.make_node("Relu", ["a"], ["r"], name="stem relu"),
        helper.make_node("Conv", ["r", "w1", "b1"], ["c"], name='block "1"', **padded),
        helper.make_node("Add", ["c", "r"], ["s"], name="add"),
        helper.make_node("Relu", ["s"], ["t"], name="block relu"),
        helper.make_node("GlobalAveragePool", ["t"], ["y"], name="pool"),
    ]
    return onnx_cases.save(
        path,
        nodes,
        [onnx_cases.value("x", ("batch", 3, 16, 16))],
        [onnx_cases.value("y", ("batch", 16, 1, 1))],
        weights,
    )


def control_flow(path: Path) -> Path:
    """x, five times (sin(x + 1)), then one of two branches; nodes without names, and one name in two graphs."""

    def value(name: str, shape: tuple[int, ...] = (4,), kind: int = TensorProto.FLOAT) -> object:
        return onnx_cases.value(name, shape, kind)

    body = helper.make_graph(
        [
            helper.make_node("Add", ["s_in", "one"], ["s_t"], name="same"),
            helper.make_node("Sin", ["s_t"], ["s_out"]),
            helper.make_node("Identity", ["c_in"], ["c_out"], name="again"),
        ],
        "body",
        [value("i", (), TensorProto.INT64), value("c_in", (), TensorProto.BOOL), value("s_in")],
        [value("c_out", (), TensorProto.BOOL), value("s_out")],
    )
    then = helper.make_graph([helper.make_node("Cos", ["l"], ["y1"], name="branch")], "then", [], [value("y1")])
    otherwise = helper.make_graph([helper.make_node("Tan", ["l"], ["y2"], name="branch")], "else", [], [value("y2")])
    nodes = [
        helper.make_node("Cos", ["x"], ["b"]),
        helper.make_node("Tan", ["b"], ["d"], name="same"),
        helper.make_node("Loop", ["n", "true", "d"], ["l"], name="loop", body=body),
        helper.make_node("ReduceSum", ["l"], ["sum"], name='we"ird \\ name\n2', keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"], name="greater"),
        helper.make_node("If", ["positive"], ["y"], name="if", then_branch=then, else_branch=otherwise),
    ]
    arrays = {"n": np.array(5), "true": np.array(True), "one": np.float32(1), "zero": np.float32(0)}
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    return onnx_cases.save(path, nodes, [value("x")], [value("y")], constants)


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> tuple[Profile, Path]:
    folder = tmp_path_factory.mktemp("block")
    return profiled(of_file(convolutions(folder / "m.onnx")), folder), folder


def test_every_node_is_traced_through_fusion_and_layout(block: tuple[Profile, Path]) -> None:
    (table,) = block[0].tables
    assert table.name == "onnxruntime nodes"
    assert table.mapped_share == 1.0
    assert {source for row in table.rows for source in row.sources} == {
        "stem",
        "stem relu",
        'block "1"',
        "add",
        "block relu",
        "pool",
    }
    first, second = [row for row in table.rows if "Conv" in row.kind]
    assert first.sources[:2] == ["stem", "stem relu"]
    assert 'block "1"' in second.sources
    assert (first.parameters, second.parameters) == (16 * 3 * 9, 16 * 16 * 9 + 16)
    assert second.output_shapes == [[1, 16, 16, 16]]
    assert second.output_bytes == 4 * 16 * 16 * 16
    assert {row.provider for row in table.rows} == {"CPUExecutionProvider"}
    assert all(row.calls == 1 and row.total_ms is None for row in table.rows)


def test_rows_and_the_rest_are_the_whole(block: tuple[Profile, Path]) -> None:
    (table,) = block[0].tables
    assert sum(row.time_ms or 0 for row in table.rows) + table.rest_ms == pytest.approx(table.whole_ms)
    assert table.rest_ms > 0
    assert table.inferences >= 1
    assert table.perturbation is not None
    assert table.perturbation.rounds >= 1


def test_the_folder_has_the_trace_and_the_table(block: tuple[Profile, Path]) -> None:
    profile, folder = block
    assert [file.name for file in profile.files] == ["onnxruntime-trace.json", "onnxruntime-nodes.csv"]
    for file in profile.files:
        assert hashlib.sha256((folder / file.name).read_bytes()).hexdigest() == file.sha256
    events = json.loads((folder / "onnxruntime-trace.json").read_text())
    assert {"model_run", "session_initialization"} <= {event["name"] for event in events}
    with (folder / "onnxruntime-nodes.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines[:-2]] == [row.name for row in profile.tables[0].rows]
    assert [line["record"] for line in lines[-2:]] == ["rest", "whole"]
    assert {path.name for path in folder.iterdir()} == {"m.onnx", "onnxruntime-trace.json", "onnxruntime-nodes.csv"}


def test_the_memory_is_at_least_what_one_layer_gives(block: tuple[Profile, Path]) -> None:
    profile = block[0]
    assert profile.memory_method is not None
    assert profile.peak_memory_bytes is not None
    if "arena" in profile.memory_method:  # an ONNX Runtime whose profile tells
        assert 4 * 16 * 16 * 16 <= profile.peak_memory_bytes < 2**20


def test_loops_and_branches_are_counted_once_and_in_order(tmp_path: Path) -> None:
    profile = profiled(of_file(control_flow(tmp_path / "m.onnx")), tmp_path)
    (table,) = profile.tables
    names = [row.name for row in table.rows]
    assert (
        names.index("loop") < names.index("again") < names.index("greater") < names.index("if") < names.index("branch")
    )
    rows = by_name(profile)
    assert [(row.kind, row.calls) for row in table.rows if row.name == "same"] == [("Tan", 1), ("Add", 5)]
    assert rows["again"].calls == 5
    loop = rows["loop"]
    assert loop.total_ms is not None
    inside = [row for row in table.rows if row.calls == 5]
    assert len(inside) == 3
    assert (loop.time_ms or 0) + sum(row.time_ms or 0 for row in inside) == pytest.approx(loop.total_ms)
    assert sum(row.time_ms or 0 for row in table.rows) <= table.whole_ms
    assert table.mapped_share == 1.0
    assert rows['we"ird \\ name\n2'].sources == ['we"ird \\ name\n2']
    assert next(row for row in table.rows if row.kind == "Cos" and row.name != "branch").sources == ["b"]


def test_the_nodes_of_an_export_know_their_modules(tmp_path: Path) -> None:
    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.LayerNorm(8))
            self.head = torch.nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.head(self.body(x) * 2)}

    profile = profiled(tiny_models.loaded(Net(), InputSpec("x", ("batch", 4), "float32")), tmp_path)
    (table,) = profile.tables
    assert table.mapped_share == 1.0
    assert {layer for row in table.rows for layer in row.layers} == {"", "body.0", "body.1", "body.2", "head"}
    heads = [row for row in table.rows if "head" in row.layers]
    assert sum(row.parameters or 0 for row in heads) == 8 * 2 + 2
    assert sum(row.parameters or 0 for row in table.rows) >= profile.parameters
    assert profile.shapes == {"x": [1, 4]}


def test_sessions_that_follow_one_another_give_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime_runs, "_EVENTS_A_SESSION", 200)
    plan = ProfilePlan(duration_s=0.0, max_duration_s=20.0, ci=0.99, inferences=60)
    profile = profiled(of_file(convolutions(tmp_path / "m.onnx")), tmp_path, plan=plan)
    assert profile.files[0].what.endswith("of the first session")
    assert profile.tables[0].inferences >= 60
    assert all(row.calls == 1 for row in profile.tables[0].rows)


@pytest.mark.parametrize(("level", "nodes"), [("disabled", 6), ("basic", 6)])
def test_the_level_in_use_is_the_one_that_is_profiled(tmp_path: Path, level: str, nodes: int) -> None:
    options = BackendOptions(threads=1, opt_level=level, execution_mode="parallel", inter_op_threads=2)
    profile = profiled(of_file(convolutions(tmp_path / "m.onnx")), tmp_path, options)
    assert len(profile.tables[0].rows) == nodes
    assert [row.sources for row in profile.tables[0].rows] == [[row.name] for row in profile.tables[0].rows]
    assert any("parallel" in said for said in profile.tables[0].not_told)


def test_views_that_are_not_asked_for_are_left_out(tmp_path: Path) -> None:
    plan = ProfilePlan(duration_s=0.0, max_duration_s=0.1, memory=False, trace=False)
    profile = profiled(of_file(convolutions(tmp_path / "m.onnx")), tmp_path, plan=plan)
    assert (profile.peak_memory_bytes, profile.memory_method) == (None, None)
    assert [file.name for file in profile.files] == ["onnxruntime-nodes.csv"]
    assert not (tmp_path / "onnxruntime-trace.json").exists()


def test_a_graph_that_cannot_be_saved_is_profiled_without_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyperf_infer.profile import onnxruntime_sessions

    real = onnxruntime_sessions.open_session

    def compiled(*args: object, optimized_path: str | None = None, **options: object) -> object:
        if optimized_path is not None:
            raise InputError("Unable to serialize model as it contains compiled nodes")
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(onnxruntime_sessions, "open_session", compiled)
    profile = profiled(of_file(convolutions(tmp_path / "m.onnx")), tmp_path)
    (table,) = profile.tables
    assert table.mapped_share is None
    assert all(row.sources == [] and row.parameters is None for row in table.rows)
    assert "contains compiled nodes" in table.not_told[0]
    assert table.rows
    assert (tmp_path / "onnxruntime-trace.json").exists()


def test_a_file_that_onnx_runtime_does_not_load_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown"):
        profiled(of_file(onnx_cases.one_node(tmp_path / "m.onnx", "Mystery", domain="unknown")), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx"}


@pytest.mark.parametrize(("gpu", "why"), [(False, "no CUDA device"), (True, "no such file")])
def test_a_pass_for_kernels_that_cannot_be_made_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: bool, why: str
) -> None:
    """As without a GPU, and where a session cannot be opened again."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    found = device_pass(Sessions(tmp_path / "gone.onnx", OPTIONS, "CPUExecutionProvider", {}, tmp_path).open, 99)
    assert found.totals is None
    assert found.not_told[0].startswith("the nodes' time on the GPU: ")
    assert why in found.not_told[0]
