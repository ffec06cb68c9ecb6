# SPDX-License-Identifier: Apache-2.0
"""What tells machines apart as far as ceilings go."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.system import cpu
from pyperf_infer.system.floor_file import machine_key

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Environment

_DIGITS = 12


def ceilings_machine(device: str, environment: Environment | None = None, root: Path = Path("/")) -> str:
    """The key that ceilings of `device` on this machine are kept under.

    Virtual machines on hosts of different kinds may have the same name ("Intel(R) Xeon(R) Processor"), number of CPUs
    and hypervisor: of the CPU the sets of instructions and the sizes of the caches, which differ, are part of it.
    """
    if environment is None:
        from pyperf_infer.system.environment import collect

        environment = collect()
    key = machine_key(environment)
    if device != "cpu":
        return key
    caches = [f"{one.level} {one.kind} {one.size_bytes}" for one in environment.caches]
    told = "\n".join([*sorted(cpu.features(root)), *caches])
    return f"{key} | {hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]}"
