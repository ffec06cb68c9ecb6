# SPDX-License-Identifier: Apache-2.0
"""The console script. Everything else is imported inside `main`, so that Ctrl-C is met from the first moment on."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    try:
        from pyperf_infer.cli.interrupts import INTERRUPTS

        INTERRUPTS.watch()
        from pyperf_infer.cli.app import run_app

        code = run_app(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done; what libraries do at the end has no message for it
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        code = INTERRUPTED
    _end(code)


def _end(code: int) -> NoReturn:
    """Ends the process at once. Taking down torch and its CUDA libraries one by one would take another second."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or full: run_app has said so
            stream.flush()
    os._exit(code)
