# SPDX-License-Identifier: Apache-2.0
"""The modules that a model's YAML may name, and the arguments each takes. Kept apart from the modules themselves, so
that a configuration is checked without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["positive", "natural", "flag", "fraction"]

_KINDS: dict[str, str] = {
    "positive": "a whole number of at least 1",
    "natural": "a whole number of at least 0",
    "flag": "true or false",
    "fraction": "a number from 0 up to 1",
}


@dataclass(frozen=True)
class Argument:
    """One argument. `default` None with `required` False means: the module works it out (a kernel's half, say)."""

    name: str
    kind: Kind
    required: bool = False
    default: int | float | bool | None = None

    def problem(self, value: Any) -> str | None:
        """What is wrong with `value`, or None."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        right = {
            "positive": whole and 1 <= value < 2**31,
            "natural": whole and 0 <= value < 2**31,
            "flag": isinstance(value, bool),
            "fraction": (whole or isinstance(value, float)) and 0 <= value < 1,
        }[self.kind]
        return None if right else f"{self.name} must be {_KINDS[self.kind]}, not {value!r}"


@dataclass(frozen=True)
class Signature:
    """A module's arguments in order; `parts` is how many numbered modules one repetition of it adds.

    `strides_once`: in a repeated row only the first repetition takes the stride, as in every stage of a ResNet.
    `rank`: what it works on, 4 for images (N, C, H, W), 2 for vectors (N, F), None for either.
    """

    arguments: tuple[Argument, ...] = ()
    parts: int = 1
    strides_once: bool = False
    rank: int | None = None


def _size(name: str, default: int | None = None, *, required: bool = False) -> Argument:
    return Argument(name, "positive", required, default)


_OUT = _size("out_channels", required=True)
_STRIDE = _size("stride", 1)
_PADDING = Argument("padding", "natural")
_GROUPS = _size("groups", 1)

SIGNATURES: dict[str, Signature] = {
    "Conv": Signature(
        (_OUT, _size("kernel", required=True), _STRIDE, _PADDING, _GROUPS, Argument("bias", "flag", default=True)),
        strides_once=True,
        rank=4,
    ),
    "ConvReLU": Signature(
        (_OUT, _size("kernel", 3), _STRIDE, _PADDING, _GROUPS, Argument("bias", "flag", default=True)),
        parts=2,
        strides_once=True,
        rank=4,
    ),
    "ConvBNReLU": Signature(
        (_OUT, _size("kernel", 3), _STRIDE, _PADDING, _GROUPS, Argument("bias", "flag", default=False)),
        parts=3,
        strides_once=True,
        rank=4,
    ),
    "BasicBlock": Signature((_OUT, _STRIDE), strides_once=True, rank=4),
    "Bottleneck": Signature(
        (_size("planes", required=True), _STRIDE, _GROUPS, _size("base_width", 64)), strides_once=True, rank=4
    ),
    "BatchNorm": Signature(rank=4),
    "ReLU": Signature(),
    "MaxPool": Signature(
        (_size("kernel", required=True), _size("stride"), Argument("padding", "natural", default=0)), rank=4
    ),
    "AvgPool": Signature(
        (_size("kernel", required=True), _size("stride"), Argument("padding", "natural", default=0)), rank=4
    ),
    "AdaptiveAvgPool": Signature((_size("size", required=True),), rank=4),
    "Flatten": Signature(),
    "Dropout": Signature((Argument("p", "fraction", default=0.5),)),
    "Linear": Signature((_size("out_features", required=True), Argument("bias", "flag", default=True)), rank=2),
    "LinearReLUDropout": Signature(
        (_size("out_features", required=True), Argument("p", "fraction", default=0.5)), parts=3, rank=2
    ),
}
