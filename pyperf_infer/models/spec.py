# SPDX-License-Identifier: Apache-2.0
"""What a model is to the rest of the package: its inputs, its weights, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch


@dataclass(frozen=True)
class InputSpec:
    """One input. A dimension is an int (fixed), a str (open, with a name such as "batch") or None (open, no name).

    `dtype` is numpy's name: "float32", "bfloat16", "int64", "bool" ... Integers are drawn from 0 to `below` - 1; where
    nothing is known of them they are 0 or 1, which are valid in any vocabulary.
    """

    name: str
    shape: tuple[int | str | None, ...]
    dtype: str
    below: int | None = None


@dataclass(frozen=True)
class WeightsInfo:
    """Where the weights come from, and which ones they are.

    `source` is "random", "embedded" (.onnx), "factory" or the file's path as given. `sha256` is taken over the tensors'
    names, dtypes, shapes and bytes, or over the .onnx file and its external data.
    """

    source: str
    seed: int | None
    sha256: str


@dataclass
class LoadedModel:
    """A model that a backend can take: a module in eval mode (float32, on the CPU), or the path of an .onnx file.

    `has_run`: the module was called while it was loaded, to calibrate random weights or to try its inputs.
    """

    name: str
    source: str
    inputs: tuple[InputSpec, ...]
    weights: WeightsInfo
    parameters: int
    module: torch.nn.Module | None
    onnx_path: Path | None
    has_run: bool = False


@dataclass(frozen=True)
class ModelStructure:
    """A model as far as its graph goes: a module in eval mode whose weights may be on the meta device, or the path of
    an .onnx file."""

    name: str
    inputs: tuple[InputSpec, ...]
    parameters: int
    module: torch.nn.Module | None
    onnx_path: Path | None


@dataclass(frozen=True)
class ModelInfo:
    """What `models info` prints."""

    name: str
    source: str
    parameters: int
    inputs: tuple[InputSpec, ...]
    description: str


@dataclass(frozen=True)
class ModelListing:
    """One line of `models list`."""

    name: str
    source: str
    description: str


class ModelSource(Protocol):
    """A model that was named and found, but not built yet. `source`: built-in, config, timm, hf, onnx or
    factory."""

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> str: ...

    def load(
        self, *, seed: int, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> LoadedModel:
        """Build it. `shapes` maps input names to whole shapes ("" for the only input), as `--shape` gives them."""
        ...

    def structure(self, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelStructure:
        """Its graph: weights are neither drawn nor read where that can be helped. `shapes` as for `load`."""
        ...

    def info(self) -> ModelInfo:
        """Describe it without materialising weights where that can be helped."""
        ...
