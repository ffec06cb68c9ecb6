# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pyperf_infer.results.schema import Gpu, GpuActivity, GpuProcess
from pyperf_infer.results.schema import Warning as Notice
from pyperf_infer.system.gpu_advice import advise_gpu

FLAGS = {"--device": "cuda:0", "--idle-ms": 0.0, "--duration": 2.0}
GPU = Gpu(name="Fake GPU", uuid="GPU-1", mig=False)


def activity(**changes: Any) -> GpuActivity:
    quiet = GpuActivity(
        polling_interval_ms=100,
        readings=20,
        window_s=1.9,
        samples_covered=190,
        sm_clock_mhz_min=1900,
        sm_clock_mhz_median=1950,
        sm_clock_mhz_max=1980,
        max_sm_clock_mhz=1980,
        temperature_c_max=60,
        throttle_reasons={"sw_power_cap": 0.05},
    )
    return msgspec.structs.replace(quiet, **changes)


def about(flags: dict[str, Any] | None = None, gpu: Gpu | None = GPU, gpus: int = 1, **changes: Any) -> list[Notice]:
    return advise_gpu(activity(**changes), gpu, FLAGS if flags is None else flags, gpus=gpus)


def only(warnings: list[Notice]) -> Notice:
    (warning,) = warnings
    return warning


def test_a_gpu_of_ones_own_at_full_clock_has_no_warning() -> None:
    assert about() == []


def test_what_is_not_known_is_not_warned_about() -> None:
    names = ("sm_clock_mhz_min", "sm_clock_mhz_median", "sm_clock_mhz_max", "max_sm_clock_mhz", "temperature_c_max")
    assert about(gpu=None, throttle_reasons={}, **dict.fromkeys(names)) == []
    assert about(gpu=Gpu(name="GPU"), sm_clock_mhz_max=0.0) == []
    assert about(max_sm_clock_mhz=0.0) == about(max_sm_clock_mhz=None) == []
    assert advise_gpu(None, None, {}) == []


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"throttle_reasons": {"sw_power_cap": 0.25}}, "gpu_throttled", "power limit was reached (sw_power_cap, 25%"),
        ({"sm_clock_mhz_min": 1500.0}, "gpu_clock", "varied between 1500 and 1980 MHz"),
        (
            {"sm_clock_mhz_min": 1400.0, "sm_clock_mhz_median": 1410.0, "sm_clock_mhz_max": 1420.0},
            "gpu_clock",
            "was 1410 MHz (median) while the GPU was busy; it goes up to 1980 MHz",
        ),
        ({"temperature_c_max": 86.0}, "gpu_hot", "at 86 °C"),
        ({"other_processes": [GpuProcess(pid=7)]}, "gpu_shared", "process 7."),
        (
            {"missing": "GPU is lost"},
            "gpu_not_watched",
            "GPU is lost. Its clocks and other processes are known for 1.9",
        ),
        ({"gpu": msgspec.structs.replace(GPU, mig=True)}, "gpu_mig", "whole board"),
    ],
)
def test_a_disturbance_is_told_with_its_figure(changes: dict[str, Any], code: str, says: str) -> None:
    warning = only(about(**changes))
    assert (warning.code, says in warning.message) == (code, True), warning.message
    assert warning.remedy


@pytest.mark.parametrize(
    "changes",
    [
        {"throttle_reasons": {"hw_slowdown": 0.05}},
        {"sm_clock_mhz_min": 1782.0},
        {"sm_clock_mhz_min": 1782.0, "sm_clock_mhz_median": 1782.0, "sm_clock_mhz_max": 1782.0},
        {"temperature_c_max": 82.0},
    ],
)
def test_at_the_threshold_there_is_no_warning(changes: dict[str, Any]) -> None:
    assert about(**changes) == []


def test_other_processes_are_named_with_what_is_known_of_them() -> None:
    others = [
        GpuProcess(pid=7, name="trainer", memory_bytes=3 * 2**30),
        GpuProcess(pid=8, name="Xorg"),
        *(GpuProcess(pid=pid) for pid in (9, 10, 11, 12)),
    ]
    message = only(about(other_processes=others)).message
    assert "process 7 (trainer, 3.000 GiB), process 8 (Xorg), process 9, process 10 and 2 more." in message


def test_another_gpu_is_suggested_only_where_there_is_one_and_a_flag_for_it() -> None:
    others = {"other_processes": [GpuProcess(pid=7)]}
    assert "--device" in only(about(gpus=2, **others)).remedy
    assert "--device" not in only(about(gpus=1, **others)).remedy
    assert "--device" not in only(about({}, gpus=2, **others)).remedy


@pytest.mark.parametrize(
    ("reason", "helps"),
    [
        ("hw_thermal_slowdown", "Cool it better"),
        ("sw_thermal_slowdown", "Cool it better"),
        ("hw_power_brake_slowdown", "Check the power supply"),
        ("hw_slowdown", "Check the power supply"),
        ("sw_power_cap", "nvidia-smi -pl WATTS"),
        ("board_limit", "nvidia-smi -pl WATTS"),
        ("reliability", "nvidia-smi -pl WATTS"),
        ("sync_boost", "synchronised boost group"),
        ("display_clock_setting", "no display"),
        ("0x800", "lock a clock"),
    ],
)
def test_each_reason_has_a_remedy_of_its_own(reason: str, helps: str) -> None:
    warning = only(about(throttle_reasons={reason: 0.5}))
    assert f"{reason}, 50% of the readings" in warning.message
    assert helps in warning.remedy


def test_of_several_reasons_the_cause_of_the_others_is_mended() -> None:
    """Hardware slows down for heat: both bits are set, and the clock falls."""
    warning = only(about(throttle_reasons={"hw_slowdown": 0.5, "hw_thermal_slowdown": 0.5, "0x800": 0.1}))
    assert warning.remedy.startswith("Cool it better")
    assert warning.message.count("% of the readings") == 3


def test_the_clock_to_lock_is_one_that_it_held_on_that_very_gpu() -> None:
    capped = {"throttle_reasons": {"sw_power_cap": 1.0}, "sm_clock_mhz_min": 1500.0}
    power, clock = about(**capped)
    for warning in (power, clock):
        assert "`sudo nvidia-smi -i GPU-1 --lock-gpu-clocks=1500`" in warning.remedy
    unknown = only(about(gpu=None, throttle_reasons={"sw_power_cap": 1.0}, sm_clock_mhz_min=None))
    assert "`sudo nvidia-smi --lock-gpu-clocks=MHZ`" in unknown.remedy


def test_pauses_are_suggested_unless_there_are_some_or_no_flag_for_them() -> None:
    assert "--idle-ms" in only(about(temperature_c_max=90.0)).remedy
    assert "--idle-ms" not in only(about(FLAGS | {"--idle-ms": 5.0}, temperature_c_max=90.0)).remedy
    assert "--idle-ms" not in only(about({}, temperature_c_max=90.0)).remedy


def test_no_readings_at_all_are_told() -> None:
    nothing = {"readings": 0, "window_s": 0.0, "throttle_reasons": {}, "missing": "No reading fell into the 0.05 s."}
    warning = only(about(**nothing))
    assert "Its clocks, throttling and other processes are not known." in warning.message
    assert "--duration" not in warning.remedy
    assert "--duration 1" in only(about(FLAGS | {"--duration": 0.05}, **nothing)).remedy
    assert "--duration" not in only(about({}, **nothing)).remedy


def test_the_gravest_comes_first_and_no_flag_is_named_that_the_command_has_not() -> None:
    warnings = about(
        {},
        gpu=msgspec.structs.replace(GPU, mig=True),
        gpus=4,
        other_processes=[GpuProcess(pid=7)],
        throttle_reasons={"sw_thermal_slowdown": 1.0},
        sm_clock_mhz_min=300.0,
        temperature_c_max=95.0,
        missing="GPU is lost.",
    )
    codes = [warning.code for warning in warnings]
    assert codes == ["gpu_shared", "gpu_throttled", "gpu_clock", "gpu_hot", "gpu_mig", "gpu_not_watched"]
    flags = {"--device", "--idle-ms", "--duration"}
    assert not [warning for warning in warnings if flags & set(warning.remedy.replace(":", " ").split())]
    assert all(warning.remedy for warning in warnings)
