# SPDX-License-Identifier: Apache-2.0
"""Figures of the GPU proof, and what becomes of a row."""

from __future__ import annotations

import json
import math

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from gpu.figures import (
    Figure,
    RowResult,
    at_least,
    at_most,
    equals,
    failed,
    not_yet,
    row_from_json,
    shown,
    status_of,
    to_json,
)
from hypothesis import given
from hypothesis import strategies as st

numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(numbers, numbers)
def test_a_figure_passes_up_to_its_bound(value: float, bound: float) -> None:
    assert at_most("x", value, bound, "us").status == ("pass" if value <= bound else "fail")
    assert at_least("x", value, bound, "us").status == ("pass" if value >= bound else "fail")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_fails_whatever_the_bound(value: float) -> None:
    for figure in (at_most("x", value, math.inf, "us"), at_least("x", value, -math.inf, "us")):
        assert figure.status == "fail"
        assert figure.value is None
        assert str(value) in figure.reason


def test_a_word_is_held_against_the_one_that_is_wanted() -> None:
    assert equals("x", "proved", "proved").status == "pass"
    assert equals("x", "unknown", "proved").status == "fail"


@pytest.mark.parametrize(
    ("figures", "status"),
    [
        ([], "fail"),
        ([shown("a", 1.0)], "pass"),
        ([not_yet("a", "no AOTI")], "not yet"),
        ([not_yet("a", "no AOTI"), shown("b", 1.0)], "pass"),
        ([not_yet("a", "no AOTI"), at_most("b", 1.0, 2.0, "us")], "pass"),
        ([shown("a", 1.0), failed("b", "broken")], "fail"),
        ([at_most("a", 1.0, 2.0, "us"), at_most("b", 3.0, 2.0, "us")], "fail"),
    ],
)
def test_one_failed_figure_fails_its_row_and_nothing_shown_is_no_pass(figures: list[Figure], status: str) -> None:
    assert status_of(figures) == status


def test_what_is_missing_says_why() -> None:
    with pytest.raises(ValueError, match="no reason"):
        Figure(name="x", value=None, status="fail", bound="at most 1")
    with pytest.raises(ValueError, match="no bound"):
        Figure(name="x", value=1.0, status="pass")
    with pytest.raises(ValueError, match="no reason"):
        RowResult(name="x", what="y", status="not yet")


figures = st.one_of(
    st.builds(at_most, st.text(), numbers, numbers, st.text()),
    st.builds(shown, st.text(), st.one_of(numbers, st.text()), st.text()),
    st.builds(not_yet, st.text(), st.text(min_size=1)),
    st.builds(failed, st.text(), st.text(min_size=1)),
    st.builds(lambda a, b: at_most("x", a, b, "us", spread=(a, b), spread_of="quartiles"), numbers, numbers),
)


@given(st.lists(figures), st.lists(st.text()), st.text(), st.none() | st.floats(0, 1000))
def test_a_row_comes_back_from_json_as_it_was(
    found: list[Figure], lines: list[str], reason: str, seconds: float | None
) -> None:
    row = RowResult(
        name="a", what="b", status="left", figures=tuple(found), lines=tuple(lines), reason=reason, seconds=seconds
    )
    assert row_from_json(json.loads(json.dumps(to_json(row), allow_nan=False))) == row


@pytest.mark.parametrize("values", [{}, {"name": "a"}, {"name": "a", "what": "b", "status": "left", "figures": [3]}])
def test_what_is_no_row_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no RowResult|an object"):
        row_from_json(values)


def test_a_figure_prints_its_value_spread_bound_and_reason() -> None:
    figure = at_most("gap", 0.25, 1.0, "us", spread=(0.1, 0.4), spread_of="quartiles", reason="30 runs")
    assert str(figure) == "pass  gap: 0.25 us (quartiles 0.1 to 0.4); at most 1 us; 30 runs"
    assert str(not_yet("aoti", "not landed")) == "none  aoti: none; not landed"
