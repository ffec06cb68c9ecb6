# SPDX-License-Identifier: Apache-2.0
"""One of the processes of `pyperf-infer run --processes`, as a program::

    python -P -m pyperf_infer.cli.one_process FOLDER NUMBER

It does the plan that lies in the folder as `run` does, leaves its document there, and tells on stdout (JSON lines, see
measure/process_messages.py) where it is and how it ended. What libraries print goes to stderr. It ends when its stdin
does, as it does when its parent dies. Ctrl-C ends the measuring; what was measured until then is in the document.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyperf_infer.measure.process_messages import Ended, Message
    from pyperf_infer.measure.run import Run

INTERRUPTED = 130
FAILED = 5


def main() -> NoReturn:
    """The program."""
    try:
        from pyperf_infer.cli.interrupts import INTERRUPTS

        INTERRUPTS.watch()
        code = _measure(Path(sys.argv[1]), int(sys.argv[2]))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:  # nothing has been begun
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        code = INTERRUPTED
    # Taking down torch and its CUDA libraries one by one would take another second.
    atexit._run_exitfuncs()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    os._exit(code)


def _measure(folder: Path, number: int) -> int:
    send = _sender()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from pyperf_infer.cli.interrupts import INTERRUPTS
    from pyperf_infer.measure.observer import Observer
    from pyperf_infer.measure.process_messages import PLAN_FILE, Stage, Told, document_name
    from pyperf_infer.measure.run import Run

    class Reporter(Observer):
        """As the progress bar of the command line, but for the bar, which would take time from what is measured."""

        def stage(self, text: str) -> None:
            INTERRUPTS.check()
            send(Stage(text))

        def progress(self, phase: str, calls: int, elapsed_ns: int, budget_ns: int, last_ns: int) -> None:  # noqa: ARG002
            INTERRUPTS.check()

        def notice(self, text: str) -> None:
            send(Told(text))

        def failed(self, error: Exception) -> None:
            INTERRUPTS.check()
            if "PYPERF_INFER_DEBUG" in os.environ:
                import traceback

                traceback.print_exception(error)

    import pickle

    plan = pickle.loads((folder / PLAN_FILE).read_bytes())  # noqa: S301  the parent's own, in a folder of this user's
    job = Run(plan, command=[], observer=Reporter())
    error: Exception | None = None
    with INTERRUPTS.held():
        try:
            with INTERRUPTS.let_through():
                INTERRUPTS.check()
                job.execute()
            status = "failed" if any(row.error for row in job.results) else "complete"
        except KeyboardInterrupt:
            status = "interrupted"
        except Exception as caught:
            status = "interrupted" if INTERRUPTS.pressed else "failed"
            error = None if INTERRUPTS.pressed else caught
        INTERRUPTS.answer()
        ended = _saved(job, status, folder / document_name(number), error)
        send(ended)
    return ended.exit_code


def _saved(job: Run, status: str, path: Path, error: Exception | None) -> Ended:
    from pyperf_infer.errors import PyperfInferError
    from pyperf_infer.measure.process_messages import Ended
    from pyperf_infer.results.files import write_document

    try:
        write_document(job.document(status), path, job.samples)
    except PyperfInferError as unsaved:  # the disk of the temporary folder is full
        return Ended(exit_code=unsaved.exit_code, saved=False, kind=type(unsaved).__name__, message=str(unsaved))
    if error is None:
        code = INTERRUPTED if status == "interrupted" else job.exit_code
        return Ended(exit_code=code, saved=True)
    if "PYPERF_INFER_DEBUG" in os.environ:
        import traceback

        traceback.print_exception(error)
    code = error.exit_code if isinstance(error, PyperfInferError) else FAILED
    return Ended(exit_code=code, saved=True, kind=type(error).__name__, message=str(error))


def _sender() -> Callable[[Message], None]:
    """Writes messages to what is stdout now. From here on everybody else's output goes to stderr."""
    import msgspec

    answers = os.dup(1)
    os.dup2(2, 1)

    def send(message: Message) -> None:
        data = msgspec.json.encode(message) + b"\n"
        with suppress(BrokenPipeError):  # then the parent has gone, and so will this process
            while data:
                data = data[os.write(answers, data) :]

    return send


def _end_with_parent() -> None:
    """Sleeps in a read; with the end of stdin it ends this process and what it has started, a compiler for one."""
    while os.read(0, 1 << 16):
        pass
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(FAILED)


if __name__ == "__main__":
    main()
