# SPDX-License-Identifier: Apache-2.0
"""What other tools print is read as they mean it: samples of their outputs, and their own code where installed."""

from __future__ import annotations

import json
import re

import gpu_proof  # noqa: F401  puts benchmarks/ on the path
import pytest
from peer_tools.hyperfine_tool import read_summary
from peer_tools.in_process import Torch, read_table
from peer_tools.pyperf_tool import mean_of, verdict_of
from peer_tools.pytest_tool import stats_of
from peer_tools.table import exact_interval, render, tally
from peer_tools.trial import Found, Trial, Verdict, Work, of_three_sides

HYPERFINE = """Benchmark 1: baseline
  Time:      51.5 ms ±   0.2 ms    [User: 1.0 ms, System: 0.1 ms]
  Range (min … max):    51.2 ms …  52.1 ms    10 runs
 
Summary
  '{faster}' ran
    {ratio} ± {sigma} times faster than '{slower}'
"""  # noqa: W293  as printed

TORCH = """[-------- work --------]
                 |  time
1 threads: -------------
      baseline   |  {baseline}
      contender  |  {contender}

Times are in milliseconds (ms).
"""
BEST, GOOD = "\x1b[92m\x1b[1m1.10 \x1b[0m\x1b[0m", "\x1b[34m\x1b[1m1.12 \x1b[0m\x1b[0m"
SLIGHTLY_SLOWER = "\x1b[92m\x1b[1m1.11 \x1b[0m\x1b[0m"


@pytest.mark.parametrize(
    ("faster", "ratio", "sigma", "verdict", "contender_over_baseline"),
    [
        ("baseline", "1.02", "0.01", "slower", 1.02),
        ("baseline", "1.02", "0.02", "same", 1.02),
        ("baseline", "1.01", "0.01", "same", 1.01),
        ("baseline", "1.02", "0.00", "slower", 1.02),
        ("contender", "1.25", "0.10", "faster", 0.8),
        ("contender", "1.00", "0.04", "same", 1.0),
    ],
)
def test_hyperfine_says_different_where_its_interval_excludes_1(
    faster: str, ratio: str, sigma: str, verdict: Verdict, contender_over_baseline: float
) -> None:
    slower = "contender" if faster == "baseline" else "baseline"
    printed = HYPERFINE.format(faster=faster, slower=slower, ratio=ratio, sigma=sigma)
    assert read_summary(printed) == (verdict, pytest.approx(contender_over_baseline))
    assert read_summary(printed.replace("'", "")) == (verdict, pytest.approx(contender_over_baseline))  # since 1.17


@pytest.mark.parametrize("printed", ["", HYPERFINE.format(faster="a", slower="b", ratio="1.02", sigma="0.01")])
def test_a_hyperfine_summary_of_something_else_is_refused(printed: str) -> None:
    with pytest.raises(SystemExit, match="not understood"):
        read_summary(printed)


@pytest.mark.parametrize(
    ("baseline", "contender", "by_figures", "by_colours"),
    [
        (BEST, BEST, "same", "same"),
        (BEST, SLIGHTLY_SLOWER, "slower", "same"),
        (BEST, GOOD, "slower", "slower"),
        (GOOD, BEST, "faster", "faster"),
    ],
)
def test_a_table_of_torchs_is_read_by_figures_and_by_colours(
    baseline: str, contender: str, by_figures: Verdict, by_colours: Verdict
) -> None:
    verdicts = read_table(TORCH.format(baseline=baseline, contender=contender))
    assert verdicts == dict(zip(Torch.rules, (by_figures, by_colours), strict=True))


def test_a_table_without_both_sides_is_refused() -> None:
    with pytest.raises(SystemExit, match="not understood"):
        read_table("[ work ]\n  baseline  |  1.1\n")


def test_torch_itself_prints_what_is_read() -> None:
    from peer_tools.in_process import judge_by_torch
    from torch.utils.benchmark import Measurement
    from torch.utils.benchmark.utils.common import TaskSpec

    spec = TaskSpec(stmt="work()", setup="pass", label="work", description="time", num_threads=1)

    def at(median_s: float) -> Measurement:
        return Measurement(1, [median_s * (1 + 0.001 * (i % 5 - 2)) for i in range(100)], spec)

    for contender, expected in ((1.10e-3, "same"), (1.30e-3, "slower"), (0.9e-3, "faster")):
        verdicts, ratio = judge_by_torch(at(1.10e-3), at(contender))
        assert set(verdicts.values()) == {expected}
        assert ratio == pytest.approx(contender / 1.10e-3)


@pytest.mark.parametrize(
    ("printed", "verdict"),
    [
        ("Benchmark hidden because not significant (1): work\n", "same"),
        ("Mean +- std dev: [side-1] 1.07 ms +- 0.02 ms -> [side-2] 1.10 ms +- 0.02 ms: 1.03x slower\n", "slower"),
        ("Mean +- std dev: [side-1] 1.10 ms +- 0.02 ms -> [side-2] 1.07 ms +- 0.02 ms: 1.03x faster\n", "faster"),
        ("Mean +- std dev: [side-1] 1.10 ms +- 0.02 ms -> [side-2] 1.10 ms +- 0.02 ms: no change\n", "same"),
    ],
)
def test_pyperfs_comparison_is_read(printed: str, verdict: Verdict) -> None:
    assert verdict_of(printed) == verdict


def test_a_pyperf_comparison_of_something_else_is_refused() -> None:
    with pytest.raises(SystemExit, match="not understood"):
        verdict_of("ERROR: no benchmark in common\n")


def test_values_of_pyperfs_processes_are_averaged_without_its_calibration() -> None:
    document = {"benchmarks": [{"runs": [{"warmups": [[1, 9.0]]}, {"values": [1.0, 2.0]}, {"values": [3.0, 4.0]}]}]}
    assert mean_of(json.dumps(document)) == 2.5


@pytest.mark.parametrize(
    ("mean", "least", "by_mean", "by_min"),
    [
        (1.00, 1.00, "same", "same"),
        (1.02, 1.005, "slower", "same"),
        (0.97, 1.02, "faster", "slower"),
    ],
)
def test_pytest_benchmarks_own_check_decides_both_ways_round(
    mean: float, least: float, by_mean: Verdict, by_min: Verdict
) -> None:
    pytest.importorskip("pytest_benchmark")
    from pathlib import Path

    from peer_tools.pytest_tool import PytestBenchmark

    tool = PytestBenchmark(Work.of(1000, 0.5), Path())
    baseline = stats_of(json.dumps({"benchmarks": [{"stats": {"mean": 1.0, "min": 1.0}}]}))
    verdicts, ratio = tool.judge(baseline, {"mean": mean, "min": least})
    assert tuple(verdicts.values()) == (by_mean, by_min)
    assert ratio == mean


@pytest.mark.parametrize("number", [0, 1])
def test_both_pairs_of_a_trial_are_neighbours_in_time_whichever_way_round(number: int) -> None:
    work = Work.of(100, 0.5)
    measured: list[int] = []

    def measure(steps: int) -> tuple[int, int]:
        measured.append(steps)
        return steps, len(measured)

    def judge(baseline: tuple[int, int], contender: tuple[int, int]) -> tuple[dict[str, Verdict], float]:
        assert abs(baseline[1] - contender[1]) == 1
        return {"rule": "same"}, contender[0] / baseline[0]

    trial = of_three_sides(measure, judge, work, number)
    assert measured == ([100, 100, 102] if number == 0 else [102, 100, 100])
    assert (trial.alike.ratio, trial.slower.ratio) == (1.0, 1.02)
    assert trial == Trial.from_json(json.loads(json.dumps(trial.as_json())))


def found(verdict: Verdict) -> Found:
    return Found({"rule": verdict}, 1.02, 2.0)


def test_a_row_counts_each_way_of_being_right_and_wrong() -> None:
    alike: list[Verdict] = ["same", "faster", "slower", "undecided", "undecided"]
    slower: list[Verdict] = ["slower", "slower", "faster", "undecided", "same"]
    row = tally("rule", [Trial(found(a), found(b)) for a, b in zip(alike, slower, strict=True)])
    assert (row.pairs, row.called_different, row.undecided_alike) == (5, 2, 2)
    assert (row.found, row.wrong_way, row.undecided_slower) == (2, 1, 1)
    assert (row.wall_s, row.ratio) == (2.0, 1.02)
    head, line = render([row], 0.02)
    assert "2% slower found" in head
    assert re.search(r"2/5 \(5% to 85%\)", line)


def test_the_interval_of_none_in_a_hundred_is_the_exact_one() -> None:
    low, high = exact_interval(0, 100)
    assert (low, high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
