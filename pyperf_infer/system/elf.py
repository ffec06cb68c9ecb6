# SPDX-License-Identifier: Apache-2.0
"""Which other libraries a shared library asks the loader for."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10
_MOST_BYTES = 1 << 24  # of a table: more is a damaged file, not a library


def needed_libraries(path: Path) -> tuple[str, ...]:
    """The names of the libraries that it is linked with (DT_NEEDED), such as "libcudart.so.13", in their order.

    Raises:
        ValueError: it is no 64-bit little-endian ELF library, or a damaged one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return tuple(_needed(file))
        except (struct.error, StopIteration, KeyError) as error:
            raise ValueError(f"{path} is damaged, or is no shared library") from error


def _needed(file: BinaryIO) -> Iterator[str]:
    header = _read(file, 0, 64)
    if header[: len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{file.name} is no 64-bit little-endian ELF file")
    (table_at,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    # kind, flags, place in the file, address in memory, physical address, bytes in the file
    segments = [struct.unpack_from("<IIQQQQ", _read(file, table_at + index * size, size)) for index in range(count)]
    dynamic = next(segment for segment in segments if segment[0] == _PT_DYNAMIC)
    entries = list(struct.iter_unpack("<qQ", _read(file, dynamic[2], dynamic[5] // 16 * 16)))
    tags = dict(entries)
    # Where the string table is in memory; the segment that it is loaded with tells where it is in the file.
    address = tags[_DT_STRTAB]
    home = next(one for one in segments if one[0] == _PT_LOAD and one[3] <= address < one[3] + one[5])
    strings = _read(file, home[2] + address - home[3], tags[_DT_STRSZ])
    for tag, value in entries:
        if tag == _DT_NULL:
            return
        if tag == _DT_NEEDED:
            yield strings[value : strings.index(b"\0", value)].decode()


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    if size > _MOST_BYTES:
        raise ValueError(f"{file.name} is damaged: a table of {size} bytes")
    file.seek(at)
    data = file.read(size)
    if len(data) < size:
        raise ValueError(f"{file.name} is cut off")
    return data
