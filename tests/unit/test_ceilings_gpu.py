# SPDX-License-Identifier: Apache-2.0
"""Ceilings of a GPU: rates from known times on the fake driver, what is refused, and the work itself on the CPU."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from exact_gpu import ExactGpu

from pyperf_infer import timers
from pyperf_infer.errors import BackendError, MeasurementError, OutOfMemoryError
from pyperf_infer.results.ceilings_schema import Ceilings
from pyperf_infer.results.schema import GpuProcess
from pyperf_infer.roofline.ceilings import gpu as ceilings
from pyperf_infer.roofline.ceilings.gpu_work import GpuWork, Piece, moving_on, product_on, why_not
from pyperf_infer.system.gpu_reader import Reading

H100 = "NVIDIA H100 80GB HBM3"
GIB = 1 << 30
COMPUTE_MAJOR, COMPUTE_MINOR = 75, 76  # CUdevice_attribute
RATES = {
    "memory": 3.0e12, "L2": 9.0e12, "float32": 60e12, "tf32": 420e12, "bfloat16": 700e12, "float16": 690e12,
    "int8": 1500e12,
}  # fmt: skip


class Work:
    """In place of torch's: pieces of the right amounts, which take the time that `rates` says."""

    def __init__(self, gpu: ExactGpu, rates: dict[str, float]) -> None:
        self._gpu, self._rates, self._stream = gpu, rates, timers.CudaStream()
        self.sets: list[tuple[str, int]] = []
        self.sizes: list[tuple[str, int]] = []
        self.fails: dict[str, Exception] = {}

    def open(self) -> Any:
        return nullcontext()

    @contextmanager
    def product(self, precision: str, size: int) -> Iterator[Piece]:
        if precision in self.fails:
            raise self.fails[precision]
        self.sizes.append((precision, size))
        # The smaller one is a little slower, as it is on a large device.
        slower = 1.0 if size == max(ceilings.SIZES) else 0.9
        yield self._piece(f"torch.mm {size}", 2 * size**3, self._rates[precision] * slower)

    @contextmanager
    def moving(self, pattern: str, working_set: int) -> Iterator[list[Piece]]:
        self.sets.append((pattern, working_set))
        level = "L2" if working_set < 64 << 20 else "memory"
        yield [self._piece("one way", working_set, self._rates[level] * 0.8),
               self._piece("another", working_set, self._rates[level])]  # fmt: skip

    def _piece(self, how: str, amount: int, rate: float) -> Piece:
        return Piece(how, amount, lambda: amount / rate * 1e9)

    def queued(self, piece: Piece) -> Any:
        return self.replayed(piece, 1)

    def replayed(self, piece: Piece, times: int) -> Any:
        duration: Any = piece.call()
        return timers.cuda_graph(self._gpu.fake.graph(round(duration * times)), self._stream)


class Watched:
    """In place of the monitor: readings every 10 ms, with these processes on the GPU."""

    def __init__(self, *processes: GpuProcess, later: GpuProcess | None = None) -> None:
        self.processes = [GpuProcess(pid=os.getpid(), name="python"), *processes]
        self.interval_ms = 100.0
        self.why_not: str | None = None
        self._later, self._asked = later, 0

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ready(self) -> bool:
        return True

    def readings(self, begin_ns: int, end_ns: int) -> list[Reading]:
        self._asked += 1
        seen = [*self.processes, self._later] if self._later is not None and self._asked > 1 else self.processes
        return [
            Reading(monotonic_ns=begin_ns, sm_clock_mhz=1700, power_w=650.0, processes=seen),
            Reading(monotonic_ns=end_ns, sm_clock_mhz=1755, power_w=690.0, processes=seen),
        ]


@pytest.fixture
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExactGpu]:
    with ExactGpu.loaded(tmp_path) as loaded:
        monkeypatch.setenv("PYPERF_INFER_LIBCUDA", loaded.library)
        monkeypatch.setattr(ceilings, "SECONDS", 0.0)
        monkeypatch.setattr(ceilings, "_BUDGET_S", 0.02)
        monkeypatch.setattr(ceilings, "_WARMUP_S", 0.01)
        monkeypatch.setattr(ceilings, "describe_gpus", list)
        loaded.fake.poll_step(200_000)  # the times here are of milliseconds
        loaded.fake.device_name(0, H100)
        loaded.fake.device_attribute(0, COMPUTE_MAJOR, 9)
        loaded.fake.device_attribute(0, COMPUTE_MINOR, 0)
        yield loaded


Measure = Callable[..., tuple[Ceilings, Work]]


@pytest.fixture
def measured(gpu: ExactGpu, monkeypatch: pytest.MonkeyPatch) -> Measure:
    def run(
        watched: Watched | None = None, fails: dict[str, Exception] | None = None, **rates: float
    ) -> tuple[Ceilings, Work]:
        work = Work(gpu, {**RATES, **rates})
        work.fails = fails or {}
        monkeypatch.setattr(ceilings, "GpuWork", lambda _: work)
        monkeypatch.setattr(ceilings, "GpuMonitor", lambda _: watched or Watched())
        return ceilings.measure_gpu(0), work

    return run


def test_rates_are_amounts_over_the_devices_time(measured: Measure) -> None:
    found, _ = measured()
    assert (found.device, found.device_name) == ("cuda:0", H100)
    assert [one.precision for one in found.compute] == ["float32", "tf32", "bfloat16", "float16", "int8"]
    for one in found.compute:
        assert one.flops_per_s == pytest.approx(RATES[one.precision], rel=1e-3)
        assert one.median_flops_per_s == pytest.approx(one.flops_per_s, rel=1e-3)
        assert one.instructions == "torch.mm 8192"
        assert one.runs == ceilings.RUNS
        assert one.clock_hz == 1755e6
    assert [(one.level, one.pattern) for one in found.memory] == [
        ("L2", "copy"), ("L2", "triad"), ("memory", "copy"), ("memory", "triad"),
    ]  # fmt: skip
    for ceiling in found.memory:
        assert ceiling.bytes_per_s == pytest.approx(RATES[ceiling.level], rel=1e-3)
    assert [one.level for one in found.levels] == ["L2", "memory"]
    assert (found.sm_clock_mhz, found.power_w) == (1727.5, 670.0)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Ceilings) == found


def test_the_datasheets_dense_figures_stand_beside_them(measured: Measure) -> None:
    found, _ = measured()
    sheet = {one.precision: one.datasheet_flops_per_s for one in found.compute}
    assert sheet == pytest.approx({
        "float32": 66.9e12, "tf32": 494.7e12, "bfloat16": 989.4e12, "float16": 989.4e12, "int8": 1979e12,
    })  # fmt: skip
    assert {one.level: one.datasheet_bytes_per_s for one in found.memory} == {"L2": None, "memory": 3.35e12}


def test_the_memory_is_measured_far_beyond_the_cache_and_the_cache_well_inside(
    gpu: ExactGpu, measured: Measure
) -> None:
    found, work = measured()
    cache = gpu.context().facts.l2_bytes
    sets = {one.level: one.working_set_bytes for one in found.memory}
    assert sets == {"L2": cache // 2, "memory": max(16 * cache, GIB)}
    assert {pattern for pattern, _ in work.sets} == {"copy", "triad"}


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"memory": 3.4e12}, r"copy in .*H100.* memory .*3\.400T B/s.*more than 3\.352T B/s"),
        ({"bfloat16": 1100e12}, r"bfloat16 products on .*H100.*error of the measurement"),
        ({"int8": 2200e12}, "int8 products"),
    ],
)
def test_more_than_the_device_can_do_is_an_error(measured: Measure, rates: dict[str, float], said: str) -> None:
    with pytest.raises(MeasurementError, match=said):
        measured(**rates)


def test_a_device_without_a_datasheet_is_not_judged_and_says_so(gpu: ExactGpu, measured: Measure) -> None:
    gpu.fake.device_name(0, "NVIDIA Nobody 1")
    found, _ = measured(bfloat16=5000e12)
    assert all(one.datasheet_flops_per_s is None for one in found.compute)
    assert any("no datasheet figures of NVIDIA Nobody 1" in one for one in found.not_measured)


def test_other_processes_are_named_and_refused(measured: Measure) -> None:
    other = GpuProcess(pid=4321, name="trainer", memory_bytes=GIB)
    with pytest.raises(MeasurementError, match=r"Other processes are on .*: process 4321 \(trainer\)\..*Stop them"):
        measured(Watched(other))
    with pytest.raises(MeasurementError, match="process 4321"):
        measured(Watched(later=other))


def test_what_cannot_be_watched_is_a_warning(measured: Measure) -> None:
    watched = Watched()
    watched.why_not = "NVML is not there."
    found, _ = measured(watched)
    assert any("NVML is not there" in one for one in found.warnings)


def test_too_little_free_memory_is_said_before_anything_is_allocated(gpu: ExactGpu, measured: Measure) -> None:
    gpu.fake.memory_limit(GIB // 2)
    with pytest.raises(OutOfMemoryError, match=r"are free, and measuring its bandwidth takes 1.000 GiB"):
        measured()


def test_less_free_memory_makes_the_arrays_smaller(gpu: ExactGpu, measured: Measure) -> None:
    gpu.fake.memory_limit(2 * GIB)
    found, work = measured()
    (size,) = {one.working_set_bytes for one in found.memory if one.level == "memory"}
    assert 256 << 20 <= size <= GIB // 2
    assert {size for _, size in work.sizes} == {4096}  # products of 8192 would take more than half of it


def test_what_the_libraries_lack_is_told_and_the_rest_measured(measured: Measure) -> None:
    lacking = RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED when calling cublasLtMatmul")
    found, _ = measured(fails={"int8": lacking})
    assert [one.precision for one in found.compute] == ["float32", "tf32", "bfloat16", "float16"]
    assert any("int8 products" in one and "CUBLAS_STATUS_NOT_SUPPORTED" in one for one in found.not_measured)


@pytest.mark.parametrize(
    ("said", "lacks"),
    [
        ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx( handle, opa, opb`", True),
        ("CUDA error: CUBLAS_STATUS_ARCH_MISMATCH when calling `cublasLtMatmul`", True),
        ("\"addmm_cuda\" not implemented for 'Char'", True),
        ("_int_mm_out_cuda not compiled for this platform.", True),
        ("CUDA error: an illegal memory access was encountered", False),
        (
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED\nThis requires a device that is not supported by the kernel",
            False,
        ),
        ("Expected all tensors to be on the same device, but found at least two devices", False),
        ("cuBLAS requires a workspace", False),
    ],
)
def test_only_what_the_libraries_lack_is_no_error(measured: Measure, said: str, lacks: bool) -> None:
    if lacks:
        found, _ = measured(fails={"int8": RuntimeError(said)})
        assert any("int8 products" in one for one in found.not_measured)
        return
    with pytest.raises(MeasurementError, match=re.escape(said.splitlines()[0])):
        measured(fails={"int8": RuntimeError(said)})


def test_progress_is_told_what_comes_next(gpu: ExactGpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "GpuWork", lambda _: Work(gpu, RATES))
    monkeypatch.setattr(ceilings, "GpuMonitor", lambda _: Watched())
    told: list[str] = []
    ceilings.measure_gpu(0, progress=told.append)
    assert {"copy, memory", "triad, L2", "bfloat16 products", "int8 products"} <= set(told)


@pytest.mark.parametrize(
    ("precision", "capability", "lacks"),
    [("tf32", (7, 5), True), ("bfloat16", (7, 0), True), ("int8", (7, 0), True), ("int8", (7, 5), False),
     ("float16", (7, 0), False), ("tf32", (8, 0), False)],
)  # fmt: skip
def test_precisions_that_a_device_has_not(precision: str, capability: tuple[int, int], lacks: bool) -> None:
    assert (why_not(precision, capability) is not None) == lacks


def test_tf32_that_is_switched_off_is_not_called_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert "NVIDIA_TF32_OVERRIDE" in (why_not("tf32", (9, 0)) or "")
    assert why_not("float32", (9, 0)) is None


def test_without_cuda_in_torch_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"does not see that GPU"):
        GpuWork(0)


def test_memory_that_runs_out_on_the_way_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "Stream", lambda _: SimpleNamespace())
    work = GpuWork(0)
    work.device = torch.device("cpu")
    with (
        pytest.raises(OutOfMemoryError, match="float32 products of 16 x 16: what is free"),
        work.product("float32", 16),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")


CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16", "int8"])
def test_products_are_of_normal_data_in_their_type(precision: str) -> None:
    size = 32
    with product_on(CPU, precision, size) as piece:
        assert piece.amount == 2 * size**3
        result: Any = piece.call()
    expected = {"int8": torch.int32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    assert result.dtype == expected.get(precision, torch.float32)
    # Sums of 32 products of two standard normal numbers, or of two of a spread of 32.
    spread = math.sqrt(size) * (32.0**2 if precision == "int8" else 1.0)
    assert result.float().std().item() == pytest.approx(spread, rel=0.2)


def test_tf32_is_on_for_its_own_products_alone() -> None:
    switch: Any = torch.backends.cuda.matmul
    before = switch.fp32_precision
    for precision, expected in (("tf32", "tf32"), ("float32", "ieee"), ("float16", "ieee")):
        with product_on(CPU, precision, 16):
            assert switch.fp32_precision == expected
        assert switch.fp32_precision == before


@pytest.mark.parametrize("pattern", ["copy", "triad"])
def test_what_is_moved_is_read_and_written_once(pattern: str) -> None:
    working_set = 12 * 1000
    for piece in moving_on(CPU, pattern, working_set):
        result: Any = piece.call()
        arrays = 2 if pattern == "copy" else 3
        assert piece.amount == working_set == result.numel() * 4 * arrays
        assert result.std().item() == pytest.approx(1.0 if pattern == "copy" else math.sqrt(10), rel=0.1)
