# SPDX-License-Identifier: Apache-2.0
"""Several verdicts at once: each at the confidence that holds them all together."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.statistics.compare import compare_all_rounds, compare_rounds
from pyperf_infer.statistics.holm import Interval, judge_together, verdict_of


def normal(centre: float, spread: float) -> Callable[[float], Interval]:
    """Intervals of a normal log-ratio."""

    def at(confidence: float) -> Interval:
        reach = spread * _z((1 - confidence) / 2)
        return math.exp(centre - reach), math.exp(centre + reach)

    return at


def _z(tail: float) -> float:
    low, high = 0.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        if math.erfc(middle / math.sqrt(2)) / 2 > tail:
            low = middle
        else:
            high = middle
    return high


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1.02, 1.05), "faster"),
        ((0.95, 0.98), "slower"),
        ((0.995, 1.005), "same"),
        ((1 / 1.01, 1.01), "same"),
        ((1.005, 1.02), "undecided"),
        ((0.5, 2.0), "undecided"),
    ],
)
def test_the_verdict_is_where_the_interval_lies(interval: Interval, verdict: str) -> None:
    found, reason = verdict_of(*interval, 0.01)
    assert found == verdict
    assert (reason is None) == (verdict != "undecided")


def test_one_comparison_is_judged_as_asked() -> None:
    (found,) = judge_together([normal(0.05, 0.01)], margin=0.01, confidence=0.95)
    assert (found.verdict, found.confidence) == ("faster", 0.95)


def test_the_clearest_of_several_is_judged_the_most_strictly() -> None:
    found = judge_together([normal(0.033, 0.0106), normal(0.2, 0.01), normal(0.1, 0.01)], margin=0.01, confidence=0.95)
    assert [one.verdict for one in found] == ["faster"] * 3
    assert [one.confidence for one in found] == pytest.approx([0.95, 1 - 0.05 / 3, 1 - 0.05 / 2])


def test_what_would_hold_alone_does_not_where_many_were_tried() -> None:
    # Its interval excludes the margin at 95%, not at 99.5%.
    alone = normal(0.035, 0.011)
    assert judge_together([alone], margin=0.01, confidence=0.95)[0].verdict == "faster"
    among = judge_together([alone] * 10, margin=0.01, confidence=0.95)
    assert {one.verdict for one in among} == {"undecided"}
    assert [one.confidence for one in among] == [pytest.approx(0.995)] * 10


def test_after_one_that_is_not_decided_nothing_is() -> None:
    unclear, clearer = normal(0.0, 1.0), normal(0.035, 0.0117)
    found = judge_together([unclear, clearer, normal(0.5, 0.01)], margin=0.01, confidence=0.95)
    assert [one.verdict for one in found] == ["undecided", "undecided", "faster"]
    assert found[0].confidence == found[1].confidence == pytest.approx(0.975)
    assert all(one.reason for one in found[:2])


def test_without_an_interval_nothing_is_decided() -> None:
    (found,) = judge_together([lambda _: None], margin=0.01, confidence=0.95)
    assert (found.verdict, found.interval) == ("undecided", None)
    assert "95%" in (found.reason or "")


@given(st.lists(st.tuples(st.floats(-0.2, 0.2), st.floats(0.001, 0.1)), min_size=1, max_size=6))
def test_what_is_shown_is_what_decided(ratios: list[tuple[float, float]]) -> None:
    found = judge_together([normal(*one) for one in ratios], margin=0.01, confidence=0.95)
    for one in found:
        assert one.interval is not None
        assert one.confidence >= 0.95
        if one.verdict != "undecided":
            assert verdict_of(*one.interval, 0.01)[0] == one.verdict


@given(st.permutations(range(4)))
def test_the_order_in_which_they_are_given_does_not_matter(order: list[int]) -> None:
    cases = [normal(0.3, 0.01), normal(0.04, 0.012), normal(0.0, 0.002), normal(-0.1, 0.2)]
    straight = judge_together(cases, margin=0.01, confidence=0.95)
    mixed = judge_together([cases[index] for index in order], margin=0.01, confidence=0.95)
    assert [mixed[order.index(index)] for index in range(4)] == straight


@pytest.mark.parametrize(("margin", "confidence"), [(0.0, 0.95), (-0.01, 0.95), (math.nan, 0.95), (0.01, 1.0)])
def test_nonsense_is_refused(margin: float, confidence: float) -> None:
    with pytest.raises(ValueError, match=r"margin|confidence"):
        judge_together([normal(0, 1)], margin=margin, confidence=confidence)


def test_identical_targets_are_called_different_no_more_often_than_asked() -> None:
    """Five contenders against one baseline, noise of 5% a block, a margin far below it: 300 times."""
    random.seed(7)
    wrong = 0
    for _ in range(300):
        rounds = [[random.lognormvariate(0, 0.05) for _ in range(20)] for _ in range(6)]
        found = compare_all_rounds(rounds, alone=[None] * 5, margin=1e-6, confidence=0.95)
        wrong += any(one.verdict in ("faster", "slower") for one in found)
    assert wrong <= 26  # 5% of 300 is 15; 26 is beyond its 99.5% point


def test_several_contenders_have_wider_intervals_than_one() -> None:
    random.seed(1)
    baseline, contender = ([random.lognormvariate(0, 0.02) for _ in range(40)] for _ in range(2))
    alone = compare_rounds(baseline, contender)
    among = compare_all_rounds([baseline, contender, contender], alone=[None, None])[0]
    assert alone.interval is not None
    assert among.interval is not None
    assert among.interval[1] - among.interval[0] > alone.interval[1] - alone.interval[0]
    assert (alone.confidence, among.confidence) == (0.95, pytest.approx(0.975))
