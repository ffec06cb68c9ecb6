# SPDX-License-Identifier: Apache-2.0
"""A long benchmark that was broken off goes on where it was, and only there."""

from __future__ import annotations

from pathlib import Path

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from resumable import Trials

SETTINGS = {"seconds": 0.5, "versions": {"pyperf": "2.10.0"}}


def test_trials_that_are_done_are_there_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "trials.jsonl"
    Trials(path, SETTINGS).add({"pair": 0})
    again = Trials(path, SETTINGS)
    assert again.done == [{"pair": 0}]
    again.add({"pair": 1})
    assert Trials(path, SETTINGS).done == [{"pair": 0}, {"pair": 1}]
    assert Trials(path, SETTINGS, fresh=True).done == []


@pytest.mark.parametrize("cut", ['{"pair', '{"pair": 1}', '{"pair": 1'])
def test_a_line_that_was_cut_short_is_run_again(cut: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Trials(path, SETTINGS).add({"pair": 0})
    with path.open("a") as file:
        file.write(cut)
    again = Trials(path, SETTINGS)
    assert again.done == [{"pair": 0}]
    again.add({"pair": 1})
    assert Trials(path, SETTINGS).done == [{"pair": 0}, {"pair": 1}]


def test_trials_made_in_another_way_are_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    Trials(path, SETTINGS)
    with pytest.raises(SystemExit, match=r"another way \(seconds: 0.5 there, 1.0 now\)"):
        Trials(path, {**SETTINGS, "seconds": 1.0})


@pytest.mark.parametrize("text", ["no JSON\n", "[1]\n", '{"pair": 0}\n', "no newline", '{"settings": 3}\n'])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(text: str, tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_text(text)
    with pytest.raises(SystemExit, match="holds no trials"):
        Trials(path, SETTINGS)
    assert path.read_text() == text
