# SPDX-License-Identifier: Apache-2.0
"""Numbers for people: never more than four digits, never a wrong one, never "1000 us"."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer import units
from pyperf_infer.errors import UsageError

NS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "min": 60e9, "h": 3600e9}
BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (1, "1 ns"),
        (970, "970 ns"),
        (970.5, "970.5 ns"),
        (999.4, "999.4 ns"),
        (999.96, "1.000 us"),
        (1200, "1.200 us"),
        (999_960, "1.000 ms"),
        (52_312_345, "52.31 ms"),
        (75e9, "75.00 s"),
        (999.99e9, "16.67 min"),
        (108_000e9, "30.00 h"),
        (-1500, "-1.500 us"),
        (float("nan"), "nan ns"),
        (float("inf"), "inf ns"),
    ],
)
def test_duration(nanoseconds: float, text: str) -> None:
    assert units.format_duration_ns(nanoseconds) == text


def test_durations_in_other_units_print_alike() -> None:
    assert units.format_duration_ms(0.9999996) == units.format_duration_s(0.0009999996) == "1.000 ms"


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (512, "512 B"),
        (1023, "1023 B"),
        (1024, "1.000 KiB"),
        (1_048_575, "1.000 MiB"),
        (-(45 << 20), "-45.00 MiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert units.format_bytes(count) == text


def test_rate_count_and_ratio() -> None:
    assert units.format_rate(19.123, "items") == "19.12 items/s"
    assert units.format_rate(999_999) == "1.000M/s"
    assert units.format_count(25_557_032) == "25.56M"
    assert units.format_ratio(2.10432) == "2.104"
    assert units.format_ratio(1) == "1.000"


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        (0, "0%"),
        (0.004, "0.4%"),
        (0.0123, "1.2%"),
        (0.5, "50%"),
        (0.00045, "0.04%"),
        (1e-7, "<0.01%"),
        (-1e-7, ">-0.01%"),
    ],
)
def test_percent(fraction: float, text: str) -> None:
    assert units.format_percent(fraction) == text


@pytest.mark.parametrize("text", ["0%", "0.04%", "0.125%", "0.25%", "1%", "3%", "7%", "12.5%", "95%", "99.9%", "250%"])
def test_what_was_asked_for_is_told_as_it_was(text: str) -> None:
    assert units.format_asked_percent(units.parse_percent(text)) == text


@given(st.floats(1e-3, 1e18))
def test_a_printed_duration_is_the_value_to_four_digits(nanoseconds: float) -> None:
    digits, unit = units.format_duration_ns(nanoseconds).split()
    assert float(digits) * NS[unit] == pytest.approx(nanoseconds, rel=5.1e-4)
    assert len(re.sub(r"^0\.0*|\.", "", digits)) <= 4 or unit == "h"
    assert unit in ("h", "min") or float(digits) < 1000


@given(st.integers(0, 2**60))
def test_a_printed_size_is_the_value_to_four_digits(count: int) -> None:
    digits, unit = units.format_bytes(count).split()
    assert float(digits) * BYTES[unit] == pytest.approx(count, rel=5.1e-4)
    assert float(digits) < 1024 or unit == "PiB"


@given(st.floats(0, 1e6))
def test_a_percentage_reads_back(percent: float) -> None:
    assert units.parse_percent(f"{percent!r}%") == percent / 100


@pytest.mark.parametrize(
    "text",
    ["", "%", "1", "0.01", "-1%", "nan%", "inf%", "1e999%", "1%%", "one%", "1_0%", "\N{ARABIC-INDIC DIGIT ONE}%"],
)
def test_a_bad_percentage_is_named(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(text))):
        units.parse_percent(text)


def test_percent_without_its_sign_is_told_how_to_write_it() -> None:
    with pytest.raises(UsageError, match="1%"):
        units.parse_percent("0.01")


def test_percentiles_are_sorted_and_unique() -> None:
    assert units.parse_percentiles(" 99, 50,p90,50.0 ,99.9") == (50.0, 90.0, 99.0, 99.9)


@pytest.mark.parametrize("text", ["", ",", "50,", "0", "100", "-1", "50,abc", "nan", "50;90", "101,50"])
def test_bad_percentiles_are_named(text: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(text))):
        units.parse_percentiles(text)


def test_the_bad_one_among_percentiles_is_named() -> None:
    with pytest.raises(UsageError, match="'abc' in '50,abc'"):
        units.parse_percentiles("50,abc")
