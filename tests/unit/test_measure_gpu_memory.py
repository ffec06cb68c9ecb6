# SPDX-License-Identifier: Apache-2.0
"""Memory of a GPU: what rows say of it, and backends that it holds one by one but not together."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import torch
from fake_backends import FakeBackend, executed
from fake_cuda import FakeCuda
from runs_on_fake_gpu import options, run_of

from pyperf_infer.measure import run as module
from pyperf_infer.measure.gpu import DeviceMemory, GpuSide
from pyperf_infer.results.schema import GpuActivity

if TYPE_CHECKING:
    from pyperf_infer.measure.run import Run


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    with FakeCuda.loaded() as fake:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", str(fake.path))
        yield fake
        gc.collect()  # what a failure's traceback holds of the driver goes before the driver does


@pytest.mark.parametrize(("after_measuring", "peak"), [(130, 160), (200, 200)])
def test_the_increase_is_the_backends_own_and_the_peak_the_most_that_was_seen(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, after_measuring: int, peak: int
) -> None:
    """What torch keeps of a backend before goes first: it would be used again, and the increase be too small."""
    in_use = [after_measuring, 160, 100]
    happened: list[str] = []
    monkeypatch.setattr(GpuSide, "used_memory_bytes", lambda _: happened.append("read") or in_use.pop())
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: happened.append("give back"))
    (row,) = run_of(monkeypatch, fake, profile_range=False).results
    assert happened[:4] == ["give back", "read", "read", "read"]
    assert row.summary.device_memory_increase_bytes == 60
    assert row.summary.device_peak_memory_bytes == peak
    method = row.summary.device_memory_method or ""
    assert method.startswith("device-wide by cuMemGetInfo, other processes and the other backends of this run included")
    assert "the most of after preparing, after measuring;" in method


def test_what_nvml_saw_while_measuring_is_a_peak_too() -> None:
    seen = GpuActivity(polling_interval_ms=100, readings=5, window_s=1, samples_covered=9, memory_used_peak_bytes=300)
    memory = DeviceMemory(after_preparing_bytes=160, increase_bytes=60).measured(None, seen)
    assert (memory.peak_bytes, memory.increase_bytes) == (300, 60)
    assert "the most of after preparing, in NVML's readings meanwhile;" in memory.method


class Crowd:
    """Two backends of which the GPU holds one, up to a batch of `most`."""

    def __init__(self, moment: str, names: tuple[str, str] = ("torch", "onnxruntime"), most: int = 100) -> None:
        self.most = most
        action = {"preparing": "on_prepare", "measuring": "on_call"}.get(moment)
        self.backends = [FakeBackend(name, **({action: self.look} if action else {})) for name in names]

    @property
    def resident(self) -> int:
        return sum(one.prepared - one.closed for one in self.backends)

    def look(self, batch: int) -> None:
        # on_prepare comes before the backend counts, on_call while all of them do
        preparing = self.backends[0].on_prepare == self.look
        if self.resident + preparing > 1 or batch > self.most:
            raise MemoryError("CUDA out of memory")

    def run(self, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> Run:
        job = executed(monkeypatch, *self.backends, options=options(), poll_gpu=False, **plan)
        assert self.resident == 0
        return job


def codes(job: Run) -> list[set[str]]:
    return [{warning.code for warning in row.warnings} & {"not_together", "batch_halved"} for row in job.results]


@pytest.mark.parametrize("moment", ["preparing", "comparing", "measuring"])
def test_backends_that_do_not_fit_together_are_timed_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda, moment: str
) -> None:
    crowd = Crowd(moment)
    compare = module.compare_all_outputs

    def compare_outputs(contestants: Any, around: Any, reference: Any = None) -> None:
        if moment == "comparing" and len(contestants) > 1:
            raise MemoryError("CUDA out of memory")
        compare(contestants, around, reference)

    monkeypatch.setattr(module, "compare_all_outputs", compare_outputs)
    job = crowd.run(monkeypatch, batch_sizes=(4,))
    assert [(row.method.backend, row.subject.batch_size) for row in job.results] == [("torch", 4), ("onnxruntime", 4)]
    assert all(row.error is None and row.summary.latency for row in job.results)
    assert codes(job) == [{"not_together"}] * 2
    assert [row.parity.status if row.parity else None for row in job.results] == [None, "equal"]
    assert job.document("complete").comparisons == []
    assert job.exit_code == 0


def test_outputs_are_compared_with_torchs_also_where_it_found_no_room_beside_the_first(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    crowd = Crowd("preparing", ("onnxruntime", "torch"))
    crowd.backends[0].factor = 2.5
    job = crowd.run(monkeypatch)
    parity = {row.method.backend: row.parity for row in job.results}
    assert parity["torch"] is None
    assert parity["onnxruntime"] is not None
    assert (parity["onnxruntime"].reference, parity["onnxruntime"].status) == ("torch", "different")


def test_a_row_that_was_measured_before_memory_ran_out_is_kept_and_not_measured_again(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    crowd = Crowd("measuring")
    crowd.backends[0].on_call = lambda _: None
    job = crowd.run(monkeypatch)
    assert [row.method.backend for row in job.results] == ["torch", "onnxruntime"]
    assert crowd.backends[0].prepared == 1
    assert codes(job) == [{"not_together"}] * 2


def test_the_batch_is_halved_where_one_does_not_fit_alone(monkeypatch: pytest.MonkeyPatch, fake: FakeCuda) -> None:
    job = Crowd("preparing", most=3).run(monkeypatch, batch_sizes=(8,))
    assert [(row.method.backend, row.subject.batch_size) for row in job.results] == [("torch", 2), ("onnxruntime", 2)]
    assert codes(job) == [{"not_together", "batch_halved"}] * 2
    assert job.exit_code == 0


def test_without_retry_what_does_not_fit_alone_is_a_row_that_failed(
    monkeypatch: pytest.MonkeyPatch, fake: FakeCuda
) -> None:
    crowd = Crowd("preparing")

    def never(_: int) -> None:
        raise MemoryError("CUDA out of memory")

    crowd.backends[1].on_prepare = never
    job = crowd.run(monkeypatch, batch_sizes=(8,), retry=False)
    first, second = job.results
    assert (first.error, first.subject.batch_size) == (None, 8)
    assert second.error is not None
    assert second.error.kind == "OutOfMemoryError"
    assert codes(job) == [{"not_together"}, set()]
    assert job.exit_code == 5
