# SPDX-License-Identifier: Apache-2.0
"""Samples: in the document while they are few, in a ``.npy`` file beside it when they are many.

In memory they are one array for each quantity that was measured (``latency``, ``submit``, ``gpu``, ...), all of one
length and in order of time; the quantity that the mode judges comes first.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from pyperf_infer.errors import InputError
from pyperf_infer.results.atomic import explained
from pyperf_infer.results.schema import Document, Result, SampleData

Nanoseconds = NDArray[np.int64]
Quantities = Mapping[str, Nanoseconds]

MAX_INLINE = 10_000
_SUFFIX = ".npy"
_MAX_NPY_HEADER = 4096
_MAX_STEM = 100  # leaves room for the rest of a side file's name within the 255 bytes of a file name


def pack(samples: Quantities, document: Path, index: int) -> tuple[SampleData, bytes | None]:
    """How ``samples`` of result ``index`` stand in the document at ``document``, and the side file's bytes if any.

    The side file's name holds a part of its content's hash: a new run never writes over the samples of the document
    that it is about to replace.

    Raises:
        ValueError: ``samples`` has no quantity, or one that is not a non-empty one-dimensional int64 array of durations
            of 0 ns or more, or arrays of unlike lengths.
    """
    count = _check(samples)
    if count <= MAX_INLINE:
        return inline(samples), None
    names = list(samples)
    buffer = io.BytesIO()
    table = np.column_stack(list(samples.values())) if len(names) > 1 else samples[names[0]]
    np.save(buffer, np.ascontiguousarray(table), allow_pickle=False)
    data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    file = f"{side_file_stem(document)}{index}-{digest[:12]}{_SUFFIX}"
    columns = names if len(names) > 1 else None
    return SampleData(count=count, quantity=names[0], file=file, columns=columns, sha256=digest), data


def inline(samples: Quantities) -> SampleData:
    """The samples as they stand in the document itself, however many. Raises ValueError as :func:`pack`."""
    count = _check(samples)
    judged, *others = samples
    more = {name: samples[name].tolist() for name in others}
    return SampleData(count=count, quantity=judged, latency_ns=samples[judged].tolist(), more_ns=more)


def _check(samples: Quantities) -> int:
    """The number of samples."""
    for name, one in samples.items():
        if one.dtype != np.int64 or one.ndim != 1 or one.size == 0 or one.min() < 0:
            raise ValueError(f"{name} must be one-dimensional int64 of 0 or more, not {one.dtype}{one.shape}")
    counts = {name: one.size for name, one in samples.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"samples must be quantities of one length, not {counts}")
    return next(iter(counts.values()))


def side_file_stem(document: Path) -> str:
    """What the names of all side files of the document at ``document`` start with."""
    stem = document.stem.replace("\\", "_").encode(errors="replace")[:_MAX_STEM].decode(errors="ignore")
    return f"{stem}.samples-"


def load_samples(document: Document, result: Result, folder: Path) -> dict[str, Nanoseconds]:
    """The samples of one result of ``document``, which lies in ``folder``: int64 nanoseconds, in order of time.

    Returns:
        An array for each quantity that was kept, all of one length; the one that the mode judges comes first.

    Raises:
        InputError: the result has none; or the side file is missing, outside the folder, or not what was written.
    """
    if result not in document.results:
        raise ValueError("the result is not one of the document's")
    data = _named(result)
    if data is None:
        raise InputError(
            f"The result of {result.subject.model!r} on {result.method.backend} holds no samples: it failed, or was "
            "written without them. Measure it again."
        )
    if data.latency_ns is not None:
        inside = {data.quantity: data.latency_ns, **data.more_ns}
        return {name: np.asarray(values, dtype=np.int64) for name, values in inside.items()}
    return _read_side_file(side_file(data, folder), data)


def _named(result: Result) -> SampleData | None:
    """The result's samples by the name of their quantity, which documents of mode throughput used not to tell."""
    data = result.samples
    if data is None or data.quantity != "latency" or data.more_ns or data.columns:
        return data
    return replace(data, quantity="period") if result.method.mode == "throughput" else data


def load_all_samples(document: Document, folder: Path) -> list[dict[str, Nanoseconds] | None]:
    """The samples of every result in order, ``None`` for one that has none. Raises as :func:`load_samples`."""
    return [None if one.samples is None else load_samples(document, one, folder) for one in document.results]


def side_file(data: SampleData, folder: Path) -> Path:
    """The path of the side file that ``data`` names.

    Raises:
        InputError: the name leads out of the folder. A document may come from a stranger; it must not choose what
            is read from, or removed on, this machine.
    """
    name = data.file or ""
    path = folder / name
    plain = "\0" not in name and "\\" not in name and path.name == name and name.endswith(_SUFFIX)
    if not plain or path.is_symlink():
        raise InputError(
            f"The result names the samples file {name!r}, which is not a plain .npy file beside it. "
            "Do not trust this document; measure again, or ask whoever sent it."
        )
    return path


def check_lengths(document: Document, samples: Sequence[Quantities | None]) -> None:
    """One entry a result, or none at all.

    Raises:
        ValueError: another number of entries.
    """
    if samples and len(samples) != len(document.results):
        raise ValueError(f"{len(samples)} entries of samples for {len(document.results)} results")


def _read_side_file(path: Path, data: SampleData) -> dict[str, Nanoseconds]:
    names = data.columns or [data.quantity]
    shape = (data.count,) if data.columns is None else (data.count, len(names))
    with explained("read the samples file", path):
        size = path.stat().st_size
        if not path.is_file() or not 0 <= size - data.count * len(names) * 8 <= _MAX_NPY_HEADER:
            raise _damaged(path, f"it has {size} bytes, which {data.count} samples of {', '.join(names)} cannot have")
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != data.sha256:
        raise _damaged(path, "its content is not what was written (SHA-256 differs)")
    try:
        table = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise _damaged(path, str(error)) from error
    if table.dtype != np.int64 or table.shape != shape:
        raise _damaged(path, f"it holds {table.dtype}{table.shape}, not int64{shape}")
    if table.min() < 0:
        raise _damaged(path, "it holds durations below zero")
    table = table.reshape(data.count, len(names))
    return {name: np.ascontiguousarray(table[:, index]) for index, name in enumerate(names)}


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"The samples file {str(path)!r} is damaged: {why}. Copy it again with its document, or measure.")
