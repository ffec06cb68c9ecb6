# SPDX-License-Identifier: Apache-2.0
"""Runs the installed `pyperf-infer` as a user does: the console script, in a process of its own."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pyperf_infer.results.schema import Document

COMMAND = str(Path(sys.executable).parent / "pyperf-infer")
TIMEOUT_S = 180
# A measurement as short as it can be; nobody looks at its numbers.
QUICK = ("--duration", "0.02", "--max-duration", "0.1", "--warmup-ms", "20", "-q")
# One that lasts until somebody stops it, and one whose calls are timed for as long as a test may take.
ENDLESS = ("--duration", "100", "--max-duration", "120", "--warmup-ms", "20")

Setup = Callable[[], object]


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Document:
        """What `--results-format json` printed; nothing else may stand on standard output."""
        return msgspec.json.decode(self.out, type=Document)


def run_command(
    *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None, setup: Setup | None = None, code: int = 0
) -> Done:
    """Runs to the end, and requires exit code `code` and no traceback. `setup` runs in the child before the command."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(cwd, env),
        preexec_fn=setup,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    if "--debug" not in arguments:
        assert "Traceback" not in done.stderr + done.stdout
    return Done(done.returncode, done.stdout, done.stderr)


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's variables, with everything the command keeps for itself inside `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYPERF_INFER_")}
    own = {"XDG_STATE_HOME": str(folder / "state"), "PYPERF_INFER_CACHE_DIR": str(folder / "cache"), "COLUMNS": "200"}
    return kept | own | dict(more or {})


class Running:
    """A command at work. Standard error is a terminal, so that the progress bar tells where it is."""

    def __init__(self, *arguments: str | Path, cwd: Path, setup: Setup | None = None) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115  closed by finish
        self._terminal, theirs = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen(
            [COMMAND, *map(str, arguments)],
            cwd=cwd,
            env=environment(cwd, {"TERM": "xterm"}),
            preexec_fn=setup,
            stdout=self._out,
            stderr=theirs,
        )
        os.close(theirs)

    def wait_until_shown(self, text: str) -> None:
        """Until `text` stands on standard error."""
        until = time.monotonic() + TIMEOUT_S
        while text not in self.seen:
            self._read(until)

    def wait_until_loaded(self, library: str) -> None:
        """Until a library whose path has `library` in it is mapped into the process."""
        until = time.monotonic() + TIMEOUT_S
        while library not in Path(f"/proc/{self.process.pid}/maps").read_text():
            assert self.process.poll() is None, f"ended before {library} was loaded"
            assert time.monotonic() < until
            time.sleep(0.002)

    def press_ctrl_c(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def finish(self, code: int) -> Done:
        """Waits for the end and requires exit code `code` and no traceback."""
        until = time.monotonic() + TIMEOUT_S
        while self.process.poll() is None and self._read(until):
            pass
        self.process.wait(timeout=TIMEOUT_S)
        while self._read(until):
            pass
        os.close(self._terminal)
        self._out.seek(0)
        done = Done(self.process.returncode, self._out.read().decode(), self.seen)
        self._out.close()
        assert done.code == code, f"exit code {done.code}\n{done.out}\n{done.err}"
        assert "Traceback" not in done.err + done.out
        assert "Exception ignored" not in done.err
        return done

    def stop(self) -> None:
        """Ends it whatever it does, for tests that fail half-way."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self, until: float) -> bool:
        """Some more of standard error; False when it is closed."""
        assert time.monotonic() < until, f"not seen in time; on the terminal: {self.seen}"
        ready, _, _ = select.select([self._terminal], [], [], 0.2)
        if not ready:
            return self.process.poll() is None
        try:
            more = os.read(self._terminal, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self.seen += more.decode(errors="replace")
        return bool(more)
