# SPDX-License-Identifier: Apache-2.0
"""Contests on a GPU, on the fake driver."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from fake_backends import FakeBackend
from fake_contests import fought
from fake_cuda import FakeCuda
from runs_on_fake_gpu import MS, graph_of, options

NAME = "torch-cudagraph"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as fake:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(fake.path))
        yield fake
        gc.collect()  # what a failure's traceback holds of the driver goes before the driver does


def graph(fake: FakeCuda, duration_ns: int) -> FakeBackend:
    return FakeBackend(NAME, make_target=graph_of(fake, duration_ns, options()))


def test_graphs_of_unlike_length_are_compared_on_their_gpu(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    job = fought(
        monkeypatch, graph(fake, MS), graph(fake, 8 * MS), device="cuda", backends=(NAME,), poll_gpu=False,
        max_duration_s=2.0, ci=0.2, margin=0.4,
    )  # fmt: skip
    document = job.document("complete")
    assert [row.error for row in job.results] == [None, None]
    assert all(row.method.gpu is not None and row.integrity is not None for row in job.results)
    assert document.environment.gpus[0].index == 0
    assert [one.verdict for one in document.comparisons] == ["slower"]
    assert all("with --vs other sides are timed after it" in str(row.summary.gpu_busy_method) for row in job.results)


def test_memory_that_runs_out_with_both_resident_is_a_row_and_not_a_run_in_turn(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    def no_room(_: int) -> None:
        raise RuntimeError("CUDA out of memory")

    full = FakeBackend(NAME, on_prepare=no_room)
    job = fought(monkeypatch, graph(fake, MS), full, device="cuda", backends=(NAME,), poll_gpu=False)
    assert {row.side.label: row.error.kind if row.error else None for row in job.results if row.side} == {
        "A": None, "B": "OutOfMemoryError"
    }  # fmt: skip
    assert job.document("failed").comparisons == []
    assert job.exit_code == 5
