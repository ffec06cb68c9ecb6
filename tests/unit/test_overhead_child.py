# SPDX-License-Identifier: Apache-2.0
"""Paths in a process of their own: what they find and how they fail comes back, and the process ends with this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hosted_paths
import numpy as np
import psutil
import pytest

from pyperf_infer.errors import BackendError, MeasurementError
from pyperf_infer.overhead.blocks import BlockPlan
from pyperf_infer.overhead.remote import ChildProcess
from pyperf_infer.system.child import start_module

HELPERS = str(Path(hosted_paths.__file__).parent)
FACTORY = "hosted_paths:make"
PLAN = BlockPlan(jitter_ns=1000, length_ns=2_000_000, calls=10, budget_ns=10**10)


def opened(**told: Any) -> ChildProcess:
    return ChildProcess("the test", FACTORY, json.dumps(told), patience_s=60.0)


@pytest.fixture(scope="module")
def child() -> Iterator[ChildProcess]:
    process = opened()
    yield process
    process.close()


def test_paths_and_settings_are_told_although_a_library_prints(child: ChildProcess) -> None:
    assert child.paths == hosted_paths.Paths.paths
    assert child.settings == {"version": "1.2"}
    assert child.pid != os.getpid()


def test_outputs_come_back_with_their_names_and_types(child: ChildProcess) -> None:
    first, second = child.outputs("short")
    assert list(first) == ["y", "a b/c"]
    assert [array.dtype.name for array in first.values()] == ["float32", "bfloat16"]
    np.testing.assert_array_equal(second["y"], np.arange(6, dtype=np.float32).reshape(2, 3) + 1)
    np.testing.assert_array_equal(second["a b/c"].astype(np.float32), [2, 2, 2])


def test_a_block_and_a_measurement_are_of_the_path_that_is_named(child: ChildProcess) -> None:
    short, long = (child.block(path, PLAN) for path in ("short", "long"))
    assert short.median_ns is not None
    assert long.median_ns is not None
    assert short.median_ns >= 20_000
    assert long.median_ns >= 60_000
    assert short.discarded > 0
    alone = child.alone("short", 0.1, 0.01)
    assert alone.interval_ns is not None
    assert 20_000 <= alone.interval_ns[0] <= alone.median_ns <= alone.interval_ns[1]


def test_a_block_whose_budget_is_spent_does_not_count(child: ChildProcess) -> None:
    assert child.block("short", BlockPlan(jitter_ns=0, length_ns=10**9, calls=1, budget_ns=5_000_000)).median_ns is None


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("refuse", BackendError, "the provider went away\nand more"),
        ("break", MeasurementError, "ValueError: broken"),
        ("nowhere", MeasurementError, "KeyError: 'nowhere'"),
    ],
)
def test_errors_come_back_as_what_they_are_and_the_process_goes_on(
    child: ChildProcess, path: str, kind: type[Exception], said: str
) -> None:
    for ask in (lambda: child.outputs(path), lambda: child.block(path, PLAN), lambda: child.alone(path, 0.1, 0.01)):
        with pytest.raises(kind) as error:
            ask()
        assert str(error.value) == said
    assert child.block("short", PLAN).median_ns is not None


def test_an_error_while_opening_ends_the_process() -> None:
    before = set(psutil.Process().children())
    with pytest.raises(BackendError, match="the provider went away"):
        opened(open="refuse")
    assert set(psutil.Process().children()) == before


def test_a_process_that_dies_is_told_with_its_last_words() -> None:
    process = opened()
    with pytest.raises(MeasurementError, match=r"the process of the test was ended by SIGKILL .*: a last word"):
        process.block("die", PLAN)
    with pytest.raises(MeasurementError, match=r"was ended by SIGKILL .*: a last word"):  # whoever asks after that too
        process.block("short", PLAN)
    process.close()


def test_a_process_that_died_between_two_requests_is_told_each_time() -> None:
    process = opened()
    psutil.Process(process.pid).kill()
    process._process.wait()
    for _ in range(2):
        with pytest.raises(MeasurementError, match="the process of the test was ended by SIGKILL"):
            process.block("short", PLAN)
    process.close()


def test_a_process_that_is_closed_answers_no_more() -> None:
    process = opened()
    process.close()
    with pytest.raises(MeasurementError, match="the process of the test has ended"):
        process.block("short", PLAN)


def test_a_process_that_does_not_answer_is_killed() -> None:
    process = opened()
    process._patience_s = 0.3
    with pytest.raises(MeasurementError, match=r"did not answer for 0\.3 s and was killed"):
        process.outputs("sleep")
    assert not psutil.pid_exists(process.pid)


def test_closing_ends_it_in_the_midst_of_a_call() -> None:
    process = opened()
    process._send(b'{"type":"Outputs","path":"sleep","folder":"/"}\n')
    begin_s = time.monotonic()
    process.close()
    process.close()
    assert not psutil.pid_exists(process.pid)
    assert time.monotonic() - begin_s < 30


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), 9)", "os._exit(0)"])
def test_it_ends_with_its_parent_whatever_it_is_doing(tmp_path: Path, ending: str) -> None:
    script = (
        "import os\n"
        "from pyperf_infer.overhead.remote import ChildProcess\n"
        f"child = ChildProcess('the test', {FACTORY!r}, '{{}}')\n"
        'child._send(b\'{"type":"Outputs","path":"sleep","folder":"/"}\\n\')\n'
        "print(child.pid, flush=True)\n"
        f"{ending}\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": HELPERS},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    pid = int(done.stdout)
    until_s = time.monotonic() + 30
    while _runs(pid):
        assert time.monotonic() < until_s, "it outlives its parent"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_is_not_its_business() -> None:
    """In a terminal it reaches every process of the group, and this one is to be ended by its parent."""
    process = opened()
    try:
        os.kill(process.pid, signal.SIGINT)
        assert process.block("short", PLAN).median_ns is not None
    finally:
        process.close()


def test_where_no_process_can_be_started_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(MeasurementError, match=r"could not be started: .*No such file"):
        opened()


@pytest.mark.parametrize(
    ("request_line", "said"),
    [
        (b'{"type":"Outputs","path":"x","folder":"/"}', "the first request must be to open a model"),
        (b"nonsense", "DecodeError"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_an_error(request_line: bytes, said: str) -> None:
    process = start_module(
        "pyperf_infer.overhead.child", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdout, process.stdin:
        process.stdin.write(request_line + b"\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
    assert (answer["type"], answer["kind"]) == ("Failed", "MeasurementError")
    assert said in answer["message"]
    assert process.wait(60) == 0
