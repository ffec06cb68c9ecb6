# SPDX-License-Identifier: Apache-2.0
"""`timm:NAME`: any architecture of timm, with random weights or the user's own file. Nothing is downloaded."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import BackendError, InputError
from pyperf_infer.models.config import nearest
from pyperf_infer.models.spec import InputSpec, LoadedModel, ModelInfo, ModelStructure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

PREFIX = "timm:"


@dataclass(frozen=True)
class TimmSource:
    """A model of timm; `name` begins with "timm:"."""

    name: str
    source: str = "timm"

    def load(
        self, *, seed: int, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> LoadedModel:
        import torch

        from pyperf_infer.models import torch_model

        # timm's own initialisation stays where `randomize` has nothing to say, so it is seeded as well.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = self._create()
        own = _inputs(module)
        specs, changed = torch_model.with_shapes(own, shapes)
        info = torch_model.set_weights(self.name, module, own, seed, weights)
        if changed:
            torch_model.check_forward(self.name, module, torch_model.example_inputs(specs, seed))
        return torch_model.finished(self.name, self.source, module, specs, info, has_run=changed or weights is None)

    def structure(self, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelStructure:
        from pyperf_infer.models import torch_model

        module = self._without_weights()
        specs, _ = torch_model.with_shapes(_inputs(module), shapes)
        return ModelStructure(self.name, specs, torch_model.count_parameters(module), module, None)

    def info(self) -> ModelInfo:
        from pyperf_infer.models.torch_model import count_parameters

        module = self._without_weights()
        architecture = _config(module).get("architecture") or self.name.removeprefix(PREFIX)
        description = f"{type(module).__name__} of timm, architecture {architecture}"
        return ModelInfo(self.name, self.source, count_parameters(module), _inputs(module), description)

    def _without_weights(self) -> nn.Module:
        """On the meta device where that works."""
        import torch

        try:
            with torch.device("meta"):
                return self._create()
        except UnknownTimmModelError:
            raise
        except InputError:
            return self._create()  # some constructors compute with values, which the meta device does not have

    def _create(self) -> nn.Module:
        timm = import_timm()
        name = self.name.removeprefix(PREFIX)
        # A name with a colon or slash would be a place to download from.
        if not timm.is_model(name) or set(name) & set(":/\\"):
            raise UnknownTimmModelError(
                f"timm {timm.__version__} has no model {name!r}{nearest(name, timm.list_models())}. "
                "`pyperf-infer models list 'timm:*'` lists them."
            )
        try:
            module: nn.Module = timm.create_model(name, pretrained=False)
        except Exception as error:  # whatever an architecture's constructor raises
            first = (str(error).strip().splitlines() or [""])[0]
            raise InputError(f"{self.name}: timm cannot build it: {type(error).__name__}: {first}") from error
        return module.eval()


class UnknownTimmModelError(InputError):
    """timm has no model of this name."""


def timm_names() -> list[str]:
    """Names of all models, with the prefix."""
    return [PREFIX + name for name in import_timm().list_models()]


def import_timm() -> Any:
    """The module timm. BackendError where it is not installed, or does not load."""
    try:
        return importlib.import_module("timm")
    except ModuleNotFoundError as error:
        if error.name == "timm":
            raise BackendError(
                "models named timm:NAME need the package timm, which is not installed: pip install 'pyperf-infer[timm]'"
            ) from error
        raise _broken(error) from error
    except Exception as error:  # torchvision built for another torch raises RuntimeError, for instance
        raise _broken(error) from error


def _broken(error: Exception) -> BackendError:
    first = (str(error).strip().splitlines() or [""])[0]
    return BackendError(
        f"timm is installed and does not load: {type(error).__name__}: {first}. "
        "Reinstall it to fit this torch: pip install --force-reinstall 'pyperf-infer[timm]'"
    )


def _config(module: nn.Module) -> Mapping[str, Any]:
    """What timm knows of the model's training: the input size is in it."""
    config: Any = getattr(module, "pretrained_cfg", None)
    return config or {}


def _inputs(module: nn.Module) -> tuple[InputSpec, ...]:
    size = tuple(_config(module).get("input_size") or (3, 224, 224))
    return (InputSpec("input", ("batch", *size), "float32"),)
