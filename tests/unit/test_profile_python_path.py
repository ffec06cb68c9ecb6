# SPDX-License-Identifier: Apache-2.0
"""What cProfile says of a call, as rows and as files that pstats reads."""

from __future__ import annotations

import cProfile
import pstats
import sys
import sysconfig
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pyperf_infer.errors import InputError
from pyperf_infer.profile.plan import ProfilePlan
from pyperf_infer.profile.python_path import PythonPath, rows_of

QUICK = ProfilePlan(inferences=5, duration_s=0.0)
SITE = sysconfig.get_paths()["purelib"]


def inner(values: list[int]) -> int:
    return len(sorted(values))


def outer() -> int:
    return inner([3, 1]) + inner([2])


def path_of(call: Any) -> PythonPath:
    model: Any = SimpleNamespace(call=call, whole=lambda call: call, running=nullcontext)
    return PythonPath(model)


def test_each_function_has_its_calls_an_inference() -> None:
    path = path_of(outer)
    assert path.measure(QUICK, 1e9) is None
    rows, whole_ms = path.rows()
    by_function = {row.name.rpartition("(")[2] if row.kind == "Python" else row.name: row for row in rows}
    assert path.inferences == 5
    assert (by_function["outer)"].calls, by_function["inner)"].calls) == (1.0, 2.0)
    assert by_function["<built-in method builtins.sorted>"].kind == "built-in"
    assert by_function["<built-in method builtins.sorted>"].calls == 2.0
    assert not [row.name for row in rows if "Profiler" in row.name]
    assert sum(row.time_ms or 0.0 for row in rows) == pytest.approx(whole_ms)
    assert by_function["outer)"].total_ms == pytest.approx(whole_ms)


def test_rows_are_ordered_by_their_own_time_and_named_without_the_folder() -> None:
    stats = {
        (f"{SITE}/torch/nn/modules/module.py", 7, "_call_impl"): (4, 8, 0.02, 0.1, {}),
        ("~", 0, "<built-in method torch.relu>"): (2, 2, 0.06, 0.06, {}),
        ("~", 0, "<method 'disable' of '_lsprof.Profiler' objects>"): (1, 1, 0.5, 0.5, {}),
    }
    rows, whole_ms = rows_of(stats, 2)
    assert [row.name for row in rows] == ["<built-in method torch.relu>", "torch/nn/modules/module.py:7(_call_impl)"]
    assert whole_ms == pytest.approx(40)
    assert [row.time_ms for row in rows] == pytest.approx([30, 10])
    assert [row.share for row in rows] == pytest.approx([0.75, 0.25])
    assert [row.calls for row in rows] == [1.0, 4.0]


def test_files_are_what_pstats_reads(tmp_path: Path) -> None:
    path = path_of(outer)
    path.measure(QUICK, 1e9)
    path.write(tmp_path / "a.prof", tmp_path / "a.txt")
    read: Any = pstats.Stats(str(tmp_path / "a.prof"))
    assert [value[1] for key, value in read.stats.items() if key[2] == "inner"] == [10]
    text = (tmp_path / "a.txt").read_text()
    assert text.startswith("5 inferences")
    assert "(inner)" in text


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = path_of(outer)
    path.measure(QUICK, 1e9)
    with pytest.raises(InputError, match="not_there"):
        path.write(tmp_path / "not_there" / "a.prof", tmp_path / "a.txt")


def test_a_call_that_fails_leaves_no_profiler_behind() -> None:
    def fails() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        path_of(fails).measure(QUICK, 1e9)
    assert sys.getprofile() is None
    with cProfile.Profile():  # which Python 3.12 and newer refuse where another is on
        pass


def test_another_profiler_in_the_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def enable(self) -> None:
            raise ValueError("Another profiling tool is already active")

    path = path_of(outer)
    path._profiler = Refused()  # type: ignore[assignment]
    assert path.measure(QUICK, 1e9) == "the Python path: Another profiling tool is already active"
    assert path.inferences == 0
