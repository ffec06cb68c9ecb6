# SPDX-License-Identifier: Apache-2.0
"""What is kept between runs: folders of files, each named by the hash of everything that its content depends on.

An entry is written under another name and renamed when whole, so that no reader ever sees half of one, whenever the
writer dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyperf_infer.convert import cache_folder
from pyperf_infer.errors import InputError
from pyperf_infer.results.atomic import sha256_of

_MANIFEST = "manifest.json"
_KEY_LENGTH = 40  # hex digits: 160 bits
_LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Shelf:
    """One kind of entry. `surroundings`: the keys of a description that tell what it was made with, not of what."""

    kind: str  # a folder of the cache
    surroundings: tuple[str, ...] = ()
    lock_timeout_s: float | None = None  # how long another process may build; cache_folder's own where None


@dataclass(frozen=True)
class Kept:
    """An entry. `facts` is what its builder said.

    `rebuilt`: why one that was there was not used, a clause such as "it is damaged: ..." or "torch was 2.13.0 and is
    2.14.1"; None where there was none, and for a hit.
    """

    folder: Path
    facts: Mapping[str, Any]
    hit: bool
    rebuilt: str | None


class _DamagedError(Exception):
    """An entry that is there and cannot be used; the text says why."""


def kept(shelf: Shelf, what: str, description: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> Kept:
    """The entry for `description`, made by `build` unless an earlier run has left it whole.

    `build` writes files into the folder that it is given and returns facts; both may be JSON's types only. `what`
    names the content in messages, such as "The ONNX file of resnet50". Of several processes that ask for one entry at
    once, one builds and the others wait.

    Raises:
        InputError: the cache folder is of no use, naming PYPERF_INFER_CACHE_DIR. And what `build` raises.
    """
    key = key_of(description)
    root = cache_folder.open_root(shelf.kind)
    entry = root / key
    # A hit needs no lock: an entry under its own name is whole or damaged, never in the making.
    facts, rebuilt = _look(entry, description)
    if facts is not None:
        return Kept(entry, facts, hit=True, rebuilt=None)
    try:
        with cache_folder.locked(root, key, shelf.lock_timeout_s):
            facts, now = _look(entry, description)  # whoever held the lock before may have built it
            if facts is not None:
                return Kept(entry, facts, hit=True, rebuilt=None)
            rebuilt = now or rebuilt or _outdated(root, description, shelf.surroundings)
            _build(root, entry, description, build)
            facts, _ = _look(entry, description)
        cache_folder.evict(root, last_used=_last_used)
    except OSError as error:
        raise InputError(
            f"{what} cannot be kept in {root}: {error.strerror or error}. "
            f"Free space there, or set {cache_folder.ENVIRONMENT_VARIABLE} to another folder."
        ) from error
    if facts is None:
        raise InputError(f"{what} was damaged while it was written to {entry}; is the disk sound?")
    return Kept(entry, facts, hit=False, rebuilt=rebuilt)


def key_of(description: Mapping[str, Any]) -> str:
    """The folder name of an entry."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


def _build(root: Path, entry: Path, description: Mapping[str, Any], build: Callable[[Path], Mapping[str, Any]]) -> None:
    cache_folder.sweep(root)
    with cache_folder.temporary_folder(root) as temporary:
        facts = build(temporary)
        _seal(temporary, facts, description)
        # Two that build at once (a lock that timed out, a file system without locks): the first one stays.
        cache_folder.publish(temporary, entry, is_whole=lambda: _look(entry, description)[0] is not None)


def _seal(folder: Path, facts: Mapping[str, Any], description: Mapping[str, Any]) -> None:
    """Writes the manifest, the last file, and brings all to the disk before the rename makes them count."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest = {
        "description": description,
        "facts": facts,
        "sha256": {path.name: sha256_of(path) for path in files},
    }
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    for path in (*files, folder / _MANIFEST, folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _look(entry: Path, description: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str | None]:
    """The facts of a whole entry; else None, with the reason where one is there and damaged."""
    try:
        facts = _checked(entry, description)
    except _DamagedError as error:
        return None, f"it is damaged: {error}"
    if facts is not None:
        cache_folder.touch(entry / _MANIFEST)
    return facts, None


def _checked(entry: Path, description: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """All of the content is: weights that rotted on the disk would be timed like any other. It takes less than
    loading them."""
    if not entry.is_dir():
        return None
    manifest = _manifest(entry)
    if manifest is None:
        raise _DamagedError("its manifest cannot be read")
    # Through JSON, which knows no tuples.
    if manifest["description"] != json.loads(json.dumps(description)):
        raise _DamagedError("it was made for something else")
    for name, sha256 in manifest["sha256"].items():
        try:
            found = sha256_of(entry / name)
        except OSError as error:
            raise _DamagedError(f"{name} cannot be read: {error.strerror or error}") from error
        if found != sha256:
            raise _DamagedError(f"{name} is not what was written")
    facts: Mapping[str, Any] = manifest["facts"]
    return facts


def _manifest(entry: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((entry / _MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(manifest, dict):
        return None
    parts = (manifest.get(name) for name in ("description", "facts", "sha256"))
    return manifest if all(isinstance(part, dict) for part in parts) else None


def _outdated(root: Path, description: Mapping[str, Any], surroundings: Sequence[str]) -> str | None:
    """What has changed since the last entry for the same was made; None where there was none."""
    asked = json.loads(json.dumps(description))
    subject = {name: part for name, part in asked.items() if name not in surroundings}
    found: list[tuple[float, str]] = []
    for entry in cache_folder.entries(root):
        old = (_manifest(entry) or {}).get("description", {})
        if {name: part for name, part in old.items() if name not in surroundings} != subject:
            continue
        changes = [change for name in surroundings for change in _changes(name, old.get(name), asked.get(name))]
        with contextlib.suppress(OSError):  # it leaves the cache just now
            found.append((_last_used(entry), ", ".join(changes)))
    return max(found)[1] if found else None


def _changes(name: str, old: object, new: object) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for part in sorted({*old, *new}):
            yield from _changes(part, old.get(part), new.get(part))
    elif max(len(str(old)), len(str(new))) > _LONGEST_SHOWN:  # a hash tells nobody anything
        yield f"{name} changed"
    else:
        yield f"{name} was {old} and is {new}"


def _last_used(entry: Path) -> float:
    return (entry / _MANIFEST).stat().st_mtime
