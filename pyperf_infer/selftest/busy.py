# SPDX-License-Identifier: Apache-2.0
"""A process that keeps one CPU busy and does nothing else, as a program::

    python -P -m pyperf_infer.selftest.busy CPU

It writes one line when it has begun, and ends when its stdin does, as it does when its parent dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading


def main(cpu: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    os.sched_setaffinity(0, {cpu})
    threading.Thread(target=_wait_for_the_end, daemon=True).start()
    os.write(1, b"busy\n")
    while True:
        pass


def _wait_for_the_end() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
