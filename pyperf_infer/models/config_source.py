# SPDX-License-Identifier: Apache-2.0
"""Models from YAML: the built-in ones and the user's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyperf_infer.models.config import ModelConfig, read_config
from pyperf_infer.models.spec import InputSpec, LoadedModel, ModelInfo, ModelStructure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn


@dataclass(frozen=True)
class ConfigSource:
    """A model described by the YAML at `path`; `source` is "built-in" or "config"."""

    name: str
    source: str
    path: Path

    def load(
        self, *, seed: int, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> LoadedModel:
        from pyperf_infer.models import torch_model

        config, module = self._on_meta()
        own = _inputs(config)
        specs, changed = torch_model.with_shapes(own, shapes)
        if changed:
            torch_model.check_forward(self.name, module, torch_model.meta_inputs(specs))
        torch_model.check_memory(self.name, torch_model.count_parameters(module))
        module = module.to_empty(device="cpu")
        info = torch_model.set_weights(self.name, module, own, seed, weights)
        return torch_model.finished(self.name, self.source, module, specs, info, has_run=weights is None)

    def structure(self, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelStructure:
        from pyperf_infer.models import torch_model

        config, module = self._on_meta()
        specs, _ = torch_model.with_shapes(_inputs(config), shapes)
        return ModelStructure(self.name, specs, torch_model.count_parameters(module), module.eval(), None)

    def info(self) -> ModelInfo:
        from pyperf_infer.models.torch_model import count_parameters

        config, module = self._on_meta()
        return ModelInfo(self.name, self.source, count_parameters(module), _inputs(config), config.description)

    def _on_meta(self) -> tuple[ModelConfig, nn.Module]:
        from pyperf_infer.models.build import build

        config = read_config(self.path)
        return config, build(config)


def _inputs(config: ModelConfig) -> tuple[InputSpec, ...]:
    return (InputSpec("input", ("batch", *config.input), "float32"),)
