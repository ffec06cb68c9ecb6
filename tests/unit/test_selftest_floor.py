# SPDX-License-Identifier: Apache-2.0
"""Fresh processes that measure one model: their answers, and that none of them stays when something goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from pyperf_infer.errors import MeasurementError
from pyperf_infer.selftest import floor
from pyperf_infer.selftest.floor import measure_in_a_process, small_model


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
