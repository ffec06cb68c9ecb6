# SPDX-License-Identifier: Apache-2.0
"""A run in several processes: what they found is merged, and one that fails, dies or is stopped is told of."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fake_process import SAMPLES, samples_around

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import InputError
from pyperf_infer.measure import one_process
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.measure.processes import ProcessesRun
from pyperf_infer.results.files import load_all_samples, read_document, write_document

MODEL = "resnet18"  # never loaded: the processes are fakes


class Watcher(Observer):
    """Keeps what it is told; Ctrl-C where a stage ends in `stop_at`."""

    def __init__(self, stop_at: str = "never") -> None:
        self.stages: list[str] = []
        self.notices: list[str] = []
        self.errors: list[str] = []
        self._stop_at = stop_at

    def stage(self, text: str) -> None:
        self.stages.append(text)
        if text.endswith(self._stop_at):
            raise KeyboardInterrupt

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def failed(self, error: Exception) -> None:
        self.errors.append(str(error))


def job(acts: list[str], p50_ms: list[float] | None = None, observer: Observer | None = None, **flags: Any) -> Any:
    medians = p50_ms or [10.0 + 0.1 * number for number in range(len(acts))]
    plan = RunPlan(
        models=(MODEL,),
        backends=("torch",),
        options=BackendOptions(threads=2, inter_op_threads=1),
        flags={"acts": acts, "p50_ms": medians, **flags},
    )
    return ProcessesRun(
        plan, len(acts), command=["pyperf-infer", "run"], observer=observer or Observer(), module="fake_process"
    )


def codes(run: Any) -> list[str]:
    return [one.code for one in run.document("complete").warnings]


def warning(run: Any, code: str) -> str:
    (found,) = [one.message for one in run.document("complete").warnings if one.code == code]
    return found


def test_the_samples_of_all_stand_in_one_row_in_the_order_of_the_processes(tmp_path: Path) -> None:
    watcher = Watcher()
    run = job(["measures"] * 5, observer=watcher)
    run.execute()
    (row,) = run.results
    assert row.processes.asked == 5
    assert [one.count for one in row.processes.runs] == [SAMPLES] * 5
    expected = [samples_around(10.0 + 0.1 * number, number + 1)["latency"] for number in range(5)]
    assert np.array_equal(run.samples[0]["latency"], np.concatenate(expected))
    assert row.summary.latency.count == 5 * SAMPLES
    assert row.summary.latency.p50_interval_ms is None
    assert all(one.interval_ms is None for one in row.summary.latency.percentiles)
    assert row.processes.interval_ms[0] < row.processes.p50_ms < row.processes.interval_ms[1]
    assert row.processes.p50_ms == pytest.approx(10.2, rel=1e-3)
    assert run.exit_code == 0
    assert codes(run) == []
    document = run.document("complete")
    assert (document.status, document.command) == ("complete", ["pyperf-infer", "run"])
    assert watcher.stages == [f"process {number} of 5" for number in range(1, 6)]
    write_document(document, tmp_path / "r.json", run.samples)
    again = read_document(tmp_path / "r.json")
    (samples,) = load_all_samples(again, tmp_path)
    assert samples is not None
    parts = np.split(samples["latency"], np.cumsum([one.count for one in again.results[0].processes.runs])[:-1])  # type: ignore[union-attr]
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(parts, expected, strict=True))


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    job(["measures", "killed"]).execute()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            "killed",
            "SIGKILL (as the kernel does where memory runs out) and left no results: second | third: bad_alloc | four",
        ),
        ("silent", "ended with status 7 and left no results: Traceback ... | ValueError: odd"),
        ("cut_short", "left results that cannot be read"),
        ("breaks", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_process_that_is_lost_is_told_of_and_the_others_count(act: str, said: str) -> None:
    run = job(["measures", act, "measures"])
    run.execute()
    (row,) = run.results
    assert row.error is None
    assert (len(row.processes.runs), row.processes.asked) == (2, 3)
    assert said in warning(run, "process_lost")
    assert "rocess 2 of 3" in warning(run, "process_lost") or act == "breaks"
    assert run.document("complete").status == "failed"
    assert run.exit_code == 5
    assert len(run.failures) == 1
    assert said in run.failures[0]


def test_a_row_that_failed_in_one_process_keeps_its_error_and_the_others_numbers() -> None:
    run = job(["measures", "fails", "measures"])
    run.execute()
    (row,) = run.results
    assert row.error is None
    assert len(row.processes.runs) == 2
    (told,) = [one for one in row.warnings if one.code == "process_failed"]
    assert "OutOfMemoryError: No room in process 2" in told.message
    assert "in 1 of 3 processes" in told.message
    assert run.failures == [told.message]
    assert (run.document("complete").status, run.exit_code) == ("failed", 5)


def test_a_row_that_fails_everywhere_is_a_row_with_an_error_and_the_rest_is_not_started() -> None:
    watcher = Watcher()
    run = job(["fails"] * 9, observer=watcher)
    run.execute()
    (row,) = run.results
    assert row.error.message == "No room in process 1."
    assert row.processes is None
    assert run.samples == [None]
    assert watcher.stages[-1] == "process 3 of 9"
    assert "the other 6 were not started" in warning(run, "gave_up")
    assert (run.document("failed").status, run.exit_code) == ("failed", 5)


def test_where_all_die_there_is_a_row_that_says_so() -> None:
    run = job(["killed"] * 2)
    run.execute()
    (row,) = run.results
    assert (row.subject.model, row.method.backend) == (MODEL, "torch")
    assert "process 1 of 2 was ended by SIGKILL" in row.error.message
    assert "bad_alloc" in row.error.message
    assert run.exit_code == 5


def test_outputs_that_differ_in_one_process_are_the_verdict_of_all() -> None:
    run = job(["differs", "measures"])
    run.execute()
    assert run.results[0].parity.status == "different"
    assert (run.document("complete").status, run.exit_code) == ("complete", 1)


def test_what_run_would_refuse_is_refused_by_the_first_process() -> None:
    watcher = Watcher()
    run = job(["refuses", "measures"], observer=watcher)
    with pytest.raises(InputError, match="no such model"):
        run.execute()
    assert run.results == []
    assert watcher.stages == ["process 1 of 2"]


def test_a_later_process_that_is_refused_ends_the_run_with_what_there_is() -> None:
    """The model's file has gone meanwhile, for one."""
    run = job(["measures", "refuses", "measures"])
    with pytest.raises(InputError, match="no such model"):
        run.execute()
    assert len(run.results[0].processes.runs) == 1


def test_an_unknown_model_is_refused_before_any_process_is_started() -> None:
    run = job(["measures"])
    run.plan = RunPlan(models=("resnet1888",), backends=(), options=run.plan.options)
    with pytest.raises(InputError, match="resnet1888"):
        run.execute()


def test_a_full_disk_of_the_temporary_folder_is_named_and_what_was_measured_stays() -> None:
    run = job(["measures", "disk_full"])
    with pytest.raises(InputError, match=r"process 2 of 2 could not keep its results in '.*No space left.*TMPDIR"):
        run.execute()
    (row,) = run.results
    assert len(row.processes.runs) == 1


def test_a_temporary_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"no temporary folder can be made: .*gone.*TMPDIR"):
        job(["measures"]).execute()


def test_a_temporary_file_that_cannot_be_made_ends_the_run_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match=r"process 1 of 3: no temporary file can be made: .*No space left.*TMPDIR"):
        job(["measures"] * 3).execute()


def test_a_process_that_cannot_be_started_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_module(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(one_process.child, "start_module", start_module)
    run = job(["measures"] * 2)
    run.execute()
    assert "process 1 of 2 could not be started: Resource temporarily unavailable" in run.results[0].error.message


def test_what_libraries_print_does_not_disturb_and_notices_come_through() -> None:
    watcher = Watcher()
    run = job(["chats", "measures"], observer=watcher)
    run.execute()
    assert len(run.results[0].processes.runs) == 2
    assert watcher.notices == ["process 1 of 2: halving the batch"]


def test_ctrl_c_keeps_the_rows_that_were_complete() -> None:
    """Of the process at work too; a row that it had only begun stays where nothing better is there."""
    run = job(["measures", "waits", "measures"], observer=Watcher("waiting"))
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    torch, onnx = run.results
    assert (len(torch.processes.runs), torch.processes.asked) == (2, 3)
    assert onnx.processes is None
    assert onnx.method.stop.reason == "interrupted"
    assert [len(one["latency"]) for one in run.samples] == [2 * SAMPLES, SAMPLES]
    assert run.document("interrupted").status == "interrupted"
    assert "process_lost" not in codes(run)


def test_ctrl_c_ends_a_process_that_does_not_hear_it_and_what_it_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(one_process, "STOP_PATIENCE_S", 0.2)
    run = job(["measures", "deaf"], observer=Watcher("waiting"), pids=str(tmp_path / "pids"))
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    pids = [int(one) for one in (tmp_path / "pids").read_text().split()]
    _, alive = psutil.wait_procs([psutil.Process(one) for one in pids if psutil.pid_exists(one)], timeout=30)
    assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []
    assert len(run.results[0].processes.runs) == 1
    assert codes(run) == ["few_processes"]


@pytest.mark.parametrize(("asked", "told"), [(2, True), (4, True), (5, False)])
def test_too_few_for_compare_are_told_of(asked: int, told: bool) -> None:
    assert ("few_processes" in codes(job(["measures"] * asked))) == told


def test_before_anything_has_run_there_is_an_empty_document() -> None:
    document = job(["measures"] * 5).document("interrupted")
    assert (document.results, document.warnings, document.status) == ([], [], "interrupted")


def test_with_debug_the_process_speaks_to_the_user_itself(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYPERF_INFER_DEBUG", "1")
    run = job(["killed"])
    run.execute()
    assert "third: bad_alloc" in capfd.readouterr().err
