# SPDX-License-Identifier: Apache-2.0
"""What a run is: the result document, version 1. docs/results.md explains every field.

A quantity's name ends in its unit; ``None`` (JSON ``null``) means "not known" or "does not apply", never zero. Structs
check their types when a document is read (and once more when one is written), and what ties two fields together
whenever one is made. Fields a reader does not know are ignored, so that an older reader copes with a newer minor
addition; a change that would mislead it raises ``SCHEMA_VERSION`` instead.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from pyperf_infer.results import (
    ceilings_schema,
    comparison_schema,
    gpu_schema,
    overhead_schema,
    processes_schema,
    profile_schema,
    roofline_schema,
    selftest_schema,
    steady_schema,
    stored_schema,
    timing_schema,
)
from pyperf_infer.results.fields import (  # noqa: TC001  msgspec reads them
    AboveZero,
    Count,
    NonNegative,
    Positive,
    Quantity,
    Sha256,
    UtcTime,
)

SCHEMA_VERSION = 1
TOOL: Final = "pyperf-infer"

Setting = str | int | float | bool | None

Ceilings = ceilings_schema.Ceilings
Comparison = comparison_schema.Comparison
ComputeCeiling = ceilings_schema.ComputeCeiling
Gate = stored_schema.Gate
Gpu = gpu_schema.Gpu
GpuActivity = gpu_schema.GpuActivity
GpuMethod = gpu_schema.GpuMethod
GpuProcess = gpu_schema.GpuProcess
Integrity = gpu_schema.Integrity
Overhead = overhead_schema.Overhead
OverheadPath = overhead_schema.OverheadPath
MemoryCeiling = ceilings_schema.MemoryCeiling
MemoryLevel = ceilings_schema.MemoryLevel
Outliers = timing_schema.Outliers
Percentile = timing_schema.Percentile
Perturbation = profile_schema.Perturbation
Processes = processes_schema.Processes
ProcessRun = processes_schema.ProcessRun
Profile = profile_schema.Profile
ProfileFile = profile_schema.ProfileFile
ProfileRow = profile_schema.ProfileRow
ProfileTable = profile_schema.ProfileTable
QuantityBlock = timing_schema.QuantityBlock
Roof = roofline_schema.Roof
Roofline = roofline_schema.Roofline
RooflineLayer = roofline_schema.RooflineLayer
SelfTest = selftest_schema.SelfTest
SelfTestComparisons = selftest_schema.SelfTestComparisons
SelfTestCoverage = selftest_schema.SelfTestCoverage
SelfTestFloor = selftest_schema.SelfTestFloor
SelfTestJudgement = selftest_schema.SelfTestJudgement
SelfTestPrecision = selftest_schema.SelfTestPrecision
SelfTestTimer = selftest_schema.SelfTestTimer
Side = comparison_schema.Side
Steady = steady_schema.Steady
Stop = timing_schema.Stop
StoredComparison = stored_schema.StoredComparison
StoredDifference = stored_schema.StoredDifference
StoredField = stored_schema.StoredField
StoredFigure = stored_schema.StoredFigure
StoredFile = stored_schema.StoredFile
StoredLeftOver = stored_schema.StoredLeftOver
StoredMember = stored_schema.StoredMember
StoredRow = stored_schema.StoredRow
StoredSide = stored_schema.StoredSide
Warmup = timing_schema.Warmup


def utc_now() -> UtcTime:
    """This moment as ``created_utc`` wants it: ISO 8601 in UTC, to the second, ending in Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Warning(Struct, kw_only=True):  # noqa: A001  the schema's own word; nothing here warns the Python way
    """Something that makes a number worth less, and what to do about it."""

    code: str
    message: str
    remedy: str


class Failure(Struct, kw_only=True):
    """Why a row has no numbers."""

    kind: str
    message: str
    exit_code: int


class Phase(Struct, kw_only=True):
    """Wall time that one step of the command took."""

    name: str
    seconds: NonNegative


class Cache(Struct, kw_only=True):
    """One level of the processor's cache, as the first CPU of the affinity mask sees it."""

    level: Positive
    kind: Literal["data", "instruction", "unified"]
    size_bytes: Positive
    shared_by_cpus: Positive | None = None


class Environment(Struct, kw_only=True):
    """The machine and the software, once a document. ``None`` where the system does not tell."""

    cpu_model: str | None
    architecture: str
    physical_cores: Positive | None
    logical_cores: Positive
    affinity: list[Count]  # the CPUs this process may run on
    caches: list[Cache]
    governor: str | None  # cpufreq's scaling governor
    frequency_mhz: NonNegative | None
    frequency_min_mhz: NonNegative | None
    frequency_max_mhz: NonNegative | None
    memory_total_bytes: Positive
    memory_limit_bytes: Count | None  # the control group's; None without one
    cpu_limit_cores: AboveZero | None  # the control group's quota in cores; None without one
    os: str
    kernel: str
    virtualised: bool | None
    hypervisor: str | None
    python: str
    libraries: dict[str, str]  # distribution name -> version
    gpus: list[Gpu] = []


class Weights(Struct, kw_only=True):
    """Where the parameters came from."""

    source: str
    seed: int | None
    sha256: Sha256  # of the tensors' names, types, shapes and bytes, or of the file


class Subject(Struct, kw_only=True):
    """What was timed."""

    model: str
    source: str
    weights: Weights | None  # None where the model could not be loaded
    parameters: Count | None
    batch_size: Positive
    requested_batch_size: Positive  # differs from batch_size where the asked batch did not fit in memory
    shapes: dict[str, list[Count]]
    precision: str


class ProviderNodes(Struct, kw_only=True):
    """Nodes of the graph that one execution provider runs."""

    provider: str
    count: Count
    op_types: list[str]


class NodeAssignment(Struct, kw_only=True):
    """Which provider runs which nodes, and whether that was read before or after ONNX Runtime fused nodes."""

    stage: Literal["before fusion", "after fusion"]
    nodes: list[ProviderNodes]


class Method(Struct, kw_only=True):
    """How it was timed. Two results compare only where their methods match."""

    backend: str
    provider: str | None
    device: str
    mode: str
    clock: str
    timer_overhead_ns: NonNegative | None
    clock_step_ns: NonNegative | None
    seed: int
    threads: Count
    inter_op_threads: Count | None
    loop: str
    settings: dict[str, Setting]
    warmup: Warmup | None = None  # None where it failed before
    stop: Stop | None = None
    measured_duration_s: NonNegative | None = None
    providers: NodeAssignment | None = None
    gpu: GpuMethod | None = None  # None where no GPU took part


class Summary(Struct, kw_only=True):
    """The numbers a user reads. Everything is ``None`` in a failed row."""

    latency: QuantityBlock | None = None
    period: QuantityBlock | None = None  # between two completions; stands in place of latency in mode throughput
    submit: QuantityBlock | None = None  # None where handing the work over is the whole call: synchronous
    gpu: QuantityBlock | None = None  # between two events around the work, on its stream
    h2d: QuantityBlock | None = None  # transfers to the device and back, only where they are included
    d2h: QuantityBlock | None = None
    throughput_per_s: NonNegative | None = None  # items (batch x calls) over wall time
    session_create_s: NonNegative | None = None
    first_inference_ms: NonNegative | None = None
    first_inference_warm: bool = False  # the model had run before, while it was loaded
    export_s: NonNegative | None = None
    compile_s: NonNegative | None = None  # None where nothing was compiled, or an earlier run had
    graph_breaks: Count | None = None  # None where the backend does not trace
    graph_break_reasons: list[str] = []
    peak_memory_bytes: Count | None = None
    memory_increase_bytes: int | None = None
    memory_method: str | None = None
    batched_ns_per_call: NonNegative | None = None
    launch_bound: bool | None = None  # None where it is withheld, and where no GPU took part
    launch_bound_evidence: str | None = None  # the numbers behind it, or why it is withheld
    gpu_busy_ms: NonNegative | None = None  # a call, from a profiler's pass of its own
    gpu_busy_method: str | None = None
    device_peak_memory_bytes: Count | None = None
    device_memory_increase_bytes: int | None = None
    device_memory_method: str | None = None

    def __post_init__(self) -> None:
        if self.launch_bound is not None and self.launch_bound_evidence is None:
            raise ValueError("launch_bound needs its evidence in launch_bound_evidence")

    @property
    def timing(self) -> QuantityBlock | None:
        """What the mode judges: the latency, the period in mode throughput, the gpu span in mode cold on a GPU."""
        return self.latency or self.period or self.gpu


class SampleData(Struct, kw_only=True):
    """The samples themselves: in the document, or in a ``.npy`` file beside it."""

    count: Positive
    unit: Literal["ns"] = "ns"
    quantity: Quantity = "latency"  # what latency_ns, or the file's first column, holds: latency, period or gpu
    latency_ns: list[Count] | None = None
    more_ns: dict[Quantity, list[Count]] = {}  # the same samples' other quantities, where they stand in the document
    file: str | None = None
    columns: list[Quantity] | None = None  # the file's, where it has more than one: an array of (count, columns)
    sha256: Sha256 | None = None  # of the side file's bytes

    def __post_init__(self) -> None:
        if (self.latency_ns is None) == (self.file is None):
            raise ValueError("samples stand either in latency_ns or in a file, and in one of them only")
        if self.file is not None:
            self._check_file()
            return
        if self.columns is not None:
            raise ValueError("columns are a file's, and there is none")
        if self.quantity in self.more_ns:
            raise ValueError(f"more_ns holds {self.quantity}, which latency_ns holds already")
        for name, values in [("latency_ns", self.latency_ns or []), *self.more_ns.items()]:
            if len(values) != self.count:
                raise ValueError(f"count is {self.count}, but {name} holds {len(values)}")

    def _check_file(self) -> None:
        if self.sha256 is None:
            raise ValueError("a samples file needs its sha256")
        if self.more_ns:
            raise ValueError("samples that stand in a file have no more_ns beside it")
        names = self.columns
        if names is not None and (len(names) < 2 or names[0] != self.quantity or len(set(names)) < len(names)):
            raise ValueError(f"columns must be two or more names, {self.quantity} first and each once, not {names}")


class Activity(Struct, kw_only=True):
    """What the system did between the first and the last sample. ``None`` where the system does not tell."""

    wall_ns: Count
    user_cpu_ns: Count
    system_cpu_ns: Count
    steal_ns: Count | None
    throttled_ns: Count | None
    throttled_periods: Count | None
    voluntary_switches: Count
    involuntary_switches: Count
    minor_faults: Count
    major_faults: Count
    other_cpu_ns: Count | None  # CPU time that others on the machine used
    frequency_mhz_min: NonNegative | None
    frequency_mhz_max: NonNegative | None
    cpus: Positive


class OutputParity(Struct, kw_only=True):
    """One output of two backends, compared. ``None`` where a number is not finite or not defined."""

    name: str
    largest_difference: NonNegative | None
    movement: NonNegative | None  # largest change of the reference output between two inputs
    relative: NonNegative | None  # largest_difference / movement
    status: Literal["equal", "different", "not checked", "invalid"]


class Parity(Struct, kw_only=True):
    """Whether this backend's outputs agree with the reference's."""

    status: Literal["equal", "different", "not checked", "invalid"]
    reference: str
    other: str
    outputs: list[OutputParity]
    rtol: NonNegative
    atol: NonNegative
    reason: str | None = None


class Result(Struct, kw_only=True):
    """One model x batch x precision x backend."""

    subject: Subject
    method: Method
    summary: Summary
    samples: SampleData | None = None
    activity: Activity | None = None  # None where it failed before the measuring began
    parity: Parity | None = None
    gpu_activity: GpuActivity | None = None  # None where no GPU took part
    integrity: Integrity | None = None  # None where no GPU took part
    steady: Steady | None = None  # None where it failed, and in older documents
    processes: Processes | None = None  # None where one process measured it
    side: Side | None = None  # None without --vs
    roof: Roof | None = None  # None where no ceilings were measured before, or the work cannot be counted
    warnings: list[Warning] = []
    error: Failure | None = None


class Document(Struct, kw_only=True):
    """Everything one command found out."""

    tool_version: str
    command: list[str]
    created_utc: UtcTime
    status: Literal["complete", "interrupted", "failed"]
    environment: Environment
    results: list[Result]
    comparisons: list[Comparison] = []
    overheads: list[Overhead] = []
    profiles: list[Profile] = []
    rooflines: list[Roofline] = []
    ceilings: list[Ceilings] = []
    stored: list[StoredComparison] = []
    selftest: SelfTest | None = None  # None but for `selftest`
    gate: Gate | None = None  # None without --fail-if-slower
    warnings: list[Warning] = []
    phases: list[Phase] = []
    schema_version: Positive = SCHEMA_VERSION
    tool: Literal["pyperf-infer"] = TOOL
