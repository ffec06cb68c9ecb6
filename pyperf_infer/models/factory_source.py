# SPDX-License-Identifier: Apache-2.0
"""`package.module:factory`: a module that the user's own Python builds, with its own weights."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyperf_infer.errors import InputError
from pyperf_infer.models.config import nearest
from pyperf_infer.models.spec import InputSpec, LoadedModel, ModelInfo, ModelStructure, WeightsInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import nn


@dataclass(frozen=True)
class FactorySource:
    """A callable that returns an nn.Module, or (module, example_inputs). docs/adding-a-model.md has examples."""

    name: str
    source: str = "factory"

    def load(
        self, *, seed: int, weights: Path | None = None, shapes: Mapping[str, tuple[int, ...]] | None = None
    ) -> LoadedModel:
        from pyperf_infer.models import torch_model
        from pyperf_infer.models.weights import hash_weights, load_weights

        module, specs = self._build(seed, shapes)
        if weights is not None:
            load_weights(module, weights)
        torch_model.check_forward(self.name, module, torch_model.example_inputs(specs, seed))
        sha256 = hash_weights(module)
        info = WeightsInfo("factory", seed, sha256) if weights is None else WeightsInfo(str(weights), None, sha256)
        return torch_model.finished(self.name, self.source, module, specs, info, has_run=True)

    def structure(self, *, shapes: Mapping[str, tuple[int, ...]] | None = None) -> ModelStructure:
        from pyperf_infer.models import torch_model

        module, specs = self._build(0, shapes)
        return ModelStructure(self.name, specs, torch_model.count_parameters(module), module, None)

    def info(self) -> ModelInfo:
        from pyperf_infer.models import factory_inputs, torch_model

        module, examples = self._call(seed=0)
        specs = factory_inputs.specs_of_module(self.name, module, examples) or ()
        description = f"{type(module).__name__} of {self.name}"
        return ModelInfo(self.name, self.source, torch_model.count_parameters(module), specs, description)

    def _build(
        self, seed: int, shapes: Mapping[str, tuple[int, ...]] | None
    ) -> tuple[nn.Module, tuple[InputSpec, ...]]:
        from pyperf_infer.models import factory_inputs, torch_model

        module, examples = self._call(seed)
        specs = factory_inputs.specs_of_module(self.name, module, examples)
        if specs is None:
            return module, factory_inputs.specs_of_shapes(self.name, module, shapes)
        return module, torch_model.with_shapes(specs, shapes)[0]

    def _call(self, seed: int) -> tuple[nn.Module, Any]:
        """The module (eval mode, CPU, float32) and the example inputs that came with it, or None."""
        import torch

        factory, file = self._find()
        if isinstance(factory, torch.nn.Module):  # callable as well, but calling it would run it
            made: Any = factory
        else:
            # Seeded, so that a factory which draws its weights draws the same ones in every run.
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made = self._guarded(factory, file)
        module, examples = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(module, torch.nn.Module):
            raise InputError(
                f"{self.name}: it must return a torch.nn.Module, or (module, example_inputs); "
                f"it returned a {type(made).__name__}."
            )
        return module.cpu().float().eval(), examples

    def _find(self) -> tuple[Callable[[], Any], str | None]:
        module_name, _, attribute = self.name.partition(":")
        folder = os.getcwd()  # noqa: PTH109 - sys.path holds strings
        if folder not in sys.path:
            # As `python -m` does. It stays: the module may import its neighbours only when it runs.
            sys.path.insert(0, folder)
        try:
            found: Any = self._guarded(lambda: importlib.import_module(module_name), None)
        except InputError as error:
            cause = error.__cause__
            packages = [module_name[: len(module_name) - len(tail)] for tail in _tails(module_name)]
            if isinstance(cause, ModuleNotFoundError) and cause.name in packages:
                raise InputError(
                    f"{self.name}: there is no module {cause.name!r}, neither installed nor in {folder}."
                ) from cause
            raise
        file = getattr(found, "__file__", None)
        for part in attribute.split("."):
            if not hasattr(found, part):
                known = [name for name in dir(found) if not name.startswith("_")]
                raise InputError(f"{self.name}: {module_name} has no {part!r}{nearest(part, known)}.")
            found = getattr(found, part)
        if not callable(found):
            raise InputError(
                f"{self.name}: {attribute} is a {type(found).__name__}; a function that returns the module is needed."
            )
        return found, file

    def _guarded(self, call: Callable[[], Any], file: str | None) -> Any:
        """What the user's code raises becomes InputError with the line. `sys.exit` at import included."""
        from pyperf_infer.models.torch_model import where_it_failed

        try:
            return call()
        except (Exception, SystemExit) as error:
            raise InputError(f"{self.name}: {where_it_failed(error, file)}") from error


def _tails(dotted: str) -> list[str]:
    """ "a.b.c" -> ["", ".c", ".b.c"]: what to take off the end for each package on the way."""
    parts = dotted.split(".")
    return [".".join(["", *parts[index:]]) if index < len(parts) else "" for index in range(len(parts), 0, -1)]
