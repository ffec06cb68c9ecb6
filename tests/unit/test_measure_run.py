# SPDX-License-Identifier: Apache-2.0
"""A run with backends that do nothing, fail, run out of memory or are interrupted: what is kept, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_backends import Action, FakeBackend, a_little, executed

from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError, InputError, OutOfMemoryError
from pyperf_infer.measure import run as module
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.measure.run import Run


def _fits(most: int, error: Exception) -> Action:
    def prepare(batch: int) -> None:
        if batch > most:
            raise error

    return prepare


def test_both_are_timed_compared_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = FakeBackend("torch"), FakeBackend("onnxruntime")
    job = executed(monkeypatch, one, other, batch_sizes=(1, 2))
    document = job.document("complete")
    assert [(row.subject.batch_size, row.method.backend) for row in job.results] == [
        (1, "torch"), (1, "onnxruntime"), (2, "torch"), (2, "onnxruntime")
    ]  # fmt: skip
    assert [row.parity.status if row.parity else None for row in job.results] == [None, "equal"] * 2
    assert [(one.batch_size, one.baseline, one.contender) for one in document.comparisons] == [
        (1, "torch", "onnxruntime"), (2, "torch", "onnxruntime")
    ]  # fmt: skip
    assert job.exit_code == 0
    assert one.closed == other.closed == 2


@pytest.mark.parametrize(
    "error",
    [OutOfMemoryError("no"), MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("Could not allocate bytes")],
)
def test_a_batch_that_does_not_fit_is_halved_for_both(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Only its own rows are warned, not those of a batch that was asked for at the size it ended with."""
    one, other = FakeBackend("torch"), FakeBackend("onnxruntime", on_prepare=_fits(3, error))
    job = executed(monkeypatch, one, other, batch_sizes=(2, 9, 1))
    rows = [(row.subject.requested_batch_size, row.subject.batch_size) for row in job.results]
    assert rows == [(2, 2), (2, 2), (9, 2), (9, 2), (1, 1), (1, 1)]
    halved = ["batch_halved" in {warning.code for warning in row.warnings} for row in job.results]
    assert halved == [False, False, True, True, False, False]
    assert job.exit_code == 0
    assert one.closed == 5  # of the tries too


@pytest.mark.parametrize(
    "plan",
    [{"batch_sizes": (8,), "retry": False}, {"batch_sizes": (8,), "shapes": {"x": (8, 4)}}, {"shapes": {"x": (8, 4)}}],
)
def test_a_batch_that_may_not_be_halved_is_a_row_that_failed(
    monkeypatch: pytest.MonkeyPatch, plan: dict[str, Any]
) -> None:
    failing = FakeBackend("onnxruntime", on_prepare=_fits(3, MemoryError("no")))
    job = executed(monkeypatch, FakeBackend("torch"), failing, **plan)
    failed, measured = job.results
    assert failed.error is not None
    assert (failed.error.kind, failed.error.exit_code) == ("OutOfMemoryError", 5)
    assert failed.subject.batch_size == measured.subject.batch_size == 8
    assert measured.error is None
    assert job.exit_code == 5


def test_a_batch_of_one_that_does_not_fit_is_a_row_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    job = executed(monkeypatch, FakeBackend("torch", on_prepare=_fits(0, MemoryError())), batch_sizes=(4,))
    (row,) = job.results
    assert row.error is not None
    assert (row.subject.batch_size, row.subject.requested_batch_size) == (1, 4)


def test_memory_that_runs_out_while_comparing_is_halved_or_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def compare(contestants: Any, around: Any) -> None:
        if contestants and contestants[0].outputs_a["y"].shape[0] > 2:
            raise MemoryError("while comparing")

    monkeypatch.setattr(module, "compare_all_outputs", compare)
    job = executed(monkeypatch, FakeBackend("torch"), batch_sizes=(8,))
    assert [row.subject.batch_size for row in job.results] == [2]
    job = executed(monkeypatch, FakeBackend("torch"), batch_sizes=(8,), retry=False)
    assert [row.error.kind if row.error else None for row in job.results] == ["OutOfMemoryError"]


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [(RuntimeError("odd"), "MeasurementError", 5), (BackendError("gone"), "BackendError", 4)],
)
def test_what_fails_is_a_row_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, code: int
) -> None:
    job = executed(
        monkeypatch, FakeBackend("torch", on_prepare=_fits(0, error)), FakeBackend("onnxruntime"), models=("bad", "m")
    )
    kinds = [row.error.kind if row.error else None for row in job.results]
    assert kinds == ["InputError", "InputError", kind, None]
    assert job.results[2].error is not None
    assert job.results[2].error.exit_code == code
    assert job.exit_code == 3  # that of the first


def test_a_call_that_fails_while_timed_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise RuntimeError("tired\nof it")

    one, other = FakeBackend("torch", on_call=fail), FakeBackend("onnxruntime")
    job = executed(monkeypatch, one, other)
    failed, measured = job.results
    assert failed.error is not None
    assert failed.error.message == "torch failed on m: RuntimeError: tired"
    assert measured.error is None
    assert job.document("complete").comparisons == []
    assert job.exit_code == 5
    assert one.closed == other.closed == 1


def test_a_call_that_fails_half_way_keeps_the_samples_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def fail_late(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 500:
            raise RuntimeError("tired")

    plan: dict[str, Any] = {"iterations": 2_000, "max_duration_s": 2.0, "warmup_ms": 0.0, "ci": 1.0}
    job = executed(monkeypatch, FakeBackend("torch", on_call=fail_late), **plan)
    (row,) = job.results
    assert row.error is not None
    assert row.error.message == "torch failed on m: RuntimeError: tired"
    assert row.summary.latency is not None
    assert job.samples[0] is not None
    assert len(job.samples[0]["latency"]) == row.summary.latency.count
    assert 0 < row.summary.latency.count < 500
    assert job.exit_code == 5


def test_memory_that_runs_out_half_way_keeps_the_row_and_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def run_out(batch: int) -> None:
        nonlocal calls
        calls += 1
        if batch == 4 and calls == 500:
            raise MemoryError("CUDA out of memory")
        a_little(batch)

    plan: dict[str, Any] = {"iterations": 1000, "max_duration_s": 2.0, "warmup_ms": 0.0, "ci": 1.0, "batch_sizes": (4,)}
    job = executed(monkeypatch, FakeBackend("torch", on_call=run_out), **plan)
    partial, whole = job.results
    assert (partial.subject.batch_size, whole.subject.batch_size) == (4, 2)
    assert partial.error is not None
    assert partial.error.kind == "OutOfMemoryError"
    assert job.samples[0] is not None
    assert whole.error is None
    assert job.exit_code == 0  # what was asked for was measured in the end


def test_what_fails_when_both_are_timed_in_turn_keeps_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("only together")

    monkeypatch.setattr(module, "time_interleaved", fail)
    job = executed(monkeypatch, FakeBackend("torch"), FakeBackend("onnxruntime"))
    assert all(row.error is None for row in job.results)
    (warning,) = job.document("complete").warnings
    assert warning.code == "interleaving_failed"
    assert "RuntimeError: only together" in warning.message
    assert job.exit_code == 5


@pytest.mark.parametrize(("factor", "status"), [(2.1, "different"), (float("nan"), "invalid")])
def test_outputs_that_differ_are_timed_and_end_with_1(
    monkeypatch: pytest.MonkeyPatch, factor: float, status: str
) -> None:
    job = executed(monkeypatch, FakeBackend("torch"), FakeBackend("onnxruntime", factor=factor))
    assert job.results[1].parity is not None
    assert job.results[1].parity.status == status
    assert job.results[1].summary.latency is not None
    assert job.exit_code == 1


def test_outputs_of_one_backend_alone_must_be_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    job = executed(monkeypatch, FakeBackend("torch", factor=float("inf")))
    assert job.results[0].parity is not None
    assert job.results[0].parity.status == "invalid"
    assert job.exit_code == 1


def test_ctrl_c_keeps_what_was_measured_of_the_row_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def interrupt(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 500:
            raise KeyboardInterrupt

    plan: dict[str, Any] = {"iterations": 10_000, "max_duration_s": 10.0, "warmup_ms": 0.0}
    one, other = FakeBackend("torch"), FakeBackend("onnxruntime", on_call=interrupt)
    job = executed(monkeypatch, one, other, raises=KeyboardInterrupt, **plan)
    whole, partial = job.results
    assert whole.method.stop is not None
    assert whole.method.stop.reason != "interrupted"
    assert partial.method.stop is not None
    assert partial.method.stop.reason == "interrupted"
    assert job.samples[1] is not None
    assert 0 < len(job.samples[1]["latency"]) < 500
    assert one.closed == other.closed == 1


@pytest.mark.parametrize("moment", ["on_prepare", "warm-up", "summary"])
def test_ctrl_c_at_other_moments_keeps_the_rows_there_are(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    def interrupt(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    actions: dict[str, Any] = {}
    if moment == "on_prepare":
        actions["on_prepare"] = lambda batch: interrupt() if batch == 2 else None
    elif moment == "warm-up":
        actions["on_call"] = lambda batch: interrupt() if batch == 2 else None
    else:
        from pyperf_infer.measure import alone

        summarise, called = alone.measured_result, []

        def once(*args: Any, **options: Any) -> Any:
            called.append(1)
            return interrupt() if len(called) == 2 else summarise(*args, **options)

        monkeypatch.setattr(alone, "measured_result", once)
    job = executed(monkeypatch, FakeBackend("torch", **actions), raises=KeyboardInterrupt, batch_sizes=(1, 2))
    batches = [row.subject.batch_size for row in job.results]
    assert batches == ([1, 2] if moment == "summary" else [1])


def test_inputs_that_cannot_fit_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """10**9 rows of 4 floats are 15 GiB, twice: minutes of drawing before the memory is gone."""
    from pyperf_infer.measure import case

    drawn: list[object] = []
    make_inputs = case.make_inputs
    monkeypatch.setattr(case, "available_memory_bytes", lambda: 1000)
    monkeypatch.setattr(
        case, "make_inputs", lambda specs, shapes, seed: drawn.append(shapes["x"]) or make_inputs(specs, shapes, seed)
    )
    job = executed(monkeypatch, FakeBackend("torch"), batch_sizes=(10**8,))
    assert set(drawn) == {(23, 4)}
    assert job.results[0].subject.batch_size == 23
    job = executed(monkeypatch, FakeBackend("torch"), batch_sizes=(10**8,), retry=False)
    assert job.results[0].error is not None
    assert "two sets of inputs take 2.980 GiB, and 1000 B are available" in job.results[0].error.message


def test_a_phase_for_everything_that_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    job = executed(monkeypatch, FakeBackend("torch"), FakeBackend("onnxruntime"))
    names = [one.name for one in job.document("complete").phases]
    for name in ("look at the machine", "load model", "draw inputs", "measure torch", "measure onnxruntime"):
        assert name in names
    assert len(names) == len(set(names))


def test_unknown_models_and_backends_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    from pyperf_infer.errors import UsageError

    options = BackendOptions(threads=1)
    for plan, kind in (
        (RunPlan(models=(str(tmp_path / "no.onnx"),), backends=(), options=options), InputError),
        (RunPlan(models=("resnet18",), backends=("abacus",), options=options), UsageError),
    ):
        job = Run(plan, command=[])
        with pytest.raises(kind):
            job.execute()
        assert job.results == []


def test_what_a_backend_warned_of_while_loading_is_a_warning_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend("onnxruntime")
    backend.log = ("ignored an option\nmore of it", "ignored an option\nmore of it")
    (row,) = executed(monkeypatch, backend).results
    (said,) = [one.message for one in row.warnings if one.code == "backend_log"]
    assert said == "onnxruntime said while loading: ignored an option"


def test_threads_that_the_model_itself_set_are_told_and_leave_the_verdict_open(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = FakeBackend("torch"), FakeBackend("onnxruntime")
    one.threads = 3
    job = executed(monkeypatch, one, other)
    first, second = job.results
    assert (first.method.threads, second.method.threads) == (3, 1)
    assert "threads_changed" in [warning.code for warning in first.warnings]
    assert "threads_changed" not in [warning.code for warning in second.warnings]
    (comparison,) = job.document("complete").comparisons
    assert (comparison.verdict, comparison.reason) == ("undecided", "torch ran 3 threads and onnxruntime 1")
