# SPDX-License-Identifier: Apache-2.0
"""What a row says of its samples' level and of what disturbs them: status, likely causes, warnings."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from drawn_samples import normal, to_ns, uniform
from fake_backends import FakeBackend, executed
from hypothesis import given, settings
from hypothesis import strategies as st
from result_documents import result

from pyperf_infer.measure.likely_causes import Evidence
from pyperf_infer.measure.steadiness import steadiness_notices, steady_of
from pyperf_infer.results.schema import Activity, GpuActivity, Steady
from pyperf_infer.results.schema import Warning as Notice

FLAGS = {"--warmup-ms": 5000.0, "--cpu-affinity": None}
COUNT = 2000
STEP = np.where(np.arange(COUNT) < 500, 10.0, 0.0)
RAMP = np.linspace(0, 3, COUNT)


def activity(**changes: Any) -> Activity:
    """Ten seconds on four CPUs, undisturbed."""
    quiet = Activity(
        wall_ns=10_000_000_000,
        user_cpu_ns=10_000_000_000,
        system_cpu_ns=0,
        steal_ns=0,
        throttled_ns=0,
        throttled_periods=0,
        voluntary_switches=0,
        involuntary_switches=0,
        minor_faults=0,
        major_faults=0,
        other_cpu_ns=0,
        frequency_mhz_min=3000.0,
        frequency_mhz_max=3000.0,
        cpus=4,
    )
    return msgspec.structs.replace(quiet, **changes)


def steady(values: Any, *, gpu: GpuActivity | None = None, **changes: Any) -> Steady:
    evidence = Evidence(activity=activity(**changes), gpu=gpu, flags=FLAGS)
    return steady_of(to_ns(normal(1, len(values)) + values), evidence)


def notices(found: Steady) -> list[Notice]:
    return list(steadiness_notices(msgspec.structs.replace(result("torch", 10.0), steady=found)))


def only(found: Steady) -> Notice:
    (notice,) = notices(found)
    return notice


def test_steady_samples_have_one_segment_and_no_warning() -> None:
    found = steady(np.zeros(COUNT))
    assert (found.status, found.steady_from, found.disturbances) == ("steady", 0, [])
    assert [(one.begin, one.count) for one in found.segments] == [(0, COUNT)]
    assert found.median_steady_ms == pytest.approx(10.0, rel=0.001)
    assert found.median_before_ms is None
    assert notices(found) == []


def test_too_few_samples_are_no_reason_to_warn() -> None:
    found = steady(np.zeros(5))
    assert (found.status, found.steady_from, found.median_steady_ms) == ("too few samples", None, None)
    assert notices(found) == []


def test_a_warm_up_that_ends_within_the_samples_is_told_with_both_medians() -> None:
    found = steady(STEP)
    assert (found.status, [one.kind for one in found.disturbances]) == ("warming up", ["levels"])
    assert (found.median_before_ms, found.median_steady_ms) == (pytest.approx(11, 0.01), pytest.approx(10, 0.01))
    notice = only(found)
    assert notice.code == "still_warming_up"
    assert f"first {found.steady_from} of 2000 samples" in notice.message
    assert "median 11.0" in notice.message
    assert "--warmup-ms 20000" in notice.remedy


def test_no_sample_of_a_warm_up_is_dropped() -> None:
    found = steady(STEP)
    assert sum(one.count for one in found.segments) == COUNT


def test_a_handful_of_slow_first_samples_is_recorded_and_no_warning() -> None:
    found = steady(np.where(np.arange(COUNT) < 10, 30.0, 0.0))
    assert (found.status, found.steady_from) == ("warming up", 10)
    assert notices(found) == []


def test_a_level_that_became_slower_is_no_warm_up() -> None:
    notice = only(steady(10 - STEP))
    assert notice.code == "level_changed"
    assert "--warmup-ms" not in notice.remedy


def test_samples_without_a_lasting_level_are_told_with_their_levels() -> None:
    found = steady(np.repeat([0.0, 10, 0, 10, 20, 0], [700, 200, 300, 150, 400, 250]))
    assert (found.status, found.steady_from, found.median_steady_ms) == ("never steady", None, None)
    notice = only(found)
    assert notice.code == "never_steady"
    assert "6 levels, with medians from 9.99" in notice.message


def test_a_drift_is_one_warning_whether_or_not_it_leaves_a_level() -> None:
    small, large = steady(RAMP), steady(20 * RAMP)
    assert large.status == "never steady"
    assert [one.code for one in notices(large)] == ["never_steady"]
    assert "slower" in only(large).message
    assert "drift" in [one.kind for one in large.disturbances]
    codes = [one.code for one in notices(small)]
    assert codes in (["drift"], ["never_steady"], ["level_changed"], ["drift", "level_changed"])


@pytest.mark.parametrize(("sign", "word"), [(1, "slower"), (-1, "faster")])
def test_a_drift_says_which_way(sign: int, word: str) -> None:
    found = steady(np.linspace(0, 1.6 * sign, 400))
    (one,) = [one for one in found.disturbances if one.kind == "drift"]
    assert one.slower == (sign > 0)
    assert word in next(notice.message for notice in notices(found) if notice.code == "drift")


def test_two_modes_are_told_with_their_medians_and_share() -> None:
    found = steady(12.0 * (uniform(2, COUNT) < 0.3))
    (one,) = found.disturbances
    assert one.modes_ms is not None
    assert one.modes_ms == (pytest.approx(10, 0.01), pytest.approx(11.2, 0.01))
    assert one.slow_share == pytest.approx(0.3, abs=0.05)
    notice = only(found)
    assert notice.code == "two_modes"
    assert "--cpu-affinity" in notice.remedy


def test_a_period_is_told_in_milliseconds() -> None:
    found = steady(4.0 * (np.arange(COUNT) % 7 == 0))
    (one,) = [one for one in found.disturbances if one.kind == "periodic"]
    assert one.period_ms == pytest.approx(70, rel=0.02)
    assert "period of 70" in next(notice for notice in notices(found) if notice.code == "periodic").message


QUIET = "not among what the system told"
SLOWER = [
    ({}, QUIET),
    ({"throttled_ns": 10**9}, "CPU quota"),
    ({"frequency_mhz_min": 2000.0}, "CPU's clock, which sank"),
    ({"steal_ns": 10**9}, "neighbour on the host, which took 2.5%"),
    ({"other_cpu_ns": 10**10}, "other programs on this machine, which used 25%"),
    ({"other_cpu_ns": 10**10, "throttled_ns": 10**9}, "CPU quota"),
    ({"steal_ns": None, "throttled_ns": None, "other_cpu_ns": None, "frequency_mhz_min": None}, QUIET),
    ({"wall_ns": 0}, QUIET),
]


@pytest.mark.parametrize(("seen", "cause"), SLOWER)
def test_the_cause_of_a_slow_down_is_what_was_seen(seen: dict[str, Any], cause: str) -> None:
    (one,) = steady(10 - STEP, **seen).disturbances
    assert cause in one.cause
    assert one.remedy


def test_without_any_record_a_cause_is_still_given() -> None:
    found = steady_of(to_ns(normal(1, COUNT) + 10 - STEP), Evidence(flags={}))
    assert QUIET in found.disturbances[0].cause


def test_a_speed_up_while_the_clock_rose_is_the_clocks() -> None:
    (one,) = steady(STEP, frequency_mhz_min=1500.0).disturbances
    assert "CPU's clock, which rose with the load (1500 to 3000 MHz)" in one.cause
    (quiet,) = steady(STEP).disturbances
    assert "warm-up went on" in quiet.cause


def test_a_gpus_clock_comes_before_the_cpus() -> None:
    gpu = GpuActivity(
        polling_interval_ms=100,
        readings=10,
        window_s=1,
        samples_covered=10,
        sm_clock_mhz_min=900,
        sm_clock_mhz_max=1980,
    )
    (one,) = steady(10 - STEP, gpu=gpu, frequency_mhz_min=1500.0).disturbances
    assert "GPU's clock" in one.cause
    assert "lock-gpu-clocks" in one.remedy


PERIODS = [(10.0, "100 a second"), (4.01, "250 a second"), (3.33, "300 a second"), (1.0, "1000 a second")]


@pytest.mark.parametrize(
    ("period_ms", "words"), [*PERIODS, (7.0, "wakes up every 7 ms"), (100.0, "wakes up every 100")]
)
def test_a_period_is_matched_with_the_timers_tick(period_ms: float, words: str) -> None:
    assert words in Evidence(activity=activity(), flags={}).of_period(period_ms).cause


def test_a_period_of_the_quotas_is_the_quotas_where_it_stopped_threads() -> None:
    throttled = Evidence(activity=activity(throttled_ns=10**8), flags={})
    assert "CPU quota" in throttled.of_period(99.0).cause
    assert "wakes up" in throttled.of_period(55.0).cause


def test_a_remedy_names_no_flag_that_the_command_lacks() -> None:
    for of in ("of_slower", "of_faster", "of_changing", "of_two_modes"):
        assert "--" not in getattr(Evidence(activity=activity(), flags={}), of)().remedy


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=150))
def test_any_samples_give_a_block_that_can_be_written_and_read(times: list[int]) -> None:
    found = steady_of(np.array(times), Evidence(activity=activity(), flags=FLAGS))
    assert msgspec.json.decode(msgspec.json.encode(found), type=Steady) == found
    for notice in notices(found):
        assert notice.message
        assert notice.remedy


def test_a_measured_row_says_whether_it_is_steady_and_how_long_its_warm_up_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = executed(monkeypatch, FakeBackend("torch"))
    (row,) = run.results
    assert row.steady is not None
    timing, warmup = row.summary.timing, row.method.warmup
    assert timing is not None
    assert warmup is not None
    assert sum(one.count for one in row.steady.segments) == timing.count
    assert warmup.steady_after is None or warmup.steady_after <= warmup.iterations + timing.count
