# SPDX-License-Identifier: Apache-2.0
"""Modules of many kinds, and what is counted of them. Needs torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyperf_infer.models.spec import InputSpec, ModelStructure
from pyperf_infer.roofline.work.count import count
from pyperf_infer.roofline.work.counts import ModelWork  # noqa: TC001


def counted(module: nn.Module, *shapes: tuple[int, ...], dtype: str = "float32") -> ModelWork:
    """Called with inputs of these shapes, by position."""
    specs = tuple(InputSpec(f"x{number}", shape, dtype) for number, shape in enumerate(shapes))
    parameters = sum(one.numel() for one in module.parameters())
    structure = ModelStructure("m", specs, parameters, module.eval(), None)
    return count(structure, {spec.name: shape for spec, shape in zip(specs, shapes, strict=True)})


def counted_file(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> ModelWork:
    """Of an .onnx file."""
    specs = tuple(InputSpec(name, shape, "float32") for name, shape in shapes.items())
    return count(ModelStructure("m", specs, 0, None, path), shapes)


class Calls(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Tensor:
        found: Tensor = self.function(*inputs)
        return found


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)[0]
        return found


class SelfAttention(nn.Module):
    def __init__(self, width: int = 16, heads: int = 4, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        parts = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=self.causal)
        projected: Tensor = self.out(found.transpose(1, 2).reshape(batch, length, width))
        return projected


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.inner(x)
        return found


class Tied(nn.Module):
    """One weight that embeds and projects."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.head(self.table(tokens))
        return found


def vision(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


# Twenty kinds: each with the shape of its input. The same macs must come out of the module and of its .onnx file.
MODELS: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "convolution": (lambda: vision(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)), (2, 3, 16, 16)),
    "depthwise": (lambda: vision(nn.Conv2d(8, 8, 3, 1, 1, groups=8), nn.SiLU(), nn.Conv2d(8, 6, 1)), (2, 8, 9, 9)),
    "grouped": (lambda: vision(nn.Conv2d(8, 12, 3, groups=4), nn.GELU()), (2, 8, 9, 9)),
    "dilated": (lambda: vision(nn.Conv2d(4, 6, 3, dilation=2), nn.Hardswish()), (1, 4, 12, 12)),
    "transposed": (lambda: vision(nn.ConvTranspose2d(4, 6, 3, 2, 1), nn.ReLU()), (2, 4, 5, 5)),
    "transposed, grouped": (lambda: vision(nn.ConvTranspose2d(4, 6, 4, 2, 1, groups=2)), (2, 4, 5, 5)),
    "one dimension": (lambda: vision(nn.Conv1d(4, 6, 5, padding=2), nn.ReLU()), (2, 4, 20)),
    "three dimensions": (lambda: vision(nn.Conv3d(2, 4, 3)), (1, 2, 5, 6, 7)),
    "batch norm": (lambda: vision(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)), (2, 3, 12, 12)),
    "group norm": (lambda: vision(nn.Conv2d(4, 8, 3), nn.GroupNorm(2, 8)), (2, 4, 8, 8)),
    "residual": (lambda: Residual(nn.Conv2d(4, 4, 3, padding=1)), (2, 4, 8, 8)),
    "classifier": (
        lambda: vision(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), (2, 3, 8, 8),
    ),
    "upsampling": (lambda: vision(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear")), (1, 3, 8, 8)),
    "perceptron": (lambda: vision(nn.Linear(8, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 4)), (3, 5, 8)),
    "attention": (SelfAttention, (2, 6, 16)),
    "causal attention": (lambda: SelfAttention(causal=True), (2, 6, 16)),
    "encoder": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), (2, 6, 16)),
    "lstm": (lambda: Recurrent(nn.LSTM(8, 12, 2, bidirectional=True, batch_first=True)), (2, 5, 8)),
    "gru": (lambda: Recurrent(nn.GRU(8, 12, batch_first=True)), (2, 5, 8)),
    "broadcast product": (lambda: Calls(lambda x: x @ torch.ones(3, 1, 6, 4)), (2, 5, 6)),
    "einsum": (lambda: Calls(lambda x: torch.einsum("bij,bkj->bik", x, x)), (2, 5, 6)),
}  # fmt: skip
