# SPDX-License-Identifier: Apache-2.0
"""What several processes found becomes one: rows, figures, speed-ups and warnings."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
import result_documents as made
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.measure.merge_comparisons import merged_comparisons
from pyperf_infer.measure.merge_figures import merged_gpu_activity, merged_method
from pyperf_infer.measure.merge_rows import MergedRow, Ran, merged_rows
from pyperf_infer.measure.merge_warnings import merged_warnings
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.results import schema
from pyperf_infer.statistics import holm
from pyperf_infer.statistics.compare import compare_all_rounds
from pyperf_infer.statistics.holm import verdict_of

PLAN = RunPlan(models=("resnet50",), backends=(), options=BackendOptions(threads=2, inter_op_threads=1))


def samples(p50_ms: float, count: int = 50, *more: str) -> dict[str, np.ndarray]:
    around = np.linspace(0.99, 1.01, count) * p50_ms * 1e6
    return {name: np.rint(around).astype(np.int64) for name in ("latency", *more)}


def ran(*processes: Sequence[schema.Result]) -> list[list[Ran]]:
    """Rows of each process, with samples around their medians where they have any."""
    return [
        [
            Ran(
                process=number,
                index=index,
                row=row,
                samples=samples(row.summary.timing.p50_ms) if row.summary.timing else None,
            )
            for index, row in enumerate(rows)
        ]
        for number, rows in enumerate(processes, start=1)
    ]


def merge(*processes: Sequence[schema.Result]) -> list[MergedRow]:
    return merged_rows(ran(*processes), len(processes), PLAN)


def one_row(*rows: schema.Result) -> schema.Result:
    (merged,) = merge(*([row] for row in rows))
    return merged.row


def changed(row: schema.Result, part: str, **fields: Any) -> schema.Result:
    return replace(row, **{part: replace(getattr(row, part), **fields)})


def test_rows_stay_in_the_order_in_which_they_first_come_up() -> None:
    pair = [made.result(), made.result(backend="onnxruntime")]
    other = made.result(batch_size=8)
    merged = merge(pair, [*pair, other], pair)
    assert [(one.row.method.backend, one.row.subject.batch_size) for one in merged] == [
        ("torch", 1),
        ("onnxruntime", 1),
        ("torch", 8),
    ]
    assert [one.of for one in merged] == [((1, 0), (2, 0), (3, 0)), ((1, 1), (2, 1), (3, 1)), ((2, 2),)]
    assert [len(one.row.processes.runs) for one in merged if one.row.processes] == [3, 3, 1]


@pytest.mark.parametrize(
    "other",
    [
        changed(made.result(), "subject", precision="float16"),
        changed(made.result(), "subject", shapes={"input": [1, 3, 96, 96]}),
        changed(made.result(), "subject", weights=schema.Weights(source="random", seed=1, sha256="f" * 64)),
        changed(made.result(), "subject", source="timm"),
        changed(made.result(), "method", provider="CUDAExecutionProvider"),
        changed(made.result(), "method", device="cuda:1"),
        changed(made.result(), "method", mode="cold"),
        made.result(backend="torch-compile"),
        made.result(model="resnet18"),
    ],
)
def test_what_is_not_the_same_thing_is_not_merged(other: schema.Result) -> None:
    merged = merge([made.result()], [other])
    assert [len(one.of) for one in merged] == [1, 1]


def test_a_model_that_is_named_twice_has_two_rows() -> None:
    twice = [made.result(p50_ms=10), made.result(p50_ms=20)]
    first, second = merge(twice, twice)
    assert first.row.processes is not None
    assert second.row.processes is not None
    assert (first.row.processes.p50_ms, second.row.processes.p50_ms) == (pytest.approx(10), pytest.approx(20))


def test_a_failure_belongs_to_the_row_that_others_measured_although_its_weights_are_not_known() -> None:
    failed = changed(made.failed(message="Gone."), "subject", weights=None, shapes={})
    (merged,) = merge([failed], [made.result()])
    assert merged.row.error is None
    assert merged.of == ((2, 0),)
    (told,) = [one for one in merged.row.warnings if one.code == "process_failed"]
    assert told.message == "Could not be measured: OutOfMemoryError: Gone (in 1 of 2 processes)."


def test_a_row_that_was_broken_off_counts_only_where_there_is_no_other() -> None:
    broken = made.result(p50_ms=10)
    broken.method = replace(broken.method, stop=replace(broken.method.stop, reason="interrupted"))
    (kept,) = merge([broken])
    assert (kept.row.processes, kept.row is broken) == (None, True)
    (merged,) = merge([broken], [made.result(p50_ms=20)])
    assert merged.row.processes is not None
    assert [one.p50_ms for one in merged.row.processes.runs] == [20]


def test_figures_are_pooled_added_or_the_worst() -> None:
    first, second, third = (made.result(p50_ms=p50_ms) for p50_ms in (10.0, 12.0, 11.0))
    first.summary.export_s = 4.0
    second.summary.peak_memory_bytes = 999 << 20
    second.summary.session_create_s = 0.9
    third.activity = replace(made.activity(), throttled_ns=5, frequency_mhz_max=3000.0)
    row = one_row(first, second, third)
    assert row.summary.latency is not None
    assert row.summary.latency.count == 150
    assert row.summary.latency.p50_ms == pytest.approx(11, rel=0.01)
    assert row.summary.throughput_per_s == third.summary.throughput_per_s
    assert row.summary.export_s == 4.0
    assert row.summary.peak_memory_bytes == 999 << 20
    assert row.summary.session_create_s == 0.412
    assert row.activity is not None
    assert row.activity.wall_ns == 3 * made.activity().wall_ns
    assert row.activity.throttled_ns is None  # not known of the first: a sum of the others would be too small
    assert row.activity.frequency_mhz_max == 3000.0
    assert row.method.measured_duration_s == pytest.approx(30.6)
    assert row.method.warmup is not None
    assert row.method.warmup.iterations == 96
    assert row.processes is not None
    assert row.processes.p50_ms == pytest.approx((10 * 12 * 11) ** (1 / 3))
    assert row.processes.relative_sd_between == pytest.approx(0.091, rel=0.05)
    assert row.processes.share_between is not None
    assert row.processes.share_between > 0.9
    msgspec.json.decode(msgspec.json.encode(row), type=schema.Result)


@pytest.mark.parametrize("unsure", [0, 1])
def test_converged_and_steady_mean_all(unsure: int) -> None:
    rows = [made.result(), made.result()]
    rows[unsure] = made.result(converged=False, steady=False)
    row = one_row(*rows)
    assert row.method.stop is not None
    assert row.method.warmup is not None
    assert (row.method.stop.converged, row.method.warmup.steady) == (False, False)
    assert row.method.stop.reason == f"{rows[0].method.stop.reason} (1 of 2), {rows[1].method.stop.reason} (1 of 2)"  # type: ignore[union-attr]
    assert row.processes is not None
    assert [one.converged for one in row.processes.runs] == [unsure == 1, unsure == 0]


def test_the_worst_parity_steadiness_and_integrity_stand() -> None:
    rows = [made.result(), made.result(), made.result()]
    for row, status in zip(rows, ("equal", "different", "not checked"), strict=True):
        row.parity = made.parity(status)
    rows[2].steady = schema.Steady(status="never steady", steady_from=None, segments=[])
    rows[0].steady = schema.Steady(status="steady", steady_from=0, segments=[])
    rows[1].integrity = schema.Integrity(status="impossible", reason="faster than light")
    rows[0].integrity = schema.Integrity(status="ok")
    row = one_row(*rows)
    assert row.parity is not None
    assert row.parity.status == "different"
    assert row.steady is not None
    assert row.steady.status == "never steady"
    assert row.integrity is not None
    assert row.integrity.status == "impossible"


def test_quantities_that_one_process_lacks_are_left_out() -> None:
    rows = ran([made.result()], [made.result()])
    for one in rows[0]:
        one.row.summary.submit = one.row.summary.latency
    rows[0][0] = Ran(process=1, index=0, row=rows[0][0].row, samples=samples(10, 50, "submit"))
    (merged,) = merged_rows(rows, 2, PLAN)
    assert merged.samples is not None
    assert list(merged.samples) == ["latency"]
    assert merged.row.summary.submit is None


def test_medians_that_are_alike_are_known_to_a_step_of_the_clock_only() -> None:
    row = one_row(*(changed(made.result(p50_ms=0.001), "method", clock_step_ns=40.0) for _ in range(5)))
    assert row.processes is not None
    assert row.processes.interval_ms == (pytest.approx(0.00098), pytest.approx(0.00102))


def test_samples_of_no_time_at_all_have_no_variance_to_split() -> None:
    rows = ran([made.result()], [made.result()])
    for listed in rows:
        assert listed[0].samples is not None
        listed[0].samples["latency"][0] = 0
    (merged,) = merged_rows(rows, 2, PLAN)
    assert merged.row.processes is not None
    assert merged.row.processes.relative_sd_between is None
    assert merged.row.processes.interval_ms is not None


def test_processes_that_disagree_on_launch_bound_withhold_it() -> None:
    rows = [made.result(), made.result(), made.result()]
    for row, bound in zip(rows, (True, False, True), strict=True):
        row.summary = replace(row.summary, launch_bound=bound, launch_bound_evidence="numbers")
    row = one_row(*rows)
    assert row.summary.launch_bound is None
    assert "2 of 3 say that it is, 1 that it is not" in (row.summary.launch_bound_evidence or "")


def test_the_share_of_looking_is_of_the_wall_time_of_all() -> None:
    methods = []
    for share, measured_s in ((0.5, 10.0), (0.0, 20.0)):
        method = replace(made.method("torch"), measured_duration_s=measured_s)
        methods.append(replace(method, stop=replace(method.stop, looks_share=share)))
    merged = merged_method(methods)
    assert merged.stop is not None
    assert merged.stop.looks_share == pytest.approx(10 / 40)


def test_a_gpus_readings_are_joined() -> None:
    readings = [
        schema.GpuActivity(
            polling_interval_ms=10,
            readings=count,
            window_s=1.0,
            samples_covered=5,
            sm_clock_mhz_min=low,
            sm_clock_mhz_max=low + 300,
            throttle_reasons=reasons,
            energy_j=energy,
        )
        for count, low, reasons, energy in ((3, 900.0, {"sw_power_cap": 0.5}, 2.0), (4, 800.0, {"hw": 0.1}, None))
    ]
    merged = merged_gpu_activity(readings)
    assert merged is not None
    assert (merged.readings, merged.sm_clock_mhz_min, merged.sm_clock_mhz_max) == (7, 800.0, 1200.0)
    assert merged.throttle_reasons == {"sw_power_cap": 0.5, "hw": 0.1}
    assert merged.energy_j is None
    assert merged_gpu_activity([]) is None


def warning(message: str, code: str = "stolen", remedy: str = "Wait 3 s.") -> schema.Warning:
    return schema.Warning(code=code, message=message, remedy=remedy)


def test_warnings_that_differ_in_numbers_only_are_said_once() -> None:
    merged = merged_warnings(
        [
            [warning("2.3% was stolen."), warning("slow kernel A", "log")],
            [warning("slow kernel B", "log")],
            [warning("14% was stolen.", remedy="Wait 20 s."), warning("slow kernel A", "log")],
        ]
    )
    assert [(one.message, one.remedy) for one in merged] == [
        ("2.3% was stolen (in 2 of 3 processes).", "Wait 3 s."),
        ("slow kernel A (in 2 of 3 processes)", "Wait 3 s."),
        ("slow kernel B (in 1 of 3 processes)", "Wait 3 s."),
    ]


def test_a_process_that_says_the_same_twice_is_counted_once() -> None:
    (merged,) = merged_warnings([[warning("1 loose"), warning("2 loose")], []])
    assert merged.message == "1 loose (in 1 of 2 processes)"


def compared(ratios: Sequence[float], contender: str = "onnxruntime", **fields: Any) -> list[list[schema.Comparison]]:
    """One comparison a process, each with a narrow interval of its own."""
    found = []
    for ratio in ratios:
        interval = (ratio * 0.999, ratio * 1.001)
        verdict, reason = verdict_of(*interval, 0.01)
        one = made.comparison(verdict=verdict, ratio=ratio, interval=interval, reason=reason)
        found.append([replace(one, contender=contender, **fields)])
    return found


def test_the_ratio_is_the_geometric_mean_and_its_interval_the_spread_between_processes() -> None:
    (merged,) = merged_comparisons(compared([2.0, 2.2, 2.1, 2.05, 2.15]), PLAN)
    assert merged.ratio == pytest.approx((2.0 * 2.2 * 2.1 * 2.05 * 2.15) ** 0.2)
    assert merged.interval is not None
    logs = np.log([2.0, 2.2, 2.1, 2.05, 2.15])
    assert math.log(merged.interval[1] / merged.ratio) == pytest.approx(2.7764 * logs.std(ddof=1) / 5**0.5, rel=1e-3)
    assert (merged.verdict, merged.reason, merged.rounds, merged.confidence) == ("faster", None, 5 * 24, 0.95)


def test_processes_that_contradict_each_other_leave_it_undecided() -> None:
    """Each is sure of itself: by iterations alone the first is faster and the second slower."""
    (merged,) = merged_comparisons(compared([1.05, 0.95, 1.04, 0.96, 1.0]), PLAN)
    assert merged.verdict == "undecided"
    assert "margin" in (merged.reason or "")


def test_one_process_decides_nothing() -> None:
    (merged,) = merged_comparisons(compared([2.0]), PLAN)
    assert (merged.verdict, merged.interval) == ("undecided", None)
    assert "spread between processes" in (merged.reason or "")


@pytest.mark.parametrize(("disturbed", "verdict"), [(1, "faster"), (2, "faster"), (3, "undecided")])
def test_interference_in_half_of_the_processes_leaves_it_undecided(disturbed: int, verdict: str) -> None:
    listed = compared([2.0, 2.01, 2.02, 2.0, 2.01])
    for one in listed[:disturbed]:
        one[0] = replace(one[0], verdict="undecided", reason="interference: the ratio is 3.000 when each runs alone")
    (merged,) = merged_comparisons(listed, PLAN)
    assert merged.verdict == verdict
    assert disturbed < 3 or f"in {disturbed} of 5 processes" in (merged.reason or "")


def test_interference_is_called_so_by_the_comparison_itself() -> None:
    """The word that the merging looks for."""
    (found,) = compare_all_rounds([[2.0] * 20, [1.0] * 20], alone=[(3.0, 3.1)])
    assert (found.reason or "").startswith("interference")


def test_sides_that_ran_something_else_in_any_process_leave_it_undecided() -> None:
    listed = compared([2.0, 2.01, 2.02])
    listed[1][0] = replace(listed[1][0], verdict="undecided", reason="torch ran eagerly and is no graph")
    (merged,) = merged_comparisons(listed, PLAN)
    assert (merged.verdict, merged.reason) == ("undecided", "torch ran eagerly and is no graph")


def test_holms_own_reasons_within_a_process_do_not_block() -> None:
    listed = compared([2.0, 2.01, 2.02])
    reason = "another comparison, decided before this one could be, is not decided itself"
    assert reason in inspect.getsource(holm)
    listed[1][0] = replace(listed[1][0], verdict="undecided", reason=reason)
    (merged,) = merged_comparisons(listed, PLAN)
    assert merged.verdict == "faster"


def test_contenders_of_one_baseline_are_judged_together() -> None:
    both = [
        [*one, *other]
        for one, other in zip(
            compared([2.0, 2.1, 2.05, 2.0, 2.1]), compared([1.5, 1.52, 1.51, 1.5, 1.52], "torch-compile"), strict=True
        )
    ]
    merged = merged_comparisons(both, PLAN)
    assert [one.contender for one in merged] == ["onnxruntime", "torch-compile"]
    assert sorted(one.confidence for one in merged) == [pytest.approx(0.95), pytest.approx(0.975)]
    assert {one.compared for one in merged} == {2}


def test_a_ratio_without_rounds_does_not_mix_with_those_that_have_some() -> None:
    listed = compared([2.0, 2.02, 2.01])
    listed[0][0] = replace(listed[0][0], ratio=9.0, rounds=0, interval=None, verdict="undecided", reason="no round")
    (merged,) = merged_comparisons(listed, PLAN)
    assert merged.ratio == pytest.approx((2.02 * 2.01) ** 0.5)


@pytest.mark.parametrize("complete", [0, 1])
def test_rounds_that_were_not_complete_decide_nothing_however_many_processes(complete: int) -> None:
    listed = compared([2.0, 2.02, 2.01, 2.0, 2.01])
    for one in listed[complete:]:
        one[0] = replace(one[0], rounds=0, interval=None, verdict="undecided", reason="no round was complete")
    (merged,) = merged_comparisons(listed, PLAN)
    assert (merged.verdict, merged.interval) == ("undecided", None)
    assert merged.reason == f"a round was complete in {complete} of 5 processes only; give more time"


def test_a_model_that_is_named_twice_has_two_comparisons_and_not_twice_the_processes() -> None:
    both = [[*one, *other] for one, other in zip(compared([2.0, 2.1]), compared([1.0, 1.1]), strict=True)]
    merged = merged_comparisons(both, PLAN)
    assert [one.ratio for one in merged] == pytest.approx([4.2**0.5, 1.1**0.5])
    assert [one.compared for one in merged] == [1, 1]
    (alone, other) = merged_comparisons(both[:1], PLAN)
    assert alone.interval is other.interval is None


@given(st.lists(st.floats(0.2, 5.0), min_size=1, max_size=9), st.randoms(use_true_random=False))
def test_the_order_of_processes_does_not_matter(ratios: list[float], random: Any) -> None:
    shuffled = random.sample(ratios, len(ratios))
    (one,), (other,) = (merged_comparisons(compared(each), PLAN) for each in (ratios, shuffled))
    assert one.ratio == pytest.approx(other.ratio)
    assert one.verdict == other.verdict
