# SPDX-License-Identifier: Apache-2.0
"""The ratio alone, before and after: what stays is interference, what comes and goes is the machine."""

from __future__ import annotations

import pytest

from pyperf_infer.statistics.alone import alone_hull, apart, middle_of
from pyperf_infer.statistics.compare import compare_rounds


def test_a_ratio_that_moved_meanwhile_is_no_interference() -> None:
    rounds = [1e6] * 10, [1e6] * 10
    moved = alone_hull((1.19, 1.21), (0.98, 1.02))
    assert compare_rounds(*rounds, alone_interval=moved).verdict == "same"
    stayed = alone_hull((1.19, 1.21), (1.18, 1.22))
    found = compare_rounds(*rounds, alone_interval=stayed)
    assert found.verdict == "undecided"
    assert found.reason == "interference: the ratio is 1.200 when each runs alone"


def test_intervals_that_touch_are_not_apart() -> None:
    assert apart((1.0, 1.1), (1.1, 1.2)) == 0
    assert apart((1.0, 1.1), (1.21, 1.3)) == pytest.approx(0.1)
    assert apart((1.21, 1.3), (1.0, 1.1)) == pytest.approx(0.1)
    assert middle_of((0.5, 2.0)) == pytest.approx(1.0)
