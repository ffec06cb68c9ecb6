# SPDX-License-Identifier: Apache-2.0
"""Which other libraries a shared library asks the loader for."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_NULL, _DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 0, 1, 5, 10
# More is a damaged file, not a library.
_MOST_BYTES = 1 << 24
_MOST_OFFSET = 1 << 40


def needed_libraries(path: Path) -> tuple[str, ...]:
    """The names of the libraries that it is linked with (DT_NEEDED), such as "libcudart.so.13", in their order.

    Raises:
        ValueError: it is no 64-bit little-endian ELF library, or a damaged one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return tuple(_needed(file))
        except (struct.error, LookupError, ValueError, OverflowError) as error:
            raise ValueError(f"{path} is no 64-bit little-endian shared library, or is damaged: {error}") from error


def _needed(file: BinaryIO) -> list[str]:
    header = _read(file, 0, 64)
    if header[: len(_MAGIC)] != _MAGIC:
        raise ValueError("it does not begin as one")
    (table_at,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    # kind, flags, place in the file, address in memory, physical address, bytes in the file
    segments = [struct.unpack_from("<IIQQQQ", _read(file, table_at + index * size, size)) for index in range(count)]
    (dynamic,) = (segment for segment in segments if segment[0] == _PT_DYNAMIC)
    entries = list(struct.iter_unpack("<qQ", _read(file, dynamic[2], dynamic[5] // 16 * 16)))
    entries = entries[: [tag for tag, _ in entries].index(_DT_NULL)]
    tags = dict(entries)
    # Where the string table is in memory; the segment that it is loaded with tells where it is in the file.
    address = tags[_DT_STRTAB]
    (home,) = (one for one in segments if one[0] == _PT_LOAD and one[3] <= address < one[3] + one[5])
    strings = _read(file, home[2] + address - home[3], tags[_DT_STRSZ])
    return [strings[at : strings.index(b"\0", at)].decode() for tag, at in entries if tag == _DT_NEEDED]


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    if size > _MOST_BYTES or at > _MOST_OFFSET:
        raise ValueError(f"a table of {size} bytes at {at}")
    file.seek(at)
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it is cut off")
    return data
