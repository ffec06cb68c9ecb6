# SPDX-License-Identifier: Apache-2.0
"""Sizes of caches as a user gives them, for machines that do not tell: "L1=48KiB,L2=2MiB,L3=32MiB"."""

from __future__ import annotations

import re

from pyperf_infer.errors import UsageError

# No cache of one level is larger: beyond lies a slip of the pen, and memory that nobody wants to be filled.
MOST_BYTES = 8 * 2**30
LEAST_BYTES = 8 * 2**10
EXAMPLE = "L1=48KiB,L2=2MiB,L3=32MiB"
_ENTRY = re.compile(r"(L[1-9])\s*=\s*([0-9]+(?:\.[0-9]+)?)\s*(B|KB|KiB|K|MB|MiB|M|GB|GiB|G)", re.IGNORECASE)
# Caches are powers of two, whichever way their sizes are written: 32 KB of L1 are 32,768 bytes.
_UNITS = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


def parse_cache_sizes(text: str) -> dict[str, int]:
    """The bytes of each level, innermost first. An L1 or L2 is that of one core; an outer one all of its size.

    Raises:
        UsageError: an entry that names no level or no size, a level twice or without the one inside it, one that is no
            larger than that, or larger than any cache.
    """
    sizes: dict[str, int] = {}
    for entry in text.split(","):
        found = _ENTRY.fullmatch(entry.strip())
        if found is None:
            raise UsageError(f"{entry.strip()!r} is not the size of a cache. Write, for example, {EXAMPLE}.")
        level, number, unit = found[1].upper(), float(found[2]), found[3].lower()
        if level in sizes:
            raise UsageError(f"{text!r} has {level} twice. Write, for example, {EXAMPLE}.")
        size = number * _UNITS[unit[0]]  # infinite where there are some hundred digits
        if size > MOST_BYTES:
            raise UsageError(_too_large(level))
        sizes[level] = round(size)
    return check_cache_sizes(sizes)


def check_cache_sizes(sizes: dict[str, int]) -> dict[str, int]:
    """The same sizes, innermost first.

    Raises:
        UsageError: as `parse_cache_sizes`.
    """
    ordered = dict(sorted(sizes.items()))
    if list(ordered) != [f"L{number}" for number in range(1, len(ordered) + 1)] or not ordered:
        raise UsageError(f"Sizes of caches begin with L1 and leave no level out: {EXAMPLE}.")
    inner = 0
    for level, size in ordered.items():
        if size > MOST_BYTES:
            raise UsageError(_too_large(level))
        if size < LEAST_BYTES:
            raise UsageError(
                f"{level} of {size} bytes is no cache: the smallest has {LEAST_BYTES:,}. Write, for example, {EXAMPLE}."
            )
        if size <= inner:
            raise UsageError(f"{level} of {size:,} bytes is not larger than the level inside it. Are units missing?")
        inner = size
    return ordered


def _too_large(level: str) -> str:
    return (
        f"{level} is larger than {MOST_BYTES // 2**30} GiB, the most that is believed. Write, for example, {EXAMPLE}."
    )
