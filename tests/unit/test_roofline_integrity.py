# SPDX-License-Identifier: Apache-2.0
"""A measured time against the least that its bytes and its FLOPs need."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyperf_infer.results.schema import Integrity
from pyperf_infer.roofline.integrity import bytes_across_bus, check
from pyperf_infer.roofline.least import LeastBytes, LeastFlops

BYTES = LeastBytes(weights=900_000_000, inputs=60_000_000, outputs=40_000_000)
FLOPS = LeastFlops(total=400, floor=2_000_000_000, precisions=frozenset({"float16"}), notes=("Winograd counts less",))
MIB = 2**20
# The bytes take 1 ms of this memory in mode cold (less the outputs, which the cache keeps back), the FLOPs 2 ms.
DEVICE = {"bandwidth_bytes_per_s": 960e9, "peak_flops_per_s": 1e12, "l2_bytes": 50_000_000}


def judged(mode: str = "cold", p50_ms: float | None = 3.0, **changes: Any) -> Integrity:
    known: dict[str, Any] = {"least_bytes": BYTES, "least_flops": FLOPS, **DEVICE, **changes}
    return check(mode, None if p50_ms is None else p50_ms * 1e6, **known)


def test_a_time_that_both_allow_is_ok_and_every_figure_stands_there() -> None:
    assert judged() == Integrity(
        status="ok",
        bytes_min=960_000_000,
        bandwidth_bytes_per_s=960e9,
        floor_bytes_ms=1.0,
        flops=2_000_000_000,
        peak_flops_per_s=1e12,
        floor_flops_ms=2.0,
        measured_ms=3.0,
        reason="Winograd counts less",
    )


@pytest.mark.parametrize(("p50_ms", "status"), [(2.0, "ok"), (1.999, "impossible"), (0.0, "impossible")])
def test_exactly_the_floor_is_possible_and_less_is_not(p50_ms: float, status: str) -> None:
    assert judged(p50_ms=p50_ms).status == status
    assert judged(p50_ms=p50_ms / 2, least_flops=None).status == status


def test_the_reason_says_what_was_undercut_by_how_much_and_what_was_allowed_for() -> None:
    reason = judged(p50_ms=1.5).reason
    assert reason is not None
    assert reason.startswith("the median GPU span, 1.500 ms, is shorter than the 2.000 ms that 2.000G FLOPs take at ")
    assert reason.endswith("1.000T FLOP/s; Winograd counts less")
    both = judged(p50_ms=0.5).reason
    assert both is not None
    assert "shorter than the 1.000 ms that 915.5 MiB take at 960.0G B/s; the median" in both
    assert "2.000G FLOPs" in both


def test_a_mode_without_a_span_is_not_checked() -> None:
    checked = judged("throughput", None)
    assert (checked.status, checked.measured_ms) == ("not checked", None)
    assert checked.reason == "mode throughput measures no GPU span of a single request"


UNKNOWN_BYTES = "how many bytes a call must move is not known"
UNKNOWN_BANDWIDTH = "the bandwidth of the memory is not known"
UNKNOWN_FLOPS = "how many FLOPs a call must take is not known"
UNKNOWN_PEAK = "the peak of the device at this precision is not known"


@pytest.mark.parametrize(
    ("lacking", "reason"),
    [
        ({"least_bytes": None, "least_flops": None}, f"{UNKNOWN_BYTES}; {UNKNOWN_FLOPS}"),
        ({"bandwidth_bytes_per_s": None, "peak_flops_per_s": None}, f"{UNKNOWN_BANDWIDTH}; {UNKNOWN_PEAK}"),
    ],
)
def test_without_any_floor_it_is_not_checked_and_no_floor_is_made_up(lacking: dict[str, Any], reason: str) -> None:
    checked = judged(p50_ms=1e-6, **lacking)
    assert (checked.status, checked.reason) == ("not checked", reason)
    assert (checked.floor_bytes_ms, checked.floor_flops_ms) == (None, None)


def test_one_floor_is_enough_to_judge_and_the_reason_tells_what_was_not() -> None:
    assert judged(least_bytes=None).status == "ok"
    assert judged(p50_ms=1.5, least_bytes=None).status == "impossible"
    assert judged(p50_ms=0.5, peak_flops_per_s=None).status == "impossible"
    only_bytes = judged(peak_flops_per_s=None)
    assert (only_bytes.status, only_bytes.reason) == ("ok", UNKNOWN_PEAK)  # nothing of Winograd: no FLOPs were judged
    assert judged(least_flops=None).reason == UNKNOWN_FLOPS


def test_bytes_that_all_fit_in_the_cache_say_nothing() -> None:
    small = LeastBytes(weights=30 * MIB, inputs=MIB, outputs=MIB)
    warm = judged("latency", 1e-6, least_bytes=small, least_flops=None)
    assert (warm.status, warm.bytes_min, warm.floor_bytes_ms) == ("not checked", 0, 0.0)
    assert warm.reason == f"all bytes that a call surely moves fit in the L2 cache; {UNKNOWN_FLOPS}"
    assert judged("cold", 1e-6, least_bytes=small, least_flops=None).status == "impossible"
    nothing = LeastFlops(total=5, floor=0, precisions=frozenset(), notes=())
    assert judged("latency", 1e-6, least_bytes=small, least_flops=nothing).status == "not checked"


@pytest.mark.parametrize(
    ("mode", "l2_bytes", "copies_inputs", "crossing"),
    [
        ("cold", 50_000_000, False, 960_000_000),  # the outputs may stay in the cache
        ("cold", 30_000_000, False, 970_000_000),
        ("cold", 0, False, 1_000_000_000),
        ("cold", None, False, 960_000_000),
        ("cold", 50_000_000, True, 910_000_000),  # and what was just copied may still be there
        ("cold", 100_000_000, True, 900_000_000),
        ("cold", None, True, 900_000_000),
        ("latency", 50_000_000, False, 950_000_000),
        ("latency", 50_000_000, True, 950_000_000),
        ("latency", 2_000_000_000, False, 0),
        ("latency", None, False, None),
    ],
)
def test_what_must_cross_the_bus(mode: str, l2_bytes: int | None, copies_inputs: bool, crossing: int | None) -> None:
    assert bytes_across_bus(mode, BYTES, l2_bytes, copies_inputs) == crossing
    checked = judged(mode, l2_bytes=l2_bytes, copies_inputs=copies_inputs, bandwidth_bytes_per_s=1e12)
    assert checked.bytes_min == crossing
    assert checked.floor_bytes_ms == (None if crossing is None else pytest.approx(crossing / 1e9))


SIZES = st.integers(0, 10**10)


@given(st.builds(LeastBytes, weights=SIZES, inputs=SIZES, outputs=SIZES), SIZES, st.booleans())
def test_a_warm_call_never_needs_more_than_a_cold_one_with_its_cache(
    least: LeastBytes, l2_bytes: int, copies_inputs: bool
) -> None:
    warm = bytes_across_bus("latency", least, l2_bytes, copies_inputs)
    cold = bytes_across_bus("cold", least, l2_bytes, False)
    assert warm is not None
    assert cold is not None
    assert warm <= cold <= least.weights + least.inputs + least.outputs
    assert (bytes_across_bus("cold", least, l2_bytes, True) or 0) <= cold


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_the_slower_of_two_measurements_is_never_the_impossible_one(first_ns: int, second_ns: int) -> None:
    slow, fast = max(first_ns, second_ns) / 1e6, min(first_ns, second_ns) / 1e6
    if judged(p50_ms=slow).status == "impossible":
        assert judged(p50_ms=fast).status == "impossible"
