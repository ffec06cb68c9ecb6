# SPDX-License-Identifier: Apache-2.0
"""The console script. Everything else is imported inside `main`, so that Ctrl-C is met from the first moment on."""

from __future__ import annotations

import sys

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    try:
        from pyperf_infer.cli.app import run_app

        code = run_app(sys.argv[1:])
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)  # noqa: T201
        code = INTERRUPTED
    sys.exit(code)
