# SPDX-License-Identifier: Apache-2.0
"""Texts on a roofline plot: none is cut off, and none hides another where there is room."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.reports.roofline_labels import LED_FROM, Label, Sheet

WIDTH, HEIGHT, SIZE = 400.0, 280.0, 7.0
NAME = "memory 43.93 GB/s"
HALF = 0.5 * 0.6 * SIZE * len(NAME)


def ends_of(label: Label) -> list[tuple[float, float]]:
    angle = math.radians(label.degrees)
    return [(label.at[0] + way * HALF * math.cos(angle), label.at[1] + way * HALF * math.sin(angle)) for way in (-1, 1)]


def off_line(label: Label, begin: tuple[float, float]) -> float:
    """How far the text's middle is from the line, negative below it."""
    angle = math.radians(label.degrees)
    return (label.at[1] - begin[1]) * math.cos(angle) - (label.at[0] - begin[0]) * math.sin(angle)


@given(
    left=st.floats(0.0, 100.0),
    right=st.floats(250.0, WIDTH),
    low=st.floats(0.0, 60.0),
    high=st.floats(120.0, HEIGHT - 15),
)
def test_a_name_lies_along_its_line_near_its_upper_end(left: float, right: float, low: float, high: float) -> None:
    sheet = Sheet(WIDTH, HEIGHT)
    begin, end = (left, low), (right, high)
    sheet.take_line(begin, end)
    label = sheet.name_line(begin, end, NAME, SIZE)
    assert label.degrees == pytest.approx(math.degrees(math.atan2(high - low, right - left)))
    assert SIZE / 2 < abs(off_line(label, begin)) < 1.5 * SIZE
    for x, y in ends_of(label):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert math.dist(label.at, end) < math.dist(label.at, begin)


@given(apart=st.floats(0.5, 7.0))
def test_two_lines_close_together_have_their_names_on_their_outer_sides(apart: float) -> None:
    sheet = Sheet(WIDTH, HEIGHT)
    lines = [((0.0, 20.0 + apart), (300.0, 220.0 + apart)), ((0.0, 20.0), (300.0, 220.0))]
    for line in lines:
        sheet.take_line(*line)
    upper, lower = (sheet.name_line(*line, NAME, SIZE) for line in lines)
    assert off_line(upper, lines[0][0]) > 0 > off_line(lower, lines[1][0])


def test_a_name_gives_way_to_what_is_at_the_end_of_its_line() -> None:
    begin, end = (0.0, 140.0), (WIDTH, 140.0)
    free, taken = Sheet(WIDTH, HEIGHT), Sheet(WIDTH, HEIGHT)
    taken.take([(WIDTH - 40.0, 140.0, 20.0)])
    first, second = (one.name_line(begin, end, NAME, SIZE) for one in (free, taken))
    assert first.at[0] + HALF > WIDTH - 20.0
    assert second.at[0] + HALF < WIDTH - 60.0


@given(
    x=st.floats(30.0, WIDTH - 30.0),
    y=st.floats(30.0, HEIGHT - 30.0),
    apart=st.floats(0.0, 3.0),
    radius=st.floats(1.0, 12.0),
)
def test_numbers_of_points_in_one_place_do_not_lie_on_each_other(
    x: float, y: float, apart: float, radius: float
) -> None:
    sheet = Sheet(WIDTH, HEIGHT)
    points = [(x + number * apart, y + number * apart, radius) for number in range(6)]
    sheet.take(points)
    labels = [sheet.number_point((px, py), radius, "1", SIZE) for px, py, _ in points]
    for first, second in combinations(labels, 2):
        assert math.dist(first.at, second.at) > SIZE * 0.9
    for label in labels:
        assert SIZE / 2 - 1 <= label.at[0] <= WIDTH - SIZE / 2 + 1
        assert SIZE / 2 - 1 <= label.at[1] <= HEIGHT - SIZE / 2 + 1
    assert labels[0].away < LED_FROM


def test_an_empty_plot_and_a_line_shorter_than_its_name_have_a_place_too() -> None:
    sheet = Sheet(WIDTH, HEIGHT)
    sheet.take([])
    label = sheet.name_line((100.0, 100.0), (110.0, 110.0), NAME, SIZE)
    assert label.degrees == pytest.approx(45.0)
    assert math.dist(label.at, (105.0, 105.0)) < HALF + SIZE
