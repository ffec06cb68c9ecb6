# SPDX-License-Identifier: Apache-2.0
"""A whole `compare`: what is refused and forced, verdicts of all rows together, the machine's floor, the gate."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import result_documents as made
import stored_documents as stored
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from stored_documents import compared, many, pair

from pyperf_infer.errors import InputError, UsageError
from pyperf_infer.results.files import read_document, write_document
from pyperf_infer.results.schema import StoredField, StoredFile
from pyperf_infer.statistics.floor import Floor
from pyperf_infer.stored.figures import figures
from pyperf_infer.stored.rows import Pool, Row
from pyperf_infer.system.floor_file import machine_key, save_floor

FILE = StoredFile(
    path="a.json",
    sha256="0" * 64,
    created_utc="2026-01-02T03:04:05Z",
    tool_version="0",
    status="complete",
    command=["pyperf-infer", "run"],
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever floor this machine has, these tests do not know it."""
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture
def known_floor() -> None:
    save_floor(Floor(0.004, 20), machine_key(made.environment()))


@pytest.mark.parametrize(
    ("level", "verdict"), [(45.0, "faster"), (56.0, "slower"), (50.0, "same"), (50.5, "undecided")]
)
def test_five_processes_a_side_give_a_verdict(tmp_path: Path, level: float, verdict: str) -> None:
    row = pair(tmp_path, many(50.0), many(level, seed=2))
    assert row.verdict == verdict
    assert row.spread == "processes"
    assert (row.confidence, row.compared) == (0.95, 1)
    assert row.interval is not None
    assert row.ratio == pytest.approx(50 / level, rel=0.01)
    assert row.interval[0] < row.ratio < row.interval[1]
    assert (row.reason is None) == (row.remedy is None) == (verdict != "undecided")


def test_one_process_a_side_is_undecided_with_the_command_that_would_decide(tmp_path: Path) -> None:
    mine = stored.save(tmp_path / "a.json", stored.row(50.0), command=["pyperf-infer", "run", "my model", "-q"])
    theirs = stored.save(tmp_path / "b.json", many(40.0), command=["pyperf-infer", "run", "other"])
    row = compared([mine, theirs]).comparisons[0].rows[0]
    assert (row.verdict, row.interval, row.spread, row.compared) == ("undecided", None, None, 0)
    assert row.ratio == pytest.approx(1.25, rel=0.01)
    assert row.reason is not None
    assert row.reason.startswith("1 and 5 processes cannot tell")
    assert "selftest" in row.reason
    assert row.remedy == "Measure that side in fresh processes: pyperf-infer run 'my model' --processes 5."


def test_the_command_that_would_decide_leaves_out_where_results_went(tmp_path: Path) -> None:
    words = [
        "run",
        "m",
        "--processes",
        "2",
        "--fail-if-slower",
        "3%",
        "--results-file=a.json",
        "--results-format",
        "json",
        "-b",
        "8",
        "--quiet",
    ]
    for name in ("a", "b"):
        stored.save(tmp_path / f"{name}.json", stored.row(50.0), command=["pyperf-infer", *words])
    row = compared([tmp_path / "a.json", tmp_path / "b.json"]).comparisons[0].rows[0]
    assert row.remedy == "Measure both sides in fresh processes: pyperf-infer run m -b 8 --processes 5."


@pytest.mark.usefixtures("known_floor")
def test_the_machines_floor_decides_about_single_processes(tmp_path: Path) -> None:
    """0.4% between processes: 10% is no chance, 1.5% may be one."""
    far = pair(tmp_path, stored.row(50.0), stored.row(55.0))
    assert (far.verdict, far.spread) == ("slower", "floor")
    near = pair(tmp_path, stored.row(50.0), stored.row(50.7))
    assert near.verdict == "undecided"
    assert near.interval is not None
    assert near.remedy == "Measure both sides in fresh processes: pyperf-infer run resnet50 --processes 5."


@pytest.mark.usefixtures("known_floor")
def test_a_floor_says_nothing_of_another_machine(tmp_path: Path) -> None:
    other = {"cpu_model": "another"}
    for environments in ((other, {}), ({}, other), (other, other)):
        paths = [
            stored.save(tmp_path / f"{name}.json", stored.row(level), environment=environment)
            for name, level, environment in zip("ab", (50.0, 90.0), environments, strict=True)
        ]
        row = compared(paths).comparisons[0].rows[0]
        assert (row.verdict, row.interval) == ("undecided", None)


@pytest.mark.usefixtures("known_floor")
def test_a_floor_does_not_help_where_a_median_has_no_interval(tmp_path: Path) -> None:
    row = stored.row(50.0)
    assert row.summary.latency is not None
    row.summary.latency = replace(row.summary.latency, p50_interval_ms=None)
    found = pair(tmp_path, row, stored.row(90.0))
    assert found.verdict == "undecided"
    assert "no interval of its own" in (found.reason or "")


@pytest.mark.usefixtures("known_floor")
@pytest.mark.parametrize("confidence", [1e-300, 1 - 2**-53])
def test_a_floor_does_not_help_where_a_median_has_an_interval_of_no_meaning(tmp_path: Path, confidence: float) -> None:
    row = stored.row(50.0)
    assert row.method.stop is not None
    row.method.stop = replace(row.method.stop, confidence=confidence)
    assert pair(tmp_path, row, stored.row(90.0)).verdict == "undecided"


@pytest.mark.usefixtures("known_floor")
def test_few_processes_further_apart_than_the_floor_are_undecided(tmp_path: Path) -> None:
    found = pair(tmp_path, stored.row([50.0, 60.0]), stored.row([90.0, 91.0]))
    assert (found.verdict, found.interval) == ("undecided", None)
    assert "further apart than the floor" in (found.reason or "")


def test_a_wider_floor_than_the_processes_spread_counts(tmp_path: Path) -> None:
    sides = many(50.0), many(51.5, seed=2)
    without = pair(tmp_path, *sides)
    save_floor(Floor(0.03, 20), machine_key(made.environment()))
    wider = pair(tmp_path, *sides)
    assert (without.verdict, without.spread) == ("slower", "processes")
    assert (wider.verdict, wider.spread) == ("undecided", "processes and floor")


def test_several_rows_are_judged_together(tmp_path: Path) -> None:
    """Holm: the same two sides that differ by themselves do not among many comparisons."""
    seeds = range(1, 9)
    sides = [
        [many(level, seed=seed + offset, batch_size=seed) for seed in seeds]
        for level, offset in ((50.0, 0), (50.7, 50))
    ]
    alone = [pair(tmp_path, mine, theirs).verdict for mine, theirs in zip(*sides, strict=True)]
    paths = [stored.save(tmp_path / f"{name}.json", *rows) for name, rows in zip("xy", sides, strict=True)]
    together = compared(paths).comparisons[0].rows
    assert {one.compared for one in together} == {8}
    assert max(one.confidence or 0 for one in together) == pytest.approx(1 - 0.05 / 8)
    assert sum(one.verdict == "slower" for one in together) < alone.count("slower")


def test_rows_without_an_interval_do_not_count_among_those_judged(tmp_path: Path) -> None:
    rows = [many(50.0), stored.row(50.0, batch_size=2)]
    paths = [
        stored.save(tmp_path / f"{name}.json", *rows, created_utc=f"2026-01-0{number}T00:00:00Z")
        for number, name in enumerate("ab", 1)
    ]
    assert [one.compared for one in compared(paths).comparisons[0].rows] == [1, 0]


def test_every_contender_is_compared_with_the_first_argument(tmp_path: Path) -> None:
    paths = [stored.save(tmp_path / f"{level}.json", many(float(level), seed=level)) for level in (50, 40, 60)]
    job = compared(paths)
    assert [one.contender.name for one in job.comparisons] == [str(one) for one in paths[1:]]
    assert [row.verdict for one in job.comparisons for row in one.rows] == ["faster", "slower"]
    assert {row.compared for one in job.comparisons for row in one.rows} == {2}


def test_unlike_methods_are_refused_with_the_field_and_both_values(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="threads is 2 in the baseline and 4 in the contender"):
        pair(tmp_path, many(50.0), many(50.0, method={"threads": 4}))


def test_force_compares_all_the_same_and_the_row_says_so(tmp_path: Path) -> None:
    row = pair(tmp_path, many(50.0), many(40.0, method={"threads": 4}), force=True)
    assert row.verdict == "faster"
    assert [(one.field, one.baseline, one.contender) for one in row.forced] == [("threads", "2", "4")]
    assert row.refused == []


def test_force_marks_only_rows_that_need_it(tmp_path: Path) -> None:
    assert pair(tmp_path, many(50.0), many(40.0), force=True).forced == []


def test_where_one_row_is_refused_the_others_are_compared_and_the_exit_code_says_so(tmp_path: Path) -> None:
    mine = stored.save(tmp_path / "a.json", many(50.0), many(20.0, batch_size=8))
    theirs = stored.save(tmp_path / "b.json", many(40.0), many(20.0, batch_size=8, method={"mode": "throughput"}))
    job = compared([mine, theirs], fail_if_slower=0.03)
    first, second = job.comparisons[0].rows
    assert (first.verdict, second.verdict, second.ratio, second.figures) == ("faster", None, None, [])
    assert [one.field for one in second.refused] == ["mode"]
    assert (job.exit_code, job.document().status) == (3, "failed")
    assert second.gate == "not judged"


def test_processes_that_lie_absurdly_far_apart_are_undecided_and_it_is_said(tmp_path: Path) -> None:
    row = pair(tmp_path, stored.row([1e-9, 1e9, 1e-9, 1e9, 1e-9] * 2), stored.row([1e9, 1e-9, 1e9, 1e-9, 1e9]))
    assert row.verdict == "undecided"
    far = pair(tmp_path, stored.row([1e-12, 1e-12, 1e-12, 1e-12, 1e12]), stored.row([1e12] * 4 + [1e-12]), margin=1e-4)
    assert far.verdict == "undecided"


def test_a_time_that_nothing_takes_is_not_compared(tmp_path: Path) -> None:
    for level in (1e-300, 1e300):
        with pytest.raises(InputError, match=re.escape(f"a median of {level:.3g} ms is no time")):
            pair(tmp_path, many(50.0), stored.row([50.0, level]))


def test_what_vs_measured_is_not_told_to_be_measured_by_vs_again(tmp_path: Path) -> None:
    from pyperf_infer.results.schema import Side

    words = ["pyperf-infer", "run", "a.onnx", "--vs", "--opt-level basic"]
    for name in "ab":
        one = stored.row(50.0, side=Side(label="A", contest=0, given=""))
        stored.save(tmp_path / f"{name}.json", one, command=words)
    remedy = compared([tmp_path / "a.json", tmp_path / "b.json"]).comparisons[0].rows[0].remedy
    assert remedy == (
        "Measure both sides in fresh processes: without --vs, each side in a run of its own with --processes 5."
    )


def test_a_floor_of_nothing_decides_nothing_about_single_processes(tmp_path: Path) -> None:
    save_floor(Floor(0.0, 20), machine_key(made.environment()))
    row = pair(tmp_path, stored.row(50.0), stored.row(55.0))
    assert (row.verdict, row.interval, row.spread) == ("undecided", None, None)
    assert "This machine's floor is 0" in (row.reason or "")


def test_figures_beside_the_verdict_have_their_own_directions(tmp_path: Path) -> None:
    mine, theirs = stored.row(50.0), stored.row(25.0)
    theirs.summary.peak_memory_bytes = 824 << 20
    figures = {one.quantity: one for one in pair(tmp_path, mine, theirs).figures}
    assert set(figures) == {"p90", "p99", "throughput", "peak_memory"}
    assert {name: one.ratio for name, one in figures.items()} == pytest.approx(
        {"p90": 2.0, "p99": 2.0, "throughput": 2.0, "peak_memory": 2.0}
    )
    assert all(one.interval is None for one in figures.values())


@given(st.lists(st.floats(1, 1e3), min_size=5, max_size=9), st.lists(st.floats(1, 1e3), min_size=1, max_size=9))
def test_the_ratio_of_a_figure_is_that_of_the_two_numbers_beside_it(mine: list[float], theirs: list[float]) -> None:
    sides = [Pool((Row(stored.row(one), FILE, made.environment()),)) for one in (mine, theirs)]
    for one in figures(*sides):
        over, under = (one.baseline, one.contender) if one.unit == "ms" else (one.contender, one.baseline)
        assert one.ratio == pytest.approx(over / under, rel=1e-12)
        if one.interval is not None:
            assert one.interval[0] * (1 - 1e-9) <= one.ratio <= one.interval[1] * (1 + 1e-9)


def test_throughput_of_enough_processes_has_an_interval(tmp_path: Path) -> None:
    figures = {one.quantity: one for one in pair(tmp_path, many(50.0), many(40.0, seed=2)).figures}
    throughput = figures["throughput"]
    assert throughput.interval is not None
    assert throughput.interval[0] < (throughput.ratio or 0) < throughput.interval[1]
    assert figures["p99"].interval is None


def test_a_percentile_that_one_side_was_refused_is_left_out(tmp_path: Path) -> None:
    mine, theirs = made.result(refused_p99="too few"), made.result()
    assert "p99" not in {one.quantity for one in pair(tmp_path, mine, theirs).figures}


def test_the_accuracy_of_each_side_is_its_largest_relative_difference(tmp_path: Path) -> None:
    mine, theirs = (many(50.0, backend="onnxruntime") for _ in "ab")
    theirs.parity = made.parity("different")
    row = pair(tmp_path, mine, theirs)
    assert (row.baseline.parity, row.baseline.largest_relative_difference) == ("equal", 1.2e-6)
    assert (row.contender.parity, row.contender.largest_relative_difference) == ("different", 0.032)
    assert pair(tmp_path, many(50.0), many(50.0)).baseline.largest_relative_difference is None


def test_the_document_can_be_written_and_read_and_names_the_sources(tmp_path: Path) -> None:
    paths = [stored.save(tmp_path / f"{name}.json", many(level)) for name, level in (("a", 50.0), ("b", 51.0))]
    document = compared(paths, fail_if_slower=0.01).document()
    write_document(document, tmp_path / "c.json")
    again = read_document(tmp_path / "c.json")
    assert again.stored == document.stored
    assert again.gate == document.gate
    assert again.results == []
    (file,) = again.stored[0].baseline.files
    assert (file.path, file.tool_version, file.command[1]) == (str(paths[0]), "0.1.0", "run")


def test_files_of_a_folder_are_numbered_as_its_rows_name_them(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    for day in (1, 2, 3):
        stored.save(runs / f"{day}.json", stored.row(50.0 + day), created_utc=f"2026-01-0{day}T00:00:00Z")
    new = stored.save(tmp_path / "new.json", stored.row(50.0))
    found = compared([runs, new], last=2).comparisons[0]
    assert [Path(one.path).name for one in found.baseline.files] == ["3.json", "2.json"]
    assert (found.rows[0].baseline.files, found.rows[0].baseline.processes) == ([0, 1], 2)


def test_last_without_a_folder_is_a_usage_error(tmp_path: Path) -> None:
    paths = [stored.save(tmp_path / f"{name}.json", stored.row(50.0)) for name in "ab"]
    with pytest.raises(UsageError, match="no folder is named"):
        compared(paths, last=5)


def test_what_an_interrupted_run_holds_is_compared_with_a_warning(tmp_path: Path) -> None:
    paths = [
        stored.save(tmp_path / "a.json", many(50.0), status="interrupted"),
        stored.save(tmp_path / "b.json", many(40.0)),
    ]
    job = compared(paths)
    assert job.comparisons[0].rows[0].verdict == "faster"
    assert [one.code for one in job.document().warnings] == ["interrupted"]


def test_a_result_compared_with_its_own_copy_is_warned_of(tmp_path: Path) -> None:
    mine = stored.save(tmp_path / "a.json", many(50.0))
    (tmp_path / "b.json").write_bytes(mine.read_bytes())
    assert [one.code for one in compared([mine, tmp_path / "b.json"]).document().warnings] == ["same_content"]


def test_warnings_of_a_baseline_stand_once_however_many_contenders_there_are(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    stored.save(runs / "1.json", many(50.0))
    (runs / "bad.json").write_text("{")
    new = [stored.save(tmp_path / f"{name}.json", many(50.0, seed=seed)) for name, seed in (("a", 3), ("b", 4))]
    document = compared([runs, *new]).document()
    assert [one.code for one in document.warnings] == ["files_skipped"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "faster", "interval": None},
        {"verdict": None},
        {"ratio": None},
        {"refused": [StoredField(field="threads", baseline="1", contender="2")]},
        {"interval": (1.2, 1.1)},
    ],
)
def test_a_row_that_contradicts_itself_cannot_be_made(tmp_path: Path, wrong: dict[str, Any]) -> None:
    row = pair(tmp_path, many(50.0), many(40.0))
    with pytest.raises(ValueError, match=r"needs an interval|neither ratio nor verdict|runs backwards"):
        replace(row, **wrong)
