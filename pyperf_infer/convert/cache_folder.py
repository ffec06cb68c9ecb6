# SPDX-License-Identifier: Apache-2.0
"""The folders of what is kept between runs: where they are, their locks and temporary folders, and what leaves them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pyperf_infer.errors import InputError

ENVIRONMENT_VARIABLE = "PYPERF_INFER_CACHE_DIR"
SIZE_LIMIT_BYTES = 10 * 2**30
# Far longer than anything takes to build: a younger one may belong to a live process.
STALE_SECONDS = 24 * 3600.0
# An entry used this recently may be about to be loaded by the process that asked for it.
IN_USE_SECONDS = 3600.0
# Past this, the holder of the lock hangs or is stopped; building the same twice does no harm then.
LOCK_TIMEOUT_SECONDS = 300.0

_TEMPORARY = "tmp-"
_LOCKS = "locks"
_CONTENT = {"exports": "exported models", "compiled": "compiled models"}


def open_root(kind: str) -> Path:
    """The folder of one kind ("exports", "compiled"), made with mode 0700 where it is not there.

    Raises:
        InputError: it is of no use.
    """
    asked = os.environ.get(ENVIRONMENT_VARIABLE)
    if asked:
        base = Path(asked).expanduser().absolute()
    else:
        import platformdirs

        base = Path(platformdirs.user_cache_dir("pyperf-infer"))
    root = base / kind
    try:
        (root / _LOCKS).mkdir(parents=True, exist_ok=True)
        _keep_private(root, _CONTENT[kind])
    except OSError as error:
        raise InputError(
            f"The folder for {_CONTENT[kind]}, {root}, cannot be used: {error.strerror or error}. "
            f"Set {ENVIRONMENT_VARIABLE} to a folder that can be written."
        ) from error
    return root


def _keep_private(root: Path, content: str) -> None:
    """What others can write is not loaded: an ONNX file names the files that hold its weights, and a compiled model
    is a program."""
    status = root.stat()
    user = os.geteuid()
    if status.st_uid == user:
        if stat.S_IMODE(status.st_mode) != 0o700:
            root.chmod(0o700)
    elif status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"The folder for {content}, {root}, belongs to user {status.st_uid} and others may write to it. "
            f"Set {ENVIRONMENT_VARIABLE} to a folder of your own."
        )


@contextlib.contextmanager
def locked(root: Path, key: str, timeout_seconds: float | None = None) -> Iterator[bool]:
    """Holds the lock for `key`; the kernel releases it however the process ends. Yields False where it was not got.

    There are 256 lock files and not one a key, so that they need no clearing up, which cannot be done without a race.
    """
    import fcntl

    limit = time.monotonic() + (LOCK_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds)
    descriptor = os.open(root / _LOCKS / key[:2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        held = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = True
            except BlockingIOError:
                if time.monotonic() < limit:
                    time.sleep(0.05)
                    continue
            except OSError:  # a file system without locks
                pass
            break
        yield held
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """A folder to build an entry in, removed at the end unless it has been renamed."""
    folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(folder: Path, entry: Path, is_whole: Callable[[], bool]) -> None:
    """Makes `folder` the entry in one step. A whole entry that is there already stays; a damaged one is moved away."""
    for _ in range(3):
        try:
            folder.rename(entry)  # fails where `entry` is a folder with files in it
        except OSError:
            if not entry.exists():
                raise
            if is_whole():
                return
            with temporary_folder(entry.parent) as trash, contextlib.suppress(FileNotFoundError):
                entry.rename(trash / "damaged")
        else:
            return
    raise OSError(f"{entry} cannot be replaced")


def sweep(root: Path) -> None:
    """Removes temporary folders that processes which were killed left behind a day ago or longer."""
    limit = time.time() - STALE_SECONDS
    for folder in root.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < limit:
                shutil.rmtree(folder, ignore_errors=True)


def entries(root: Path) -> Iterator[Path]:
    """What is kept in `root`, whole or not, and nothing that is in the making."""
    return (path for path in root.iterdir() if path.name != _LOCKS and not path.name.startswith(_TEMPORARY))


def evict(root: Path, last_used: Callable[[Path], float]) -> None:
    """Removes the entries used longest ago until the rest is within SIZE_LIMIT_BYTES.

    Spares what was used within IN_USE_SECONDS, so that the limit can be exceeded for a while.
    """
    found: list[tuple[float, int, Path]] = []
    for entry in entries(root):
        try:
            used = last_used(entry)
        except OSError:
            used = 0.0  # no manifest: of no use to anyone
        found.append((used, _size(entry), entry))
    excess = sum(size for _, size, _ in found) - SIZE_LIMIT_BYTES
    for used, size, entry in sorted(found):
        if excess <= 0 or used > time.time() - IN_USE_SECONDS:
            return
        with temporary_folder(root) as trash, contextlib.suppress(OSError):
            entry.rename(trash / "evicted")  # in one step, so that no reader finds half of it
            excess -= size


def touch(path: Path) -> None:
    """Marks a use. A cache that can only be read keeps no order."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total
