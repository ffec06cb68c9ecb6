# SPDX-License-Identifier: Apache-2.0
"""Python processes beside the one that measures, for work that must neither disturb nor hang it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from typing import IO

# After SIGKILL only a call that the kernel cannot break keeps a process: it is left behind rather than waited for.
_KILLED_WAIT_S = 1.0


def start_module(
    module: str, *arguments: str, stdin: int, stdout: int | IO[bytes], stderr: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Starts ``python -m module``, in a process group of its own: what Ctrl-C in the terminal reaches is not this.

    It finds the modules that this process finds, and none in the working directory that this one does not.

    Raises:
        OSError: no process could be started.
    """
    if not sys.executable:
        raise OSError("Python does not know its own interpreter")
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(  # noqa: S603  this interpreter, no shell
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, "PYTHONPATH": path},
        process_group=0,
    )


def end(process: subprocess.Popen[bytes], patience_s: float) -> bool:
    """Waits for the end, then kills; False where it had to. Takes at most a second longer than `patience_s`."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
        return True
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED_WAIT_S)
    return False


def ending(status: int | None) -> str:
    """How a process of this status ended, in words that go behind its name."""
    if status is None:
        return "does not end and was left behind"
    if status >= 0:
        return f"ended with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    # Nobody but the kernel's out-of-memory killer ends a process so without being asked.
    why = " (as the kernel does where memory runs out)" if -status == signal.SIGKILL else ""
    return f"was ended by {name}{why}"
