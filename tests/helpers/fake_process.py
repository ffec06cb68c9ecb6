# SPDX-License-Identifier: Apache-2.0
"""A process of `run --processes` that measures nothing, and does what the plan's flags tell it::

    python -P -m fake_process FOLDER NUMBER

`plan.flags["acts"]` has a word for each process, see `ACTS`, and `plan.flags["p50_ms"]` what each "measures".
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import result_documents as made

from pyperf_infer.measure.process_messages import PLAN_FILE, Ended, Message, Stage, Told, document_name
from pyperf_infer.results.files import write_document

if TYPE_CHECKING:
    from pyperf_infer.results import schema

SAMPLES = 40


def samples_around(p50_ms: float, number: int) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    """Around that median, other ones for each process."""
    spread = np.random.default_rng(number).normal(0, 0.01, SAMPLES)
    return {"latency": np.rint(p50_ms * 1e6 * np.exp(spread - np.median(spread))).astype(np.int64)}


def send(message: Message) -> None:
    os.write(1, msgspec.json.encode(message) + b"\n")


class Fake:
    def __init__(self, folder: Path, number: int) -> None:
        self.plan = pickle.loads((folder / PLAN_FILE).read_bytes())  # noqa: S301  the test's own
        self.path = folder / document_name(number)
        self.number = number
        self.p50_ms: float = self.plan.flags["p50_ms"][number - 1]

    def measures(self) -> None:
        self.save([made.result(p50_ms=self.p50_ms, count=SAMPLES)])

    def fails(self) -> None:
        self.save([made.failed(message=f"No room in process {self.number}.")], status="failed", code=5)

    def differs(self) -> None:
        row = made.result(p50_ms=self.p50_ms, count=SAMPLES)
        row.parity = made.parity("different")
        self.save([row], code=1)

    def killed(self) -> None:
        send(Stage("about to die"))
        print("first\nsecond\n\nthird: bad_alloc\nfourth", file=sys.stderr, flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)

    def silent(self) -> None:
        print("Traceback ...\nValueError: odd", file=sys.stderr, flush=True)  # noqa: T201
        sys.exit(7)

    def refuses(self) -> None:
        self.save([], status="failed", code=3, kind="InputError", message="no such model")

    def breaks(self) -> None:
        self.save([], status="failed", code=5, kind="ZeroDivisionError", message="division by zero")

    def disk_full(self) -> None:
        send(Ended(exit_code=3, saved=False, kind="InputError", message="No space left on device"))

    def cut_short(self) -> None:
        self.path.write_text('{"tool": "pyperf-infer", "schema_vers')
        send(Ended(exit_code=0, saved=True))

    def chats(self) -> None:
        os.write(1, b"Intel MKL says hello\n")
        send(Told("halving the batch"))
        self.measures()

    def waits(self) -> None:
        """Until Ctrl-C, with a row that is complete by then and one that is not."""
        stopped: list[int] = []

        def stop(signum: int, _: FrameType | None) -> None:
            stopped.append(signum)

        signal.signal(signal.SIGINT, stop)
        send(Stage("waiting"))
        while not stopped:
            time.sleep(0.01)
        send(Stage("a stage while it is being stopped"))
        broken = made.result(backend="onnxruntime", p50_ms=self.p50_ms, count=SAMPLES)
        assert broken.method.stop is not None
        broken.method.stop.reason, broken.method.stop.converged = "interrupted", False
        self.save([made.result(p50_ms=self.p50_ms, count=SAMPLES), broken], status="interrupted", code=130)

    def deaf(self) -> None:
        """Does not hear Ctrl-C, and has started something that does not either."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        sleeper = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
        Path(self.plan.flags["pids"]).write_text(f"{os.getpid()} {sleeper.pid}")
        send(Stage("waiting"))
        time.sleep(600)

    def save(
        self,
        rows: list[schema.Result],
        status: str = "complete",
        code: int = 0,
        kind: str | None = None,
        message: str = "",
    ) -> None:
        document = made.document(rows, [], status=status)
        samples = [None if row.error else samples_around(self.p50_ms, self.number) for row in rows]
        write_document(document, self.path, samples)
        send(Ended(exit_code=code, saved=True, kind=kind, message=message))


ACTS: dict[str, Callable[[Fake], None]] = {
    name: act for name, act in vars(Fake).items() if callable(act) and not name.startswith("_") and name != "save"
}

if __name__ == "__main__":
    fake = Fake(Path(sys.argv[1]), int(sys.argv[2]))
    ACTS[fake.plan.flags["acts"][fake.number - 1]](fake)
