# SPDX-License-Identifier: Apache-2.0
"""Busy cores are waited for, and then refused; what runs on others is nobody's concern."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pyperf_infer.errors import MeasurementError
from pyperf_infer.roofline.ceilings.quiet import Moment, Quiet, of_their_cores, other_load, own_s, taken_s

TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """A tree of /proc and /sys in which every block takes a second, all of one CPU by this process.

    `others` is what else runs in each block, in seconds by CPU; the last goes on for ever.
    """

    def __init__(
        self, root: Path, others: Sequence[Mapping[int, float]], *, cpus: int = 2, threads_a_core: int = 1, on: int = 0
    ) -> None:
        self.root, self.others, self.on = root, list(others), on
        self.busy_s = dict.fromkeys(range(cpus), 100.0)
        self.now_s = self.own_s = self.slept_s = 0.0
        (root / "proc").mkdir()
        for number in range(cpus):
            first = number // threads_a_core * threads_a_core
            topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
            topology.mkdir(parents=True)
            (topology / "core_cpus_list").write_text(f"{first}-{first + threads_a_core - 1}\n")
        self.write()

    def write(self) -> None:
        lines = [f"cpu{number} {round(busy * TICKS)} 0 0 7 7 0 0 0 9 9" for number, busy in self.busy_s.items()]
        (self.root / "proc/stat").write_text("\n".join(["cpu  1 1 1 1", *lines, "intr 1"]) + "\n")

    def block(self) -> str:
        self.now_s += 1
        self.own_s += 1
        self.busy_s[self.on] += 1
        for number, busy in (self.others.pop(0) if len(self.others) > 1 else self.others[0]).items():
            self.busy_s[number] += busy
        self.write()
        return "measured"

    def sleep(self, seconds: float) -> None:
        self.slept_s += seconds
        self.now_s += seconds

    def quiet(self, patience_s: float = 15) -> Quiet:
        return Quiet(
            patience_s=patience_s, root=self.root, clock=lambda: self.now_s, own=lambda: self.own_s, sleep=self.sleep
        )


def write_stat(root: Path, text: str) -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(text)
    return root


def test_what_is_taken_of_a_cpu_is_busy_and_stolen_time_without_idling(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice
    root = write_stat(tmp_path, "cpu 9 9 9 9\ncpu0 1 2 4 1000 2000 8 16 32 4000 8000\ncpu10 7 0 0 0 0 0 0 0 0 0\n")
    assert taken_s([0], root) == 63 / TICKS
    assert taken_s([0, 10], root) == 70 / TICKS


@pytest.mark.parametrize("text", ["", "cpu 1 2 3", "cpu1 1 2 3 4 5 6 7 8", "cpu0 1 2", "cpu0 a b c d e f g h"])
def test_a_system_that_does_not_tell_of_a_cpu_is_not_guessed_at(tmp_path: Path, text: str) -> None:
    assert taken_s([0], write_stat(tmp_path, text)) is None
    assert taken_s([0], tmp_path / "nowhere") is None


def test_other_load_is_what_this_process_did_not_use_of_the_cpus() -> None:
    begin = Moment(10.0, 100.0, 5.0)
    assert other_load(begin, Moment(11.0, 101.0, 5.5), 2) == 0.25
    assert other_load(begin, Moment(11.0, 101.0, 6.0), 2) == 0
    assert other_load(begin, Moment(11.0, 100.0, 6.0), 2) == 0  # the counters' own steps
    assert other_load(begin, Moment(11.0, None, 6.0), 2) is None
    assert other_load(begin, Moment(10.0, 101.0, 5.0), 2) is None


def test_a_quiet_machine_measures_once_and_tells_the_highest_load(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{0: 0.02}, {0: 0.04}, {0: 0.03}])
    quiet = machine.quiet()
    assert [quiet.measured("it", [0], machine.block) for _ in range(3)] == ["measured"] * 3
    assert quiet.highest == pytest.approx(0.04)
    assert machine.now_s == 3


def test_a_program_on_the_measured_cpu_of_a_large_machine_is_seen(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{17: 1.0}], cpus=64, on=17)
    with pytest.raises(MeasurementError, match=r"took 100% of the time of the cores in use"):
        machine.quiet().measured("it", [17], machine.block)


def test_jobs_on_other_cores_are_nobodys_concern(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [dict.fromkeys(range(2, 64), 1.0)], cpus=64)
    quiet = machine.quiet()
    assert quiet.measured("it", [0, 1], machine.block) == "measured"
    assert quiet.highest == 0


def test_a_program_on_the_hardware_thread_beside_is_seen(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{1: 1.0}], cpus=8, threads_a_core=2)
    assert of_their_cores([0, 4], machine.root) == [0, 1, 4, 5]
    with pytest.raises(MeasurementError, match="took 50% of the time"):
        machine.quiet().measured("it", [0], machine.block)
    assert machine.quiet().load_of([2], lambda: machine.sleep(1)) == (None, 0)


def test_what_was_disturbed_is_measured_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{0: 1.0}, {1: 0.5}, {}])
    quiet = machine.quiet()
    assert quiet.measured("it", [0, 1], machine.block) == "measured"
    assert quiet.highest == 0
    assert machine.own_s == 3
    assert machine.slept_s > 0


def test_a_machine_that_stays_busy_is_refused_by_how_much(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{1: 1.0}])
    with pytest.raises(MeasurementError, match=r"busy: while the memory was measured.* took 50% .*and 5% is the most"):
        machine.quiet().measured("the memory", [0, 1], machine.block)
    assert machine.own_s == 15


def test_patience_is_for_all_blocks_together(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{0: 1.0}] * 3 + [{}, {0: 1.0}])
    quiet = machine.quiet(patience_s=5)
    quiet.measured("it", [0], machine.block)
    with pytest.raises(MeasurementError):
        quiet.measured("it", [0], machine.block)
    assert machine.own_s == 6


def test_a_system_that_does_not_tell_is_no_reason_to_refuse(tmp_path: Path) -> None:
    machine = Machine(tmp_path, [{0: 1.0}])
    quiet = Quiet(root=tmp_path / "nowhere")
    assert quiet.measured("it", [0], machine.block) == "measured"
    assert quiet.highest is None


def test_the_systems_own_counters_are_understood() -> None:
    before = own_s()
    sum(range(1_000_000))
    assert own_s() > before
    _, load = Quiet().load_of([0], lambda: None)
    assert load is None or load >= 0
