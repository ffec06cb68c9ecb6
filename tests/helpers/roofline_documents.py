# SPDX-License-Identifier: Apache-2.0
"""Made-up rooflines. Numbers are plausible, not measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import result_documents as made
from ceilings import make_ceilings
from profile_documents import perturbation

from pyperf_infer.results import schema


def layer(name: str = "block.conv", **more: Any) -> schema.RooflineLayer:
    values: dict[str, Any] = {
        "kind": "Conv2d",
        "calls": 1.0,
        "time_ms": 2.0,
        "mapped": True,
        "ops": ["aten.conv2d"],
        "sources": [],
        "layers": [],
        "unknown_ops": [],
        "macs": 500_000_000,
        "flops_model": 1_000_000_000,
        "flops_all": 1_001_000_000,
        "bytes_min_layer": 10_000_000,
        "weight_bytes": 1_000_000,
        "precision": "float32",
        "intensity_flops_per_byte": 100.0,
        "flops_per_s": 5e11,
        "bytes_per_s": 5e9,
        "compute_ms": 1.0,
        "memory_ms": 0.1,
        "roof_ms": 1.0,
        "bound": "compute",
        "memory_level": None,
        "share_of_roof": 0.5,
        "gap_ms": 1.0,
        **more,
    }
    return schema.RooflineLayer(name=name, **values)


def without_products(name: str, **more: Any) -> schema.RooflineLayer:
    values: dict[str, Any] = {
        "kind": "ReLU",
        "ops": ["aten.relu"],
        "macs": 0,
        "flops_model": 0,
        "precision": None,
        "intensity_flops_per_byte": 0.0,
        "flops_per_s": 0.0,
        "compute_ms": 0.0,
        "roof_ms": 0.1,
        "bound": "memory",
        "memory_level": "L2",
        "share_of_roof": 0.05,
        "gap_ms": 1.9,
        **more,
    }
    return layer(name, **values)


def roofline(layers: Sequence[schema.RooflineLayer] | None = None, **more: Any) -> schema.Roofline:
    if layers is None:
        layers = [layer(), without_products("block.relu"), layer("", kind="Net", time_ms=6.0, gap_ms=5.0)]
    layers_ms = sum(one.time_ms for one in layers)
    values: dict[str, Any] = {
        "model": "resnet18",
        "batch_size": 1,
        "shapes": {"input": [1, 3, 8, 8]},
        "precision": "float32",
        "device": "cpu",
        "backend": "torch",
        "threads": 2,
        "method": "a clock read around every one",
        "inferences": 30,
        "measured_ms": 10.0,
        "profiled_ms": layers_ms + 0.1,
        "layers_ms": layers_ms,
        "rest_ms": 0.1,
        "perturbation": perturbation(),
        "roof_ms": 2.1,
        "share_of_roof": 0.21,
        "macs": 1_000_000_000,
        "flops_model": 2_000_000_000,
        "flops_all": 2_002_000_000,
        "bytes_min_model": 8_000_000,
        "bytes_min_layer": 30_000_000,
        "intensity_flops_per_byte": 66.7,
        "flops_per_s": 2e11,
        "formula_share": 1.0,
        "mapped_share": 1.0,
        "idle_share": 0.0,
        "unknown_ops": {},
        "overhead_ms": 0.004,
        "ceilings": make_ceilings(),
        **more,
    }
    return schema.Roofline(layers=list(layers), **values)


def document(rooflines: Sequence[schema.Roofline] | None = None, **more: Any) -> schema.Document:
    values: dict[str, Any] = {"status": "complete", "ceilings": [make_ceilings()], **more}
    return schema.Document(
        tool_version="0.1.0",
        command=["pyperf-infer", "roofline", "resnet18"],
        created_utc="2026-11-25T09:30:00Z",
        environment=made.environment(),
        results=[],
        rooflines=[roofline()] if rooflines is None else list(rooflines),
        **values,
    )
