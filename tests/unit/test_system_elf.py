# SPDX-License-Identifier: Apache-2.0
"""What a shared library asks the loader for, against the linker that wrote it, and files that are none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fake_ort import build_provider

from pyperf_infer.system.elf import needed_libraries


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elf")
    first, second = folder / "libfirst.so.3", folder / "libsecond.so"
    build_provider(first)
    build_provider(second)
    path = folder / "library.so"
    build_provider(path, first, second)
    return path


def test_the_names_come_in_the_order_of_the_link(library: Path) -> None:
    needed = needed_libraries(library)
    assert needed[:2] == ("libfirst.so.3", "libsecond.so")
    assert "libc.so.6" in needed


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"not a library at all" * 10, b"\x7fELF\x01\x01" + bytes(100)])
def test_what_is_no_library_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=str(path)):
        needed_libraries(path)


def test_a_damaged_library_is_refused_or_read_and_nothing_worse(library: Path, tmp_path: Path) -> None:
    content = library.read_bytes()
    path = tmp_path / "library.so"
    chance = random.Random(1)
    for _ in range(300):
        damaged = bytearray(content[: chance.randrange(len(content) + 1)])
        for _ in range(chance.randrange(20)):
            if damaged:
                damaged[chance.randrange(min(len(damaged), 4096))] = chance.randrange(256)
        path.write_bytes(bytes(damaged))
        try:
            assert all(isinstance(name, str) for name in needed_libraries(path))
        except ValueError as error:
            assert str(error)  # noqa: PT017  either is right
