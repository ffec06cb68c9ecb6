# SPDX-License-Identifier: Apache-2.0
"""A neighbour: another process that keeps one CPU busy while this one measures on the others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from pyperf_infer.errors import MeasurementError
from pyperf_infer.system.child import end, start_module

_MODULE = "pyperf_infer.selftest.busy"


def neighbour_cpu() -> int | None:
    """The CPU for the neighbour: the last that this process may use; None where there is no other to measure on."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return usable[-1] if len(usable) > 1 else None


@contextmanager
def busy_neighbour(cpu: int) -> Iterator[int]:
    """Keeps `cpu` busy inside of the block, which gets the process' id. It ends however the block does.

    Should this process be killed, the neighbour's stdin ends, and so does the neighbour.

    Raises:
        MeasurementError: no process could be started, or it did not come to work.
    """
    try:
        process = start_module(
            _MODULE, str(cpu), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise MeasurementError(f"The busy neighbour cannot be started: {error}. {_REMEDY}") from error
    try:
        assert process.stdin is not None  # noqa: S101  asked for above
        assert process.stdout is not None  # noqa: S101
        with process.stdin, process.stdout:
            if not process.stdout.readline():
                raise MeasurementError(f"The busy neighbour on CPU {cpu} ended before it had begun. {_REMEDY}")
            yield process.pid
    finally:
        process.kill()
        end(process, 1.0)


_REMEDY = "Run this again; what was measured so far is kept."
