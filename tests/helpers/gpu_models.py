# SPDX-License-Identifier: Apache-2.0
"""Modules and prepared torch backends for tests in tests/gpu. Importing it needs no GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gpu_torch import sleep
from tiny_models import loaded

from pyperf_infer.backends.base import Array, BackendOptions, PreparedBackend
from pyperf_infer.backends.registry import make_backend
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec, LoadedModel

ROWS = InputSpec("x", ("batch", 1024), "float32")
IMAGES = InputSpec("x", ("batch", 64, 28, 28), "float32")
SEQUENCES = InputSpec("x", ("batch", 16, 256), "float32")


class Of(torch.nn.Module):
    """A module that is one function of its input."""

    def __init__(self, function: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> object:
        return self.function(x)


class Network(torch.nn.Module):
    """Convolution, normalisation, attention-like products and two outputs, one of them with gaps."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(64, 128, 3, padding=1), torch.nn.BatchNorm2d(128), torch.nn.ReLU(),
            torch.nn.Conv2d(128, 64, 3, stride=2), torch.nn.AdaptiveAvgPool2d(4),
        )  # fmt: skip
        self.head = torch.nn.Linear(1024, 16)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.layers(x)
        return {"scores": self.head(hidden.flatten(1)), "hidden": hidden[:, ::2]}


def network() -> LoadedModel:
    return loaded(Network(), IMAGES)


def rows(function: Callable[[torch.Tensor], object]) -> LoadedModel:
    return loaded(Of(function), ROWS)


def sleeping(milliseconds: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """A function that keeps the GPU busy for about that long."""

    def double(x: torch.Tensor) -> torch.Tensor:
        sleep(milliseconds)
        return x * 2

    return double


def inputs_of(model: LoadedModel, seed: int = 1, batch: int = 8) -> dict[str, Array]:
    shapes = {spec.name: (batch, *(int(size or 0) for size in spec.shape[1:])) for spec in model.inputs}
    return make_inputs(model.inputs, shapes, seed)


def prepared(model: LoadedModel, backend: str = "torch", *, batch: int = 8, **asked: Any) -> PreparedBackend:
    options = BackendOptions(threads=1, **{"device": "cuda:0", **asked})
    return make_backend(backend, options).prepare(model, inputs_of(model, batch=batch))


def on_the_cpu(model: LoadedModel, inputs: dict[str, Array]) -> dict[str, Array]:
    """What the module gives there in double precision."""
    assert model.module is not None
    module = model.module.double()
    try:
        with torch.inference_mode():
            result = module(*(torch.from_numpy(array).double() for array in inputs.values()))
        named = result if isinstance(result, dict) else {"output": result}
        return {name: tensor.numpy() for name, tensor in named.items()}
    finally:
        model.module.float()


def error(there: dict[str, Array], here: dict[str, Array]) -> float:
    """The largest of ||there - here|| / ||here|| over the outputs."""
    assert list(there) == list(here)
    return max(
        float(np.linalg.norm(there[name].astype(np.float64) - array) / np.linalg.norm(array))
        for name, array in here.items()
    )
