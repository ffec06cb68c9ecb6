# SPDX-License-Identifier: Apache-2.0
"""Fresh processes that measure one model: their answers, that none of them stays when something goes wrong, and what is
kept of them for compare."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from selftest_jobs import PLAN, FakeCompare, Found, found_by, made

from pyperf_infer.errors import MeasurementError
from pyperf_infer.selftest import floor
from pyperf_infer.selftest import job as job_module
from pyperf_infer.selftest.floor import measure_in_a_process, small_model
from pyperf_infer.selftest.records import ProcessLine
from pyperf_infer.statistics.floor import Floor
from pyperf_infer.system.floor_file import find_floor, load_floor, machine_key, save_floor


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(job_module, "neighbour_cpu", lambda: None)
    return tmp_path / "state"


def children() -> set[int]:
    return {one.pid for one in psutil.Process().children()}


def test_a_process_measures_the_model_and_ends() -> None:
    seen: list[float] = []
    with small_model() as model:
        found = measure_in_a_process(model, 3, seconds=0.05, confidence=0.95, between=seen.append)
    assert found.number == 3
    assert found.samples >= 30
    assert found.interval_ns is not None
    assert found.interval_ns[0] <= found.median_ns <= found.interval_ns[1]
    assert seen
    assert children() == set()
    assert not model.exists()


def test_a_model_that_is_not_there_is_an_error_with_the_childs_own_words(tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match=r"failed \(.*no such file.*\)\. Run this again"):
        measure_in_a_process(tmp_path / "no.onnx", 0, seconds=0.05, confidence=0.95, between=lambda _: None)


def test_ctrl_c_while_it_measures_ends_the_process() -> None:
    def press(_: float) -> None:
        raise KeyboardInterrupt

    with small_model() as model, pytest.raises(KeyboardInterrupt):
        measure_in_a_process(model, 0, seconds=60.0, confidence=0.95, between=press)
    assert children() == set()


def test_a_process_that_is_killed_is_an_error() -> None:
    def kill(_: float) -> None:
        for one in psutil.Process().children():
            one.kill()

    with small_model() as model, pytest.raises(MeasurementError, match="failed"):
        measure_in_a_process(model, 0, seconds=60.0, confidence=0.95, between=kill)


def test_a_process_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "_START_S", -4.0)
    with small_model() as model, pytest.raises(MeasurementError, match="did not answer"):
        measure_in_a_process(model, 0, seconds=0.4, confidence=0.95, between=lambda _: None)
    assert children() == set()


def test_an_answer_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "answers_nonsense.py").write_text("print('{')")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(floor, "_MODULE", "answers_nonsense")
    with pytest.raises(MeasurementError, match="answered nonsense"):
        measure_in_a_process(tmp_path, 0, seconds=0.05, confidence=0.95, between=lambda _: None)


def test_without_python_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(MeasurementError, match="--processes 0 leaves this part out"):
        measure_in_a_process(tmp_path, 0, seconds=0.05, confidence=0.95, between=lambda _: None)


PROCESSES = msgspec.structs.replace(PLAN, aa=0, power=0, processes=10)


@pytest.fixture
def processes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh processes whose medians are 2% apart."""

    def measured(model: Path, number: int, **given: Any) -> ProcessLine:
        assert model.read_bytes()
        given["between"](0.0)
        median = 1e6 * (1.02 if number % 2 else 1.0)
        return ProcessLine(number=number, median_ns=median, interval_ns=(median * 0.9999, median * 1.0001), samples=9)

    monkeypatch.setattr(job_module, "measure_in_a_process", measured)


@pytest.mark.usefixtures("processes")
def test_the_floor_is_kept_for_compare() -> None:
    job = made(PROCESSES)
    job.execute()
    found = found_by(job).floor
    assert found is not None
    assert (found.processes, found.kept, found.lowest_ms, found.highest_ms) == (10, True, 1.0, 1.02)
    machine = machine_key(job.document("complete").environment)
    assert load_floor(machine) == Floor(found.relative_sd, 10)  # type: ignore[arg-type]
    assert found.relative_sd == pytest.approx(0.0104, abs=1e-3)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("other", [Floor(0.012, 10), Floor(0.012, 3)])
def test_a_floor_that_is_only_shown_again_replaces_no_other(folder: Path, other: Floor) -> None:
    first = made(PROCESSES)
    first.execute()
    machine = machine_key(first.document("complete").environment)
    save_floor(other, machine)
    before = (folder / "floor.json").read_bytes()
    again = made(PROCESSES)
    again.execute()
    assert (folder / "floor.json").read_bytes() == before
    floors = [found_by(job).floor for job in (first, again)]
    assert [one is not None and one.kept for one in floors] == [True, False]
    made(PROCESSES, fresh=True).execute()
    assert load_floor(machine) == Floor(floors[0].relative_sd, 10)  # type: ignore[union-attr, arg-type]


@pytest.mark.usefixtures("processes")
def test_a_floor_that_is_shown_again_is_no_newer_for_that(folder: Path) -> None:
    first = made(PROCESSES)
    first.execute()
    (state,) = (folder / "selftest").glob("*.jsonl")
    begun = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    state.write_text(state.read_text().replace(found_by(first).first_utc, begun))
    (folder / "floor.json").unlink()
    again = made(PROCESSES)
    again.execute()
    assert find_floor(machine_key(again.document("complete").environment)).measured_utc == begun
    shown = found_by(again).floor
    assert shown is not None
    assert shown.kept


@pytest.mark.usefixtures("processes")
def test_the_floor_is_kept_also_where_the_comparisons_are_broken_off() -> None:
    def stop(_: int) -> Found:
        raise KeyboardInterrupt

    job = made(msgspec.structs.replace(PLAN, processes=10), FakeCompare(stop))
    with pytest.raises(KeyboardInterrupt):
        job.execute()
    found = found_by(job).floor
    assert found is not None
    assert found.kept
    assert load_floor(machine_key(job.document("interrupted").environment)) == Floor(found.relative_sd, 10)  # type: ignore[arg-type]


def test_two_processes_are_no_floor(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    line = ProcessLine(number=0, median_ns=1e6, interval_ns=(1e6, 1e6), samples=9)
    monkeypatch.setattr(
        job_module, "measure_in_a_process", lambda model, number, **_: msgspec.structs.replace(line, number=number)
    )
    job = made(msgspec.structs.replace(PLAN, aa=0, power=0, processes=2))
    job.execute()
    found = found_by(job).floor
    assert found is not None
    assert (found.relative_sd, found.kept) == (None, False)
    assert not (folder / "floor.json").exists()
