# SPDX-License-Identifier: Apache-2.0
"""Text of the command line into values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.cli.parameters import cpu_list, key_value, milliseconds, seconds, tolerance
from pyperf_infer.errors import UsageError


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", (0,)), ("3,1", (1, 3)), ("0,2-4", (0, 2, 3, 4)), ("2-2,2", (2,)), ("007", (7,))]
)
def test_lists_of_cpus(text: str, cpus: tuple[int, ...]) -> None:
    assert cpu_list(text) == cpus


@pytest.mark.parametrize(
    "text", ["", ",", "0,", "-1", "3-1", "1-", "-", "a", "0x1", "1 2", "²", "٣", "0-1000000000", "1.5", "+1", "1-2-3"]
)
def test_what_is_no_list_of_cpus_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no list of CPUs"):
        cpu_list(text)


@given(st.sets(st.integers(0, 4096), min_size=1))
def test_a_list_of_cpus_reads_back(cpus: set[int]) -> None:
    assert cpu_list(",".join(map(str, cpus))) == tuple(sorted(cpus))


@pytest.mark.parametrize(("text", "pair"), [("a=b", ("a", "b")), ("a=", ("a", "")), ("a.b=c=d", ("a.b", "c=d"))])
def test_a_key_goes_up_to_the_first_equals_sign(text: str, pair: tuple[str, str]) -> None:
    assert key_value(text) == pair


@pytest.mark.parametrize("text", ["", "a", "=b", "="])
def test_what_has_no_key_or_no_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="key=value"):
        key_value(text)


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("1.5", 1.5), ("1e3", 1000), (" 2 ", 2)])
def test_numbers(text: str, value: float) -> None:
    assert seconds(text) == milliseconds(text) == tolerance(text) == value


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e10", "one", "1s", "1,5"])
def test_what_is_no_number_in_range_is_refused_by_its_unit(text: str) -> None:
    for parse, unit in ((seconds, "of seconds"), (milliseconds, "of milliseconds"), (tolerance, "from 0")):
        with pytest.raises(UsageError, match=unit):
            parse(text)
