# SPDX-License-Identifier: Apache-2.0
"""Profiled inferences in turn with plain ones: which of them count, and sessions that follow one another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from pyperf_infer import _core
from pyperf_infer.errors import MeasurementError
from pyperf_infer.profile import onnxruntime_runs
from pyperf_infer.profile.onnxruntime_events import Event, Inference
from pyperf_infer.profile.onnxruntime_runs import Trial, profile_in_turn, try_out
from pyperf_infer.profile.plan import ProfilePlan

if TYPE_CHECKING:
    from pyperf_infer.profile.onnxruntime_graph import Graph

BOUND = 2  # runs that binding takes


class Session:
    """Writes a node of one microsecond for its first run, of two for its second, ..."""

    graph: Graph | None = None

    def __init__(self, folder: Path, *, loses: int = 0, nodes: int = 1, tail: str = "") -> None:
        self.runs = BOUND
        self.target = _core.CallableTarget(self._run)
        self._path = folder / "profile.json"
        self._loses, self._nodes, self._tail = loses, nodes, tail

    def _run(self) -> None:
        self.runs += 1

    def end_profiling(self) -> Path:
        self._path.write_bytes(msgspec.json.encode(list(self._events())) + self._tail.encode())
        return self._path

    def _events(self) -> Iterator[Event]:
        for number in range(self.runs - self._loses):
            for node in range(self._nodes):
                yield Event("Node", f"n{node}_kernel_time", 0, number, 1, {"op_name": "Op", "output_size": "1"})
            yield Event("Session", "model_run", 0, number)


PLAN = ProfilePlan(duration_s=0.02, max_duration_s=5.0, ci=0.9)
TRIAL = Trial(BOUND, 3, Inference(Event("Session", "model_run", 0, 0), ()))


def test_only_what_a_round_keeps_counts(tmp_path: Path) -> None:
    """The runs of binding and the first quarter of every block are left out; blocks are alike."""
    sessions = []

    def opened() -> Session:
        sessions.append(Session(tmp_path))
        return sessions[-1]

    plain: list[int] = []
    done = profile_in_turn(_core.CallableTarget(lambda: plain.append(1)), opened, TRIAL, PLAN, tmp_path / "kept.json")
    rounds = len(done.plain_ns)
    assert rounds == len(done.profiled_ns) >= 8
    assert len(done.sessions) == len(sessions)
    made = sum(session.runs - BOUND for session in sessions)
    block, remainder = divmod(made, rounds)
    assert remainder == 0
    assert done.inferences == rounds * (block - block // 4) >= PLAN.inferences
    numbers = []
    for session in sessions:
        blocks = range((session.runs - BOUND) // block)
        numbers += [BOUND + one * block + run for one in blocks for run in range(block // 4, block)]
    assert sum(totals.nodes[0].own_us for totals, _ in done.sessions) == sum(numbers)
    assert done.whole_ms == pytest.approx(sum(numbers) / len(numbers) / 1000)
    found = done.perturbation(0.95)
    assert found.rounds == rounds
    assert found.ratio > 0
    assert len(json.loads((tmp_path / "kept.json").read_text())) == 2 * sessions[0].runs
    assert not (tmp_path / "profile.json").exists()


def test_a_session_whose_profile_would_grow_too_large_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_runs, "_EVENTS_A_SESSION", 60)
    opened = [Session(tmp_path) for _ in range(2000)]
    sessions = iter(opened)
    plan = ProfilePlan(duration_s=0.0, max_duration_s=5.0, ci=0.9, inferences=100)
    done = profile_in_turn(_core.NoopTarget(), lambda: next(sessions), TRIAL, plan, None)
    assert done.inferences >= 100
    assert len(done.sessions) > 3
    assert all(3 * one.runs <= 60 for one in opened[: len(done.sessions)])


def test_time_that_is_up_ends_it_after_a_round(tmp_path: Path) -> None:
    plan = ProfilePlan(duration_s=9.0, max_duration_s=0.0)
    done = profile_in_turn(_core.NoopTarget(), lambda: Session(tmp_path), TRIAL, plan, None)
    assert len(done.plain_ns) == len(done.profiled_ns) == 1
    assert done.perturbation(0.95).interval is None


def test_progress_is_told_and_may_stop_it(tmp_path: Path) -> None:
    told = []

    def progress(phase: str, calls: int, elapsed_ns: int, budget_ns: int, last_ns: int) -> None:
        told.append((phase, calls, budget_ns))
        if len(told) == 2:
            raise KeyboardInterrupt

    plan = ProfilePlan(duration_s=9.0, max_duration_s=20.0, progress=progress)
    with pytest.raises(KeyboardInterrupt):
        profile_in_turn(_core.NoopTarget(), lambda: Session(tmp_path), TRIAL, plan, None)
    assert told[1][1] > told[0][1]
    assert told[0][::2] == ("profile", 20_000_000_000)


def test_a_profile_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="cut short"):
        profile_in_turn(_core.NoopTarget(), lambda: Session(tmp_path, loses=1), TRIAL, PLAN, None)


def test_a_profile_that_is_no_json_is_kept_as_what_could_be_read(tmp_path: Path) -> None:
    class Broken(Session):
        def end_profiling(self) -> Path:
            path = super().end_profiling()
            path.write_bytes(path.read_bytes().replace(b"},{", b"},\n{").rstrip(b"]") + b',\n{"cat":"Node", broken')
            return path

    kept = tmp_path / "kept.json"
    done = profile_in_turn(_core.NoopTarget(), lambda: Broken(tmp_path), TRIAL, PLAN, kept)
    assert done.unreadable == len(done.sessions)
    assert json.loads(kept.read_text())[-1]["name"] == "model_run"


def test_a_trial_tells_the_runs_of_binding_and_the_events_of_one(tmp_path: Path) -> None:
    trial = try_out(Session(tmp_path, nodes=5))
    assert (trial.runs, trial.events_a_run, len(trial.first.nodes)) == (BOUND, 7, 5)
    assert not (tmp_path / "profile.json").exists()


def test_a_model_of_which_no_inference_fits_into_a_profile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime_runs, "MOST_EVENTS", 20)
    with pytest.raises(MeasurementError, match=r"records 20 in a session.*smaller input"):
        try_out(Session(tmp_path, nodes=5))
    with pytest.raises(MeasurementError, match="so many events"):
        try_out(Session(tmp_path, loses=BOUND))
