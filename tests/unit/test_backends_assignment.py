# SPDX-License-Identifier: Apache-2.0
"""Which nodes may run off the asked provider: shape arithmetic on the CPU, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_cases
import pytest
from onnx import helper, numpy_helper

from pyperf_infer.backends.assignment import Assignment, check_assignment, nodes_of_profile
from pyperf_infer.backends.shape_nodes import shape_node_names
from pyperf_infer.errors import BackendError
from pyperf_infer.ort_session import CPU_PROVIDER, AssignedNode

GPU = "CUDAExecutionProvider"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = reshape(x @ w, [shape(x)[0], -1]), with the target shape worked out on the way."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], name="shape"),
        helper.make_node("Gather", ["shape", "nought"], ["batch"], name="gather"),
        helper.make_node("Constant", [], ["rest"], name="rest", value=numpy_helper.from_array(np.array([-1]))),
        helper.make_node("Concat", ["batch", "rest"], ["target"], name="concat", axis=0),
        helper.make_node("MatMul", ["x", "w"], ["z"], name="matmul"),
        helper.make_node("Reshape", ["z", "target"], ["y"], name="reshape"),
        helper.make_node("Neg", ["w"], ["w2"], name="constants only"),
    ]
    constants = [
        numpy_helper.from_array(np.array([0]), "nought"),
        numpy_helper.from_array(np.ones((4, 6), np.float32), "w"),
    ]
    outputs = [onnx_cases.value("y", (None, None)), onnx_cases.value("w2", (4, 6))]
    path = tmp_path / "m.onnx"
    return onnx_cases.save(path, nodes, [onnx_cases.value("x", ("batch", 4))], outputs, constants)


def _assignment(*nodes: tuple[str, str, str]) -> Assignment:
    return Assignment("before fusion", tuple(AssignedNode(*node) for node in nodes))


ON_GPU = [(GPU, "MatMul", "matmul"), (GPU, "Reshape", "reshape")]
SHAPES = [(CPU_PROVIDER, "Shape", "shape"), (CPU_PROVIDER, "Gather", "gather"), (CPU_PROVIDER, "Concat", "concat")]


def test_shape_nodes_are_those_that_work_on_shapes_and_constants(model: Path) -> None:
    """Not the reshape, which moves data, nor what works on constants alone."""
    assert shape_node_names(model) == {"shape", "gather", "concat"}


def test_everything_where_it_was_asked_for_is_fine(model: Path) -> None:
    assert check_assignment(_assignment(*ON_GPU), model, GPU, allow=False) == 0
    everything = [(CPU_PROVIDER, op, name) for _, op, name in (*ON_GPU, *SHAPES)]
    assert check_assignment(_assignment(*everything), model, CPU_PROVIDER, allow=False) == 0


def test_shape_arithmetic_on_the_cpu_is_counted_and_allowed(model: Path) -> None:
    assert check_assignment(_assignment(*ON_GPU, *SHAPES), model, GPU, allow=False) == 3


@pytest.mark.parametrize(
    "fallen",
    [
        (CPU_PROVIDER, "MatMul", "matmul"),
        (CPU_PROVIDER, "Neg", "constants only"),
        (CPU_PROVIDER, "Gather", "a gather that is not in the file"),
        ("XnnpackExecutionProvider", "Shape", "shape"),
    ],
)
def test_another_node_elsewhere_is_an_error_that_names_it(model: Path, fallen: tuple[str, str, str]) -> None:
    found = _assignment(*ON_GPU, *SHAPES[1:], fallen)
    with pytest.raises(BackendError) as error:
        check_assignment(found, model, GPU, allow=False)
    provider, op, name = fallen
    assert f"{op} '{name}' ({provider})" in str(error.value)
    assert "Concat" not in str(error.value)
    assert f"2 on {GPU}" in str(error.value)
    assert "--allow-cpu-fallback" in str(error.value)
    assert check_assignment(found, model, GPU, allow=True) == 2


@pytest.mark.parametrize("copy", ["MemcpyToHost", "MemcpyFromHost"])
def test_a_copy_between_devices_is_an_error_wherever_it_runs(model: Path, copy: str) -> None:
    found = _assignment(*ON_GPU, (GPU, copy, "memcpy_0"))
    with pytest.raises(BackendError, match=f"{copy} 'memcpy_0'"):
        check_assignment(found, model, GPU, allow=False)
    assert check_assignment(found, model, GPU, allow=True) == 0


def test_a_long_list_is_cut_and_counted(model: Path) -> None:
    fallen = [(CPU_PROVIDER, "MatMul", f"m{index}") for index in range(20)]
    with pytest.raises(BackendError, match=r"^20 nodes do not run on .* and 12 more"):
        check_assignment(_assignment(*fallen), model, GPU, allow=False)


def test_one_node_is_spoken_of_in_the_singular(model: Path) -> None:
    with pytest.raises(BackendError, match=r"^1 node does not run on"):
        check_assignment(_assignment((CPU_PROVIDER, "MatMul", "m")), model, GPU, allow=False)


def test_the_summary_counts_nodes_a_provider() -> None:
    summary = _assignment(*SHAPES, *ON_GPU, (CPU_PROVIDER, "Shape", "again")).summary()
    assert summary.stage == "before fusion"
    assert [(row.provider, row.count, row.op_types) for row in summary.nodes] == [
        (CPU_PROVIDER, 4, ["Concat", "Gather", "Shape"]),
        (GPU, 2, ["MatMul", "Reshape"]),
    ]


def test_a_profile_shows_each_node_once_in_order() -> None:
    def event(name: str, op: str, provider: str = CPU_PROVIDER, category: str = "Node") -> dict[str, object]:
        return {"cat": category, "name": name, "args": {"op_name": op, "provider": provider}}

    events = [
        {"cat": "Session", "name": "model_loading_uri"},
        event("matmul_fence_before", "MatMul"),
        event("matmul_kernel_time", "MatMul"),
        event("shape_kernel_time", "Shape", GPU),
        event("matmul_kernel_time", "MatMul"),
        event("thread_kernel_time", "None", category="Session"),
    ]
    assert nodes_of_profile(json.dumps(events)) == (
        AssignedNode(CPU_PROVIDER, "MatMul", "matmul"),
        AssignedNode(GPU, "Shape", "shape"),
    )


def test_an_empty_profile_shows_none() -> None:
    assert nodes_of_profile("[]") == ()
