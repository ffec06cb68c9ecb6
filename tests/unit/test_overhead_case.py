# SPDX-License-Identifier: Apache-2.0
"""A batch size from its paths to its table: one that fails or differs is a row that says so, and the rest goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from fake_backends import FakeBackend

from pyperf_infer import _core
from pyperf_infer.backends.base import BackendOptions
from pyperf_infer.errors import BackendError, InputError
from pyperf_infer.measure.observer import Observer
from pyperf_infer.measure.phases import Phases
from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo
from pyperf_infer.overhead.blocks import ONE_CALL, Alone, Lane, LocalLane
from pyperf_infer.overhead.case import Entry, Surroundings, measure_case
from pyperf_infer.overhead.paths import PYTHON_LOOP, BackendPath, Kind, OnceARequest, Request, Rung
from pyperf_infer.overhead.plan import OverheadPlan
from pyperf_infer.overhead.rows import share_alone

if TYPE_CHECKING:
    from pyperf_infer.results.schema import Overhead, OverheadPath

Outs = Mapping[str, np.ndarray[Any, Any]]

MODEL = LoadedModel(
    "m", "factory", (InputSpec("x", ("batch", 4), "float32"),), WeightsInfo("factory", None, "0" * 64), 0, None, None
)
SHAPES = {"x": (2, 4)}


class Fake:
    """A path that takes about `ns` a call, and notes what becomes of it."""

    settings: Mapping[str, Any] = {"threads": 3}

    def __init__(self, request: Request, ns: int, on_call: Callable[[], object] | None, factor: float) -> None:
        self._request, self._ns, self._on_call, self._factor = request, ns, on_call, factor
        self.held, self.closed = False, 0
        self.remarks = ["a remark"] if factor == 2.0 else []
        self.lane: Lane = LocalLane(_core.CallableTarget(self._call))

    def _call(self) -> None:
        assert self.held
        if self._on_call is not None:
            self._on_call()
        until_ns = time.perf_counter_ns() + self._ns
        while time.perf_counter_ns() < until_ns:
            pass

    def outputs(self) -> tuple[Outs, Outs]:
        return {"y": self._request.first["x"] * self._factor}, {"y": self._request.second["x"] * self._factor}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        self.held = True
        yield
        self.held = False

    def close(self) -> None:
        self.closed += 1


class Stages(Observer):
    """Knows whether the paths run in turn."""

    in_turn = 0

    def stage(self, text: str) -> None:
        self.in_turn += "in turn" in text


class Ladder:
    """Rungs of fakes, and the fakes that were made."""

    def __init__(self) -> None:
        self.rungs: list[Rung] = []
        self.made: list[Fake] = []
        self.stages = Stages()

    def add(
        self,
        name: str,
        ns: int = 30_000,
        *,
        runtime: Literal["torch", "onnxruntime"] = "onnxruntime",
        on_make: Callable[[], object] | None = None,
        on_call: Callable[[], object] | None = None,
        factor: float = 1.0,
    ) -> Ladder:
        def make(request: Request) -> Fake:
            if on_make is not None:
                on_make()
            self.made.append(Fake(request, ns, on_call, factor))
            return self.made[-1]

        native = name.endswith("native loop")
        loop = "native" if native else PYTHON_LOOP
        kind = Kind(runtime=runtime, name=name, does="spins", loop=loop, is_baseline=native)
        self.rungs.append(Rung(kind=kind, make=make))
        return self

    def run(self, **plan: Any) -> tuple[dict[str, OverheadPath], Overhead, list[Entry]]:
        given: dict[str, Any] = {
            "model": "m", "options": BackendOptions(threads=1), "max_duration_s": 2.5, "ci": 0.5, **plan,
        }  # fmt: skip
        around = Surroundings(plan=OverheadPlan(**given), phases=Phases(), observer=self.stages)
        overhead, entries = measure_case(MODEL, SHAPES, self.rungs, around)
        assert all(one.closed == 1 and not one.held for one in self.made)
        return {one.path: one for one in overhead.paths}, overhead, entries


def raising(error: Exception) -> Callable[[], object]:
    def act() -> None:
        raise error

    return act


def test_paths_that_work_have_their_difference_to_the_native_loop_of_their_runtime() -> None:
    ladder = Ladder().add("eager", 90_000, runtime="torch").add("AOTI native loop", 60_000, runtime="torch")
    ladder.add("session.run", 40_000).add("native loop", 20_000)
    rows, overhead, entries = ladder.run()
    assert [one.path for one in overhead.paths] == ["eager", "AOTI native loop", "session.run", "native loop"]
    assert overhead.rounds >= 6
    assert (overhead.batch_size, overhead.shapes, overhead.threads) == (2, {"x": [2, 4]}, 1)
    for name, base in (("eager", "AOTI native loop"), ("session.run", "native loop")):
        row, loop = rows[name], rows[base]
        assert row.p50_us is not None
        assert loop.p50_us is not None
        assert row.difference_us == pytest.approx(row.p50_us - loop.p50_us, rel=0.5)
        assert row.difference_interval_us is not None
        assert row.difference_interval_us[0] <= row.difference_us <= row.difference_interval_us[1]
        assert row.share == pytest.approx(row.difference_us / row.p50_us, rel=0.5)
        assert (loop.difference_us, loop.share, loop.share_interval) == (0, 0, (0, 0))
        assert (row.parity, row.settings, row.failed) == ("equal", {"threads": 3}, None)
    assert "through session.run" in overhead.sentence
    assert not any(entry.error for entry in entries)


def test_a_path_that_cannot_be_made_is_a_row_and_the_rest_goes_on() -> None:
    ladder = Ladder().add("session.run", on_make=raising(BackendError("no such\nprovider")))
    rows, overhead, entries = ladder.add("run_with_iobinding", 40_000).add("native loop", 20_000).run()
    assert (rows["session.run"].failed, rows["session.run"].p50_us) == ("no such provider", None)
    assert entries[0].exit_code == 4
    assert rows["run_with_iobinding"].difference_us is not None
    assert "session.run" not in overhead.sentence


def test_what_is_no_error_of_ours_is_named_with_its_path() -> None:
    rows, _, entries = Ladder().add("session.run", on_make=raising(KeyError("k"))).add("native loop").run()
    assert rows["session.run"].failed == "session.run failed on m: KeyError: 'k'"
    assert entries[0].exit_code == 5


def test_memory_that_runs_out_says_what_to_do() -> None:
    rows, _, _ = Ladder().add("session.run", on_make=raising(MemoryError())).add("native loop").run()
    assert "does not fit in memory on session.run" in (rows["session.run"].failed or "")
    assert "smaller --batch-size" in (rows["session.run"].failed or "")


def test_outputs_that_differ_are_not_timed() -> None:
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    ladder = Ladder().add("session.run").add("run_with_iobinding", factor=2.0, on_call=count).add("native loop")
    rows, _, entries = ladder.run()
    other = rows["run_with_iobinding"]
    assert (other.parity, other.p50_us, other.alone_us) == ("different", None, None)
    assert "its outputs differ from those of session.run: y: differs by" in (other.failed or "")
    assert calls == 0
    assert entries[1].exit_code == 1
    assert rows["session.run"].difference_us is not None


def test_outputs_that_are_no_numbers_are_not_timed() -> None:
    rows, overhead, _ = Ladder().add("session.run", factor=float("nan")).add("native loop", factor=float("nan")).run()
    assert {one.parity for one in rows.values()} == {"invalid"}
    assert all("NaN" in (one.failed or "") for one in rows.values())
    assert "not known" in overhead.sentence


def test_outputs_that_cannot_tell_are_a_remark() -> None:
    rows, _, _ = Ladder().add("session.run", factor=0.0).add("native loop", factor=0.0).run()
    assert rows["session.run"].parity == "not checked"
    assert any("outputs not checked: y: it does not depend" in one for one in rows["session.run"].remarks)


def test_a_path_that_fails_alone_leaves_the_others_in_turn() -> None:
    ladder = Ladder().add("session.run", on_call=raising(ValueError("boom"))).add("run_with_iobinding", 40_000)
    rows, overhead, _ = ladder.add("native loop", 20_000).run()
    assert rows["session.run"].failed == "session.run failed on m: ValueError: boom"
    assert rows["run_with_iobinding"].difference_us is not None
    assert overhead.rounds >= 6


def test_a_path_that_fails_in_turn_is_found_and_the_others_begin_again() -> None:
    ladder = Ladder()

    def wear_out() -> None:
        if ladder.stages.in_turn:
            raise ValueError("worn out")

    ladder.add("session.run", on_call=wear_out).add("run_with_iobinding", 40_000).add("native loop", 20_000)
    rows, overhead, _ = ladder.run()
    assert ladder.stages.in_turn == 2
    assert rows["session.run"].failed == "session.run failed on m: ValueError: worn out"
    assert (rows["session.run"].p50_us, rows["session.run"].alone_us) == (None, None)
    assert rows["run_with_iobinding"].difference_us is not None
    assert overhead.rounds >= 6


def test_where_nobody_is_found_to_have_failed_all_have() -> None:
    ladder, failed = Ladder(), False

    def once() -> None:
        nonlocal failed
        if ladder.stages.in_turn and not failed:
            failed = True
            raise ValueError("just once")

    rows, overhead, _ = ladder.add("session.run", on_call=once).add("native loop").run()
    assert failed
    assert {one.failed for one in rows.values()} == {"timing the paths in turn failed: just once"}
    assert overhead.rounds == 0


def test_without_a_native_loop_there_is_a_time_and_no_difference() -> None:
    ladder = Ladder().add("session.run", 40_000).add("run_with_iobinding", 20_000)
    rows, overhead, _ = ladder.add("native loop", on_make=raising(InputError("no"))).run()
    assert rows["session.run"].p50_us is not None
    assert (rows["session.run"].difference_us, rows["session.run"].share) == (None, None)
    assert "not known" in overhead.sentence


def test_one_path_by_itself_is_timed_alone() -> None:
    rows, overhead, _ = Ladder().add("session.run", on_make=raising(InputError("no"))).add("native loop").run()
    assert rows["native loop"].alone_us is not None
    assert (rows["native loop"].p50_us, overhead.rounds) == (None, 0)
    assert "too few paths" in overhead.stop_reason


def test_nothing_that_works_is_still_a_table() -> None:
    rows, _, _ = Ladder().add("session.run", on_make=raising(InputError("no"))).run()
    assert rows["session.run"].failed == "no"


def test_ctrl_c_closes_every_path() -> None:
    def press() -> None:
        raise KeyboardInterrupt

    ladder = Ladder().add("session.run", on_call=press).add("native loop")
    with pytest.raises(KeyboardInterrupt):
        ladder.run()
    assert [one.closed for one in ladder.made] == [1, 1]


def test_shares_that_are_another_when_each_runs_alone_are_interference() -> None:
    ladder = Ladder().add("session.run", 40_000).add("native loop", 20_000)

    def make(request: Request) -> Fake:
        path = Fake(request, 40_000, None, 1.0)
        lane = path.lane

        class Disturbing:
            def alone(self, *_: object) -> Alone:
                return Alone(400_000.0, (399_000.0, 401_000.0))

            block = lane.block

        path.lane = Disturbing()
        ladder.made.append(path)
        return path

    ladder.rungs[0] = Rung(kind=ladder.rungs[0].kind, make=make)
    rows, overhead, _ = ladder.run()
    assert "when each runs alone" in (rows["session.run"].interference or "")
    assert "disturb each other" in overhead.sentence


def test_the_share_alone_takes_both_intervals_at_their_worst() -> None:
    assert share_alone(Alone(100, (98, 102)), Alone(80, (79, 81))) == (1 - 81 / 98, 1 - 79 / 102)
    assert share_alone(Alone(100, None), Alone(80, (79, 81))) is None
    assert share_alone(Alone(100, (98, 102)), Alone(80, None)) is None


def test_what_paths_share_is_made_once_a_request_and_fails_once() -> None:
    made: list[Request] = []

    def make(request: Request) -> int:
        made.append(request)
        if request is bad:
            raise InputError("this one is bad")
        return len(made)

    good, bad = (Request(model=MODEL, shapes=SHAPES, first={}, second={}, seed=1) for _ in range(2))
    shared = OnceARequest(make)
    assert [shared(good), shared(good)] == [1, 1]
    for _ in range(2):
        with pytest.raises(InputError, match="this one is bad"):
            shared(bad)
    assert made == [good, bad]
    assert shared(good) == 3


def test_what_a_backend_knows_of_itself_is_a_remark() -> None:
    backend = FakeBackend("torch-compile", factor=3.0)
    backend.settings = {"graphs": 0, "recompiled": 2, "casts": "all in float32"}
    backend.log = ("[W] slow path\nand more", "[W] slow path\nand more")
    backend.facts = {"graph_breaks": 2, "graph_break_reasons": ("print at a.py:1", "open at a.py:2")}
    inputs = [{"x": np.full((2, 4), value, np.float32)} for value in (1.0, 2.0)]
    path = BackendPath(backend, Request(model=MODEL, shapes=SHAPES, first=inputs[0], second=inputs[1], seed=1))
    first, second = path.outputs()
    assert (first["y"][0, 0], second["y"][0, 0]) == (3.0, 6.0)
    assert path.outputs()[0]["y"][0, 0] == 3.0  # the first inputs are in place again
    assert path.remarks == [
        "2 graph breaks: print at a.py:1; open at a.py:2",
        "torch.compile made no graph of the model, which ran eagerly",
        "compiled 2 times more while it was timed",
        "all in float32",
        "said while loading: [W] slow path",
    ]
    assert path.settings["recompiled"] == 2
    assert path.lane.block(ONE_CALL).median_ns is not None
    path.close()
    assert backend.closed == 1
