# SPDX-License-Identifier: Apache-2.0
"""Made-up profiles. Numbers are plausible, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import result_documents as made

from pyperf_infer.results import schema


def row(name: str, kind: str = "Conv2d", time_ms: float | None = 1.0, **more: Any) -> schema.ProfileRow:
    values: dict[str, Any] = {
        "calls": 1.0,
        "input_shapes": [[1, 3, 8, 8]],
        "output_shapes": [[1, 4, 6, 6]],
        "share": None if time_ms is None else time_ms / 10,
        **more,
    }
    return schema.ProfileRow(name=name, kind=kind, time_ms=time_ms, **values)


def perturbation(ratio: float = 1.012, *, interval: tuple[float, float] | None = (1.008, 1.016)) -> schema.Perturbation:
    return schema.Perturbation(plain_ms=10.0, instrumented_ms=10.0 * ratio, ratio=ratio, interval=interval, rounds=24)


def table(
    name: str = "torch layers", rows: Sequence[schema.ProfileRow] | None = None, **more: Any
) -> schema.ProfileTable:
    """Of a whole of 10 ms."""
    if rows is None:
        rows = [
            row("", "Net", 0.5, total_ms=9.9, parameters=0, output_bytes=40.0),
            row("conv1", time_ms=6.0, total_ms=6.0, parameters=112, output_bytes=576.0),
            row("block.relu", "ReLU", 3.4, total_ms=3.4, calls=2.0, aliases=["block.again"], parameters=0),
        ]
    values: dict[str, Any] = {
        "backend": "torch" if name != "onnxruntime nodes" else "onnxruntime",
        "method": "a clock read around every one",
        "inferences": 30,
        "whole_ms": 10.0,
        "rest_ms": 10.0 - sum(one.time_ms or 0.0 for one in rows),
        "perturbation": perturbation(),
        **more,
    }
    return schema.ProfileTable(name=name, rows=list(rows), **values)  # type: ignore[arg-type]


def profile(tables: Sequence[schema.ProfileTable] | None = None, **more: Any) -> schema.Profile:
    values: dict[str, Any] = {
        "model": "resnet18",
        "batch_size": 1,
        "shapes": {"input": [1, 3, 8, 8]},
        "precision": "float32",
        "device": "cpu",
        "backend": "torch",
        "threads": 2,
        "parameters": 11_690_000,
        "files": [schema.ProfileFile(name="torch-layers.csv", what="the table of layers", sha256=made.SHA256)],
        "peak_memory_bytes": 3 << 20,
        "memory_method": "as the allocator tells",
        **more,
    }
    return schema.Profile(tables=[table()] if tables is None else list(tables), **values)


def document(profiles: Sequence[schema.Profile] | None = None, **more: Any) -> schema.Document:
    values: dict[str, Any] = {"status": "complete", **more}
    return schema.Document(
        tool_version="0.1.0",
        command=["pyperf-infer", "profile", "resnet18"],
        created_utc="2026-11-25T09:30:00Z",
        environment=made.environment(),
        results=[],
        profiles=[profile()] if profiles is None else list(profiles),
        **values,
    )
