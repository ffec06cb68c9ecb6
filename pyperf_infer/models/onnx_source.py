# SPDX-License-Identifier: Apache-2.0
"""A path to an .onnx file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer.errors import InputError
from pyperf_infer.models.onnx_external import external_files
from pyperf_infer.models.onnx_file import UNKNOWN_RANK, count_parameters, input_specs, read_onnx
from pyperf_infer.models.shapes import named_shapes
from pyperf_infer.models.spec import InputSpec, LoadedModel, ModelInfo, ModelStructure, WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class OnnxSource:
    """The file at `path`; its weights are its own."""

    name: str
    path: Path
    source: str = "onnx"

    def load(
        self, *, seed: int, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> LoadedModel:
        del seed  # nothing is drawn
        if weights is not None:
            raise InputError(f"{self.name}: an .onnx file brings its own weights; leave out --weights {weights}.")
        model = read_onnx(self.path)
        files = external_files(self.path, model)
        specs = _with_ranks(self.name, input_specs(self.path, model), shapes)
        info = WeightsInfo("embedded", None, _hash(self.path, files))
        return LoadedModel(self.name, self.source, specs, info, count_parameters(model), None, self.path)

    def structure(self, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelStructure:
        model = read_onnx(self.path)
        specs = _with_ranks(self.name, input_specs(self.path, model), shapes)
        return ModelStructure(self.name, specs, count_parameters(model), None, self.path)

    def info(self) -> ModelInfo:
        model = read_onnx(self.path)
        specs = input_specs(self.path, model)
        opsets = ", ".join(f"{entry.domain or 'ai.onnx'} {entry.version}" for entry in model.opset_import)
        producer = " ".join(part for part in (model.producer_name, model.producer_version) if part)
        description = (
            f"ONNX file, opset {opsets}, {len(model.graph.node)} nodes{f', by {producer}' if producer else ''}"
        )
        return ModelInfo(self.name, self.source, count_parameters(model), specs, description)


def _with_ranks(
    name: str, specs: tuple[InputSpec, ...], shapes: Mapping[str, tuple[int, ...]] | None
) -> tuple[InputSpec, ...]:
    """Inputs without a shape in the file get their number of dimensions from `--shape`."""
    given = named_shapes(specs, shapes)
    ranked: list[InputSpec] = []
    for spec in specs:
        if spec.shape != UNKNOWN_RANK:
            ranked.append(spec)
        elif spec.name in given:
            ranked.append(InputSpec(spec.name, (None,) * len(given[spec.name]), spec.dtype))
        else:
            raise InputError(
                f"{name}: the file gives no shape for input {spec.name!r}; give it: --shape {spec.name}:1x..."
            )
    return tuple(ranked)


def _hash(path: Path, external: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for label, file in {"": path, **external}.items():
        with file.open("rb") as stream:
            digest.update(f"{label} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
