# SPDX-License-Identifier: Apache-2.0
"""The busy neighbour: on its CPU alone, at work inside of the block, and gone after it whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pyperf_infer.errors import MeasurementError
from pyperf_infer.selftest import neighbour
from pyperf_infer.selftest.neighbour import busy_neighbour, neighbour_cpu

CPU = max(os.sched_getaffinity(0))
PATIENCE_S = 60.0


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.01)


def test_it_runs_on_its_cpu_alone_and_works() -> None:
    with busy_neighbour(CPU) as pid:
        process = psutil.Process(pid)
        assert process.cpu_affinity() == [CPU]
        until = time.monotonic() + PATIENCE_S
        begin = process.cpu_times().user
        while process.cpu_times().user <= begin:
            assert time.monotonic() < until, "it does nothing"
            time.sleep(0.01)
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_it_is_gone_after_an_error_and_after_ctrl_c(error: type[BaseException]) -> None:
    with pytest.raises(error), busy_neighbour(CPU) as pid:
        raise error
    assert not psutil.pid_exists(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_it() -> None:
    with busy_neighbour(CPU) as pid:
        assert os.getpgid(pid) != os.getpgid(0)
        os.kill(pid, signal.SIGINT)
        time.sleep(0.1)
        assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


PARENT = """
import time
from pyperf_infer.selftest.neighbour import busy_neighbour
with busy_neighbour({cpu}) as pid:
    print(pid, flush=True)
    time.sleep(600)
"""


def test_it_ends_when_this_process_is_killed() -> None:
    command = [sys.executable, "-P", "-c", PARENT.format(cpu=CPU)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    wait_until_gone(pid)


def test_a_cpu_that_it_may_not_use_is_an_error_and_no_endless_wait() -> None:
    with pytest.raises(MeasurementError, match="ended before it had begun"), busy_neighbour(4095):
        pass


def test_without_python_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(MeasurementError, match=r"cannot be started: .*\. Run this again"), busy_neighbour(CPU):
        pass


@pytest.mark.parametrize(("usable", "cpu"), [({0, 1}, 1), ({3}, None), ({2, 5, 7}, 7)])
def test_with_one_cpu_there_is_none(monkeypatch: pytest.MonkeyPatch, usable: set[int], cpu: int | None) -> None:
    monkeypatch.setattr(neighbour.os, "sched_getaffinity", lambda _: usable)
    assert neighbour_cpu() == cpu
