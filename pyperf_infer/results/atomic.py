# SPDX-License-Identifier: Apache-2.0
"""A file appears whole or not at all, and a place that cannot take one is found before an hour of measuring."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyperf_infer.errors import InputError

TRIAL_BYTES = 64 * 1024  # enough to need a block of its own: inline data would fit on a full disk

_REMEDIES = {
    errno.ENOSPC: "The disk is full: free some space or name a file on another one.",
    errno.EDQUOT: "The disk quota is used up: free some space or name a file elsewhere.",
    errno.EFBIG: "It is larger than this process may write: raise the limit (`ulimit -f`).",
    errno.EROFS: "The file system is read-only: name a file elsewhere.",
    errno.EACCES: "Permission is missing there: name a file in a folder that you may write to.",
    errno.EPERM: "The system forbids it there: name a file in a folder that you may write to.",
    errno.ENOENT: "The folder is not there: create it first, or name a file in one that is.",
    errno.ENOTDIR: "A part of the path is a file, not a folder: correct the path.",
    errno.EISDIR: "It is a folder: name a file in it.",
    errno.ENAMETOOLONG: "The name is too long: choose a shorter one.",
    errno.ELOOP: "Its symbolic links form a loop: correct them or name another file.",
}


@contextmanager
def explained(action: str, path: Path) -> Iterator[None]:
    """Turns what the operating system says while ``action`` is done to ``path`` into an InputError with a remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Name a file elsewhere.")
        raise InputError(f"Cannot {action} {str(path)!r}: {error.strerror or error}. {remedy}") from error


def resolve_target(path: Path) -> Path:
    """The regular file, there or not yet, that ``path`` leads to. A link is followed, so that it stays a link.

    Raises:
        InputError: a folder, a device or a pipe (replacing /dev/null by a file would harm the machine), a file that
            is write-protected, a folder that is missing, or a path no file can have.
    """
    if "\0" in str(path) or not path.name:
        raise InputError(f"Cannot write {str(path)!r}: no file can be called that. Name a file.")
    with explained("write", path):
        try:
            target = path.resolve()
            mode: int | None = target.stat().st_mode
        except FileNotFoundError:
            mode = None
        except RuntimeError as error:  # before Python 3.13, pathlib reports a loop of links this way
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
        if mode is not None and stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if mode is not None and not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is write-protected")
        target.parent.stat()  # a missing folder is found here, by name
    if mode is not None and not stat.S_ISREG(mode):
        raise InputError(f"Cannot write {str(path)!r}: it is a device or a pipe, not a file. Name a file.")
    return target


def write_atomically(target: Path, data: bytes) -> None:
    """Writes ``data`` to the resolved ``target``: a temporary file in the same folder, fsync, rename.

    A new file gets the mode that the umask gives; one that is replaced keeps its own.

    Raises:
        InputError: the system refuses. ``target`` is then as it was, and nothing half-written stays.
    """
    with explained("write", target):
        temporary = _write_temporary(target.parent, data)
        try:
            with suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(target.parent)


def check_writable(path: Path) -> None:
    """Tries whether a file can be written at ``path``, through to fsync, and leaves nothing behind.

    Raises:
        InputError: it cannot; the message says why and what to do.
    """
    target = resolve_target(path)
    with explained("write", path):
        _write_temporary(target.parent, os.urandom(TRIAL_BYTES)).unlink()


def _write_temporary(folder: Path, data: bytes) -> Path:
    """A new file with ``data`` safely on disk. It is gone again if anything, Ctrl-C too, comes in between."""
    temporary = folder / f".pyperf-infer-{secrets.token_hex(8)}.tmp"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            remaining = memoryview(data)
            while remaining:
                remaining = remaining[os.write(descriptor, remaining) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself last. Some file systems refuse to fsync a folder; the file is whole either way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
