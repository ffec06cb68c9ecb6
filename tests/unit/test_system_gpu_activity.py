# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import importlib
from itertools import accumulate
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.results.schema import GpuActivity, GpuProcess
from pyperf_infer.system.gpu_activity import REASONS, activity_of, reason_names
from pyperf_infer.system.gpu_energy import Energy, energy_of
from pyperf_infer.system.gpu_reader import Reading

MS, S = 10**6, 10**9
OWN = 42


def reading(at_ns: int, **changes: Any) -> Reading:
    """A GPU at work, at 300 W since the clock's beginning."""
    whole: dict[str, Any] = {
        "monotonic_ns": at_ns,
        "sm_clock_mhz": 1800,
        "memory_clock_mhz": 2600,
        "power_w": 300.0,
        "temperature_c": 60,
        "clocks_event_reasons": 0,
        "energy_mj": at_ns * 300 // MS,
        "memory_used_bytes": 5 * S,
        "processes": [GpuProcess(pid=OWN, name="python", memory_bytes=4 * S)],
    }
    return Reading(**(whole | changes))


def every_100_ms(count: int, **changes: Any) -> list[Reading]:
    return [reading(number * 100 * MS, **changes) for number in range(count)]


def about(readings: list[Reading], begin_ns: int = 50 * MS, end_ns: int = 1950 * MS, **changes: Any) -> GpuActivity:
    asked: dict[str, Any] = {"requests": 190, "polling_interval_ms": 100.0, "own_pids": [OWN]}
    return activity_of(readings, begin_ns, end_ns, **(asked | changes))


def test_a_window_is_summed_up() -> None:
    activity = about(every_100_ms(21), max_sm_clock_mhz=2000.0, p50_ms=10.0)
    assert activity == GpuActivity(
        polling_interval_ms=100.0,
        readings=19,  # at 0.1, 0.2, ... 1.9 s
        window_s=1.8,
        samples_covered=180,
        sm_clock_mhz_min=1800,
        sm_clock_mhz_median=1800,
        sm_clock_mhz_max=1800,
        memory_clock_mhz_min=2600,
        memory_clock_mhz_max=2600,
        max_sm_clock_mhz=2000.0,
        temperature_c_max=60,
        power_w_mean=300.0,
        power_w_max=300.0,
        throttle_reasons={},
        energy_j=570.0,  # 300 W for the 1.9 s of the window, not only the 1.8 s between readings
        energy_j_per_request=3.0,
        energy_method="total energy counter",
        clock_normalised_p50_ms=9.0,
        memory_used_peak_bytes=5 * S,
        other_processes=[],
        missing=None,
    )
    assert msgspec.json.decode(msgspec.json.encode(activity), type=GpuActivity) == activity


def test_readings_outside_the_window_are_about_something_else() -> None:
    wild = {"sm_clock_mhz": 300, "temperature_c": 99, "power_w": 900.0, "clocks_event_reasons": 0x8}
    wild |= {"memory_used_bytes": 9 * S, "processes": [GpuProcess(pid=7), GpuProcess(pid=OWN)]}
    calm = every_100_ms(21)
    readings = [reading(0, **wild), *calm[1:20], reading(2 * S, **wild)]
    assert about(readings, max_sm_clock_mhz=2000.0) == about(calm, max_sm_clock_mhz=2000.0)


def test_the_order_of_the_readings_does_not_matter() -> None:
    readings = [
        reading(number * 100 * MS, sm_clock_mhz=1000 + number, temperature_c=50 + number) for number in range(21)
    ]
    assert about(readings[::-1]) == about(readings)
    assert (about(readings).sm_clock_mhz_min, about(readings).temperature_c_max) == (1001, 69)


def test_nothing_known_is_nothing_said() -> None:
    unknown = [Reading(monotonic_ns=number * 100 * MS) for number in range(21)]
    activity = about(unknown, p50_ms=10.0)
    assert activity == GpuActivity(polling_interval_ms=100.0, readings=19, window_s=1.8, samples_covered=180)


def test_a_window_between_two_readings_says_why_it_has_none() -> None:
    activity = about(every_100_ms(3), 110 * MS, 190 * MS)
    assert (activity.readings, activity.window_s, activity.samples_covered) == (0, 0, 0)
    assert activity.missing == "No reading fell into the 0.08 s of measuring; the GPU was polled every 100 ms."
    assert (activity.sm_clock_mhz_median, activity.power_w_max, activity.energy_j) == (None, None, None)
    assert about([], missing="NVML cannot be read.").missing == "NVML cannot be read."
    assert about(every_100_ms(9), missing="GPU is lost").missing == "GPU is lost"


def test_one_reading_covers_no_time() -> None:
    activity = about(every_100_ms(3), 50 * MS, 150 * MS)
    assert (activity.readings, activity.window_s, activity.samples_covered) == (1, 0, 0)
    assert (activity.sm_clock_mhz_median, activity.missing) == (1800, None)


def test_a_window_without_requests_has_no_energy_a_request() -> None:
    activity = about(every_100_ms(21), requests=0)
    assert (activity.energy_j, activity.energy_j_per_request, activity.samples_covered) == (570.0, None, 0)


def test_an_idle_gpus_clock_is_not_that_of_the_work() -> None:
    readings = every_100_ms(21)
    for number in (4, 5):
        readings[number] = reading(
            number * 100 * MS, sm_clock_mhz=345, memory_clock_mhz=405, clocks_event_reasons=0x1, temperature_c=70
        )
    activity = about(readings, max_sm_clock_mhz=2000.0, p50_ms=10.0)
    assert (activity.sm_clock_mhz_min, activity.memory_clock_mhz_min, activity.temperature_c_max) == (1800, 2600, 70)
    idle = about(every_100_ms(21, clocks_event_reasons=0x1), max_sm_clock_mhz=2000.0, p50_ms=10.0)
    assert (idle.sm_clock_mhz_median, idle.clock_normalised_p50_ms, idle.readings) == (None, None, 19)


def test_throttling_is_told_by_reason_and_share_of_readings() -> None:
    readings = every_100_ms(21)
    readings[1] = reading(100 * MS, clocks_event_reasons=0x4 | 0x40 | 0x8)
    readings[2] = reading(200 * MS, clocks_event_reasons=0x4 | 0x800)
    readings[3] = reading(300 * MS, clocks_event_reasons=0x2 | 0x1)
    readings[4] = reading(400 * MS, clocks_event_reasons=None)
    assert about(readings).throttle_reasons == {
        "sw_power_cap": 2 / 18,
        "hw_slowdown": 1 / 18,
        "hw_thermal_slowdown": 1 / 18,
        "0x800": 1 / 18,
    }


def test_the_names_of_the_reasons_are_nvmls() -> None:
    """Each version of the bindings names some bits EVENT_REASON_... and some THROTTLE_REASON_..."""
    nvml = pytest.importorskip("cuda.bindings.nvml", exc_type=ImportError)
    theirs = {
        member.value: member.name.removeprefix("EVENT_REASON_").removeprefix("THROTTLE_REASON_").lower()
        for member in nvml.ClocksEventReasons
        if member.value
    }
    assert theirs.items() <= REASONS.items()
    assert reason_names(0x1 | 0x100 | 0x1000) == ["gpu_idle", "display_clock_setting", "0x1000"]
    assert reason_names(0) == []


def test_other_processes_are_told_once_with_the_most_they_held() -> None:
    own = GpuProcess(pid=OWN, name="python", memory_bytes=S)
    readings = every_100_ms(21)
    readings[3] = reading(300 * MS, processes=[own, GpuProcess(pid=9, name="b", memory_bytes=2 * S)])
    readings[4] = reading(400 * MS, processes=[GpuProcess(pid=9, name="b", memory_bytes=3 * S), GpuProcess(pid=7)])
    readings[5] = reading(500 * MS, processes=[own, GpuProcess(pid=9, name="b", memory_bytes=None)])
    readings[6] = reading(600 * MS, processes=None)
    activity = about(readings)
    assert activity.other_processes == [GpuProcess(pid=7), GpuProcess(pid=9, name="b", memory_bytes=3 * S)]


def test_a_single_process_under_another_number_is_this_run() -> None:
    """In a container an old driver gives the host's numbers."""
    alone = every_100_ms(21, processes=[GpuProcess(pid=31337)])
    assert about(alone).other_processes == []
    two = every_100_ms(21, processes=[GpuProcess(pid=31337), GpuProcess(pid=31338)])
    assert [process.pid for process in about(two).other_processes] == [31337, 31338]


@st.composite
def covered_windows(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """(times of readings, begin, end): a second or more, no gap above an eighth, a reading on or beyond either end."""
    begin = draw(st.integers(0, 10**16))
    length = draw(st.integers(S, 100 * S))
    step = st.integers(length // 60, length // 8)
    steps = draw(st.lists(step, min_size=80, max_size=80))
    times = list(accumulate(steps, initial=begin - draw(st.integers(0, length // 8))))  # 80 / 60 > 1 + 1 / 8
    after = next(number for number, time in enumerate(times) if time >= begin + length)
    return times[: after + draw(st.integers(1, 3))], begin, begin + length


@given(covered_windows(), st.integers(1, 1500))
def test_constant_power_is_power_times_time(window: tuple[list[int], int, int], watts: int) -> None:
    times, begin, end = window
    joules = watts * (end - begin) / 1e9
    counter = [Reading(monotonic_ns=time, energy_mj=watts * time, power_w=1.0) for time in times]
    # A counter in nanojoules here, so that it is whole at any time: a millionth of what it says.
    assert energy_of(counter, begin, end) == Energy(pytest.approx(joules * 1e6, rel=1e-12), "total energy counter")
    power = [Reading(monotonic_ns=time, power_w=float(watts)) for time in times]
    assert energy_of(power, begin, end) == Energy(pytest.approx(joules, rel=1e-12), "power readings, trapezoids")


@given(covered_windows(), st.integers(1, 500), st.integers(0, 500))
def test_power_that_rises_evenly_is_its_mean_times_time(
    window: tuple[list[int], int, int], first: int, rise: int
) -> None:
    times, begin, end = window
    power = [Reading(monotonic_ns=time, power_w=first + rise * (time - begin) / (end - begin)) for time in times]
    joules = (first + rise / 2) * (end - begin) / 1e9
    assert energy_of(power, begin, end) == Energy(pytest.approx(joules, rel=1e-9), "power readings, trapezoids")


@given(covered_windows(), st.lists(st.integers(0, 10**6), min_size=90, max_size=90))
def test_a_windows_energy_lies_between_the_counters_readings_inside_and_around(
    window: tuple[list[int], int, int], growth: list[int]
) -> None:
    times, begin, end = window
    counts = list(accumulate(growth))[: len(times)]
    readings = [Reading(monotonic_ns=time, energy_mj=count) for time, count in zip(times, counts, strict=True)]
    energy = energy_of(readings, begin, end)
    assert energy is not None
    inside = [count for time, count in zip(times, counts, strict=True) if begin <= time <= end]
    before = max(count for time, count in zip(times, counts, strict=True) if time <= begin)
    after = min(count for time, count in zip(times, counts, strict=True) if time >= end)
    slack = 1e-9 * (after + 1)
    assert inside[-1] - inside[0] - slack <= energy.joules * 1e3 <= after - before + slack


@pytest.mark.parametrize(
    ("readings", "end_ns"),
    [
        (every_100_ms(21), 1049 * MS),  # 0.999 s
        ([reading(number * 400 * MS) for number in range(6)], 1950 * MS),  # four inside
        (every_100_ms(20), 1950 * MS),  # none after
        (every_100_ms(21)[1:], 1950 * MS),  # none before
        ([entry for entry in every_100_ms(21) if not 500 * MS < entry.monotonic_ns < 1000 * MS], 1950 * MS),  # a gap
        ([], 1950 * MS),
    ],
    ids=["short", "few", "none after", "none before", "gap", "none"],
)
@pytest.mark.parametrize("counter", [True, False], ids=["counter", "power"])
def test_without_enough_readings_there_is_no_energy(readings: list[Reading], end_ns: int, counter: bool) -> None:
    if not counter:
        readings = [msgspec.structs.replace(entry, energy_mj=None) for entry in readings]
    assert energy_of(readings, 50 * MS, end_ns) is None
    enough = every_100_ms(21, **({} if counter else {"energy_mj": None}))
    assert energy_of(enough, 50 * MS, 1950 * MS) is not None


def test_a_counter_that_begins_anew_gives_no_energy() -> None:
    readings = every_100_ms(21)
    readings[10:] = [msgspec.structs.replace(entry, energy_mj=1) for entry in readings[10:]]
    assert energy_of(readings, 50 * MS, 1950 * MS) is None


def test_a_long_gap_before_the_window_is_not_taken_for_its_edge() -> None:
    """Idle minutes before the first reading inside would be spread into it."""
    readings = [reading(0, energy_mj=0), *(reading(number * 100 * MS) for number in range(600, 621))]
    assert energy_of(readings, 59_950 * MS, 61_950 * MS) is None


def test_readings_twice_at_one_moment_are_no_division_by_zero() -> None:
    readings = sorted(every_100_ms(21) * 2, key=lambda entry: entry.monotonic_ns)
    for which in (readings, [msgspec.structs.replace(entry, energy_mj=None) for entry in readings]):
        energy = energy_of(which, 100 * MS, 1900 * MS)
        assert energy is not None
        assert energy.joules == pytest.approx(540)


def test_the_modules_that_reports_use_import_no_nvml() -> None:
    for name in ("gpu_activity", "gpu_energy", "gpu_advice"):
        module = importlib.import_module(f"pyperf_infer.system.{name}")
        assert not {"nvml", "gpu_monitor"} & vars(module).keys()
