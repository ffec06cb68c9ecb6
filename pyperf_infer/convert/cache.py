# SPDX-License-Identifier: Apache-2.0
"""Exported ONNX files kept between runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyperf_infer.convert.fingerprint import describe_export
from pyperf_infer.convert.half import half_copy
from pyperf_infer.convert.kept import Shelf, kept
from pyperf_infer.errors import InputError

if TYPE_CHECKING:
    from pyperf_infer.models.spec import LoadedModel

_MODEL = "model.onnx"
_SHELF = Shelf("exports", surroundings=("versions",))


@dataclass(frozen=True)
class CachedExport:
    """An exported file. `seconds` is what this call took; for a hit, next to nothing."""

    path: Path
    hit: bool
    seconds: float
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]  # in flatten_outputs' order


def cached_export(
    model: LoadedModel,
    *,
    opset: int | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    half: bool = False,
) -> CachedExport:
    """The ONNX file of `model`, exported unless an earlier run has left the same; `shapes` as in export_to_onnx.

    `half`: in float16, weights and inputs alike; the model given stays as it is.

    An entry that is damaged is rebuilt. Raises InputError where the export fails or the cache folder is of no use,
    naming PYPERF_INFER_CACHE_DIR.
    """
    if model.module is None:
        raise InputError(f"{model.name} is an ONNX file already; there is nothing to export.")
    start = time.perf_counter()

    def build(folder: Path) -> dict[str, Any]:
        from pyperf_infer.convert.export import export_to_onnx

        whole = half_copy(model) if half else model
        info = export_to_onnx(whole, folder / _MODEL, opset=opset, shapes=shapes)
        return {
            "opset": info.opset,
            "inputs": info.inputs,
            "outputs": info.outputs,
            "export_seconds": info.seconds,
        }

    entry = kept(
        _SHELF, f"The ONNX file of {model.name}", describe_export(model, opset, shapes or {}, half=half), build
    )
    facts = entry.facts
    return CachedExport(
        entry.folder / _MODEL,
        entry.hit,
        time.perf_counter() - start,
        facts["opset"],
        tuple(facts["inputs"]),
        tuple(facts["outputs"]),
    )
