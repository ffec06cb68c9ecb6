# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fake_gpu_reader
import pytest

from pyperf_infer import _core
from pyperf_infer.errors import UsageError
from pyperf_infer.system import gpu_monitor
from pyperf_infer.system.gpu_monitor import GpuMonitor
from pyperf_infer.system.gpu_reader import Reading

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NVIDIA's driver is read on Linux")

GPU = "GPU-01020304-0506-0708-090a-0b0c0d0e0f10"
LONG_S = 60.0  # until something that comes soon is given up on


def watch(reader: str, interval_ms: float = 5, gpu: str | bytes = GPU) -> GpuMonitor:
    return GpuMonitor(gpu, interval_ms=interval_ms, reader=f"fake_gpu_reader:{reader}")


def all_of(monitor: GpuMonitor) -> list[Reading]:
    return monitor.readings(0, time.monotonic_ns())


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not reached():
        assert time.monotonic() < deadline, "did not come"
        time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether it is there and not a zombie that its parent has yet to collect."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_window_has_its_readings_and_one_on_either_side() -> None:
    with watch("steady") as monitor:
        assert monitor.ready(LONG_S)
        time.sleep(0.05)
        begin = time.monotonic_ns()
        time.sleep(0.1)
        end = time.monotonic_ns()
        times = [reading.monotonic_ns for reading in monitor.readings(begin, end)]
        assert monitor.why_not is None
        assert monitor.facts is not None
        assert (monitor.facts.name, monitor.facts.uuid) == ("Fake GPU", GPU)
    assert times == sorted(times)
    assert times[0] <= begin < times[1] <= times[-2] < end <= times[-1]
    assert monitor.why_not is None
    assert [reading.monotonic_ns for reading in monitor.readings(begin, end)] == times


def test_the_gpu_is_named_by_cudas_uuid_bytes_as_well() -> None:
    with watch("steady", gpu=bytes(range(1, 17))) as monitor:
        assert monitor.ready(LONG_S)
        assert monitor.facts is not None
        assert monitor.facts.uuid == GPU


def test_readings_carry_the_clock_of_the_timing_loop() -> None:
    before = time.monotonic_ns()
    native = _core.now_ns()
    assert before <= native <= time.monotonic_ns()
    with watch("steady") as monitor:
        monitor.ready(LONG_S)
        first = all_of(monitor)[0]
    assert native < first.monotonic_ns < _core.now_ns()


def test_a_reader_that_cannot_begin_says_why() -> None:
    with watch("refuses") as monitor:
        assert not monitor.ready(LONG_S)
        assert monitor.why_not == f"NVML knows no GPU {GPU}."
        assert all_of(monitor) == []
        assert monitor.facts is None


def test_a_gpu_that_is_lost_keeps_the_readings_before() -> None:
    with watch("is_lost") as monitor:
        until(lambda: monitor.why_not is not None)
    assert monitor.why_not == "The GPU could not be read: GPU is lost"
    assert len(all_of(monitor)) == fake_gpu_reader.GOOD_READINGS


def test_single_failures_pass() -> None:
    with watch("stumbles") as monitor:
        until(lambda: len(all_of(monitor)) >= fake_gpu_reader.GOOD_READINGS + 3)
        assert monitor.why_not is None


@pytest.mark.parametrize(
    ("reader", "why"),
    [
        ("dies", "The process that watched the GPU was ended by signal 9."),
        ("crashes", "The process that watched the GPU ended with status 134: libfake: assertion failed"),
        ("hangs_too_long", "The process that watched the GPU ended: the driver did not answer it for 10 s."),
    ],
)
def test_a_process_that_ends_says_why_and_keeps_its_readings(reader: str, why: str) -> None:
    with watch(reader) as monitor:
        until(lambda: monitor.why_not is not None)
        assert monitor.why_not == why
        assert len(all_of(monitor)) == fake_gpu_reader.GOOD_READINGS
    assert monitor.why_not == why


@pytest.mark.parametrize(("reader", "kept"), [("hangs", fake_gpu_reader.GOOD_READINGS), ("hangs_at_once", 0)])
def test_a_process_that_hangs_is_killed_at_the_end(reader: str, kept: int) -> None:
    with watch(reader) as monitor:
        pid = monitor.pid
        assert pid is not None
        if kept:
            assert monitor.ready(LONG_S)
            until(lambda: len(all_of(monitor)) == kept)
        else:
            assert not monitor.ready(0.3)
    assert not runs(pid)
    assert monitor.why_not == "The process that watched the GPU did not answer and was killed."
    assert len(all_of(monitor)) == kept


def test_what_else_is_printed_is_no_reading() -> None:
    with watch("babbles") as monitor:
        until(lambda: len(all_of(monitor)) > 3)
        assert monitor.why_not is None
        assert {reading.sm_clock_mhz for reading in all_of(monitor)} == {1755}


def test_a_line_that_is_written_in_parts_is_one_reading(tmp_path: Path) -> None:
    whole = b'{"type":"reading","monotonic_ns":7,"sm_clock_mhz":1755}\n'
    monitor = watch("steady")
    with (tmp_path / "lines").open("w+b", buffering=0) as lines:
        monitor._lines = lines
        for at, part in enumerate((whole[:20], whole[20:50], whole[50:])):
            assert monitor._readings == [], at
            lines.write(part)
            monitor._read_lines()
    assert [reading.monotonic_ns for reading in monitor._readings] == [7]


@pytest.mark.parametrize("reader", ["no_such_module:factory", "fake_gpu_reader:no_such_factory"])
def test_a_reader_that_is_not_there_is_named(reader: str) -> None:
    with GpuMonitor(GPU, reader=reader) as monitor:
        assert not monitor.ready(LONG_S)
    assert monitor.why_not is not None
    assert "no_such" in monitor.why_not


def test_a_gpu_that_this_machine_does_not_have_is_no_error() -> None:
    """With a driver NVML knows no such GPU; without one there is no NVML."""
    with GpuMonitor("GPU-00000000-0000-0000-0000-000000000000") as monitor:
        assert not monitor.ready(LONG_S)
    assert monitor.why_not is not None
    assert monitor.why_not.startswith(("NVML knows no GPU", "NVML cannot be read", "NVML does not give access"))


def test_a_process_that_cannot_be_started_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with watch("steady") as monitor:
        assert not monitor.ready(LONG_S)
        assert all_of(monitor) == []
    assert monitor.why_not is not None
    assert "could not be started" in monitor.why_not
    assert "/no/such/python" in monitor.why_not


def test_an_interpreter_that_is_not_known_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "")
    with watch("steady") as monitor:
        pass
    assert monitor.why_not is not None
    assert "could not be started" in monitor.why_not


def test_a_block_that_is_over_at_once_says_so_or_has_readings() -> None:
    with watch("steady", interval_ms=1000) as monitor:
        pass
    assert (monitor.why_not is None) == bool(all_of(monitor))


@pytest.mark.parametrize("interval_ms", [0, -1, float("nan")])
def test_an_interval_that_is_none_is_refused(interval_ms: float) -> None:
    with pytest.raises(UsageError, match="interval must be above 0"):
        watch("steady", interval_ms=interval_ms)


def test_a_window_that_runs_backwards_is_refused() -> None:
    with watch("steady") as monitor, pytest.raises(UsageError, match="before it begins"):
        monitor.readings(2, 1)


def test_ctrl_c_is_not_for_the_process_that_watches() -> None:
    with watch("steady") as monitor:
        assert monitor.ready(LONG_S)
        pid = monitor.pid
        assert pid is not None
        assert os.getpgid(pid) != os.getpgid(0)  # the terminal's Ctrl-C does not reach it
        os.kill(pid, signal.SIGINT)  # and what does reach it is ignored
        now = time.monotonic_ns()
        until(lambda: all_of(monitor)[-1].monotonic_ns > now + 50_000_000)
        assert monitor.why_not is None


def test_sigterm_ends_it() -> None:
    with watch("steady") as monitor:
        assert monitor.ready(LONG_S)
        assert monitor.pid is not None
        os.kill(monitor.pid, signal.SIGTERM)
        until(lambda: monitor.why_not is not None)
    assert monitor.why_not == "The process that watched the GPU was ended by signal 15."


@pytest.mark.parametrize("also_forked", [False, True])
def test_it_dies_with_its_parent(also_forked: bool) -> None:
    """Even where a process that was forked off the parent keeps the other end of its stdin open."""
    script = f"""
import os, signal, sys, time
sys.path[:0] = {sys.path!r}
from pyperf_infer.system.gpu_monitor import GpuMonitor
monitor = GpuMonitor("GPU-1", interval_ms=5, reader="fake_gpu_reader:steady").__enter__()
assert monitor.ready({LONG_S})
forked = 0
if {also_forked}:
    forked = os.fork()
    if forked == 0:
        os.closerange(1, 3)
        time.sleep(600)
print(monitor.pid, forked, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", script], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, forked = (int(word) for word in done.stdout.split())
    try:
        until(lambda: not runs(pid))
    finally:
        if forked:
            os.kill(forked, signal.SIGKILL)


def test_the_measuring_process_gets_no_thread_and_no_nvml() -> None:
    """In a process of its own: others here may have started threads or loaded NVML."""
    script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pyperf_infer.system.gpu_monitor import GpuMonitor
before = set(os.listdir("/proc/self/task"))
with GpuMonitor("GPU-1", interval_ms=5, reader="fake_gpu_reader:steady") as monitor:
    assert monitor.ready({LONG_S})
    assert set(os.listdir("/proc/self/task")) == before
with GpuMonitor("GPU-1", interval_ms=5) as monitor:
    monitor.ready({LONG_S})
assert not {{"cuda.bindings.nvml", "numpy", "torch"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-P", "-c", script], timeout=LONG_S, check=True)


def test_modules_in_the_working_directory_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("json", "msgspec", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    with watch("steady") as monitor:
        assert monitor.ready(LONG_S), monitor.why_not


def test_readings_that_were_missed_are_not_made_up_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A poll that takes three intervals: the next one is due at the next whole interval, not at once."""
    now, due = [0], []

    class Slow:
        def poll(self) -> Reading:
            now[0] += 350
            return Reading(monotonic_ns=now[0])

    def sleep_until(due_ns: int) -> bool:
        due.append(due_ns)
        now[0] = due_ns
        return len(due) == 3

    monkeypatch.setattr(gpu_monitor, "_arm", lambda seconds: None)
    monkeypatch.setattr(gpu_monitor, "_write", lambda line: None)
    monkeypatch.setattr(gpu_monitor, "_stdin_closes_by", sleep_until)
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    gpu_monitor._poll(Slow(), 100)  # type: ignore[arg-type]
    assert due == [400, 800, 1200]
