# SPDX-License-Identifier: Apache-2.0
"""The installed `pyperf-infer selftest`: its page and its JSON, and that it goes on from where it was broken off."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from command_line import COMMAND, TIMEOUT_S, Done, Running, environment, run_command

from pyperf_infer.results.files import read_document

if TYPE_CHECKING:
    from pyperf_infer.results.schema import SelfTest

# As little as there can be of everything; nobody looks at the numbers.
FEW = ("--trial-s", "0.05", "--process-s", "0.05", "--coverage", "40", "--precision", "0", "--processes", "0")
LITTLE = (*FEW, "--aa", "10", "--power", "1")
ENDLESS = (*FEW, "--aa", "9000", "--power", "0")
STATE = Path("state") / "pyperf-infer"
TWO_CPUS = len(os.sched_getaffinity(0)) > 1


def found_in(path: Path) -> SelfTest:
    found = read_document(path).selftest
    assert found is not None
    return found


def run_judged(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> Done:
    """What is so short may find the machine wanting: the exit code then says so, and it is no other."""
    done = subprocess.run(
        [COMMAND, "selftest", *arguments, "--results-file", "judged.json"],
        cwd=cwd, env=environment(cwd, env), capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr + done.stdout
    failed = any(one.status == "fail" for one in found_in(cwd / "judged.json").judgements)
    assert done.returncode == int(failed), done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


@contextmanager
def running(*arguments: str, cwd: Path) -> Iterator[Running]:
    command = Running("selftest", *arguments, cwd=cwd)
    try:
        yield command
    finally:
        command.stop()


def test_a_small_one_has_every_part_a_page_and_a_floor(tmp_path: Path) -> None:
    done = run_judged(*LITTLE, "--processes", "3", "--quick", "-q", cwd=tmp_path)
    document = read_document(tmp_path / "judged.json")
    found = found_in(tmp_path / "judged.json")
    assert (document.status, document.results) == ("complete", [])
    assert found.steps == found.planned_steps == 10 + 3 + 4 + 3
    assert found.quick
    assert sum(row.trials for row in found.comparisons if row.kind == "A/A") == 10
    assert any(row.neighbour for row in found.comparisons) == TWO_CPUS
    assert [row.slow_down for row in found.comparisons if row.kind == "power"] == [0.01, 0.02, 0.05]
    assert len(found.coverage) == 16
    assert found.precision is None
    assert found.floor is not None
    assert (found.floor.processes, found.floor.kept) == (3, True)
    assert (tmp_path / STATE / "floor.json").exists()
    page = (tmp_path / "judged.md").read_text()
    assert page.startswith("# pyperf-infer selftest")
    assert "identical work undecided, quiet" in page
    assert "Figures and bounds" in done.out
    assert "Written to judged.json\nWritten to judged.md" in done.err


def test_a_second_call_shows_the_first_again_and_fresh_does_not(tmp_path: Path) -> None:
    arguments = (*LITTLE, "-q")
    calls = []
    for more in ((), (), ("--fresh",)):
        done = run_judged(*arguments, *more, cwd=tmp_path)
        calls.append((found_in(tmp_path / "judged.json"), " ".join(done.err.split())))
    (first, _), (second, said), (fresh, _) = calls
    assert (first.taken_over, second.taken_over, fresh.taken_over) == (0, 17, 0)
    assert second.comparisons == first.comparisons
    assert fresh.comparisons != first.comparisons
    assert "is finished; --fresh measures anew" in said


def test_ctrl_c_keeps_what_there_is_and_the_next_call_goes_on(tmp_path: Path) -> None:
    with running(*ENDLESS, "--results-file", "r.json", cwd=tmp_path) as command:
        command.wait_until_shown("busy neighbour" if TWO_CPUS else "the same work against itself")
        command.wait_until_shown("left")
        children = psutil.Process(command.process.pid).children()
        command.press_ctrl_c()
        done = command.finish(code=130)
    assert not any(one.is_running() for one in children)
    assert "Interrupted. The same command goes on from here." in " ".join(done.err.split())
    assert "NOT FINISHED" in done.out
    assert read_document(tmp_path / "r.json").status == "interrupted"
    steps = found_in(tmp_path / "r.json").steps
    assert steps >= 4
    assert (tmp_path / "r.md").exists()
    with running(*ENDLESS, "--results-file", "again.json", cwd=tmp_path) as command:
        command.wait_until_shown("left")
        command.press_ctrl_c()
        command.finish(code=130)
    found = found_in(tmp_path / "again.json")
    assert found.taken_over == steps
    assert found.steps >= steps
    assert not (tmp_path / STATE / "interrupted").exists()


def test_one_that_is_killed_loses_the_step_at_hand_and_no_more(tmp_path: Path) -> None:
    with running(*ENDLESS, cwd=tmp_path) as command:
        command.wait_until_shown("the same work against itself")
        (state,) = (tmp_path / STATE / "selftest").glob("*.jsonl")
        command.process.send_signal(signal.SIGKILL)
        command.process.wait()
    kept = len(state.read_bytes().splitlines()) - 1
    state.write_bytes(state.read_bytes() + b'{"type": "comparison", "ki')
    with running(*ENDLESS, "--results-file", "r.json", cwd=tmp_path) as command:
        command.wait_until_shown("left")
        command.press_ctrl_c()
        command.finish(code=130)
    assert found_in(tmp_path / "r.json").taken_over == kept


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    with running(*ENDLESS, cwd=tmp_path) as command:
        command.wait_until_shown("left")
        done = run_command("selftest", *ENDLESS, "-q", cwd=tmp_path, code=2)
    assert "Another self-test with the same settings is running" in done.err


def test_csv_has_no_page_beside_it(tmp_path: Path) -> None:
    arguments = ("--results-file", "r.csv", "--results-format", "csv")
    nothing_timed = ("--aa", "0", "--power", "0")
    run_command("selftest", *FEW, *nothing_timed, "-q", *arguments, cwd=tmp_path)
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text().splitlines()))
    assert len(rows) == 2 + 16
    assert {path.name for path in tmp_path.glob("r*")} == {"r.csv"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--trial-s", "0.001"), 2, "a trial takes from 0.05 s"),
        (("--aa", "-1"), 2, "--aa"),
        (("--results-file", "r.md"), 2, "is the name of the page beside the results"),
        (("--results-file", "no/r.json"), 3, "The folder is not there"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    done = run_command("selftest", *arguments, cwd=tmp_path, code=code)
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


def test_the_floor_file_is_json_that_says_which_machine(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    variables = {"PYPERF_INFER_STATE_DIR": str(folder)}
    run_judged(*FEW, "--processes", "3", "--aa", "0", "--power", "0", "-q", cwd=tmp_path, env=variables)
    machines = json.loads((folder / "floor.json").read_text())["machines"]
    assert [one["processes"] for one in machines.values()] == [3]
    assert not (tmp_path / "state").exists()
