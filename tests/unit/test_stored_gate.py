# SPDX-License-Identifier: Apache-2.0
"""`compare --fail-if-slower`: when it fires, when it passes, and what it says of rows that it cannot judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import result_documents as made
import stored_documents as stored
from stored_documents import compared, many

if TYPE_CHECKING:
    from pyperf_infer.results import schema


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever floor this machine has, these tests do not know it."""
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("level", "state", "code"), [(50.0, "passed", 0), (45.0, "passed", 0), (51.6, "undecided", 0), (53.0, "fired", 1)]
)
def test_the_gate_fires_only_where_the_whole_interval_lies_beyond(
    tmp_path: Path, level: float, state: str, code: int
) -> None:
    paths = [stored.save(tmp_path / "a.json", many(50.0)), stored.save(tmp_path / "b.json", many(level, seed=2))]
    job = compared(paths, fail_if_slower=0.03)
    assert job.comparisons[0].rows[0].gate == state
    assert job.exit_code == code
    assert job.gate is not None
    assert job.gate.fired == (code == 1)


def test_the_gate_says_that_it_could_not_judge(tmp_path: Path) -> None:
    paths = [stored.save(tmp_path / "a.json", stored.row(50.0)), stored.save(tmp_path / "b.json", stored.row(90.0))]
    job = compared(paths, fail_if_slower=0.03)
    assert (job.comparisons[0].rows[0].gate, job.exit_code) == ("not judged", 0)
    assert job.gate is not None
    assert job.gate.sentence == "The gate did not fire: 1 of 1 not judged: there is no interval."


@pytest.mark.parametrize("theirs", [[], [made.failed("resnet50", 8, "torch", "out of memory")]])
def test_the_gate_counts_what_the_contender_has_no_time_of(tmp_path: Path, theirs: list[schema.Result]) -> None:
    mine = stored.save(tmp_path / "a.json", many(50.0), many(20.0, batch_size=8))
    other = stored.save(tmp_path / "b.json", many(50.0, seed=2), *theirs, status="failed" if theirs else "complete")
    job = compared([mine, other], fail_if_slower=0.03)
    assert job.gate is not None
    assert (job.gate.rows, job.gate.judged, job.gate.fired, job.exit_code) == (2, 1, False, 0)
    assert job.gate.sentence == (
        "The gate did not fire: 1 of 2 not judged: not on both sides with a time; 1 of 2 not slower by more than 3%."
    )


def test_of_a_folder_the_gate_counts_what_the_contender_has_and_not_what_else_lies_there(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    stored.save(folder / "1.json", many(50.0), many(9.0, model="other"))
    new = stored.save(tmp_path / "new.json", many(50.0, seed=2), many(7.0, model="third"))
    gate = compared([folder, new], fail_if_slower=0.125).gate
    assert gate is not None
    assert (gate.rows, gate.judged) == (2, 1)
    assert "1 of 2 not slower by more than 12.5%" in gate.sentence


@pytest.mark.parametrize(("margin", "codes"), [(0.2, ["margin_beyond_gate"]), (0.01, [])])
def test_a_gate_that_fires_within_the_margin_is_explained(tmp_path: Path, margin: float, codes: list[str]) -> None:
    paths = [stored.save(tmp_path / "a.json", many(50.0)), stored.save(tmp_path / "b.json", many(55.0, seed=2))]
    job = compared(paths, fail_if_slower=0.03, margin=margin)
    assert job.exit_code == 1
    assert [one.code for one in job.document().warnings] == codes


def test_a_gate_that_fires_wins_over_a_refused_row(tmp_path: Path) -> None:
    mine = stored.save(tmp_path / "a.json", many(50.0), many(20.0, batch_size=8))
    theirs = stored.save(tmp_path / "b.json", many(60.0), many(20.0, batch_size=8, method={"threads": 9}))
    assert compared([mine, theirs], fail_if_slower=0.03).exit_code == 1
