# SPDX-License-Identifier: Apache-2.0
"""What one call of a model must do, however cleverly it is done: counts that no implementation can undercut."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LeastBytes:
    """Bytes of different memory that one call surely touches: weights and inputs it reads, outputs it writes."""

    weights: int
    inputs: int
    outputs: int


@dataclass(frozen=True, kw_only=True)
class LeastFlops:
    """Floating-point operations of one call's convolutions and matrix products, 2 a multiply-accumulate.

    `total`: of those that depend on the inputs, by their definitions. `floor`: what no known algorithm can go below;
    `notes` say which operators count less in it, or not at all, and why. `precisions`: the types their operands have
    ("float32", ...).
    """

    total: int
    floor: int
    precisions: frozenset[str]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LeastWork:
    """Both, from one call."""

    bytes: LeastBytes
    flops: LeastFlops
