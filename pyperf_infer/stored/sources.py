# SPDX-License-Identifier: Apache-2.0
"""Files and folders of result documents as the sides of a comparison."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.results.atomic import explained
from pyperf_infer.results.files import read_document
from pyperf_infer.results.schema import StoredFile
from pyperf_infer.stored.folder import newest_rows, sha256_of
from pyperf_infer.stored.rows import Pool, Row, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from pyperf_infer.results.schema import Document

    Progress = Callable[[int, int], object]  # files looked at, files there are


@dataclass(frozen=True)
class Side:
    """What one argument holds."""

    path: Path
    folder: bool
    pools: list[Pool]
    failed: list[Row]  # rows without numbers, of a file; a folder's are passed over
    looked_at: int  # files
    skipped: int = 0
    skipped_because: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.path)


def read_sides(paths: Sequence[Path], *, last: int, progress: Progress) -> list[Side]:
    """Reads every argument, the baseline first.

    Args:
        paths: files and folders. Of a folder, those of its files count that are neither an argument themselves nor a
            copy of one.
        last: how many of a folder's newest rows of one subject and method are pooled.
        progress: called while the files of folders are looked at.

    Raises:
        InputError: a path that is not there or not a result, a file or a folder given twice, a folder without results.
        UsageError: rows are to be pooled, and no folder is named.
    """
    given: dict[str, Path] = {}
    for path in paths:
        real = os.path.realpath(path)
        if real in given:
            both = f"{str(given[real])!r} and {str(path)!r} are" if given[real] != path else f"{str(path)!r} is"
            raise InputError(f"{both} the same twice. Name the results of two measurements.")
        given[real] = path
    folders = [path for path in paths if _is_folder(path)]
    if last > 1 and not folders:
        raise UsageError("--last pools the newest results of a folder, and no folder is named")
    # Files before folders: a file that is no result says so before thousands of others are looked at.
    sides = {path: _file_side(path) for path in paths if path not in folders}
    contents = {sha256_of(path): path for path in sides} if folders else {}
    sides |= {path: _folder_side(path, given.keys(), contents, last, progress) for path in folders}
    return [sides[path] for path in paths]


def _is_folder(path: Path) -> bool:
    with explained("read", path):
        if not path.exists():
            raise InputError(f"{str(path)!r} is not there. Name a file that `pyperf-infer run --results-file` wrote.")
        return path.is_dir()


def _file_side(path: Path) -> Side:
    document = read_document(path)
    if not document.results:
        raise InputError(f"{str(path)!r} holds no rows to compare: {_why_no_rows(document)}")
    source, rows = _source(path, document), range(len(document.results))
    good = [one for one in rows if usable(document.results[one])]
    failed = [one for one in rows if one not in good]
    return Side(
        path=path,
        folder=False,
        pools=[Pool((_row(document, one, source),)) for one in good],
        failed=[_row(document, one, source) for one in failed],
        looked_at=1,
    )


def _folder_side(
    path: Path, arguments: Collection[str], contents: Mapping[str, Path], last: int, progress: Progress
) -> Side:
    found = newest_rows(path, arguments, contents=contents, last=last, progress=progress)
    if not found.newest:
        why = f": {'; '.join(found.skipped_because)}" if found.skipped_because else ""
        raise InputError(
            f"The folder {str(path)!r} holds no result to compare ({found.looked_at} .json files looked at{why}). "
            "Name a folder in which `pyperf-infer run --results-file` wrote."
        )
    wanted: dict[Path, set[int]] = {}
    for places in found.newest:
        for place in places:
            wanted.setdefault(place.path, set()).add(place.number)
    rows: dict[tuple[Path, int], Row] = {}
    for file, numbers in wanted.items():
        document = read_document(file)
        source = _source(file, document)
        for number in numbers:
            if number >= len(document.results) or not usable(document.results[number]):
                raise InputError(f"{str(file)!r} was changed while it was being read. Compare again.")
            rows[file, number] = _row(document, number, source)
    return Side(
        path=path,
        folder=True,
        pools=[Pool(tuple(rows[place.path, place.number] for place in places)) for places in found.newest],
        failed=[],
        looked_at=found.looked_at,
        skipped=found.skipped,
        skipped_because=found.skipped_because,
    )


def _source(path: Path, document: Document) -> StoredFile:
    return StoredFile(
        path=os.fspath(path),
        sha256=sha256_of(path),
        created_utc=document.created_utc,
        tool_version=document.tool_version,
        status=document.status,
        command=document.command,
    )


def _row(document: Document, number: int, source: StoredFile) -> Row:
    return Row(replace(document.results[number], samples=None), source, document.environment)


def _why_no_rows(document: Document) -> str:
    command = " ".join(document.command[:2])
    if document.status == "interrupted":
        return f"`{command}` was interrupted before anything was measured. Measure again."
    return f"it is what `{command}` wrote. Name a file that `pyperf-infer run --results-file` wrote."
