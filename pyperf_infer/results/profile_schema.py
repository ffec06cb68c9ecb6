# SPDX-License-Identifier: Apache-2.0
"""What `profile` found: part of the result document's schema, whose users import it from ``results.schema``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pyperf_infer.results.fields import (  # noqa: TC001  msgspec reads them
    AboveZero,
    Count,
    Interval,
    NonNegative,
    Part,
    Positive,
    Sha256,
)


class ProfileRow(Struct, kw_only=True):
    """A layer or a node. Times and counts are those of one inference: the mean over the profiled ones."""

    name: str  # a module's path ("layer1.0.conv1", "" for the model itself), or a node's name
    kind: str  # the module's class, or the node's operator
    calls: NonNegative  # an inference; not whole where control flow differs from call to call
    input_shapes: list[list[Count]]  # of the tensors of its first call
    output_shapes: list[list[Count]]
    time_ms: NonNegative | None  # its own: what its parts take is theirs
    share: Part | None  # of the table's whole_ms
    total_ms: NonNegative | None = None  # with its parts; None where it has none by its nature, as a node
    aliases: list[str] = []  # other paths of the same module
    parameters: Count | None = None  # its own, each tensor once a table
    output_bytes: NonNegative | None = None  # an inference
    peak_memory_bytes: Count | None = None  # the most that was allocated at once within it, above what was before
    provider: str | None = None  # ONNX Runtime's, of a node
    device_time_ms: NonNegative | None = None  # of the kernels it started, on a GPU
    sources: list[str] = []  # of a node after fusion: the nodes of the given graph that it stands for
    layers: list[str] = []  # paths of the modules that those came from, where the graph tells


class Perturbation(Struct, kw_only=True):
    """What the instrument itself costs: the whole model with it against the whole model without, in turn."""

    plain_ms: NonNegative
    instrumented_ms: NonNegative
    ratio: AboveZero  # instrumented / plain: the median of the rounds' ratios
    interval: Interval | None
    rounds: Count


class ProfileTable(Struct, kw_only=True):
    """One view of where an inference goes. The rows' times and `rest_ms` sum to `whole_ms`."""

    name: Literal["torch layers", "onnxruntime nodes", "memory", "python"]
    backend: str
    method: str  # how the times were taken, in a sentence
    inferences: Positive  # that the times are means over
    rows: list[ProfileRow]
    whole_ms: NonNegative  # of an instrumented inference
    rest_ms: float  # of it outside of every row; a sum of rows above the whole shows as a negative rest
    perturbation: Perturbation | None  # None only with a `not_told`
    mapped_share: Part | None = None  # of the nodes' time, what could be traced to source nodes
    not_told: list[str] = []  # what this table could not find out, and why


class ProfileFile(Struct, kw_only=True):
    """A file of the profile's folder."""

    name: str  # relative to the folder
    what: str
    sha256: Sha256


class Profile(Struct, kw_only=True):
    """One model on one backend, taken apart."""

    model: str
    batch_size: Positive
    shapes: dict[str, list[Count]]
    precision: str
    device: str
    backend: str
    threads: Count
    parameters: Count
    tables: list[ProfileTable]
    files: list[ProfileFile]
    peak_memory_bytes: Count | None  # of one inference, above what was allocated before it
    memory_method: str | None
