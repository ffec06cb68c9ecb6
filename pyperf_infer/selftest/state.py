# SPDX-License-Identifier: Apache-2.0
"""What a self-test has found so far, on disk after every step, so that it goes on where it was broken off.

One JSON line a step, after a first one that says what they belong to. A line that a crash left half-written, that says
what cannot be, or that is of a step which is there already is dropped, with whatever follows it. Steps are kept for a
day: a finished self-test is shown again until then. After that, or for another plan, machine or release, everything is
measured anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import msgspec

from pyperf_infer.errors import UsageError
from pyperf_infer.results.atomic import explained
from pyperf_infer.results.schema import utc_now
from pyperf_infer.selftest.plan import SelfTestPlan  # noqa: TC001  msgspec reads it
from pyperf_infer.selftest.records import Record, key_of
from pyperf_infer.system.state_folder import state_folder

VERSION = 1
KEPT = timedelta(days=1)


class Header(msgspec.Struct, kw_only=True, frozen=True):
    """What the lines belong to."""

    version: int
    tool_version: str
    machine: str
    plan: SelfTestPlan
    started_utc: str


_Line = TypeVar("_Line")
_HEADER = msgspec.json.Decoder(Header)
_RECORD: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)


def state_path(plan: SelfTestPlan, machine: str, tool_version: str) -> Path:
    """One file for each plan, machine and release."""
    identity = msgspec.json.encode([VERSION, tool_version, machine, plan])
    return state_folder() / "selftest" / f"{hashlib.sha256(identity).hexdigest()[:16]}.jsonl"


class State:
    """The records of a self-test, of earlier calls and of this one. Close it at the end: it is locked until then."""

    def __init__(self, path: Path, *, plan: SelfTestPlan, machine: str, tool_version: str, fresh: bool = False) -> None:
        """Takes over what an earlier call left, unless `fresh` or it is too old.

        Raises:
            UsageError: another process is at the same self-test.
            InputError: the file cannot be read or written.
        """
        self.path = path
        self.records: list[Record] = []
        self.header = Header(
            version=VERSION, tool_version=tool_version, machine=machine, plan=plan, started_utc=utc_now()
        )
        with explained("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._lock()
                good = 0 if fresh else self._read()
                os.ftruncate(self._descriptor, good)
                if good == 0:
                    self._append(self.header)
            except BaseException:
                os.close(self._descriptor)
                raise
        _sweep(path)

    def add(self, record: Record) -> None:
        """Keeps a record, on disk when this returns.

        Raises:
            InputError: the disk is full, or gone.
        """
        self.records.append(record)
        with explained("write", self.path):
            self._append(record)

    def close(self) -> None:
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "Another self-test with the same settings is running on this machine; wait for it, since each would "
                "disturb the other."
            ) from error

    def _read(self) -> int:
        """How many bytes from the beginning are good: 0 where the file is of something else, or too old."""
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            lines = file.read().splitlines(keepends=True)
        header = _decoded(_HEADER, lines[0]) if lines else None
        if header is None or not self._goes_on(header):
            return 0
        self.header, good = header, len(lines[0])
        done = set[tuple[object, ...]]()
        for line in lines[1:]:
            record = _decoded(_RECORD, line)
            if record is None or key_of(record) in done:
                break
            done.add(key_of(record))
            self.records.append(record)
            good += len(line)
        return good

    def _goes_on(self, header: Header) -> bool:
        same = msgspec.structs.replace(header, started_utc=self.header.started_utc) == self.header
        return same and timedelta(0) <= _moment(self.header) - _moment(header) < KEPT

    def _append(self, what: Header | Record) -> None:
        os.lseek(self._descriptor, 0, os.SEEK_END)
        data = msgspec.json.encode(what) + b"\n"
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)


def _sweep(path: Path) -> None:
    """Removes the files beside it that are too old to be gone on with."""
    oldest = time.time() - KEPT.total_seconds()
    for other in path.parent.glob("*.jsonl"):
        with suppress(OSError):
            if other != path and other.stat().st_mtime < oldest:
                other.unlink()


def _decoded(decoder: msgspec.json.Decoder[_Line], line: bytes) -> _Line | None:
    """None for a line that is damaged, or was never ended."""
    if not line.endswith(b"\n"):
        return None
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _moment(header: Header) -> datetime:
    """The first moment there is for one that cannot be read."""
    try:
        return datetime.strptime(header.started_utc, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
