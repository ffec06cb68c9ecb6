# SPDX-License-Identifier: Apache-2.0
"""Nodes of ONNX Runtime's CUDA provider with the time of their kernels; skipped where the installed wheel has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_cases
import pytest
from onnx import helper, numpy_helper

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError
from pyperf_infer.models.onnx_source import OnnxSource
from pyperf_infer.models.shapes import resolve_shapes
from pyperf_infer.profile.onnxruntime_profile import profile_onnxruntime
from pyperf_infer.profile.plan import ProfilePlan

if TYPE_CHECKING:
    from pyperf_infer.results.profile_schema import Profile

LAYERS = 6


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    """Matrix products, the last of them much the largest."""
    folder = tmp_path_factory.mktemp("profile")
    widths = [256] * LAYERS + [4096]
    nodes, weights, name = [], [], "x"
    for index in range(LAYERS):
        shape = (widths[index], widths[index + 1])
        weights.append(numpy_helper.from_array(np.full(shape, 1e-3, np.float32), f"w{index}"))
        nodes += [
            helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"], name=f"matmul{index}"),
            helper.make_node("Sigmoid", [f"m{index}"], [f"s{index}"], name=f"sigmoid{index}"),
        ]
        name = f"s{index}"
    inputs, outputs = [onnx_cases.value("x", ("batch", 256))], [onnx_cases.value(name, ("batch", 4096))]
    path = onnx_cases.save(folder / "m.onnx", nodes, inputs, outputs, weights)
    model = OnnxSource(str(path), path).load(seed=0)
    options = BackendOptions(threads=1, device="cuda", provider="CUDAExecutionProvider")
    plan = ProfilePlan(duration_s=0.2, max_duration_s=5.0)
    try:
        return profile_onnxruntime(model, resolve_shapes(model.inputs, 512), options, folder, plan, seed=1)
    except BackendError as error:
        pytest.skip(f"no CUDA provider: {error}")


def test_kernels_are_found_and_have_their_nodes(profile: Profile) -> None:
    (table,) = profile.tables
    assert not [said for said in table.not_told if said.startswith("the nodes' time on the GPU")]
    times = {row.name: row.device_time_ms for row in table.rows}
    assert all(times[f"matmul{index}"] for index in range(LAYERS))
    assert times[f"matmul{LAYERS - 1}"] == max(time for time in times.values() if time is not None)


def test_what_has_no_node_is_little(profile: Profile) -> None:
    shares = [float(said.split("%")[0]) for said in profile.tables[0].not_told if "kernels' time" in said]
    assert sum(shares) < 10


def test_the_nodes_are_traced_and_the_whole_is_the_hosts(profile: Profile) -> None:
    (table,) = profile.tables
    assert table.mapped_share is not None
    assert table.mapped_share > 0.95
    assert {row.provider for row in table.rows} == {"CUDAExecutionProvider"}
    assert "launching" in table.method
    assert profile.peak_memory_bytes is None
