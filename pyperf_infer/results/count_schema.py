# SPDX-License-Identifier: Apache-2.0
"""What `count` prints as JSON: a list with one of these a model. docs/counting.md says what each counts."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType


class CountedOperation(Struct, kw_only=True):
    """One operator of the graph."""

    op: str
    name: str  # the layer, as state_dict names it, or the node
    kind: str
    macs: int
    flops_model: int
    flops_all: int
    fvcore_flops: int
    activations: int
    kernel: int  # operators with the same number are executed in one go
    kernel_bytes: int  # that go in and out of that kernel; on its first operator only


class CountedModel(Struct, kw_only=True):
    """The work of one call of a model."""

    model: str
    batch_size: int
    shapes: dict[str, list[int]]
    macs: int
    flops_model: int
    flops_all: int
    fvcore_flops: int
    params: int
    activations: int
    bytes_min_model: int
    bytes_min_layer: int
    unknown_ops: list[str]  # operators without a formula, each once; what they compute is in no count
    ops: list[CountedOperation] | UnsetType = UNSET  # with --per-op
