# SPDX-License-Identifier: Apache-2.0
"""What the rows of the GPU proof make of numbers: each claim passes on a device that keeps it and fails on one that
does not. Nothing here needs a GPU.
"""

from __future__ import annotations

import json
from argparse import Namespace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gpu_documents
import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import msgspec
import pytest
from gpu import aa, beside, cold, host_cost, polling, replay_period, resnet50, run_tests, spin_kernel, stability
from gpu.bounds import Bound, Bounds
from gpu.common import Row
from gpu.figures import shown, status_of
from gpu.spin import Record, kernel_ns, own_ns

if TYPE_CHECKING:
    from gpu.figures import Figure

OFFSET_US = 3.5


def statuses(figures: list[Figure]) -> dict[str, str]:
    return {figure.name: figure.status for figure in figures}


def one_named(figures: list[Figure], part: str) -> Figure:
    (found,) = [figure for figure in figures if part in figure.name]
    return found


def spin_times(own_us: float, error_us: float = 0.0) -> spin_kernel.Times:
    """RUNS runs whose span is the offset, the time itself and an error."""
    jitter = [0.01 * (number % 5) for number in range(spin_kernel.RUNS)]
    own = [own_us + one for one in jitter]
    return spin_kernel.Times([OFFSET_US + one + error_us for one in own], own)


NOTHING = spin_times(0.0)


@pytest.mark.parametrize("spin_us", spin_kernel.SPINS_US)
def test_a_span_that_is_the_devices_time_and_an_offset_passes(spin_us: int) -> None:
    figure = spin_kernel.judge_clock("latency", spin_us, spin_times(spin_us), NOTHING)
    assert figure.status == "pass"
    assert "30 of 30 runs inside" in figure.reason


@pytest.mark.parametrize(
    ("spin_us", "error_us", "status"),
    [(5, 0.9, "pass"), (5, 1.2, "fail"), (5, -1.2, "fail"), (1000, 19.0, "pass"), (1000, 21.0, "fail")],
)
def test_the_bound_is_a_microsecond_or_two_percent(spin_us: int, error_us: float, status: str) -> None:
    times = spin_times(spin_us, error_us)
    assert spin_kernel.judge_clock("cold", spin_us, times, NOTHING).status == status
    kernel, empty = [spin_us + 1.1] * 30, [1.1] * 30
    assert spin_kernel.judge_profiler("cold", spin_us, times, NOTHING, kernel, empty).status == status


def test_runs_are_compared_each_with_its_own_clock() -> None:
    # The clock rate of the device drops half-way: spans and the device's own clock follow alike.
    slow = spin_times(120.0)
    fast = spin_times(100.0)
    times = spin_kernel.Times(fast.span[:15] + slow.span[15:], fast.own[:15] + slow.own[15:])
    assert spin_kernel.judge_clock("latency", 100, times, NOTHING).status == "pass"
    wrong = spin_kernel.Times(times.span, times.own[::-1])
    assert spin_kernel.judge_clock("latency", 100, wrong, NOTHING).status == "fail"


def test_a_coarse_wall_clock_is_not_read_at_the_ends_of_a_spin() -> None:
    records = [Record(0, 1024, 9_000), Record(5_000, 9_096, 9_000)]
    assert own_ns(records, 32, 1.8) == [1024.0, 4096.0]
    assert own_ns(records, 1024, 1.8) == [5000.0, 5000.0]


def event(name: str, begin_ns: int, end_ns: int, device: str = "CUDA") -> Any:
    where = SimpleNamespace(name=device)
    return SimpleNamespace(
        name=lambda: name, start_ns=lambda: begin_ns, end_ns=lambda: end_ns, device_type=lambda: where
    )


def test_the_profilers_kernels_come_in_the_order_in_which_they_ran() -> None:
    events = [event("spin", 500, 900), event("memset", 0, 9), event("spin", 100, 130), event("spin", 0, 5, "CPU")]
    assert kernel_ns(events, "spin") == [30.0, 400.0]
    with pytest.raises(RuntimeError, match="saw no kernel 'other' among 3 events"):
        kernel_ns(events, "other")


def rounds(*, beyond_ns: float, extra_ns: float) -> list[host_cost.Round]:
    hand = host_cost.Sample(2_100.0, 7_000.0, 9_000.0)
    ours = host_cost.Sample(2_000.0 + beyond_ns, 7_000.0, 9_000.0 + extra_ns)
    return [host_cost.Round(ours, hand, 2_000.0, 600.0) for _ in range(5)]


@pytest.mark.parametrize(
    ("beyond_ns", "extra_ns", "failing"), [(400, 400, 0), (600, 400, 1), (400, 600, 1), (600, 600, 2)]
)
def test_host_cost_is_held_against_the_launch_and_the_sample_by_hand(
    beyond_ns: float, extra_ns: float, failing: int
) -> None:
    figures = host_cost.judge(rounds(beyond_ns=beyond_ns, extra_ns=extra_ns))
    assert [figure.status for figure in figures].count("fail") == failing
    assert one_named(figures, "submit p50 - the launch").value == pytest.approx(beyond_ns / 1e3)
    assert one_named(figures, "event record").value == pytest.approx(0.6)


def test_a_period_is_held_against_the_graphs_own_time() -> None:
    spans = [121.0] * 5
    good = [replay_period.Turn(122.3, 121.6, 122.2)] * 3
    assert "fail" not in statuses(replay_period.judge(good, spans)).values()
    bad = [replay_period.Turn(123.3, 121.6, 123.2)] * 3
    assert one_named(replay_period.judge(bad, spans), "apart").status == "fail"
    assert one_named(replay_period.judge(good, [80.0]), "own time").status == "fail"


def test_periods_and_spans_come_from_the_first_and_the_last_kernel_of_a_replay() -> None:
    records = [Record(100 * k + 1000 * r, 100 * k + 1000 * r + 90, 1) for r in range(3) for k in range(4)]
    assert replay_period.own_periods_us(records, 4) == [1.0, 1.0]
    assert replay_period.own_span_us(records[:-1], 4) == [pytest.approx(0.39)] * 2


def test_a_cold_span_below_what_its_bytes_need_fails() -> None:
    # 12.5 MB at 2.5 TB/s take 5 us.
    possible = cold.judge("graph", [3.0] * 9, [6.0] * 9, 12_500_000, 2.5e12, fits=True)
    assert set(statuses(possible).values()) == {"pass", "shown"}
    impossible = cold.judge("graph", [3.0] * 9, [4.0] * 9, 12_500_000, 2.5e12, fits=True)
    assert one_named(impossible, "cold span of 12.5 MB").status == "fail"


def test_cold_must_be_slower_than_warm_only_where_the_cache_holds_the_bytes() -> None:
    assert one_named(cold.judge("graph", [7.0] * 9, [6.0] * 9, 1, 1e12, fits=True), "cold span - warm").status == "fail"
    beyond = cold.judge("graph", [7.0] * 9, [6.0] * 9, 1, 1e12, fits=False)
    assert "fail" not in statuses(beyond).values()


@pytest.mark.parametrize(("different", "status"), [(0, "pass"), (10, "pass"), (11, "fail")])
def test_at_most_five_percent_of_identical_work_is_called_different(different: int, status: str) -> None:
    verdicts = ["faster", "slower"] * 6
    verdicts = verdicts[:different] + ["same"] * 90 + ["undecided"] * (110 - different)
    called, undecided = aa.judge(verdicts, "of 0.5 s")
    assert called.status == status
    assert undecided.value == pytest.approx(100 * (110 - different) / 200)


def test_polling_is_held_against_the_margin_of_a_comparison() -> None:
    off = [1000.0 + number for number in range(12)]
    assert polling.judge(off, [1.005 * ns for ns in off])[0].status == "pass"
    assert polling.judge(off, [1.02 * ns for ns in off])[0].status == "fail"
    assert "95% interval" in polling.judge(off, off)[0].reason
    assert polling.judge(off[:3], off[:3])[0].status == "fail"  # no interval, so nothing is shown


def test_stability_is_the_whole_range_over_the_median() -> None:
    judged = stability.judge([1.0, 1.01, 1.019], [2.0, 2.0, 2.0])
    assert judged[0].status == "pass"
    assert judged[0].value == pytest.approx(100 * 0.019 / 1.01)
    assert stability.judge([1.0, 1.01, 1.03], [2.0, 2.0, 2.0])[0].status == "fail"


def document_of(*results: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(msgspec.json.encode({"results": results}))
    return values


def test_the_p50_of_a_process_is_read_from_its_document() -> None:
    document = document_of(gpu_documents.gpu_result("torch-cudagraph", p50_ms=0.75))
    assert stability.p50_ms(document, "gpu") == 0.75


def test_a_process_whose_run_failed_is_an_error() -> None:
    document = document_of(gpu_documents.gpu_result())
    document["results"][0]["error"] = {"kind": "OutOfMemoryError", "message": "it does not fit", "exit_code": 5}
    with pytest.raises(RuntimeError, match="it does not fit"):
        stability.p50_ms(document, "gpu")


BOUNDS = Bounds(Bound(0.019, "0.05 GB at 2.6 TB/s"), Bound(None, "the device's FLOP/s are not known"))


def test_a_row_of_resnet50_shows_its_p50_launch_bound_and_shares() -> None:
    document = document_of(gpu_documents.gpu_result(integrity_block=gpu_documents.integrity()))
    figures = resnet50.figures_of(document["results"][0], BOUNDS)
    assert one_named(figures, "p50 of the gpu span").value == 0.95
    assert one_named(figures, "p50 of the gpu span").spread is not None
    assert one_named(figures, "launch-bound").value == "yes"
    assert one_named(figures, "bandwidth bound").value == pytest.approx(2.0)
    assert one_named(figures, "compute bound").status == "not yet"
    assert one_named(figures, "possible on this device").status == "pass"


def test_an_impossible_time_fails_its_row_and_one_not_checked_passes_nothing() -> None:
    broken = gpu_documents.integrity("impossible", "shorter than its bytes take")
    unknown = gpu_documents.integrity("not checked", "the peak is not known")
    results = [gpu_documents.gpu_result(integrity_block=block) for block in (broken, unknown)]
    document = document_of(*results)
    impossible, unchecked = (resnet50.figures_of(result, BOUNDS) for result in document["results"])
    assert one_named(impossible, "possible on this device").status == "fail"
    assert one_named(unchecked, "possible on this device").status == "not yet"


def test_outputs_that_differ_and_rows_that_failed_fail() -> None:
    document = document_of(gpu_documents.gpu_result("onnxruntime"), gpu_documents.gpu_result("torch"))
    differs, broken = document["results"]
    differs["parity"] = {"status": "different", "reference": "torch", "reason": "by 0.3 of the movement"}
    broken["error"] = {"kind": "BackendError", "message": "no cuDNN", "exit_code": 4}
    assert one_named(resnet50.figures_of(differs, BOUNDS), "outputs against torch").status == "fail"
    (figure,) = resnet50.figures_of(broken, BOUNDS)
    assert (figure.status, figure.reason) == ("fail", "no cuDNN")


@pytest.mark.parametrize("reason", ["the outputs do not move with the input", None])
def test_outputs_that_were_not_compared_are_not_yet_and_those_of_the_reference_are_nothing(reason: str | None) -> None:
    document = document_of(gpu_documents.gpu_result("onnxruntime"), gpu_documents.gpu_result("torch"))
    unchecked, reference = document["results"]
    unchecked["parity"] = {"status": "not checked", "reference": "torch", "reason": reason}
    figure = one_named(resnet50.figures_of(unchecked, BOUNDS), "outputs against torch")
    assert (figure.status, figure.value) == ("not yet", None)
    assert figure.reason == f"not checked: {reason or 'the document says not why'}"
    assert not [one for one in resnet50.figures_of(reference, BOUNDS) if "outputs" in one.name]


def test_the_whole_row_of_resnet50_names_what_is_not_yet_there(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        gpu_documents.gpu_result(
            backend, batch_size=batch, precision="float16", integrity_block=gpu_documents.integrity()
        )
        for batch in resnet50.BATCHES
        for backend in resnet50.TORCH
    ]
    facts = SimpleNamespace(name="NVIDIA H100 80GB HBM3", memory_bandwidth_bytes_per_s=3.35e12)
    asked: list[list[str]] = []

    def run_of(arguments: list[str], *, timeout_s: float) -> dict[str, Any]:
        asked.append(arguments)
        return document_of(*results)

    monkeypatch.setattr(resnet50, "open_gpu", lambda index: SimpleNamespace(facts=facts))
    monkeypatch.setattr(resnet50, "backends_here", lambda: (resnet50.TORCH, "no provider; give one with --ort-capi"))
    monkeypatch.setattr(resnet50, "pyperf_infer", run_of)
    monkeypatch.setattr(resnet50, "child_figures", lambda *_, timeout_s: [shown("beside", 1.0, "ms")])
    row = Row()
    resnet50.run(row, Namespace(core=True, device=0, precision="float16", timeout=10.0))
    assert status_of(row.figures) == "pass"
    missing = [figure.name.split(",")[0] for figure in row.figures if figure.status == "not yet"]
    assert sorted(missing) == sorted([*resnet50.ONNXRUNTIME, "aoti"] * len(resnet50.BATCHES))
    share = one_named(row.figures, "torch-cudagraph, batch 32, float16: share of the compute")
    assert share.value == pytest.approx(100 * 0.2645 / 0.95, rel=0.01)
    (arguments,) = asked
    assert arguments[:6] == ["run", "resnet50", "--device", "cuda:0", "--precision", "float16"]
    assert [arguments[at + 1] for at, word in enumerate(arguments) if word == "--backend"] == list(resnet50.TORCH)


def test_the_means_of_nvbench_are_read_from_its_document() -> None:
    def summary(tag: str, value: str) -> dict[str, Any]:
        return {"tag": tag, "data": [{"name": "value", "type": "float64", "value": value}]}

    summaries = [
        summary("nv/cold/time/gpu/mean", "1.5e-3"),
        summary("nv/cold/time/cpu/mean", "9"),
        summary("other", "1"),
    ]
    state = {"summaries": summaries, "skip_reason": None}
    document = {"benchmarks": [{"name": "graph", "states": [state]}]}
    assert beside.nvbench_means(document) == {"graph": [("mean, cold", 1.5)]}
    state["summaries"] = None
    state["skip_reason"] = "too noisy"
    with pytest.raises(RuntimeError, match="too noisy"):
        beside.nvbench_means(document)


def test_a_timer_that_is_missing_is_not_yet_and_one_that_raises_fails() -> None:
    def missing() -> list[tuple[str, float]]:
        raise ImportError("No module named 'cuda.bench'")

    def broken() -> list[tuple[str, float]]:
        raise ValueError("no such thing")

    assert [figure.status for figure in beside.figures("cuda.bench", "graph", missing)] == ["not yet"]
    assert [figure.status for figure in beside.figures("cuda.bench", "graph", broken)] == ["fail"]
    (figure,) = beside.figures("cuda.bench", "graph", lambda: [("mean", 1.5)])
    assert (figure.value, figure.reason) == (1.5, beside.WHY["cuda.bench"])


def junit(*cases: str) -> str:
    """A report of pytest's; of each case its class, name and what is inside."""
    parts = (case.split("|") for case in cases)
    inside = "".join(f'<testcase classname="tests.gpu.{a}" name="{b}">{c}</testcase>' for a, b, c in parts)
    return f'<?xml version="1.0"?><testsuites><testsuite name="pytest">{inside}</testsuite></testsuites>'


def test_the_tests_that_failed_are_named() -> None:
    report = junit(
        "test_a|test_passes|",
        'test_a|test_fails|<failure message="assert 1 == 2&#10;more">...</failure>',
        'test_b|test_breaks|<error message="the driver does not work">...</error>',
        'test_b|test_two|<skipped message="condition: device_count() &lt; 2"/>',
    )
    figures = run_tests.figures_of(report)
    assert one_named(figures, "tests passed").value == 1
    assert one_named(figures, "tests failed").value == 2
    assert one_named(figures, "test_a::test_fails").reason == "assert 1 == 2"
    assert one_named(figures, "test_b::test_breaks").status == "fail"
    assert one_named(figures, "skipped").value == "condition: device_count() < 2"


def test_a_run_in_which_nothing_passed_is_no_pass() -> None:
    nothing = junit('test_a|test_it|<skipped message="no GPU"/>')
    assert one_named(run_tests.figures_of(nothing), "tests passed").status == "fail"
