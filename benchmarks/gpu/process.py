# SPDX-License-Identifier: Apache-2.0
"""Runs a program with a limit that holds for all that it starts. Standard library alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE_S = 5.0


def run_group(command: Sequence[str], environment: Mapping[str, str], log: Path, limit_s: float) -> int | None:
    """The exit code; None where the time was over and the program was killed with its children.

    What it prints, on stdout and stderr, goes to the file `log`.
    """
    with log.open("wb") as output:
        # A session of its own: what it starts is of its group, and ends with it.
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _end_group(process)
            return None
        except BaseException:  # Ctrl-C: nothing is left behind
            _end_group(process)
            raise


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Asks the group to end, then kills what is left of it, which may be children that outlived their parent."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            continue
    if process.poll() is None:  # a process that is stuck in the driver may outlast even this; the others go on
        print(f"process {process.pid} is stuck in the kernel and is left alone", file=sys.stderr)
