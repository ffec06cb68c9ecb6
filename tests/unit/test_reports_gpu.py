# SPDX-License-Identifier: Apache-2.0
"""What the reports say of a GPU: each number under its own name, and nothing where nothing was measured."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

import gpu_documents as gpus
import pytest
import result_documents as made
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from pyperf_infer.reports import notes, view
from pyperf_infer.reports.csv import run_csv
from pyperf_infer.reports.gpu_view import format_energy
from pyperf_infer.reports.markdown import run_markdown
from pyperf_infer.reports.terminal import render_run

if TYPE_CHECKING:
    from pyperf_infer.results import schema

HELD_BACK = "each launch held back until all of its work was queued"
NASTY = "<b>|[red]x\x1b[31m\n"


def table(document: schema.Document) -> dict[str, list[str]]:
    columns = [*view.key_columns(document), *view.metric_columns(document), *view.method_columns(document)]
    return {one.title: [cell.joined for cell in one.cells] for one in columns}


def lines(document: schema.Document) -> dict[str, str]:
    return dict(notes.method(document))


def findings(document: schema.Document) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in notes.findings(document)]


def rendered(document: schema.Document, width: int = 250) -> str:
    file = io.StringIO()
    render_run(document, Console(file=file, width=width))
    return file.getvalue()


def test_a_row_on_a_gpu_shows_each_quantity_in_its_column() -> None:
    shown = table(gpus.gpu_document([gpus.gpu_result(transfers=True), made.result(batch_size=4)]))
    assert {title: shown[title] for title in ("p50", "gpu", "submit", "h2d", "d2h", "launch-bound", "GPU busy")} == {
        "p50": ["1.045 ms ±0.4%", "52.31 ms ±0.4%"],
        "gpu": ["950.0 us", ""],
        "submit": ["855.0 us", "= total"],
        "h2d": ["50.00 us", ""],
        "d2h": ["20.00 us", ""],
        "launch-bound": ["yes", ""],
        "GPU busy": ["570.0 us", ""],
    }
    assert shown["clock-normalised p50"] == ["914.0 us", ""]
    assert shown["energy/request"] == ["531.3 mJ", ""]
    assert shown["device memory"] == ["2.000 GiB (+1.000 GiB)", ""]
    assert shown["precision"] == ["float32", "float32"]


def test_a_document_without_a_gpu_has_none_of_its_columns_and_lines() -> None:
    document = made.document()
    with_gpu = gpus.gpu_document([gpus.gpu_result(transfers=True)])
    assert set(table(with_gpu)) > {"gpu", "h2d", "launch-bound", "SM clock", "integrity", "precision"}
    for name in ("gpu", "h2d", "d2h", "launch-bound", "GPU busy", "energy/request", "device memory", "integrity"):
        assert name not in table(document)
    assert not {"precision", "SM clock", "throttled", "power"} & set(table(document))
    assert not {"events", "wait", "gate", "asynchrony"} & set(lines(document))


def test_columns_of_transfers_stand_only_where_some_row_has_them() -> None:
    assert not {"h2d", "d2h"} & set(table(gpus.gpu_document([gpus.gpu_result()])))


def test_a_precision_other_than_float32_is_shown_on_the_cpu_too() -> None:
    row = made.result()
    row.subject.precision = "bfloat16"
    assert table(made.document([row]))["precision"] == ["bfloat16"]


def test_mode_throughput_shows_the_period_alone_and_withholds_nothing() -> None:
    method = gpus.gpu_method(asynchronous="unknown")
    document = gpus.gpu_document([gpus.gpu_result(mode="throughput", method=method)])
    shown = table(document)
    assert shown["period p50"] == ["950.0 us ±0.4%"]
    assert not {"p50", "gpu", "submit", "launch-bound"} & set(shown)
    assert findings(document) == []


def test_a_cold_span_is_called_cold_and_gpu_and_stands_in_no_column_of_warm_numbers() -> None:
    cold = gpus.gpu_result(mode="cold", p50_ms=0.95)
    on_cpu = replace(made.result(p50_ms=60.0), method=replace(made.method("torch"), mode="cold"))
    document = gpus.gpu_document([gpus.gpu_result(p50_ms=0.5), cold, on_cpu])
    shown = table(document)
    assert shown["p50"] == ["550.0 us ±0.4%", "", ""]
    assert shown["cold gpu p50"] == ["", "950.0 us ±0.4%", ""]
    assert shown["cold p50"] == ["", "", "60.00 ms ±0.4%"]
    assert shown["cold gpu p90"] == ["", "978.5 us", ""]
    assert shown["gpu"] == ["500.0 us", "", ""]
    assert shown["clock-normalised cold gpu p50"] == ["", "914.0 us", ""]
    assert shown["clock-normalised p50"] == ["914.0 us", "", ""]
    (only,) = [lines(gpus.gpu_document([one]))["mode"] for one in [cold]]
    assert only.startswith("cold: caches flushed before each call; p50 is the span on the GPU of such a call")
    assert "p50 is the latency of such a call" in lines(made.document([on_cpu]))["mode"]


def test_a_cold_row_that_failed_stands_where_its_number_would() -> None:
    failed = made.failed()
    failed.method.mode, failed.method.device = "cold", "cuda:0"
    assert table(gpus.gpu_document([gpus.gpu_result(mode="cold"), failed]))["cold gpu p50"][1] == "failed"


def test_a_warm_row_that_failed_on_a_gpu_stands_in_the_column_of_latencies() -> None:
    failed = made.failed()
    failed.method.device = "cuda:0"
    shown = table(gpus.gpu_document([gpus.gpu_result(), failed]))
    assert shown["p50"] == ["1.045 ms ±0.4%", "failed"]
    assert shown["gpu"] == ["950.0 us", ""]


@pytest.mark.parametrize("bound", [True, False])
def test_launch_bound_is_told_with_its_evidence(bound: bool) -> None:
    document = gpus.gpu_document([gpus.gpu_result(launch_bound=bound)])
    assert table(document)["launch-bound"] == ["yes" if bound else "no"]
    ((kind, text),) = findings(document)
    assert kind == ("unsure" if bound else "plain")
    assert ("is launch-bound: " if bound else "is not launch-bound: ") in text
    assert "submit p50 0.855 ms is 0.90 of gpu p50 0.95 ms" in text


@pytest.mark.parametrize(
    ("asynchronous", "reason", "told"),
    [
        ("sync_inside_submit", None, "the call that hands the work over waits for the GPU"),
        ("unknown", None, "it is not known whether"),
        ("unknown", "the end event was done at once", "the end event was done at once"),
        ("proved", "too few samples", "launch-bound is withheld: too few samples"),
        ("proved", "withheld: too few samples", "launch-bound is withheld: too few samples"),
    ],
)
def test_launch_bound_withheld_says_why(asynchronous: str, reason: str | None, told: str) -> None:
    row = gpus.gpu_result(launch_bound=None, method=gpus.gpu_method(asynchronous=asynchronous))
    row.summary.launch_bound_evidence = reason
    document = gpus.gpu_document([row])
    assert table(document)["launch-bound"] == ["withheld"]
    ((_, text),) = findings(document)
    assert "withheld" in text
    assert told in text


def test_the_remedy_that_rows_share_is_told_once_behind_the_last() -> None:
    document = gpus.gpu_document([gpus.gpu_result(batch_size=batch) for batch in (1, 8, 64)])
    assert [bool(one.remedy) for one in notes.findings(document)] == [False, False, True]
    assert rendered(document).count("The GPU waits for the host.") == 1


def test_an_impossible_time_is_a_bad_finding_and_marked_in_the_table() -> None:
    block = gpus.integrity("impossible", "0.95 ms is less than the 1.2 ms that 4 GB need at 3.35 TB/s")
    document = gpus.gpu_document([gpus.gpu_result(mode="cold", launch_bound=None, integrity_block=block)])
    assert table(document)["cold gpu p50"] == ["950.0 us ±0.4% impossible"]
    assert table(document)["integrity"] == ["impossible"]
    note = notes.findings(document)[0]
    assert note.kind == "bad"
    assert "IMPOSSIBLE: 0.95 ms is less than the 1.2 ms that 4 GB need at 3.35 TB/s." in note.text
    assert "do not use" in note.remedy
    assert "integrity" not in lines(document)


def test_a_possible_time_is_no_finding_and_tells_its_bound() -> None:
    document = gpus.gpu_document([gpus.gpu_result(mode="throughput")])
    assert findings(document) == []
    assert table(document)["integrity"] == ["possible (at least 30.57 us)"]
    assert lines(document)["integrity"] == "held against 3.350TB/s and 494.0TFLOP/s"


def test_an_unchecked_time_says_why_and_is_not_called_possible() -> None:
    block = gpus.integrity("not checked", "the bandwidth is not known")
    document = gpus.gpu_document([gpus.gpu_result(integrity_block=block)])
    assert table(document)["integrity"] == ["not checked"]
    assert lines(document)["integrity"] == "not checked: the bandwidth is not known"


def test_the_method_lines_tell_how_the_gpu_was_timed() -> None:
    method = gpus.gpu_method(streams=2, wait="block", include_transfers=True, profile_range=True)
    told = lines(gpus.gpu_document([gpus.gpu_result(method=method)]))
    assert told["events"] == "an empty pair gives 1.440 us, step 32 ns"
    assert told["wait"] == "block"
    assert told["streams"] == "2"
    assert told["asynchrony"] == "proved: submit returned before the end event in 30 of 30 calls"
    assert told["transfers"].startswith("included")
    assert "marked for a profiler" in told["profile range"]
    assert told["GPU busy"].startswith("union of kernels")
    assert told["device memory"].startswith("cuMemGetInfo")
    assert told["energy"] == "NVML's energy counter"
    assert told["GPU readings"] == "polled every 100.0 ms"
    assert not {"gate", "flush", "others on the GPU"} & set(told)


def test_synchronising_inside_submit_names_what_is_withheld() -> None:
    method = gpus.gpu_method(asynchronous="sync_inside_submit", asynchrony_evidence="done in 30 of 30 calls")
    told = lines(gpus.gpu_document([gpus.gpu_result(launch_bound=None, method=method)]))
    assert told["asynchrony"] == (
        "sync inside submit: launch-bound, throughput and gate withheld (done in 30 of 30 calls)"
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"gated": True}, HELD_BACK),
        (
            {"gated": True, "gate_timeouts": 3},
            f"{HELD_BACK}; 3 samples discarded, whose gate the watchdog opened",
        ),
        ({"gated": False, "gate_reason": "it synchronises"}, "not gated: it synchronises"),
        (
            {"gated": False, "gate_reason": "it blocked", "gate_timeouts": 1},
            "not gated: it blocked; 1 sample discarded, whose gate the watchdog opened",
        ),
    ],
)
def test_the_gate_is_told_of_a_cold_row(fields: dict[str, object], text: str) -> None:
    method = gpus.gpu_method(flush_bytes=100 << 20, **fields)
    told = lines(gpus.gpu_document([gpus.gpu_result(mode="cold", method=method)]))
    assert told["gate"] == text
    assert told["flush"] == "100.0 MiB before each call"


def test_the_state_of_the_gpu_stands_in_a_row_of_its_own_for_each_result() -> None:
    cool = gpus.gpu_activity(temperature_c_max=40, throttle_reasons={}, sm_clock_mhz_min=1980, sm_clock_mhz_median=1980)
    shown = table(gpus.gpu_document([gpus.gpu_result(), gpus.gpu_result(batch_size=8, activity=cool)]))
    assert shown["SM clock"] == ["1905 of 1980 MHz (1755 to 1980)", "1980 of 1980 MHz (1980)"]
    assert shown["memory clock"] == ["2619 MHz", "2619 MHz"]
    assert shown["power"] == ["412.5 W (at most 480.0)", "412.5 W (at most 480.0)"]
    assert shown["temperature"] == ["61 °C", "40 °C"]
    assert shown["throttled"] == ["sw_power_cap 40%", ""]
    assert shown["GPU readings"] == ["51 (cover 388 samples)", "51 (cover 388 samples)"]


def test_what_nvml_does_not_tell_is_left_out_and_the_reason_given() -> None:
    unknown = dict.fromkeys(
        ["sm_clock_mhz_median", "memory_clock_mhz_min", "power_w_mean", "temperature_c_max", "energy_j_per_request"]
    )
    activity = gpus.gpu_activity(
        readings=0,
        throttle_reasons={},
        clock_normalised_p50_ms=None,
        energy_method=None,
        missing="libnvidia-ml.so.1 is not there.",
        **unknown,
    )
    document = gpus.gpu_document([gpus.gpu_result(activity=activity)])
    shown = table(document)
    absent = {"SM clock", "memory clock", "power", "temperature", "throttled", "energy/request", "clock-normalised p50"}
    assert not absent & set(shown)
    assert shown["GPU readings"] == ["none"]
    assert lines(document)["GPU readings"] == "none: libnvidia-ml.so.1 is not there"


def test_other_processes_on_the_gpu_are_named() -> None:
    others = [gpus.process(17, "python3", 3 << 30), gpus.process(18)]
    told = lines(gpus.gpu_document([gpus.gpu_result(activity=gpus.gpu_activity(other_processes=others))]))
    assert told["others on the GPU"] == "python3 (process 17, 3.000 GiB), unnamed (process 18)"


def test_the_headline_names_the_gpus_that_rows_ran_on_and_no_other() -> None:
    told = [one.text for one in notes.headline(gpus.gpu_document([gpus.gpu_result()]))]
    assert "NVIDIA H100 80GB HBM3 (cuda:0), driver 580.65.06, CUDA 13.0, 80.00 GiB" in told
    assert not any("T4" in one for one in told)
    on_cpu = [one.text for one in notes.headline(gpus.gpu_document([made.result()]))]
    assert not any("NVIDIA" in one for one in on_cpu)


def test_a_gpu_that_the_environment_does_not_list_is_named_by_its_row() -> None:
    document = replace(gpus.gpu_document([gpus.gpu_result()]), environment=made.environment())
    assert f"{gpus.NAME} (cuda:0)" in [one.text for one in notes.headline(document)]
    document.environment.gpus = [replace(gpus.gpu(), mig=True, driver=None)]
    assert f"{gpus.NAME} (cuda:0), CUDA 13.0, 80.00 GiB, partitioned (MIG)" in [
        one.text for one in notes.headline(document)
    ]


def compared() -> schema.Document:
    """Two precisions of one model and batch on two backends, each pair compared."""
    rows = [
        gpus.gpu_result(backend, mode="throughput", precision=precision)
        for precision in ("float32", "float16")
        for backend in ("torch", "onnxruntime")
    ]
    comparisons = [
        replace(made.comparison(ratio=ratio, interval=(ratio, ratio)), precision=precision)
        for precision, ratio in (("float32", 1.5), ("float16", 3.0))
    ]
    return gpus.gpu_document(rows, comparisons=comparisons)


def test_rows_of_two_precisions_keep_their_own_comparison() -> None:
    speed_up = table(compared())["speed-up"]
    assert [one.split()[0] for one in speed_up] == ["baseline", "1.500x", "baseline", "3.000x"]
    rows = list(csv.DictReader(io.StringIO(run_csv(compared()), newline="")))
    assert [one["speed_up"] for one in rows] == ["", "1.5", "", "3.0"]


def test_a_comparison_without_a_precision_is_of_its_model_and_batch() -> None:
    document = made.document()
    assert document.comparisons[0].precision is None
    assert table(document)["speed-up"] == ["baseline", "2.104x faster [2.093, 2.115]"]


def test_an_undecided_comparison_names_its_precision_where_there_are_several() -> None:
    document = compared()
    document.comparisons[1] = replace(document.comparisons[1], verdict="undecided", reason="interference")
    assert ("unsure", "resnet50 batch 1 float16, onnxruntime against torch: interference") in findings(document)


def test_csv_says_which_quantity_p50_is_of() -> None:
    rows = [gpus.gpu_result(mode=mode, transfers=True) for mode in ("latency", "throughput", "cold")]
    cells = list(csv.DictReader(io.StringIO(run_csv(gpus.gpu_document([*rows, made.failed()])), newline="")))
    assert [(one["mode"], one["quantity"]) for one in cells] == [
        ("latency", "latency"),
        ("throughput", "period"),
        ("cold", "gpu"),
        ("latency", ""),
    ]
    warm, period, cold, failed = cells
    assert (float(warm["p50_ms"]), float(warm["gpu_p50_ms"])) == (pytest.approx(1.045), 0.95)
    assert (warm["h2d_p50_ms"], warm["d2h_p50_ms"]) == ("0.05", "0.02")
    assert (warm["launch_bound"], period["launch_bound"], failed["launch_bound"]) == ("true", "", "")
    assert cold["p50_ms"] == cold["gpu_p50_ms"] == "0.95"
    assert (warm["energy_j_per_request"], warm["throttle_reasons"]) == ("0.5313", "sw_power_cap")
    assert (warm["integrity"], warm["asynchronous"], warm["gated"]) == ("ok", "proved", "")
    assert all(value == "" for name, value in failed.items() if name.startswith(("gpu", "h2d", "device_", "gate")))


def test_csv_has_the_same_columns_with_a_gpu_and_without() -> None:
    with_gpu, without = (
        run_csv(one).splitlines()[0] for one in (gpus.gpu_document([gpus.gpu_result()]), made.document())
    )
    assert with_gpu == without


@pytest.mark.parametrize("width", [60, 100, 250])
def test_no_line_about_a_gpu_is_wider_than_the_terminal_and_nothing_is_lost(width: int) -> None:
    text = rendered(gpus.gpu_document([gpus.gpu_result(transfers=True), gpus.gpu_result("onnxruntime")]), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    for value in ("950.0 us", "50.00 us", "531.3 mJ", "1905 of 1980 MHz", "sw_power_cap 40%", "possible"):
        assert value in text


def test_a_terminal_without_unicode_gets_the_temperature() -> None:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    render_run(gpus.gpu_document([gpus.gpu_result()]), Console(file=file, width=250))
    file.flush()
    assert b"61 C" in raw.getvalue()


def test_names_that_a_driver_or_a_process_gives_are_printed_and_not_obeyed() -> None:
    row = gpus.gpu_result(
        method=gpus.gpu_method(device_name=NASTY, asynchrony_evidence=NASTY),
        activity=gpus.gpu_activity(throttle_reasons={NASTY: 0.5}, other_processes=[gpus.process(1, NASTY)]),
        integrity_block=gpus.integrity("impossible", NASTY),
    )
    row.summary.launch_bound_evidence = NASTY
    document = gpus.gpu_document([row])
    assert "\x1b" not in rendered(document) + run_markdown(document) + run_csv(document)
    assert not re.search(r"(?<!\\)[<\[|]b>|(?<!\\)<", run_markdown(document))


@given(st.floats(1e-6, 1e6))
def test_energy_keeps_four_digits_and_its_unit(joules: float) -> None:
    digits, unit = format_energy(joules).split()
    assert unit == "J" if joules >= 1 else float(digits) < 1000
    back = float(digits) / (1 if unit == "J" else 1000)
    assert back == pytest.approx(joules, rel=1e-3)


@pytest.mark.parametrize(
    ("joules", "text"),
    [(0.0, "0 mJ"), (0.5313, "531.3 mJ"), (0.99996, "1.000 J"), (1.0, "1.000 J"), (2103.0, "2103 J")],
)
def test_energy_in_words(joules: float, text: str) -> None:
    assert format_energy(joules) == text
