# SPDX-License-Identifier: Apache-2.0
"""The state of a self-test: nothing that was done is lost or done twice, whatever a crash leaves of the file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.selftest.plan import SelfTestPlan
from pyperf_infer.selftest.records import CoverageLine, PercentileCoverage, PrecisionLine, ProcessLine, Record, Trial
from pyperf_infer.selftest.state import State, state_path

PLAN = SelfTestPlan(aa=3)
TRIAL = Trial(
    kind="A/A",
    work_s=1e-3,
    slow_down=0.0,
    neighbour=True,
    number=0,
    seed=1,
    verdict="same",
    reason=None,
    ratio=1.0,
    interval=(0.99, 1.01),
    rounds=20,
    wall_s=1.0,
)
COVERAGE = PercentileCoverage(percent=90.0, trials=9, covering=8, refused=1, exact_share=0.95, mean_count=500.0)
RECORDS: list[Record] = [
    TRIAL,
    CoverageLine(distribution="normal", percentiles=[COVERAGE]),
    PrecisionLine(number=0, wall_s=0.2, samples=60, converged=True),
    ProcessLine(number=0, median_ns=1e6, interval_ns=None, samples=5),
]


@contextmanager
def opened(path: Path, **given: Any) -> Iterator[State]:
    state = State(path, **{"plan": PLAN, "machine": "here", "tool_version": "1", **given})
    try:
        yield state
    finally:
        state.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "selftest" / "state.jsonl"


def fill(path: Path) -> None:
    with opened(path) as state:
        for record in RECORDS:
            state.add(record)


def test_all_kinds_of_records_come_back(path: Path) -> None:
    fill(path)
    with opened(path) as state:
        assert state.records == RECORDS


def test_a_record_is_on_disk_before_the_file_is_closed(path: Path) -> None:
    with opened(path) as state:
        state.add(TRIAL)
        assert path.read_bytes().count(b"\n") == 2


def test_a_line_that_was_cut_short_is_dropped_and_the_next_one_follows_the_good_ones(path: Path) -> None:
    fill(path)
    path.write_bytes(path.read_bytes()[:-10])
    with opened(path) as state:
        assert state.records == RECORDS[:-1]
        state.add(RECORDS[-1])
    with opened(path) as state:
        assert state.records == RECORDS


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2000))
def test_cut_at_any_byte_what_is_whole_before_it_is_kept(tmp_path_factory: pytest.TempPathFactory, at: int) -> None:
    path = tmp_path_factory.mktemp("state") / "s.jsonl"
    fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: at % (len(whole) + 1)])
    lines = whole[: at % (len(whole) + 1)].count(b"\n")
    with opened(path) as state:
        assert state.records == RECORDS[: max(0, lines - 1)]


def test_a_damaged_line_ends_what_is_believed(path: Path) -> None:
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"\xff\x00 nonsense\n"
    path.write_bytes(b"".join(lines))
    with opened(path) as state:
        assert state.records == RECORDS[:1]


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (1, '"verdict":"same"', '"verdict":"alike"'),
        (1, '"kind":"A/A"', '"kind":"B/B"'),
        (1, '"ratio":1.0', '"ratio":-1.0'),
        (1, "[0.99,1.01]", "[1.01,0.99]"),
        (1, "[0.99,1.01]", "[0.0,0.0]"),
        (1, '"slow_down":0.0', '"slow_down":2.0'),
        (2, '"trials":9', '"trials":0'),
        (2, '"trials":9', '"trials":7'),
        (2, '"percent":90.0', '"percent":190.0'),
        (2, '"exact_share":0.95', '"exact_share":1.5'),
        (2, '"percentiles":[', '"percentiles":[],"was":['),
        (3, '"samples":60', '"samples":0'),
        (3, '"wall_s":0.2', '"wall_s":-0.2'),
        (4, '"median_ns":1000000.0', '"median_ns":0'),
        (4, '"interval_ns":null', '"interval_ns":[2,1]'),
        (4, '"interval_ns":null', '"interval_ns":[0,1]'),
    ],
)
def test_a_line_that_says_what_cannot_be_ends_what_is_believed(path: Path, number: int, old: str, new: str) -> None:
    fill(path)
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[number]
    lines[number] = lines[number].replace(old, new)
    path.write_text("".join(lines))
    with opened(path) as state:
        assert state.records == RECORDS[: number - 1]


@pytest.mark.parametrize("number", range(1, 5))
def test_a_line_that_was_doubled_counts_once(path: Path, number: int) -> None:
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[: number + 1], *lines[number:]]))
    with opened(path) as state:
        assert state.records == RECORDS[:number]
        for record in RECORDS[number:]:
            state.add(record)
    with opened(path) as state:
        assert state.records == RECORDS


@pytest.mark.parametrize(
    "given", [{"fresh": True}, {"plan": SelfTestPlan(aa=4)}, {"machine": "there"}, {"tool_version": "2"}]
)
def test_what_belongs_to_something_else_or_is_to_be_forgotten_is_not_taken_over(path: Path, given: Any) -> None:
    fill(path)
    with opened(path, **given) as state:
        assert state.records == []
        state.add(TRIAL)
    with opened(path, **{**given, "fresh": False}) as state:
        assert state.records == [TRIAL]


@pytest.mark.parametrize(
    ("age", "kept"),
    [(timedelta(hours=23), True), (timedelta(hours=25), False), (timedelta(hours=-2), False)],
    ids=["yesterday", "older", "from the future"],
)
def test_it_is_kept_for_a_day(path: Path, age: timedelta, kept: bool) -> None:
    fill(path)
    with opened(path) as state:
        now = state.header.started_utc
    then = (datetime.now(UTC) - age).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(path.read_text().replace(now, then))
    with opened(path) as state:
        assert state.records == (RECORDS if kept else [])
        assert (state.header.started_utc == then) == kept


def test_two_at_once_are_refused(path: Path) -> None:
    with opened(path), pytest.raises(UsageError, match="is running on this machine"):
        State(path, plan=PLAN, machine="here", tool_version="1")
    with opened(path):
        pass  # the first has let go


def test_where_nothing_can_be_written_the_error_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "selftest").write_text("a file")
    with pytest.raises(InputError, match=r"Cannot write .*state\.jsonl"):
        State(tmp_path / "selftest" / "state.jsonl", plan=PLAN, machine="here", tool_version="1")


def test_files_that_are_too_old_to_go_on_with_are_removed(path: Path) -> None:
    fill(path)
    old, young, other = (path.with_name(name) for name in ("old.jsonl", "young.jsonl", "old.txt"))
    for one in (old, young, other):
        one.write_text("")
    for one in (old, other, path):
        os.utime(one, (time.time() - 90_000,) * 2)
    with opened(path) as state:
        assert state.records == RECORDS
    assert [one.exists() for one in (old, young, other)] == [False, True, True]


def test_each_plan_machine_and_release_has_its_file() -> None:
    paths = {
        state_path(PLAN, "here", "1"),
        state_path(SelfTestPlan(aa=4), "here", "1"),
        state_path(PLAN, "there", "1"),
        state_path(PLAN, "here", "2"),
    }
    assert len(paths) == 4
    assert state_path(PLAN, "here", "1") in paths


ADDS_FOREVER = """
import sys
from pathlib import Path
from pyperf_infer.selftest.plan import SelfTestPlan
from pyperf_infer.selftest.records import PrecisionLine
from pyperf_infer.selftest.state import State
state = State(Path(sys.argv[1]), plan=SelfTestPlan(aa=3), machine="here", tool_version="1")
for number in range(10**9):
    state.add(PrecisionLine(number=number, wall_s=0.0, samples=1, converged=True))
    print(number, flush=True)
"""


def test_a_process_that_is_killed_leaves_all_that_it_had_added(path: Path) -> None:
    command = [sys.executable, "-P", "-c", ADDS_FOREVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(50)]
        process.send_signal(signal.SIGKILL)
    with opened(path) as state:
        numbers = [one.number for one in state.records if isinstance(one, PrecisionLine)]
    assert numbers[: len(seen)] == seen
    assert numbers == list(range(len(numbers)))
