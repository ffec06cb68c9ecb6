# SPDX-License-Identifier: Apache-2.0
"""Sizes of caches as a user writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.errors import UsageError
from pyperf_infer.roofline.ceilings.cache_sizes import EXAMPLE, MOST_BYTES, check_cache_sizes, parse_cache_sizes

KIB, MIB = 2**10, 2**20


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        (EXAMPLE, {"L1": 48 * KIB, "L2": 2 * MIB, "L3": 32 * MIB}),
        ("L1=32K", {"L1": 32 * KIB}),
        ("l2=1MB, l1 = 32 kb", {"L1": 32 * KIB, "L2": MIB}),
        ("L1=49152B,L2=1.25MiB", {"L1": 48 * KIB, "L2": 1280 * KIB}),
    ],
)
def test_sizes_are_read_innermost_first(text: str, sizes: dict[str, int]) -> None:
    assert parse_cache_sizes(text) == sizes
    assert list(parse_cache_sizes(text)) == list(sizes)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "'' is not the size of a cache"),
        ("L1=48", "'L1=48' is not the size"),
        ("48KiB", "'48KiB' is not the size"),
        ("L1=48KiB,L2=huge", "'L2=huge' is not the size"),
        ("L1=-48KiB", "is not the size"),
        ("L1=32KiB,L1=48KiB", "has L1 twice"),
        ("L2=2MiB", "begin with L1"),
        ("L1=32KiB,L3=32MiB", "leave no level out"),
        ("L1=2MiB,L2=2MiB", "L2 of 2,097,152 bytes is not larger"),
        ("L1=48B", "L1 of 48 bytes is no cache: the smallest has 8,192"),
        (f"L1={'9' * 400}GiB", "L1 is larger than 8 GiB"),
        (f"L1={'9' * 23}GiB", "L1 is larger than 8 GiB"),
        ("L1=32KiB,L2=8.5GiB", "L2 is larger than 8 GiB"),
    ],
)
def test_what_is_no_size_is_refused_with_an_example(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part.replace("(", r"\(")):
        parse_cache_sizes(text)


@given(st.text(max_size=40))
def test_any_text_gives_sizes_or_a_usage_error(text: str) -> None:
    try:
        sizes = parse_cache_sizes(text)
    except UsageError:
        return
    assert list(sizes.values()) == sorted(sizes.values())


def test_sizes_given_as_numbers_have_the_same_bounds() -> None:
    assert check_cache_sizes({"L1": MOST_BYTES}) == {"L1": MOST_BYTES}
    with pytest.raises(UsageError, match="larger than 8 GiB"):
        check_cache_sizes({"L1": 10**400})
