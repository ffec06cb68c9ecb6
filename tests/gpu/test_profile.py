# SPDX-License-Identifier: Apache-2.0
"""The profile of a PyTorch model on a GPU: spans that add up, and peaks of torch's allocator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from gpu_models import network

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.profile.torch_profile import profile_torch

if TYPE_CHECKING:
    from pyperf_infer.results.profile_schema import Profile

SHAPES = {"x": (8, 64, 28, 28)}
PLAN = ProfilePlan(inferences=20, duration_s=0.2, max_duration_s=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def profile(folder: Path) -> Profile:
    return profile_torch(network(), SHAPES, BackendOptions(threads=1, device="cuda"), folder, PLAN, seed=1)


def test_layers_add_up_to_the_whole_on_the_stream(profile: Profile) -> None:
    layers = profile.tables[0]
    rows = {row.name: row for row in layers.rows}
    assert {"", "layers", "layers.0", "layers.3", "head"} <= set(rows)
    assert all(row.calls == 1.0 for row in layers.rows)
    assert (rows["layers.0"].time_ms or 0.0) > 0
    assert (rows[""].total_ms or 0.0) <= layers.whole_ms
    assert sum(row.time_ms or 0.0 for row in layers.rows) + layers.rest_ms == pytest.approx(layers.whole_ms)
    assert layers.perturbation is not None


def test_peaks_hold_at_least_the_outputs(profile: Profile) -> None:
    memory = next(one for one in profile.tables if one.name == "memory")
    rows = {row.name: row for row in memory.rows}
    convolved = 8 * 128 * 28 * 28 * 4
    assert rows["layers.0"].output_bytes == convolved
    assert (rows["layers.0"].peak_memory_bytes or 0) >= convolved
    assert (profile.peak_memory_bytes or 0) >= convolved


def test_the_trace_has_layers(profile: Profile, folder: Path) -> None:
    assert profile.tables[0].not_told == []
    names = {event.get("name") for event in json.loads((folder / "torch-trace.json").read_text())["traceEvents"]}
    assert {"layers.0", "head", "inference 1"} <= names
