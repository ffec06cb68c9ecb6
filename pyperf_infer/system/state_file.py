# SPDX-License-Identifier: Apache-2.0
"""Files of the state folder: JSON with a version, replaced as a whole."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from pyperf_infer.results.atomic import explained, write_atomically

_Kept = TypeVar("_Kept", bound=msgspec.Struct)


class _Header(msgspec.Struct):
    version: int


def read_state(path: Path, kind: type[_Kept], version: int) -> _Kept:
    """Raises OSError, or ValueError that says what is wrong with the file."""
    data = path.read_bytes()
    try:
        found = msgspec.json.decode(data, type=_Header).version
        if found != version:
            raise ValueError(f"it is of version {found}, and this release reads version {version}")
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ValueError(f"it is damaged ({error})") from error
    except (UnicodeDecodeError, RecursionError) as error:  # the latter of what is nested too deeply
        raise ValueError("it is damaged") from error


def write_state(path: Path, kept: msgspec.Struct) -> None:
    """Makes the folder where there is none.

    Raises:
        InputError: the file cannot be written. It is then as it was.
    """
    with explained("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")
