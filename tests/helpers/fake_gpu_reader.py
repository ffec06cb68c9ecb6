# SPDX-License-Identifier: Apache-2.0
"""Readers for ``gpu_monitor --reader fake_gpu_reader:NAME``: a GPU at a constant 300 W, and what can go wrong."""

from __future__ import annotations

import os
import signal
import sys
import time

from pyperf_infer.errors import BackendError
from pyperf_infer.results.schema import GpuProcess
from pyperf_infer.system.gpu_reader import GpuFacts, Reading

WATTS = 300
GOOD_READINGS = 3  # before what goes wrong goes wrong


class steady:  # noqa: N801  named like the factories below
    """Nothing goes wrong."""

    def __init__(self, gpu: str) -> None:
        self._gpu = gpu
        self.polls = 0

    def facts(self) -> GpuFacts:
        return GpuFacts(name="Fake GPU", uuid=self._gpu, max_sm_clock_mhz=1980)

    def poll(self) -> Reading:
        self.polls += 1
        if self.polls > GOOD_READINGS:
            self.fault()
        now = time.monotonic_ns()
        return Reading(
            monotonic_ns=now,
            sm_clock_mhz=1755,
            memory_clock_mhz=2619,
            power_w=float(WATTS),
            temperature_c=61,
            clocks_event_reasons=0x4,
            energy_mj=now * WATTS // 10**6,
            memory_used_bytes=5 * 10**9,
            processes=[GpuProcess(pid=os.getppid(), name="python", memory_bytes=10**9)],
        )

    def fault(self) -> None:
        """At every reading after the first good ones."""


class is_lost(steady):  # noqa: N801
    def fault(self) -> None:
        raise RuntimeError("GPU is lost")


class stumbles(steady):  # noqa: N801
    """Two of three readings fail."""

    def fault(self) -> None:
        if self.polls % 3:
            raise RuntimeError("time-out")


class dies(steady):  # noqa: N801
    def fault(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class crashes(steady):  # noqa: N801
    """As a library does that gives up on the whole process."""

    def fault(self) -> None:
        os.write(2, b"loading\nlibfake: assertion failed\n")
        os._exit(134)


class hangs(steady):  # noqa: N801
    """And cannot be asked to end either."""

    def fault(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)


class hangs_too_long(steady):  # noqa: N801
    """For longer than the program lets a call take."""

    def __init__(self, gpu: str) -> None:
        super().__init__(gpu)
        vars(sys.modules["__main__"])["CALL_S"] = 0.1

    def fault(self) -> None:
        time.sleep(600)


class babbles(steady):  # noqa: N801
    """Prints, to the very place where the readings go."""

    def poll(self) -> Reading:
        os.write(1, b'\xff\x00 warning: {"not": "a reading"}\n{"type":"reading","monotonic_ns":"soon"}\n\n[1,\n')
        os.write(1, b'{"type":"end","why":"\xff"}\n{"type":"\xff"}\n')
        return super().poll()


def refuses(gpu: str) -> steady:
    raise BackendError(f"NVML knows no GPU {gpu}.")


def hangs_at_once(gpu: str) -> steady:
    time.sleep(600)
    return steady(gpu)
