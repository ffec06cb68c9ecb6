# SPDX-License-Identifier: Apache-2.0
"""Writing and reading result documents."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec.structs import replace

from pyperf_infer.errors import InputError, MeasurementError, PyperfInferError
from pyperf_infer.results.atomic import check_writable, explained, resolve_target, write_atomically
from pyperf_infer.results.samples import (
    Quantities,
    check_lengths,
    inline,
    load_all_samples,
    load_samples,
    pack,
    side_file,
    side_file_stem,
)
from pyperf_infer.results.schema import SCHEMA_VERSION, TOOL, Document

__all__ = [
    "check_writable",
    "document_text",
    "load_all_samples",
    "load_samples",
    "read_document",
    "write_document",
    "write_text",
]


class _Header(msgspec.Struct):
    """What tells a result from any other JSON, and its version from ours."""

    tool: str
    schema_version: int


def write_document(document: Document, path: Path, samples: Sequence[Quantities | None] = ()) -> Document:
    """Writes ``document`` to ``path`` whole or not at all, its side files first, and returns it as it was written.

    Args:
        document: what to write; it is not changed.
        path: a file; it may exist. A link is followed, and the side files lie beside the file it leads to.
        samples: for each result in order its int64 nanoseconds of every quantity, the judged one first, or ``None``.
            Left out, ``document`` keeps the samples that it has.

    Raises:
        InputError: ``path`` cannot be written. What was there before is as it was.
        MeasurementError: the document contradicts its own schema, so that nobody could read it back.
        ValueError: ``samples`` has the wrong length, type or shape, or quantities of unlike lengths.
    """
    target = resolve_target(path)
    document, side_files = _with_samples(document, samples, target)
    data = _encode(document)
    before = _side_files_of(target)
    created: list[Path] = []
    try:
        for file, content in side_files.items():
            if not file.exists():
                created.append(file)
            write_atomically(file, content)
        write_atomically(target, data)
    except BaseException:
        for file in created:
            file.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # tidying up: the document is safe, and a leftover is no reason to fail
        _remove_unused(before - _side_files(document, target.parent), target)
    return document


def document_text(document: Document, samples: Sequence[Quantities | None] = ()) -> str:
    """The document as JSON text, all samples in it. Raises as :func:`write_document`."""
    results = [
        result if one is None else replace(result, samples=inline(one))
        for result, one in zip(document.results, samples or [None] * len(document.results), strict=True)
    ]
    return _encode(replace(document, results=results)).decode()


def write_text(path: Path, text: str) -> None:
    """Writes a report as UTF-8, whole or not at all. Raises InputError where ``path`` cannot be written."""
    write_atomically(resolve_target(path), text.encode("utf-8", errors="backslashreplace"))


def read_document(path: Path) -> Document:
    """The document at ``path``. Its samples are read by :func:`load_samples` with ``path.resolve().parent``.

    Raises:
        InputError: no such file, not JSON, cut short, not one of our results, a schema newer than this version
            knows, or a damaged field, which is named.
    """
    with explained("read", path):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise InputError(f"Cannot read {str(path)!r}: it is a device or a pipe. Name a results file.")
        data = path.read_bytes()
    _check_header(path, data)
    try:
        return msgspec.json.decode(data, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # The header's check skips over what it does not name, so that text which is none is found only here.
        raise InputError(
            f"The result {str(path)!r} is damaged: {error}. Take an undamaged copy, or measure again."
        ) from error


def _check_header(path: Path, data: bytes) -> None:
    if not data.strip():
        raise InputError(f"Cannot read {str(path)!r}: it is empty. Measure again.")
    try:
        header = msgspec.json.decode(data, type=_Header)
    except msgspec.ValidationError as error:
        raise InputError(
            f"{str(path)!r} is not a result of {TOOL}: {error}. Name a file that `{TOOL} run --results-file` wrote."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A cut through a number is no truncation to the parser, but a malformed number at the end.
        cut = "truncated" in str(error) or ("invalid number" in str(error) and re.search(rb"[-+.eE]\Z", data))
        what = "it is cut short" if cut else f"it is not JSON ({error})"
        raise InputError(
            f"Cannot read {str(path)!r}: {what}. Name a results file, or measure again if this was one."
        ) from error
    if header.tool != TOOL:
        raise InputError(f"{str(path)!r} is a result of {header.tool!r}, not of {TOOL}. Name a file that {TOOL} wrote.")
    if header.schema_version > SCHEMA_VERSION:
        raise InputError(
            f"{str(path)!r} has schema version {header.schema_version}; this version of {TOOL} reads up to "
            f"{SCHEMA_VERSION}. Upgrade: pip install --upgrade {TOOL}."
        )


def _with_samples(
    document: Document, samples: Sequence[Quantities | None], target: Path
) -> tuple[Document, dict[Path, bytes]]:
    check_lengths(document, samples)
    side_files: dict[Path, bytes] = {}
    results = list(document.results)
    for index, one in enumerate(samples):
        if one is None:
            results[index] = replace(results[index], samples=None)
            continue
        data, content = pack(one, target, index)
        results[index] = replace(results[index], samples=data)
        if content is not None:
            side_files[target.parent / (data.file or "")] = content
    document = replace(document, results=results)
    for file in _side_files(document, target.parent) - side_files.keys():
        if not file.is_file():
            raise InputError(
                f"The samples file {str(file)!r} is missing: without it the document would point at nothing. "
                "Copy it there first."
            )
    return document, side_files


def _side_files(document: Document, folder: Path) -> set[Path]:
    return {
        side_file(one.samples, folder)
        for one in document.results
        if one.samples is not None and one.samples.file is not None
    }


def _side_files_of(target: Path) -> set[Path]:
    """The side files of the document that is about to be replaced; none where it is not a document that we read."""
    try:
        return _side_files(read_document(target), target.parent) if target.exists() else set()
    except PyperfInferError:
        return set()


def _remove_unused(files: set[Path], target: Path) -> None:
    """Removes the replaced document's own side files, unless a copy of that document (`cp`) still names them."""
    own = [file for file in files if file.name.startswith(side_file_stem(target))]
    if own:
        others = [one.read_bytes() for one in target.parent.glob("*.json") if one != target and one.is_file()]
        for file in own:
            if not any(file.name.encode() in content for content in others):
                file.unlink(missing_ok=True)


def _encode(document: Document) -> bytes:
    try:
        data = msgspec.json.encode(document)
    except UnicodeEncodeError:
        # An argument or a path that is not UTF-8 reaches Python with lone surrogates. No reason to lose a measurement.
        data = msgspec.json.encode(_without_surrogates(msgspec.to_builtins(document)))
    try:
        msgspec.json.decode(data, type=Document)
    except msgspec.ValidationError as error:
        # JSON has no NaN: msgspec writes null, which a field that must be a number then refuses here, not next week.
        raise MeasurementError(f"The result contradicts its own format and was not written: {error}.") from error
    return msgspec.json.format(data, indent=1) + b"\n"


def _without_surrogates(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", errors="backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_surrogates(one) for one in value]
    return value
