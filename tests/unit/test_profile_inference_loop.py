# SPDX-License-Identifier: Apache-2.0
"""How many inferences a table is made of."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyperf_infer.profile import inference_loop
from pyperf_infer.profile.inference_loop import batches
from pyperf_infer.profile.plan import ProfilePlan

MS = 1_000_000


class Clock:
    """Goes on by what the inferences take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 5 * MS
        monkeypatch.setattr(inference_loop, "_core", SimpleNamespace(now_ns=lambda: self.now))

    def run(self, plan: ProfilePlan, call_ms: float, most: int = 10_000) -> list[int]:
        ran = []
        for count in batches("layers", plan, call_ms * MS, most):
            ran.append(count)
            self.now += round(count * call_ms * MS)
        return ran


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_there_are_enough_of_them_and_they_last_long_enough(clock: Clock) -> None:
    assert sum(clock.run(ProfilePlan(inferences=30, duration_s=0.1, max_duration_s=20), 50)) == 30
    ran = clock.run(ProfilePlan(inferences=30, duration_s=2.0, max_duration_s=20), 1)
    assert set(ran) == {20}
    assert sum(ran) == 2000


def test_half_of_the_budget_is_the_most(clock: Clock) -> None:
    assert sum(clock.run(ProfilePlan(inferences=30, duration_s=1, max_duration_s=20), 1000)) == 10
    assert sum(clock.run(ProfilePlan(inferences=30, duration_s=1, max_duration_s=2), 60_000)) == 1


def test_a_batch_is_no_longer_than_it_can_be(clock: Clock) -> None:
    assert set(clock.run(ProfilePlan(inferences=1000, duration_s=0), 0.001, most=7)) == {7}


def test_progress_is_told_at_most_ten_times_a_second(clock: Clock) -> None:
    told = []
    plan = ProfilePlan(duration_s=1.0, max_duration_s=4, progress=lambda *what: told.append(what))
    clock.run(plan, 10)
    assert [what[0] for what in told] == ["layers"] * 10
    assert told[0] == ("layers", 10, 100 * MS, 2000 * MS, 10 * MS)
