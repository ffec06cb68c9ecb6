# SPDX-License-Identifier: Apache-2.0
"""Tukey's four classes, against their definition and a table worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pyperf_infer.statistics.estimate import Nanoseconds, estimate
from pyperf_infer.statistics.outliers import OutlierClasses, classify_outliers

SAMPLES = st.lists(st.integers(0, 2**40), min_size=1, max_size=60).map(lambda list_: np.array(list_, np.int64))


def _classes(samples: Nanoseconds) -> OutlierClasses:
    return classify_outliers(np.sort(samples))


# Each four times; with or without two more at the ends the quartiles are 102 and 106: fences at 96 and 112, 90 and 118.
BULK = 4 * [100, 101, 102, 103, 104, 105, 106, 107, 108]


@pytest.mark.parametrize(
    ("further", "expected"),
    [
        ([], (0, 0, 0, 0)),
        ([96, 112], (0, 0, 0, 0)),  # on the inner fences: inside
        ([95, 113], (0, 1, 1, 0)),
        ([90, 118], (0, 1, 1, 0)),  # on the outer fences: not yet severe
        ([89, 119], (1, 0, 0, 1)),
    ],
)
def test_a_table_worked_out_by_hand(further: list[int], expected: tuple[int, int, int, int]) -> None:
    assert tuple(_classes(np.array(BULK + further, np.int64))) == expected


@given(SAMPLES)
@example(np.array([1] * 10 + [2], np.int64))  # the quartiles are equal: what differs is severe
def test_each_class_is_what_lies_between_its_fences(samples: Nanoseconds) -> None:
    ordered = sorted(samples.tolist())
    low, high = (ordered[max(1, math.ceil(len(ordered) * share)) - 1] for share in (0.25, 0.75))
    span = high - low
    found = _classes(samples)
    assert found.low_severe == sum(value < low - 3 * span for value in ordered)
    assert found.low_mild == sum(low - 3 * span <= value < low - 1.5 * span for value in ordered)
    assert found.high_mild == sum(high + 1.5 * span < value <= high + 3 * span for value in ordered)
    assert found.high_severe == sum(value > high + 3 * span for value in ordered)


@given(SAMPLES)
def test_the_classes_sum_to_the_outliers(samples: Nanoseconds) -> None:
    found = estimate(samples)
    assert found.outliers == found.outlier_classes.total == sum(found.outlier_classes)
    assert found.outliers <= found.count // 2


@given(SAMPLES, st.integers(1, 1000), st.integers(0, 2**20), st.randoms(use_true_random=False))
def test_neither_unit_nor_offset_nor_order_makes_an_outlier(
    samples: Nanoseconds, scale: int, offset: int, random: object
) -> None:
    shuffled = samples.tolist()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = _classes(samples)
    assert _classes(samples * scale) == expected
    assert _classes(samples + offset) == expected
    assert estimate(np.array(shuffled, np.int64)).outlier_classes == expected
