# SPDX-License-Identifier: Apache-2.0
"""The floor: what lies between processes, without what their samples explain."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyperf_infer.statistics.floor import Floor, floor_of

NARROW = 1e-9


def around(median: float, half: float = NARROW) -> tuple[float, float]:
    """An interval of a median, of so many relative half-widths."""
    return median * math.exp(-half), median * math.exp(half)


def test_exact_medians_give_the_standard_deviation_of_their_logarithms() -> None:
    medians = [1.0, 1.02, 0.99, 1.05, 1.01]
    floor = floor_of(medians, [around(one) for one in medians])
    assert floor.relative_sd == pytest.approx(np.std(np.log(medians), ddof=1), rel=1e-6)
    assert floor.processes == 5


def test_what_the_samples_explain_is_taken_out() -> None:
    """Half a 95% interval is 1.96 standard errors of the median."""
    medians = [1.0, 1.02, 0.99, 1.05, 1.01]
    spread = float(np.var(np.log(medians), ddof=1))
    error = math.sqrt(spread / 2)
    floor = floor_of(medians, [around(one, 1.959964 * error) for one in medians])
    assert floor.relative_sd == pytest.approx(math.sqrt(spread / 2), rel=1e-5)


def test_it_finds_the_spread_that_made_the_processes() -> None:
    rng = np.random.default_rng(7)
    found = []
    for _ in range(200):
        true = np.exp(0.03 * rng.standard_normal(10))
        seen = true * np.exp(0.01 * rng.standard_normal(10))
        found.append(floor_of(list(seen), [around(one, 1.959964 * 0.01) for one in seen]).relative_sd ** 2)
    assert math.sqrt(np.mean(found)) == pytest.approx(0.03, rel=0.1)


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-3, 1e9), min_size=3, max_size=20),
    st.floats(0, 5),
    st.floats(1e-3, 1e3),
)
def test_it_is_never_below_zero_and_knows_no_unit(medians: list[float], half: float, unit: float) -> None:
    floor = floor_of(medians, [around(one, half) for one in medians])
    assert floor.relative_sd >= 0
    scaled = [one * unit for one in medians]
    again = floor_of(scaled, [around(one, half) for one in scaled])
    assert again.relative_sd == pytest.approx(floor.relative_sd, abs=1e-5)


@pytest.mark.parametrize(
    ("medians", "intervals", "message"),
    [
        ([1.0, 1.0], [around(1.0)] * 2, "takes 3 processes or more, and there are 2"),
        ([1.0, 1.0, 1.0], [around(1.0)] * 2, "3 medians with 2 intervals"),
        ([1.0, 0.0, 1.0], [around(1.0)] * 3, "times above 0"),
        ([1.0, math.nan, 1.0], [around(1.0)] * 3, "times above 0"),
        ([1.0, 1.0, 1.0], [around(1.0), None, around(1.0)], "too few samples"),
        ([1.0, 1.0, 1.0], [around(1.0), (2.0, 1.0), around(1.0)], "is no interval"),
        ([1.0, 1.0, 1.0], [around(1.0), (0.0, 1.0), around(1.0)], "is no interval"),
    ],
)
def test_what_gives_no_floor_is_refused(medians: list[float], intervals: list[object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        floor_of(medians, intervals)  # type: ignore[arg-type]


def test_a_floor_is_its_spread_and_its_processes() -> None:
    assert Floor(0.01, 10) == (0.01, 10)
