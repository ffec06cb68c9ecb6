# SPDX-License-Identifier: Apache-2.0
"""What `roofline` found: part of the result document's schema, whose users import it from ``results.schema``.

Times are means over inferences of a profile, and the least times are those that measured ceilings allow.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.ceilings_schema import Ceilings  # noqa: TC001  msgspec reads it
from pyperf_infer.results.fields import (  # noqa: TC001  msgspec reads them
    AboveZero,
    Count,
    NonNegative,
    Part,
    Positive,
)
from pyperf_infer.results.profile_schema import Perturbation  # noqa: TC001

Bound = Literal["compute", "memory", "overhead", "unknown"]


class RooflineLayer(Struct, kw_only=True):
    """A module of PyTorch, or a node that ONNX Runtime ran: its time, its work, and the least time for that."""

    name: str
    kind: str  # the module's class, or the node's operator
    calls: NonNegative  # an inference
    time_ms: NonNegative
    mapped: bool  # whether it is known which operators it stands for, even if those are none
    ops: list[str]  # the operators of the model's graph that it stands for, those that compute or move something
    sources: list[str]  # of a node: the nodes of the given graph
    layers: list[str]  # of a node: paths of the modules that those came from, where the graph tells
    unknown_ops: list[str]  # of `ops`, those without a formula
    macs: Count
    flops_model: Count
    flops_all: Count
    bytes_min_layer: Count
    weight_bytes: Count  # of those
    precision: str | None  # whose peak bounds it; None where it multiplies nothing
    intensity_flops_per_byte: NonNegative | None  # flops_model over bytes_min_layer
    flops_per_s: NonNegative | None  # achieved
    bytes_per_s: NonNegative | None
    compute_ms: NonNegative | None  # what its products take at the peak; None without a ceiling or a formula
    memory_ms: NonNegative | None  # what its bytes take
    roof_ms: NonNegative | None  # the least time
    bound: Bound
    memory_level: str | None  # of which its bytes take the longest, where memory bounds it
    share_of_roof: NonNegative | None  # roof_ms over time_ms
    gap_ms: float | None  # time_ms - roof_ms: what there is to gain at the most
    reason: str | None = None  # why it lies above its roof


class Roofline(Struct, kw_only=True):
    """One model on one backend against the ceilings of the device.

    `measured_ms` is the model without an instrument; the layers' times and `rest_ms` sum to `profiled_ms`, and
    `roof_ms` is the sum of the layers' least times.
    """

    model: str
    batch_size: Positive
    shapes: dict[str, list[Count]]
    precision: str
    device: str
    backend: str
    threads: Count
    method: str  # how the layers' times were taken
    inferences: Positive
    measured_ms: NonNegative | None  # the median, in turn with profiled inferences; None where no round was done
    profiled_ms: NonNegative
    layers_ms: NonNegative
    rest_ms: float
    perturbation: Perturbation | None
    roof_ms: NonNegative
    share_of_roof: NonNegative | None  # roof_ms over measured_ms
    macs: Count
    flops_model: Count
    flops_all: Count
    bytes_min_model: Count
    bytes_min_layer: Count
    intensity_flops_per_byte: NonNegative | None  # flops_model over bytes_min_layer
    flops_per_s: NonNegative | None
    formula_share: Part | None  # of the time of layers that execute something, where all their operators have a formula
    mapped_share: Part | None  # of that, where it is known which operators they execute
    idle_share: Part | None  # of the layers' time, in those that execute nothing of the graph
    unknown_ops: dict[str, Part]  # operators without a formula, and the share of time of the layers they are in
    overhead_ms: NonNegative | None  # the quickest call of a layer that has nothing to do; None where there is none
    ceilings: Ceilings
    layers: list[RooflineLayer]  # in the order of their first calls
    not_told: list[str] = []


class Roof(Struct, kw_only=True):
    """A row of `run` against its roof: the least time that the measured ceilings allow the counted work."""

    roof_ms: AboveZero
    share_of_roof: NonNegative  # roof_ms over the median
    ceilings_utc: str  # when those were measured
    unknown_ops: list[str]  # whose work is not in it
