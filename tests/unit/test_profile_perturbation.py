# SPDX-License-Identifier: Apache-2.0
"""What an instrument costs: turned on and off in turn, and the ratio the right way round."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pyperf_infer import _core
from pyperf_infer.profile import perturbation as module
from pyperf_infer.profile.perturbation import Switched, perturbation
from pyperf_infer.profile.plan import ProfilePlan

QUICK = ProfilePlan(max_duration_s=2.0, ci=50.0)  # any interval will do


class Switch:
    """An instrument that notes what happens to it."""

    def __init__(self, fails: bool = False) -> None:
        self.log: list[str] = []
        self.is_on = False
        self._fails = fails
        self.both = Switched(self.note("plain"), self.note("instrumented"), self.on, self.off)

    def note(self, name: str) -> Callable[[], None]:
        def call() -> None:
            assert self.is_on == (name == "instrumented")
            if self.log[-1:] != [name]:
                self.log.append(name)

        return call

    def on(self) -> None:
        self.is_on = True
        self.log.append("on")
        if self._fails:
            raise ValueError("no instrument")

    def off(self) -> None:
        self.is_on = False
        self.log.append("off")


def test_the_instrument_is_on_only_while_it_is_asked_for() -> None:
    switch = Switch()
    for call in ("plain", "plain", "instrumented", "instrumented", "plain"):
        getattr(switch.both, call)()
    assert switch.log == ["plain", "on", "instrumented", "off", "plain"]
    switch.both.end()
    assert not switch.is_on
    assert switch.log[-1] == "plain"


def test_it_is_off_afterwards_whatever_ran_last() -> None:
    switch = Switch()
    found = perturbation(switch.both, 1000.0, QUICK)
    assert not switch.is_on
    assert switch.log.count("on") == switch.log.count("off") >= 4  # in 8 rounds at least
    assert found is not None
    assert found.rounds >= 8


def test_one_that_fails_half_way_is_turned_off() -> None:
    switch = Switch(fails=True)
    with pytest.raises(ValueError, match="no instrument"):
        perturbation(switch.both, 1000.0, QUICK)
    assert switch.log[-1] == "off"
    assert switch.log.count("on") == switch.log.count("off") == 1


def interleaved(monkeypatch: pytest.MonkeyPatch, medians: list[tuple[int, int]]) -> dict[str, Any]:
    """Stands in for the native loop, with blocks of (plain, instrumented) medians. Returns what it was asked for."""
    asked: dict[str, Any] = {}
    blocks = [
        SimpleNamespace(target=target, round=number, median_ns=median)
        for number, both in enumerate(medians)
        for target, median in reversed(list(enumerate(both)))
    ]

    def interleave(targets: Any, plan: Any, samples: Any, progress: Any = None) -> SimpleNamespace:
        assert len(targets) == len(samples) == 2
        return SimpleNamespace(rounds=len(medians), blocks=blocks)

    def schedule(**options: Any) -> dict[str, Any]:
        asked.update(options)
        return options

    fake = SimpleNamespace(
        interleave=interleave, SchedulePlan=schedule, CallableTarget=_core.CallableTarget, Samples=_core.Samples
    )
    monkeypatch.setattr(module, "_core", fake)
    return asked


def test_the_ratio_is_of_instrumented_over_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    interleaved(monkeypatch, [(2_000_000, 3_000_000)] * 5 + [(1_000_000, 1_500_000)] * 4)
    found = perturbation(Switch().both, 1.0, QUICK)
    assert found is not None
    assert found.ratio == pytest.approx(1.5)
    assert found.interval == pytest.approx((1.5, 1.5))
    assert (found.plain_ms, found.instrumented_ms, found.rounds) == (2.0, 3.0, 9)


def test_too_few_rounds_give_no_interval_and_none_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    interleaved(monkeypatch, [(1000, 1100)])
    found = perturbation(Switch().both, 1.0, QUICK)
    assert found is not None
    assert (found.interval, found.rounds) == (None, 1)
    interleaved(monkeypatch, [])
    assert perturbation(Switch().both, 1.0, QUICK) is None


@pytest.mark.parametrize(("call_ms", "calls"), [(0.01, 10), (20, 10), (60, 2), (500, 1), (10_000, 1)])
def test_slow_calls_have_shorter_blocks(monkeypatch: pytest.MonkeyPatch, call_ms: float, calls: int) -> None:
    asked = interleaved(monkeypatch, [])
    perturbation(Switch().both, call_ms * 1e6, ProfilePlan(max_duration_s=20))
    assert asked["min_block_calls"] == calls


def test_one_that_collects_has_blocks_of_at_most_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = interleaved(monkeypatch, [])
    perturbation(Switch().both, 1.0, ProfilePlan(max_duration_s=20), most_block_ns=5_000_000)
    assert asked["min_block_ns"] == 5_000_000
    perturbation(Switch().both, 1.0, ProfilePlan(max_duration_s=60))
    assert asked["min_block_ns"] == 100_000_000
