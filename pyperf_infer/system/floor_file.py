# SPDX-License-Identifier: Apache-2.0
"""The floors between processes that `selftest` found, kept for `compare`: one file, an entry a machine.

A home folder may be shared by machines, and a result may come from another one: an entry counts only for the machine
that its key names.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pyperf_infer.statistics.floor import FEWEST_PROCESSES, Floor
from pyperf_infer.system.state_file import read_state, write_state
from pyperf_infer.system.state_folder import state_folder

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Environment

VERSION = 1
_LARGEST_SD = 10.0  # of logarithms: no two runs of one program lie so far apart
_MEASURE = "pyperf-infer selftest measures it."


class _Entry(msgspec.Struct, kw_only=True):
    relative_sd: float
    processes: int
    measured_utc: str


class _File(msgspec.Struct, kw_only=True):
    version: int
    machines: dict[str, _Entry]


class FoundFloor(NamedTuple):
    """The floor of a machine and when it was measured; or, in one sentence with the remedy, why there is none."""

    floor: Floor | None
    measured_utc: str | None
    reason: str | None


def floor_path() -> Path:
    return state_folder() / "floor.json"


def machine_key(environment: Environment) -> str:
    """What tells machines apart as far as times go: processor, cores, hypervisor, GPUs."""
    return " | ".join(
        [
            environment.cpu_model or environment.architecture,
            f"{environment.logical_cores} CPUs",
            environment.hypervisor or ("virtual" if environment.virtualised else "no hypervisor"),
            *sorted(gpu.name for gpu in environment.gpus),
        ]
    )


def load_floor(machine: str) -> Floor | None:
    """The floor of the machine that `machine_key` names; None where there is none that can be used."""
    return find_floor(machine).floor


def find_floor(machine: str) -> FoundFloor:
    """As `load_floor`, with when it was measured, or with the reason why there is none. Nothing is raised."""
    path = floor_path()
    try:
        file = _read(path)
    except FileNotFoundError:
        return _none("The floor between processes of this machine is not known.")
    except (OSError, ValueError) as error:
        return _none(f"{path} cannot be used: {error}.")
    entry = file.machines.get(machine)
    if entry is None:
        return _none(f"The floor between processes of this machine is not known; {path} is of other machines.")
    if not (0 <= entry.relative_sd <= _LARGEST_SD and entry.processes >= FEWEST_PROCESSES):
        return _none(f"{path} cannot be used: its floor of this machine is no such number.")
    return FoundFloor(Floor(entry.relative_sd, entry.processes), entry.measured_utc, None)


def save_floor(floor: Floor, machine: str, *, measured_utc: str | None = None) -> Path:
    """Keeps a floor in place of another one of the same machine, as measured just now unless `measured_utc` says when.

    What cannot be read of the file is given up.

    Raises:
        InputError: the file cannot be written. It is then as it was.
    """
    path = floor_path()
    try:
        machines = _read(path).machines
    except (OSError, ValueError):
        machines = {}
    measured_utc = measured_utc or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    machines[machine] = _Entry(relative_sd=floor.relative_sd, processes=floor.processes, measured_utc=measured_utc)
    write_state(path, _File(version=VERSION, machines=machines))
    return path


def _read(path: Path) -> _File:
    """Raises OSError, or ValueError that says what is wrong with the file."""
    return read_state(path, _File, VERSION)


def _none(sentence: str) -> FoundFloor:
    return FoundFloor(None, None, f"{sentence} {_MEASURE}")
