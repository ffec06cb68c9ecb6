# SPDX-License-Identifier: Apache-2.0
"""The ceilings that were measured, kept for later commands: one file, an entry a machine, device and threads.

A home folder may be shared by machines: an entry counts only for the machine that its key names.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from pyperf_infer.results.ceilings_schema import Ceilings
from pyperf_infer.system.state_file import read_state, write_state
from pyperf_infer.system.state_folder import state_folder

VERSION = 1


class _File(msgspec.Struct, kw_only=True):
    version: int
    ceilings: dict[str, msgspec.Raw]


def ceilings_path() -> Path:
    return state_folder() / "ceilings.json"


def load_ceilings(machine: str, device: str, threads: int) -> Ceilings | None:
    """What was kept last; None where there is nothing that can be used. Nothing is raised."""
    try:
        raw = _read(ceilings_path()).ceilings[_key(machine, device, threads)]
        found = msgspec.json.decode(raw, type=Ceilings)
    except (OSError, ValueError, KeyError, RecursionError):
        return None
    return found if (found.machine, found.device, found.threads) == (machine, device, threads) else None


def save_ceilings(ceilings: Ceilings) -> Path:
    """Keeps ceilings in place of others of the same machine, device and threads.

    What cannot be read of the file is given up.

    Raises:
        InputError: the file cannot be written. It is then as it was.
    """
    path = ceilings_path()
    try:
        entries = _read(path).ceilings
    except (OSError, ValueError):
        entries = {}
    key = _key(ceilings.machine, ceilings.device, ceilings.threads)
    entries[key] = msgspec.Raw(msgspec.json.encode(ceilings))
    write_state(path, _File(version=VERSION, ceilings=entries))
    return path


def _key(machine: str, device: str, threads: int) -> str:
    return f"{machine} | {device} | {threads} threads"


def _read(path: Path) -> _File:
    """Raises OSError, or ValueError that says what is wrong with the file."""
    return read_state(path, _File, VERSION)
