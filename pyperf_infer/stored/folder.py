# SPDX-License-Identifier: Apache-2.0
"""Which rows of a folder full of results are the newest of their subject and method.

A file is read whole and forgotten at once: what stays is where the newest rows are, however many files there are.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from pyperf_infer.errors import InputError
from pyperf_infer.results.atomic import explained
from pyperf_infer.results.files import read_document
from pyperf_infer.results.schema import SCHEMA_VERSION, TOOL, Failure, Integrity, Method, Result, Subject, Summary
from pyperf_infer.stored.rows import placement, subject_key, usable
from pyperf_infer.stored.unlike import binding_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence
    from pathlib import Path

MOST_REASONS = 3  # told of the files that were skipped


class Place(NamedTuple):
    """Where a row stands, ordered by age."""

    created_utc: str
    path: Path
    number: int


@dataclass
class Found:
    """What a folder holds. `newest` has for each subject and method its newest rows, the newest first."""

    newest: Sequence[Sequence[Place]] = ()
    looked_at: int = 0
    skipped: int = 0
    skipped_because: list[str] = field(default_factory=list)

    def skip(self, reason: Callable[[], str]) -> None:
        """Counts a file; the reason is asked for only while it will be told."""
        self.skipped += 1
        if len(self.skipped_because) < MOST_REASONS:
            self.skipped_because.append(reason())


class _Row(msgspec.Struct):
    """The part of a row that tells what it is of. Samples are passed over without being kept."""

    subject: Subject
    method: Method
    summary: Summary
    integrity: Integrity | None = None
    error: Failure | None = None


class _Document(msgspec.Struct):
    tool: str
    schema_version: int
    status: str
    created_utc: str
    results: list[_Row]


def newest_rows(
    folder: Path, arguments: Collection[str], *, last: int, progress: Callable[[int, int], object]
) -> Found:
    """Looks at the folder's own .json files, not at folders within, in the order of their names.

    Args:
        folder: it is there.
        arguments: real paths that are no part of the folder, since they are compared with it.
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
            for key, place in _look_at(path, found).items():
                places = newest.setdefault(key, [])
                places.append(place)
                places.sort(reverse=True)
                del places[last:]
        progress(done, len(files))
    found.newest = list(newest.values())
    return found


def _look_at(path: Path, found: Found) -> dict[Hashable, Place]:
    """The rows of one file that can be compared, one of each subject and method."""
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found.skip(lambda: _why_unreadable(path))
        return {}
    if document.tool != TOOL or document.schema_version > SCHEMA_VERSION:
        found.skip(lambda: _why_unreadable(path))
        return {}
    if document.status == "interrupted":
        found.skip(lambda: f"{str(path)!r} was interrupted")
        return {}
    places: dict[Hashable, Place] = {}
    for number, row in enumerate(document.results):
        result = Result(
            subject=row.subject, method=row.method, summary=row.summary, integrity=row.integrity, error=row.error
        )
        if usable(result):
            key = subject_key(row.subject), placement(result), frozenset(binding_fields(result).items())
            places.setdefault(key, Place(document.created_utc.removesuffix("Z"), path, number))
    if not places:
        found.skip(lambda: f"{str(path)!r} holds no rows with a time")
    return places


def _why_unreadable(path: Path) -> str:
    """The error's own words, without the remedy: that one is for a file that was meant to be a result."""
    try:
        read_document(path)
    except InputError as error:
        text, name = str(error), repr(str(path))
        return text[: text.find(". ", text.find(name) + len(name))].rstrip(".")
    return f"{str(path)!r} was being changed"
