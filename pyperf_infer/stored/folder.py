# SPDX-License-Identifier: Apache-2.0
"""Which rows of a folder full of results are the newest of their subject and method.

A file is read whole and forgotten at once: what stays is where the newest rows are, however many files there are.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pyperf_infer.errors import InputError
from pyperf_infer.results.atomic import explained
from pyperf_infer.results.files import read_document
from pyperf_infer.stored.rows import placement, subject_key, usable
from pyperf_infer.stored.unlike import binding_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
    from pathlib import Path

    from pyperf_infer.results.schema import Document

MOST_REASONS = 3  # told of the files that were skipped


class Place(NamedTuple):
    """Where a row stands, ordered by age."""

    created_utc: str
    path: Path
    number: int
    sha256: str  # of the file


@dataclass
class Found:
    """What a folder holds. `newest` has for each subject and method its newest rows, the newest first."""

    newest: Sequence[Sequence[Place]] = ()
    looked_at: int = 0
    skipped: int = 0
    skipped_because: list[str] = field(default_factory=list)

    def skip(self, reason: str, *, first: bool = False) -> None:
        """Counts a file; the `first` reasons are told before others."""
        self.skipped += 1
        self.skipped_because.insert(0 if first else len(self.skipped_because), reason)
        del self.skipped_because[MOST_REASONS:]


def newest_rows(
    folder: Path,
    arguments: Collection[str],
    *,
    contents: Mapping[str, Path],
    last: int,
    progress: Callable[[int, int], object],
) -> Found:
    """Looks at the folder's own .json files, not at folders within, in the order of their names.

    Args:
        folder: it is there.
        arguments: real paths that are no part of the folder, since they are compared with it.
        contents: SHA-256 of the files among the arguments: a copy of one is no part of it either.
        last: how many rows of each subject and method are wanted, one of a file at most.
        progress: called after each file with how many are done, and how many there are.

    Raises:
        InputError: the folder cannot be listed.
    """
    with explained("read", folder):
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    found = Found()
    newest: dict[Hashable, list[Place]] = {}
    for done, path in enumerate(files, 1):
        if path.is_file() and os.path.realpath(path) not in arguments:
            found.looked_at += 1
            copied = None
            for key, place in _look_at(path, found, contents).items():
                places = newest.setdefault(key, [])
                # Twice the same measurement is no second one. A copy of what is too old to be kept is so itself.
                same = next((one for one in places if one.sha256 == place.sha256), None)
                copied = copied or same
                places += [] if same else [place]
                places.sort(reverse=True)
                del places[last:]
            if copied is not None:
                found.skip(f"{str(path)!r} is a copy of {str(copied.path)!r}")
        progress(done, len(files))
    found.newest = list(newest.values())
    return found


def _look_at(path: Path, found: Found, contents: Mapping[str, Path]) -> dict[Hashable, Place]:
    """The rows of one file that can be compared, one of each subject and method."""
    try:
        sha256 = sha256_of(path)
        if (same := contents.get(sha256)) is not None:
            found.skip(f"{str(path)!r} is a copy of {str(same)!r}", first=True)
            return {}
        # All of it, though a part would do for the index: a file that is damaged anywhere must not be the newest.
        document = read_document(path)
    except InputError as error:
        found.skip(_without_remedy(error, path))
        return {}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        found.skip(f"{str(path)!r} cannot be read: {error}")
        return {}
    if document.status == "interrupted":
        found.skip(f"{str(path)!r} was interrupted")
        return {}
    places = _places(document, path, sha256)
    if not places:
        found.skip(f"{str(path)!r} holds no rows with a time")
    return places


def _places(document: Document, path: Path, sha256: str) -> dict[Hashable, Place]:
    places: dict[Hashable, Place] = {}
    for number, result in enumerate(document.results):
        if usable(result):
            key = subject_key(result.subject), placement(result), frozenset(binding_fields(result).items())
            places.setdefault(key, Place(document.created_utc.removesuffix("Z"), path, number, sha256))
    return places


def sha256_of(path: Path) -> str:
    """Of the file's bytes, in hex. InputError where it cannot be read."""
    with explained("read", path), path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _without_remedy(error: InputError, path: Path) -> str:
    """The remedy is for a file that was meant to be a result."""
    text, name = str(error), repr(str(path))
    return text[: text.find(". ", text.find(name) + len(name))].rstrip(".")
