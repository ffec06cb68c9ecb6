# SPDX-License-Identifier: Apache-2.0
"""Made-up overheads. Numbers are plausible, not measured."""

from __future__ import annotations

from typing import Any

import result_documents as made

from pyperf_infer.overhead.sentence import sentence_of
from pyperf_infer.results import schema

PYTHON = "native, Python callable"


def path(name: str, share: float | None = None, half: float = 0.005, **fields: Any) -> schema.OverheadPath:
    """A path of a request of 100 us, whose share is known to within `half`; without a share, one of no numbers."""
    given: dict[str, Any] = {
        "runtime": "torch" if name in ("eager", "compiled") or name.startswith("AOTI") else "onnxruntime",
        "path": name,
        "does": "calls",
        "loop": "native" if name.endswith("native loop") else PYTHON,
        "process": "shared",
        "same_code": name not in ("eager", "compiled"),
        "parity": "equal",
    }
    if share is not None:
        given |= {
            "p50_us": 100.0,
            "alone_us": 99.0,
            "difference_us": 100.0 * share,
            "difference_interval_us": (100.0 * (share - half), 100.0 * (share + half)),
            "share": share,
            "share_interval": (share - half, share + half),
        }
    return schema.OverheadPath(**{**given, **fields})


def overhead(*paths: schema.OverheadPath, batch: int = 1, **fields: Any) -> schema.Overhead:
    given: dict[str, Any] = {
        "model": "resnet50",
        "batch_size": batch,
        "shapes": {"input": [batch, 3, 224, 224]},
        "precision": "float32",
        "device": "cpu",
        "threads": 2,
        "weights_source": "random",
        "weights_sha256": made.SHA256,
        "seed": 42,
        "paths": list(paths),
        "rounds": 12,
        "discarded_calls": 345,
        "stop_reason": "interval reached",
        "ci": 0.005,
        "max_duration_s": 20.0,
        "confidence": 0.95,
        "margin": 0.01,
        "sentence": "",
    }
    one = schema.Overhead(**{**given, **fields})
    one.sentence = sentence_of([one])
    return one


def document(*overheads: schema.Overhead, **fields: Any) -> schema.Document:
    given: dict[str, Any] = {
        "tool_version": "1.2.3",
        "command": ["pyperf-infer", "overhead", "resnet50"],
        "created_utc": "2026-11-25T09:30:00Z",
        "status": "complete",
        "environment": made.environment(),
        "results": [],
        "overheads": list(overheads),
    }
    return schema.Document(**{**given, **fields})
