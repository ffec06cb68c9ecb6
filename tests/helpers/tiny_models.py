# SPDX-License-Identifier: Apache-2.0
"""Small models of every shape of input and output, as the converter is handed them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import torch

from pyperf_infer.models.spec import InputSpec, LoadedModel, WeightsInfo


def loaded(module: torch.nn.Module, *inputs: InputSpec, name: str = "tiny") -> LoadedModel:
    module.eval()
    digest = hashlib.sha256()
    for key, tensor in sorted(module.state_dict().items()):
        digest.update(key.encode() + tensor.numpy().tobytes())
    return LoadedModel(
        name=name,
        source="factory",
        inputs=inputs,
        weights=WeightsInfo("factory", 0, digest.hexdigest()),
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        module=module,
        onnx_path=None,
    )


X = InputSpec("x", ("batch", 4), "float32")


class Perceptron(torch.nn.Module):
    """One layer and a buffer; `scale` is a setting that no weight shows."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = scale
        self.layer = torch.nn.Linear(4, 3)
        self.register_buffer("offset", torch.zeros(3), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x) * self.scale + self.offset
        return result


@dataclass
class Answer:
    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


class Structured(torch.nn.Module):
    """Two inputs; a dataclass with a tuple and a None in it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> Answer:
        hidden = self.layer(x)
        return Answer(logits=hidden.sum(-1), hidden=(hidden * mask, hidden.argmax(-1)))


class Mapped(torch.nn.Module):
    """A dict whose keys are out of order and are names that the graph uses inside."""

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        mul = x * 3
        total = mul + 1
        return {"mul": total.tanh(), "add": [total, 2.5], "x": total - 1, "a b/c": mul.sum(-1)}


class Passing(torch.nn.Module):
    """Hands back its input, one result twice and a number; never looks at its second input."""

    def forward(self, x: torch.Tensor, unused: torch.Tensor) -> tuple[Any, ...]:
        doubled = x * 2
        return x, doubled, doubled, None, 3


class Variadic(torch.nn.Module):
    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0] + inputs[1]


class Branching(torch.nn.Module):
    """Cannot be traced."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.sum() > 0:  # the culprit
            return x * 2
        return x


class Eigen(torch.nn.Module):
    """Has an operator that ONNX does not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.linalg.eig(x)[0].real  # the culprit
        return result


class FixedBatch(torch.nn.Module):
    """Open on paper; works at batch 2 alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.arange(8, dtype=torch.float32).reshape(2, 4)
