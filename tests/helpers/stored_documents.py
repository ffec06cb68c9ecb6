# SPDX-License-Identifier: Apache-2.0
"""Made-up documents in files, for what compares stored results. Numbers are plausible, not measured."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import result_documents as made
from msgspec.structs import replace

from pyperf_infer.results import schema
from pyperf_infer.results.files import write_document
from pyperf_infer.stored.job import CompareJob, ComparePlan


def medians(p50_ms: float, *, count: int = 5, sd: float = 0.002, seed: int = 1) -> list[float]:
    """As `count` processes would have them."""
    source = random.Random(seed)
    return [p50_ms * (1 + source.gauss(0, sd)) for _ in range(count)]


def row(
    p50s_ms: Sequence[float] | float = 50.0,
    backend: str = "torch",
    *,
    model: str = "resnet50",
    batch_size: int = 1,
    method: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    **fields: Any,
) -> schema.Result:
    """A row of one process, or of as many as there are medians."""
    listed = [p50s_ms] if isinstance(p50s_ms, float) else list(p50s_ms)
    result = made.result(model, batch_size, backend, p50_ms=listed[0])
    if not isinstance(p50s_ms, float):
        result.processes = processes(listed, batch_size)
    changed = {**(method or {})}
    if settings is not None:
        changed["settings"] = {**result.method.settings, **settings}
    return replace(result, **{"method": replace(result.method, **changed), **fields})


def processes(p50s_ms: Sequence[float], batch_size: int = 1) -> schema.Processes:
    return schema.Processes(
        asked=len(p50s_ms),
        runs=[
            schema.ProcessRun(
                p50_ms=one,
                p50_interval_ms=(one * 0.999, one * 1.001),
                count=400,
                converged=True,
                throughput_per_s=1000 * batch_size / one,
                peak_memory_bytes=400 << 20,
            )
            for one in p50s_ms
        ],
        p50_ms=p50s_ms[0],
        interval_ms=None,
        relative_sd_between=None,
        relative_sd_within=None,
        share_between=None,
    )


def save(path: Path, *rows: schema.Result, environment: dict[str, Any] | None = None, **fields: Any) -> Path:
    """Writes a document of `run` that has these rows."""
    whole = made.document(list(rows), environment=replace(made.environment(), **(environment or {})), **fields)
    write_document(whole, path)
    return path


def gpu_row(name: str = "NVIDIA H100 80GB HBM3", *, p50s_ms: Sequence[float] | float = 4.0) -> schema.Result:
    """A row that ran on a GPU; its document needs `gpu` in the environment's `gpus`."""
    gpu = schema.GpuMethod(
        device_index=0,
        device_name=name,
        streams=1,
        wait="spin",
        asynchronous="proved",
        asynchrony_evidence="made up",
    )
    return row(p50s_ms, method={"device": "cuda:0", "gpu": gpu})


def gpu(name: str = "NVIDIA H100 80GB HBM3", driver: str = "580.65.06") -> schema.Gpu:
    return schema.Gpu(name=name, index=0, driver=driver, memory_bytes=80 << 30)


def compared(paths: Sequence[Path], **plan: Any) -> CompareJob:
    job = CompareJob(ComparePlan(paths, **plan), command=["pyperf-infer", "compare"])
    job.execute(lambda _done, _total: None)
    return job


def pair(folder: Path, mine: schema.Result, theirs: schema.Result, **plan: Any) -> schema.StoredRow:
    paths = [save(folder / "a.json", mine), save(folder / "b.json", theirs)]
    return compared(paths, **plan).comparisons[0].rows[0]


def many(level: float, seed: int = 1, **made_as: Any) -> schema.Result:
    return row(medians(level, seed=seed), **made_as)
