# SPDX-License-Identifier: Apache-2.0
"""A whole self-test, with comparisons whose verdicts are given: counted right, gone on with, and never done twice."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from selftest_jobs import PLAN, FakeCompare, Found, Watching, found_by, made

from pyperf_infer.errors import MeasurementError
from pyperf_infer.results import schema
from pyperf_infer.selftest import job as job_module
from pyperf_infer.selftest import trials as trials_module
from pyperf_infer.selftest.plan import Cell, SelfTestPlan
from pyperf_infer.selftest.trials import gate_fires, run_trial
from pyperf_infer.selftest.work import slowed, steps_for, timer_tick_s

if TYPE_CHECKING:
    from pyperf_infer.selftest.records import ProcessLine, Trial


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYPERF_INFER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(job_module, "neighbour_cpu", lambda: None)
    return tmp_path / "state"


def trial_of(compare: FakeCompare) -> Trial:
    return run_trial(
        Cell("A/A", 1e-3, 0.0, False), 0, step_ns=1.0, trial_s=1.0, margin=0.01, confidence=0.95, seed=1,
        progress=lambda *_: None, compare=compare,
    )  # fmt: skip


def test_verdicts_are_counted_by_what_was_compared() -> None:
    def answer(number: int) -> Found:
        return Found(verdict=["same", "faster", "slower", "undecided"][number % 4], reason="why 3.1%")

    job = made(compare=FakeCompare(answer))
    job.execute()
    found = found_by(job)
    assert sum(row.trials for row in found.comparisons) == 20 + 3 * 4
    for verdict in ("same", "faster", "slower", "undecided"):
        assert sum(getattr(row, verdict) for row in found.comparisons) == 8
    assert {row.kind for row in found.comparisons} == {"A/A", "power"}
    assert sorted({row.slow_down for row in found.comparisons}) == [0.0, 0.01, 0.02, 0.05]
    assert {tuple(row.undecided_reasons) for row in found.comparisons if row.undecided} == {("why n",)}
    assert (found.steps, found.planned_steps, found.taken_over) == (32, 32, 0)


def test_a_tool_that_calls_all_different_fails() -> None:
    job = made(compare=FakeCompare(lambda _: Found(0.9, (0.89, 0.91), "slower")))
    job.execute()
    statuses = {one.code: one.status for one in found_by(job).judgements}
    assert statuses["aa_different_quiet"] == statuses["aa_gate"] == "fail"
    assert job.exit_code == 1


def test_a_tool_that_never_decides_fails_as_well() -> None:
    plan = msgspec.structs.replace(PLAN, power=50)
    job = made(plan, FakeCompare(lambda _: Found(1.0, (0.9, 1.1), "undecided", "wide")))
    job.execute()
    statuses = {one.code: one.status for one in found_by(job).judgements}
    assert statuses["aa_undecided_quiet"] == statuses["power_found_2"] == statuses["power_found_5"] == "fail"


def test_a_tool_that_is_right_passes() -> None:
    def answer(ratio: float) -> Found:
        return Found(verdict="slower", interval=(ratio - 0.001, ratio + 0.001)) if ratio < 0.985 else Found()

    def compare(f: Any, g: Any, **options: Any) -> Found:
        return answer(sizes[f] / sizes[g])

    sizes: dict[Any, int] = {}
    target = trials_module._core.SpinTarget

    def spin(steps: int) -> Any:
        made_target = target(steps)
        sizes[made_target] = steps
        return made_target

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials_module._core, "SpinTarget", spin)
        job = made(SelfTestPlan(aa=100, power=20, coverage=0, precision=0, processes=0), compare)
        job.execute()
    judged = {one.code: one.status for one in found_by(job).judgements}
    assert [code for code, status in judged.items() if status == "fail"] == []
    assert judged["power_found_2"] == judged["power_found_5"] == judged["aa_gate"] == "pass"
    assert job.exit_code == 0


def test_it_goes_on_where_it_was_broken_off_and_does_nothing_twice() -> None:
    def stop_at_ten(number: int) -> Found:
        if number == 10:
            raise KeyboardInterrupt
        return Found()

    first = FakeCompare(stop_at_ten)
    job = made(compare=first)
    with pytest.raises(KeyboardInterrupt):
        job.execute()
    assert found_by(job).steps == 9
    assert job.can_go_on
    rest = FakeCompare()
    again = made(compare=rest)
    again.execute()
    assert len(rest.asked) == 32 - 9
    found = found_by(again)
    assert (found.steps, found.taken_over) == (32, 9)
    seeds = [one.options["seed"] for one in (*first.asked[:9], *rest.asked)]
    assert len(set(seeds)) == 32


def test_a_finished_one_is_shown_again_and_measures_nothing() -> None:
    made().execute()
    compare, observer = FakeCompare(), Watching()
    job = made(compare=compare, observer=observer)
    job.execute()
    assert compare.asked == []
    assert found_by(job).taken_over == 32
    assert "--fresh measures anew" in observer.notices[0]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"verdict":"same"', '"verdict":"perhaps"'),
        ('"slow_down":0.0', '"slow_down":0.5'),
        ('"work_s":', '"work_s":1'),
        ('"number":', '"number":100'),
    ],
)
def test_what_no_step_of_the_plan_can_have_found_is_measured_again(folder: Path, old: str, new: str) -> None:
    made().execute()
    (state,) = (folder / "selftest").glob("*.jsonl")
    lines = state.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if old in line)
    lines[at] = lines[at].replace(old, new, 1)
    state.write_text("".join(lines))
    for asked in (True, False):
        compare = FakeCompare()
        again = made(compare=compare)
        again.execute()
        assert bool(compare.asked) == asked
        found = found_by(again)
        assert (found.steps, sum(row.trials for row in found.comparisons)) == (32, 32)


def test_trials_beside_a_neighbour_do_not_count_where_there_is_a_single_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(job_module, "neighbour_cpu", lambda: 1)
        patch.setattr(job_module, "busy_neighbour", lambda _: nullcontext(1))
        made().execute()
    job = made()
    job.execute()
    found = found_by(job)
    assert (found.steps, found.planned_steps) == (32, 32)
    assert not any(row.neighbour for row in found.comparisons)


def test_fresh_measures_all_of_it() -> None:
    made().execute()
    compare = FakeCompare()
    made(compare=compare, fresh=True).execute()
    assert len(compare.asked) == 32


def test_where_nothing_can_be_kept_it_is_measured_all_the_same(folder: Path) -> None:
    folder.write_text("a file where the folder should be")
    job = made()
    job.execute()
    document = job.document("complete")
    assert found_by(job).steps == 32
    assert [one.code for one in document.warnings] == ["state_not_kept"]
    assert "cannot be resumed: Cannot write" in document.warnings[0].message
    assert not job.can_go_on


def test_a_disk_that_fills_meanwhile_loses_nothing_but_the_way_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    def answer(number: int) -> Found:
        if number == 5:
            monkeypatch.setattr("pyperf_infer.selftest.state.os.write", full)
        return Found()

    job = made(compare=FakeCompare(answer))
    job.execute()
    assert found_by(job).steps == 32
    assert [one.code for one in job.document("complete").warnings] == ["state_not_kept"]


def test_every_option_of_the_comparison_is_the_plans() -> None:
    compare = FakeCompare()
    made(msgspec.structs.replace(PLAN, trial_s=0.25, margin=0.02, confidence=0.9), compare).execute()
    for one in compare.asked:
        options = {name: value for name, value in one.options.items() if name not in ("seed", "progress")}
        assert options == {"max_duration": 0.25, "margin": 0.02, "confidence": 0.9}
        assert len(one.sides) == 2
        assert one.sides[0] is not one.sides[1]


def test_the_bar_goes_from_nothing_to_all() -> None:
    observer = Watching()
    job = made(observer=observer)
    job._last_look_ns = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_module, "_BETWEEN_LOOKS_NS", 0)
        job.execute()
    elapsed = [one for one, _ in observer.progressed]
    assert elapsed == sorted(elapsed)
    assert {budget for _, budget in observer.progressed} == {32 * 10**9}
    assert elapsed[0] < 10**8
    assert elapsed[-1] >= 31 * 10**9


def test_with_a_second_cpu_half_are_beside_a_neighbour_that_is_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contextlib import contextmanager

    around: list[str] = []

    @contextmanager
    def neighbour(cpu: int) -> Any:
        around.append(f"on {cpu}")
        try:
            yield 1
        finally:
            around.append("off")

    monkeypatch.setattr(job_module, "neighbour_cpu", lambda: 1)
    monkeypatch.setattr(job_module, "busy_neighbour", neighbour)
    seen: list[bool] = []
    job = made(compare=FakeCompare(lambda _: seen.append(around[-1:] == ["on 1"]) or Found()))
    job.execute()
    found = found_by(job)
    assert found.neighbour_cpu == 1
    assert sum(row.trials for row in found.comparisons if row.neighbour) == 10
    assert sum(seen) == 10
    assert around[-1] == "off"
    assert around.count("on 1") == around.count("off")


def test_a_process_that_fails_ends_it_and_what_was_there_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> ProcessLine:
        raise MeasurementError("A fresh process failed (killed).")

    monkeypatch.setattr(job_module, "measure_in_a_process", fails)
    job = made(msgspec.structs.replace(PLAN, processes=1))
    with pytest.raises(MeasurementError, match="A fresh process failed"):
        job.execute()
    assert not job.has_any
    assert job.document("failed").status == "failed"


def test_coverage_and_precision_are_measured_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pyperf_infer.selftest.precision.BUDGET_S", 0.2)  # a busy machine never gets to 1%
    job = made(SelfTestPlan(aa=0, power=0, coverage=100, precision=1, processes=0))
    job.execute()
    found = found_by(job)
    assert [one.distribution for one in found.coverage[::4]] == ["normal", "log-normal", "two modes", "AR(1)"]
    assert [one.percent for one in found.coverage[:4]] == [50.0, 90.0, 95.0, 99.0]
    assert all(one.about for one in found.coverage)
    assert found.precision is not None
    assert found.precision.trials == 1
    assert found.precision.median_samples >= 30
    assert msgspec.json.decode(msgspec.json.encode(found), type=schema.SelfTest) == found


def test_a_trial_says_how_busy_others_were() -> None:
    """Two processes that do nothing but work, for as long as it takes."""
    spinning = [subprocess.Popen([sys.executable, "-P", "-c", "while True: pass"]) for _ in range(2)]

    def wait(_: int) -> Found:
        time.sleep(0.5)
        return Found()

    try:
        trial = trial_of(FakeCompare(wait))
    finally:
        for one in spinning:
            one.kill()
            one.wait()
    assert trial.other_cpus is None or trial.other_cpus > 0.0


@pytest.mark.parametrize(
    ("interval", "fires"), [((0.9, 0.96), True), ((0.9, 0.98), False), (None, False), ((1.05, 1.1), False)]
)
def test_the_gate_fires_where_all_of_the_interval_lies_beyond(interval: Any, fires: bool) -> None:
    trial = trial_of(FakeCompare(lambda _: Found(interval=interval)))
    assert gate_fires(trial, 0.03) is fires


def test_work_is_as_much_more_as_it_is_said_to_be() -> None:
    steps = steps_for(1e-3, 1.1)
    assert steps == pytest.approx(1e6 / 1.1, rel=1e-5)
    assert slowed(steps, 0.02) / steps == pytest.approx(1.02, rel=1e-5)
    assert slowed(steps, 0.0) == steps
    assert steps_for(1e-12, 1.0) == 1


def test_the_tick_is_that_of_the_coarse_clock_where_there_is_one() -> None:
    tick_s = timer_tick_s()
    assert tick_s is None or 1e-4 <= tick_s <= 0.1
