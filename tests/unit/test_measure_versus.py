# SPDX-License-Identifier: Apache-2.0
"""Contests with backends that do nothing, differ, fail, run out of memory or are interrupted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fake_backends import FakeBackend
from fake_contests import fought

from pyperf_infer import _core
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError, UsageError
from pyperf_infer.measure import versus as module
from pyperf_infer.measure.contests import Asked
from pyperf_infer.measure.plan import RunPlan
from pyperf_infer.measure.versus import Versus
from pyperf_infer.results.schema import Side

# Many samples, so that a call in the middle is one of them.
_LONG: dict[str, Any] = {"iterations": 2_000, "max_duration_s": 2.0, "warmup_ms": 0.0, "ci": 1.0}
# Done as soon as a factor of twenty is plain, with time to spare on a machine that is busy with something else.
_COARSE: dict[str, Any] = {"max_duration_s": 3.0, "ci": 0.2, "margin": 0.4}


def backend(name: str = "onnxruntime", **options: Any) -> FakeBackend:
    """One whose calls take so long that they need not be timed in batches besides, unless they are to do something."""
    if "on_call" not in options:
        options.setdefault("make_target", lambda _: _core.SpinTarget(20_000))
    return FakeBackend(name, **options)


def failing(error: BaseException) -> Any:
    def fail(_: int) -> None:
        raise error

    return fail


def spinning(iterations: int) -> FakeBackend:
    return backend(make_target=lambda _: _core.SpinTarget(iterations))


def by_side(job: Versus) -> dict[str, str | None]:
    """The kind of error of each side, None where it has numbers."""
    return {row.side.label: row.error.kind if row.error else None for row in job.results if row.side}


def statuses(job: Versus) -> list[str | None]:
    return [row.parity.status if row.parity else None for row in job.results]


def test_every_side_is_timed_compared_with_the_first_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    sides = backend(), backend(), backend()
    job = fought(monkeypatch, *sides)
    document = job.document("complete")
    assert [(row.side.label, row.side.given, row.side.contest) for row in job.results if row.side] == [
        ("A", "", 0), ("B", "--opset 1", 0), ("C", "--opset 2", 0)
    ]  # fmt: skip
    assert statuses(job) == [None, "equal", "equal"]
    compared = [
        (one.baseline, one.contender, one.baseline_row, one.contender_row, one.compared) for one in document.comparisons
    ]
    assert compared == [("A", "B", 0, 1, 2), ("A", "C", 0, 2, 2)]
    assert [one.closed for one in sides] == [1, 1, 1]
    assert job.exit_code == 0
    assert all(len(next(iter(samples.values()))) > 0 for samples in job.samples if samples is not None)


def test_twenty_times_the_work_is_slower_and_a_twentieth_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fought(monkeypatch, spinning(40_000), spinning(800_000), spinning(2_000), **_COARSE)
    slower, faster = job.document("complete").comparisons
    assert (slower.verdict, faster.verdict) == ("slower", "faster")
    assert slower.ratio < 0.5 < 2 < faster.ratio
    assert all(one.interval is not None and one.interval[0] <= one.ratio <= one.interval[1] for one in (slower, faster))
    assert slower.confidence > 0.95  # of two comparisons, at least one is judged at more than 95%
    assert slower.converged is not None


def test_the_module_is_loaded_once_for_sides_that_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []
    load_model = module.load_model
    monkeypatch.setattr(
        module, "load_model", lambda source, **how: loads.append(source.name) or load_model(source, **how)
    )
    fought(monkeypatch, backend(), backend(), backend(), own=[{}, {}, {"models": ("n",)}], batch_sizes=(1, 2))
    assert loads == ["m", "n"]


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ({"models": ("n",)}, "n is another model than m"),
        ({"batch_sizes": (8,)}, "other shapes: x 8x4 against x 2x4"),
        ({"seed": 7}, "other inputs: seed 7 against 42"),
    ],
)
def test_outputs_that_need_not_be_alike_are_not_checked_and_that_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, Any], reason: str
) -> None:
    job = fought(monkeypatch, backend(), backend(factor=3.0), own=[{"batch_sizes": (2,)}, own])
    first, other = job.results
    assert first.parity is None
    assert other.parity is not None
    assert (other.parity.status, other.parity.reference, other.parity.other) == ("not checked", "A", "B")
    assert other.parity.reason == reason
    assert job.exit_code == 0


def test_outputs_that_should_be_alike_and_are_not_end_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fought(monkeypatch, backend(), backend(factor=3.0))
    parity = job.results[1].parity
    assert parity is not None
    assert (parity.status, parity.reference, parity.other) == ("different", "A", "B")
    assert job.exit_code == 1


def test_of_two_precisions_the_coarser_ones_tolerance_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fought(monkeypatch, backend(), backend(factor=2.2), own=[{"rtol": 1e-3}, {"rtol": 0.3}])
    assert statuses(job) == [None, "equal"]


def test_outputs_that_are_no_numbers_are_a_finding_on_any_side(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fought(monkeypatch, backend(), backend(factor=float("nan")), own=[{}, {"models": ("n",)}])
    assert statuses(job) == [None, "invalid"]
    assert job.exit_code == 1


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [(RuntimeError("odd"), "MeasurementError", 5), (BackendError("gone"), "BackendError", 4)],
)
def test_a_side_that_fails_is_a_row_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str, code: int
) -> None:
    sides = backend(), backend(on_prepare=failing(error)), backend()
    job = fought(monkeypatch, *sides)
    assert by_side(job) == {"A": None, "B": kind, "C": None}
    (comparison,) = job.document("failed").comparisons
    assert (comparison.baseline, comparison.contender) == ("A", "C")
    assert comparison.contender_row is not None
    assert job.results[comparison.contender_row].side == Side(label="C", contest=0, given="--opset 2")
    assert job.exit_code == code
    assert [one.closed for one in sides] == [1, 0, 1]


@pytest.mark.parametrize("when", ["on_prepare", "on_call"])
def test_without_a_baseline_nothing_is_compared(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    sides = backend(**{when: failing(RuntimeError("odd"))}), backend(), backend()
    job = fought(monkeypatch, *sides)
    assert by_side(job) == {"A": "MeasurementError", "B": None, "C": None}
    assert job.document("failed").comparisons == []
    assert job.exit_code == 5


def test_a_batch_that_does_not_fit_is_an_error_and_is_never_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    def fits_four(batch: int) -> None:
        if batch > 4:
            raise MemoryError

    job = fought(
        monkeypatch, backend(on_prepare=fits_four), backend(), own=[{"batch_sizes": (8,)}, {"batch_sizes": (2,)}]
    )
    assert by_side(job) == {"A": "OutOfMemoryError", "B": None}
    assert sorted(row.subject.batch_size for row in job.results) == [2, 8]
    failed = next(row.error for row in job.results if row.error)
    assert "smaller --batch-size" in failed.message
    assert job.document("failed").comparisons == []


def test_a_model_that_does_not_load_is_a_row_of_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fought(monkeypatch, backend(), backend(), own=[{}, {"models": ("bad",)}])
    assert by_side(job) == {"A": None, "B": "InputError"}
    assert job.exit_code == 3


def test_a_side_whose_backend_does_not_run_its_model_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    picky = backend("torch")
    monkeypatch.setattr(picky, "accepts", lambda _: False)
    job = fought(monkeypatch, backend(), picky)
    failed = next(row.error for row in job.results if row.error)
    assert failed.message == "m is an ONNX file, which backend torch does not run"


def test_a_call_that_fails_half_way_keeps_the_samples_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def tire(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 500:
            raise RuntimeError("tired")

    job = fought(monkeypatch, backend(), backend(on_call=tire), **_LONG)
    _, failed = job.results
    assert failed.error is not None
    assert job.samples[1] is not None
    assert 0 < len(job.samples[1]["latency"]) < 500
    assert job.document("failed").comparisons == []


def test_ctrl_c_keeps_what_was_measured_and_closes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def interrupt(_: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 500:
            raise KeyboardInterrupt

    sides = backend(), backend(on_call=interrupt)
    job = fought(monkeypatch, *sides, raises=KeyboardInterrupt, **_LONG)
    assert [row.side.label for row in job.results if row.side] == ["A", "B"]
    assert job.results[1].method.stop is not None
    assert job.results[1].method.stop.reason == "interrupted"
    assert [one.closed for one in sides] == [1, 1]


def test_what_fails_in_turn_keeps_the_rows_and_ends_with_5(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("lost")

    monkeypatch.setattr(module, "time_interleaved", fail)
    job = fought(monkeypatch, backend(), backend())
    document = job.document("complete")
    assert by_side(job) == {"A": None, "B": None}
    assert [one.code for one in document.warnings] == ["interleaving_failed"]
    assert "RuntimeError: lost" in document.warnings[0].message
    assert job.exit_code == 5


def test_unlike_batches_have_the_ratio_of_items_beside_that_of_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    job = fought(monkeypatch, backend(), backend(), own=[{"batch_sizes": (2,)}, {"batch_sizes": (8,)}])
    (comparison,) = job.document("complete").comparisons
    assert comparison.items_ratio == pytest.approx(4 * comparison.ratio)
    (alike,) = fought(monkeypatch, backend(), backend(), batch_sizes=(2,)).document("complete").comparisons
    assert alike.items_ratio is None


def test_sides_that_differ_in_threads_as_they_were_asked_to_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for, other = spinning(40_000), spinning(800_000)
    asked_for.threads = other.threads = 1
    (found,) = fought(monkeypatch, asked_for, other, **_COARSE).document("complete").comparisons
    assert found.verdict == "slower"
    other.threads = 3  # which nobody asked for
    (found,) = fought(monkeypatch, asked_for, other, **_COARSE).document("complete").comparisons
    assert (found.verdict, found.reason) == ("undecided", "A ran 1 threads and B 3")


def test_a_backend_that_is_not_there_is_told_with_its_side_before_anything_is_measured() -> None:
    plan = RunPlan(models=("resnet18",), backends=("onnxruntime",), options=BackendOptions(threads=1, provider="cpu"))
    broken = replace(plan, options=replace(plan.options, provider="nowhere"))
    job = Versus([Asked(label="A", text="", plan=plan), Asked(label="B", text="", plan=broken)], command=[])
    with pytest.raises((BackendError, UsageError), match=r"^B: .*nowhere"):
        job.execute()
    assert job.results == []
