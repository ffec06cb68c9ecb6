# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyperf_infer.results.schema import Activity, Environment, QuantityBlock, Stop, Warmup
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.advice import ResultFacts, advise, advise_machine

FLAGS = {"--max-duration": 20.0, "--ci": 0.01, "--warmup-ms": 500.0, "--threads": 2, "--cpu-affinity": None}


def environment(**changes: Any) -> Environment:
    quiet = Environment(
        cpu_model="CPU",
        architecture="x86_64",
        physical_cores=4,
        logical_cores=4,
        affinity=[0, 1, 2, 3],
        caches=[],
        governor="performance",
        frequency_mhz=3000.0,
        frequency_min_mhz=None,
        frequency_max_mhz=None,
        memory_total_bytes=2**33,
        memory_limit_bytes=None,
        cpu_limit_cores=None,
        os="Linux",
        kernel="6",
        virtualised=False,
        hypervisor=None,
        python="CPython 3.11",
        libraries={},
    )
    return msgspec.structs.replace(quiet, **changes)


def activity(**changes: Any) -> Activity:
    """Ten seconds on four CPUs, undisturbed."""
    quiet = Activity(
        wall_ns=10_000_000_000,
        user_cpu_ns=20_000_000_000,
        system_cpu_ns=0,
        steal_ns=0,
        throttled_ns=0,
        throttled_periods=0,
        voluntary_switches=10,
        involuntary_switches=10,
        minor_faults=100,
        major_faults=0,
        other_cpu_ns=0,
        frequency_mhz_min=2990.0,
        frequency_mhz_max=3000.0,
        cpus=4,
    )
    return msgspec.structs.replace(quiet, **changes)


def facts(*, latency: dict[str, Any] | None = None, **changes: Any) -> ResultFacts:
    block = QuantityBlock(
        count=1000,
        mean_ms=10.0,
        stddev_ms=0.1,
        min_ms=9.0,
        max_ms=12.0,
        p50_ms=10.0,
        p50_interval_ms=(9.95, 10.05),
        percentiles=[],
        outliers=3,
        autocorrelation_lag1=0.0,
    )
    values: dict[str, Any] = {
        "threads": 2,
        "latency": msgspec.structs.replace(block, **(latency or {})),
        "warmup": Warmup(budget_ms=500, min_iterations=3, iterations=40, duration_ms=300, steady=True),
        "stop": stop(),
        "measured_duration_s": 10.0,
    }
    return ResultFacts(**(values | changes))


def stop(**changes: Any) -> Stop:
    good = Stop(
        ci=0.01,
        confidence=0.95,
        min_iterations=30,
        min_duration_s=1.0,
        max_duration_s=20.0,
        reason="converged",
        looks=3,
        converged=True,
    )
    return msgspec.structs.replace(good, **changes)


def only(warnings: list[Notice]) -> Notice:
    (warning,) = warnings
    return warning


def about(
    flags: dict[str, Any] | None = None,
    of: ResultFacts | None = None,
    env: dict[str, Any] | None = None,
    **changes: Any,
) -> list[Notice]:
    return advise(of or facts(), environment(**(env or {})), activity(**changes), FLAGS if flags is None else flags)


def test_a_quiet_run_on_a_quiet_machine_has_no_warning() -> None:
    assert about() == []


def test_what_was_not_recorded_is_not_warned_about() -> None:
    unknown = dict.fromkeys(
        ("steal_ns", "throttled_ns", "throttled_periods", "other_cpu_ns", "frequency_mhz_min", "frequency_mhz_max")
    )
    assert about(env={"governor": None}, **unknown) == []
    assert advise(ResultFacts(threads=2), environment(), None, {}) == []
    assert about(wall_ns=0, steal_ns=5) == []


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"steal_ns": 800_000_000}, "steal", "2.0%"),
        ({"throttled_ns": 340_000_000, "throttled_periods": 12}, "throttled", "340 ms in all in 12 periods"),
        ({"other_cpu_ns": 10_000_000_000}, "other_load", "25%"),
        ({"involuntary_switches": 2000}, "involuntary_switches", "100 times a second"),
        ({"frequency_mhz_min": 2000.0}, "frequency", "between 2000 and 3000 MHz"),
        ({"major_faults": 17}, "major_faults", "17 pages"),
    ],
)
def test_a_disturbance_is_told_with_its_figure(changes: dict[str, Any], code: str, says: str) -> None:
    warning = only(about(**changes))
    assert (warning.code, says in warning.message) == (code, True)
    assert warning.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"steal_ns": 400_000_000},
        {"throttled_ns": 10_000_000},
        {"other_cpu_ns": 2_000_000_000},
        {"involuntary_switches": 1000},
        {"frequency_mhz_min": 2700.0},
        {"major_faults": 9},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_at_the_threshold_there_is_no_warning(changes: dict[str, Any]) -> None:
    assert about(**changes) == []


def test_few_switches_in_a_short_run_are_no_rate() -> None:
    assert about(wall_ns=10_000_000, involuntary_switches=3) == []


@pytest.mark.parametrize("governor", ["powersave", "performance, schedutil"])
def test_a_governor_that_lags_is_named(governor: str) -> None:
    warning = only(about(env={"governor": governor}))
    assert (warning.code, governor in warning.message, "cpupower" in warning.remedy) == ("governor", True, True)
    assert advise_machine(environment(governor=governor)) == [warning]


def test_more_time_is_suggested_by_how_much_is_missing() -> None:
    unfinished = stop(converged=False, reason="max duration")
    wide = facts(stop=unfinished, latency={"p50_interval_ms": (9.8, 10.2)}, measured_duration_s=20.0)
    warning = only(about(of=wide))
    assert warning.code == "not_converged"
    assert (
        warning.message
        == "After 20 s the median is known to ±2.00% only; ±1.00% was asked for, which would have taken about 96 s."
    )
    assert "--max-duration 96" in warning.remedy  # (2% / 1%)^2 x 20 s x 1.2


def test_the_suggested_time_is_always_longer_than_the_one_in_use() -> None:
    nearly = facts(stop=stop(converged=False), latency={"p50_interval_ms": (9.89, 10.11)}, measured_duration_s=3.0)
    assert "--max-duration 30" in only(about(of=nearly)).remedy


def test_where_time_cannot_help_a_wider_interval_is_suggested() -> None:
    hopeless = facts(stop=stop(converged=False), latency={"p50_interval_ms": (8.0, 12.0)}, measured_duration_s=20.0)
    remedy = only(about(of=hopeless)).remedy
    assert "--max-duration" not in remedy
    assert "--ci 22%" in remedy


def test_without_an_interval_the_time_is_doubled() -> None:
    few = facts(stop=stop(converged=False), latency={"p50_interval_ms": None}, measured_duration_s=20.0)
    warning = only(about(of=few))
    assert "too few samples" in warning.message
    assert "--max-duration 40" in warning.remedy


def test_an_interrupted_run_needs_no_advice_on_time() -> None:
    assert about(of=facts(stop=stop(converged=False, reason="interrupted"))) == []


def test_a_longer_warm_up_is_suggested_until_it_cannot_be_the_cause() -> None:
    def unsteady(budget_ms: float) -> str:
        warmup = Warmup(budget_ms=budget_ms, min_iterations=3, iterations=40, duration_ms=budget_ms, steady=False)
        warning = only(about(of=facts(warmup=warmup)))
        assert warning.code == "warmup_unfinished"
        return warning.remedy

    assert "--warmup-ms 2000" in unsteady(500)
    assert "--warmup-ms 10000" in unsteady(9000)
    assert "--warmup-ms" not in unsteady(10_000)


def test_a_warm_up_that_was_turned_off_is_not_unsteady() -> None:
    off = Warmup(budget_ms=0, min_iterations=0, iterations=0, duration_ms=0, steady=False)
    assert about(of=facts(warmup=off)) == []


def test_noise_is_told_with_its_outliers() -> None:
    warning = only(about(of=facts(latency={"stddev_ms": 2.5})))
    assert (warning.code, "25%" in warning.message, "3 of 1000" in warning.message) == ("noisy", True, True)


def test_too_many_threads() -> None:
    warning = only(about(of=facts(threads=8), flags=FLAGS | {"--threads": 8}))
    assert (warning.code, warning.remedy) == ("too_many_threads", "Use --threads 4.")


def test_a_quota_below_the_threads_is_told_before_it_bites() -> None:
    warning = only(about(env={"cpu_limit_cores": 1.5}, of=facts(threads=4), flags=FLAGS | {"--threads": 4}))
    assert (warning.code, warning.remedy) == ("cpu_quota", "Use --threads 1.")
    assert about(env={"cpu_limit_cores": 2.0}) == []


def test_a_flag_in_use_at_that_value_is_not_suggested() -> None:
    throttled = {"throttled_ns": 10**9, "env": {"cpu_limit_cores": 1.5}}
    assert "--threads 1" in only(about(**throttled)).remedy
    assert "--threads" not in only(about(FLAGS | {"--threads": 1}, **throttled)).remedy
    busy = {"other_cpu_ns": 10**10}
    assert "--cpu-affinity" in only(about(**busy)).remedy
    assert "--cpu-affinity" not in only(about(FLAGS | {"--cpu-affinity": "0-1"}, **busy)).remedy


def test_a_flag_that_the_command_does_not_have_is_not_suggested() -> None:
    everything = facts(
        threads=8,
        stop=stop(converged=False),
        latency={"stddev_ms": 5.0, "p50_interval_ms": (9.0, 11.0)},
        warmup=Warmup(budget_ms=500, min_iterations=3, iterations=4, duration_ms=500, steady=False),
    )
    warnings = about(
        {},
        of=everything,
        env={"cpu_limit_cores": 1.5, "governor": "powersave"},
        steal_ns=10**10,
        throttled_ns=10**9,
        other_cpu_ns=10**10,
        involuntary_switches=10**5,
        frequency_mhz_min=1000.0,
        major_faults=100,
    )
    assert len({warning.code for warning in warnings}) == len(warnings) == 12
    assert all(warning.remedy and "--" not in warning.remedy for warning in warnings)
