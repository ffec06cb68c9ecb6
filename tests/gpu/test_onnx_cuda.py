# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's CUDA provider on our stream. PYPERF_INFER_TEST_ORT_CUDA names a library (capi/libonnxruntime.so.*)
with the provider beside it; without one these are skipped.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from gpu_torch import take
from onnx_graphs import save_scale_model

from pyperf_infer import _core, timers

LIBRARY = os.environ.get("PYPERF_INFER_TEST_ORT_CUDA")
PROVIDER = "CUDAExecutionProvider"

pytestmark = pytest.mark.skipif(
    not LIBRARY, reason="PYPERF_INFER_TEST_ORT_CUDA names no ONNX Runtime with CUDA provider"
)

ONES = np.ones((2, 4), np.float32)


def open_session(folder: Path, **options: object) -> timers.OnnxSession:
    path = save_scale_model(folder / "scale.onnx")
    session = timers.OnnxSession(path, provider=PROVIDER, library=LIBRARY, device=0, **options)  # type: ignore[arg-type]
    session.bind({"x": ONES})
    return session


def stream_target(session: timers.OnnxSession) -> _core.StreamTarget:
    assert isinstance(session.target, _core.StreamTarget)
    return session.target


def test_the_nodes_run_on_the_provider_and_give_the_right_outputs(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    assert {node.provider for node in session.assigned_nodes()} == {PROVIDER}
    for value in (1.0, 5.0):
        assert np.array_equal(session.run({"x": value * ONES})["y"], 3 * value * ONES)


def test_a_sample_is_latency_submit_and_gpu(tmp_path: Path) -> None:
    samples = take(stream_target(open_session(tmp_path)), 50)
    assert samples.columns == ["latency", "submit", "gpu"]
    assert (samples.column("submit") <= samples.column("latency")).all()
    assert (samples.column("gpu") > 0).all()


def test_a_session_on_our_stream_is_proved_to_be_asynchronous(tmp_path: Path) -> None:
    target = stream_target(open_session(tmp_path))
    take(target, 20)
    assert target.probe_asynchrony() == "proved", target.asynchrony_evidence


def test_nothing_is_bound_anew_while_it_is_timed(tmp_path: Path) -> None:
    session = open_session(tmp_path)
    before = session.addresses
    take(stream_target(session), 50)
    session.bind({"x": 2 * ONES})
    assert session.addresses == before


def test_the_replay_of_its_graph_follows_the_input(tmp_path: Path) -> None:
    session = open_session(tmp_path, cuda_graph=True)
    for value in (2.0, 7.0):
        session.write({"x": value * ONES})
        session.poison_outputs()
        take(stream_target(session), 10)
        assert np.array_equal(session.run()["y"], 3 * value * ONES)


def test_transfers_are_parts_of_their_own(tmp_path: Path) -> None:
    session = open_session(tmp_path, include_transfers=True)
    samples = take(stream_target(session), 30)
    assert samples.columns == ["latency", "submit", "gpu", "h2d", "d2h"]
    assert all((samples.column(name) > 0).all() for name in ("gpu", "h2d", "d2h"))


def test_cold_runs_are_held_back(tmp_path: Path) -> None:
    target = stream_target(open_session(tmp_path))
    samples = take(target, 20, "cold")
    assert samples.columns == ["gpu", "submit"]
    assert (target.gated, target.gate_timeouts) == (True, 0)
