# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's own profile, read: which node ran when in which inference, and how long without what ran inside it.

The file is a Chrome trace. A node's event stands in it where the node ended, so that what ran inside of a Loop or an If
comes before that, and an inference ends with its ``model_run``. Times are whole microseconds, rounded down.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from pyperf_infer.errors import MeasurementError

# What ONNX Runtime records at most in a session; it leaves out what comes later.
MOST_EVENTS = 1_000_000
_KERNEL = "_kernel_time"
_RUN = "model_run"
_NAME = re.compile(rb'("name"\s*:\s*")(.*)("\s*,\s*"args"\s*:\s*\{)', re.DOTALL)


class Event(msgspec.Struct):
    """A line of the profile: `ts` its begin and `dur` its length in microseconds since the profile's begin."""

    cat: str
    name: str
    ts: int
    dur: int
    tid: int = 0
    args: dict[str, Any] = {}


@dataclass(frozen=True)
class NodeRun:
    """A node that ran once. `own_us` is without the nodes inside of it, of which it has `parts`."""

    event: Event
    own_us: int
    parts: int

    @property
    def name(self) -> str:
        return self.event.name.removesuffix(_KERNEL)

    @property
    def op(self) -> str:
        return str(self.event.args.get("op_name", ""))

    @property
    def provider(self) -> str:
        return str(self.event.args.get("provider", ""))

    @property
    def key(self) -> tuple[object, ...]:
        """Tells the nodes of a session apart: by their number too, as names may be empty."""
        return self.name, self.event.args.get("node_index"), self.op, self.provider


@dataclass(frozen=True)
class Inference:
    """One call of the model: the nodes in the order in which they began."""

    run: Event
    nodes: Sequence[NodeRun]


@dataclass
class NodeTotal:
    """A node over many inferences."""

    name: str
    op: str
    provider: str
    calls: int = 0
    own_us: int = 0
    total_us: int = 0
    has_parts: bool = False
    output_bytes: int | None = 0
    device_ns: int = 0
    input_shapes: list[list[int]] = field(default_factory=list)
    output_shapes: list[list[int]] = field(default_factory=list)

    def add(self, other: NodeTotal) -> None:
        """What the same node took in another session."""
        self.calls += other.calls
        self.own_us += other.own_us
        self.total_us += other.total_us
        self.device_ns += other.device_ns
        self.has_parts |= other.has_parts
        if self.output_bytes is None or other.output_bytes is None:
            self.output_bytes = None
        else:
            self.output_bytes += other.output_bytes


class Profile(NamedTuple):
    """What a file holds. `whole`: it is JSON as it stands; else `unreadable` lines are missing here."""

    events: list[Event]
    whole: bool
    unreadable: int


def read_events(data: bytes) -> Profile:
    """The events of a profile.

    Versions that do not escape a node's name write lines that are no JSON: there the name is escaped here.

    Raises:
        MeasurementError: no line can be read.
    """
    try:
        return Profile(msgspec.json.decode(data, type=list[Event]), True, 0)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    events: list[Event] = []
    unreadable = 0
    for line in re.split(rb",?\r?\n(?=\{\"cat\"|\]\s*$)", data.strip().removeprefix(b"[").strip()):
        text = line.strip().rstrip(b",")
        if text in (b"", b"]"):
            continue
        try:
            events.append(msgspec.json.decode(_NAME.sub(_escaped, text, count=1), type=Event))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            unreadable += 1
    if not events:
        raise MeasurementError("ONNX Runtime wrote a profile that is no JSON; another version of onnxruntime may do it")
    return Profile(events, False, unreadable)


def _escaped(found: re.Match[bytes]) -> bytes:
    try:
        msgspec.json.decode(b'"' + found[2] + b'"')
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return found[1] + msgspec.json.encode(found[2].decode("utf-8", errors="replace"))[1:-1] + found[3]
    return found[0]


def inferences(events: Iterable[Event]) -> tuple[list[Inference], int]:
    """The complete inferences in order, and the number of events of one that the profile has no end of."""
    complete: list[Inference] = []
    pending: list[Event] = []
    for event in events:
        if event.cat == "Node" and event.name.endswith(_KERNEL):
            pending.append(event)
        elif event.cat == "Session" and event.name == _RUN:
            complete.append(Inference(event, _nested(pending)))
            pending = []
    return complete, len(pending)


def _nested(events: Sequence[Event]) -> list[NodeRun]:
    """Takes from each node's time what ran inside of it, on the same thread.

    What ended before and began no earlier ran inside. A node before it that began within the same microsecond looks so
    too: that one took less than a microsecond, which counts as 0.
    """
    done: list[tuple[NodeRun, int]] = []
    open_by_thread: dict[int, list[Event]] = {}
    for order, event in enumerate(events):
        before = open_by_thread.setdefault(event.tid, [])
        inside_us = parts = 0
        while before and before[-1].ts >= event.ts:
            part = before.pop()
            inside_us += part.dur
            parts += part.dur > 0 or part.ts > event.ts
        before.append(event)
        done.append((NodeRun(event, max(0, event.dur - inside_us), parts), order))
    # By begin; of two in one microsecond the longer holds the other, or both stand as they ended.
    done.sort(key=lambda one: (one[0].event.ts, -one[0].event.dur if one[0].parts else 0, one[1]))
    return [run for run, _ in done]


class NodeTotals:
    """Sums over the inferences of a session, node by node, in the order in which the nodes first began."""

    def __init__(self) -> None:
        self.inferences = 0
        self.whole_us = 0
        self._found: dict[tuple[object, ...], NodeTotal] = {}

    @property
    def nodes(self) -> list[NodeTotal]:
        return list(self._found.values())

    @classmethod
    def of_nodes(cls, runs: Iterable[Inference]) -> NodeTotals:
        """The nodes of a session without what they took."""
        totals = cls()
        for run in runs:
            for node in run.nodes:
                totals._found.setdefault(node.key, NodeTotal(node.name, node.op, node.provider))
        return totals

    def put_on_device(self, device_ns: Mapping[tuple[object, ...], int]) -> None:
        """Adds the kernels' time of nodes, by their keys."""
        for key, ns in device_ns.items():
            self._found[key].device_ns += ns

    def add(self, inference: Inference) -> None:
        self.inferences += 1
        self.whole_us += inference.run.dur
        for node in inference.nodes:
            arguments = node.event.args
            total = self._found.get(node.key)
            if total is None:
                total = self._found[node.key] = NodeTotal(node.name, node.op, node.provider)
                total.input_shapes = _shapes(arguments.get("input_type_shape"))
                total.output_shapes = _shapes(arguments.get("output_type_shape"))
            total.calls += 1
            total.own_us += node.own_us
            total.total_us += node.event.dur
            total.has_parts |= node.parts > 0
            written = _number(arguments.get("output_size"))
            if written is None or total.output_bytes is None:
                total.output_bytes = None
            else:
                total.output_bytes += written


def arena_peak_bytes(first: Inference) -> int | None:
    """The most that the arena held for an inference above what it held before; None where the profile does not tell.

    `first` is a session's first inference: later ones take their memory in one block, planned from the first. A node's
    own scratch memory shows where the arena's high-water mark rose.
    """
    runs = sorted(first.nodes, key=lambda run: run.event.ts + run.event.dur)
    amounts = [
        tuple(_number(run.event.args.get(key)) for key in ("mem_bytes_in_use", "mem_in_use_peak", "mem_in_use_delta"))
        for run in runs
    ]
    if not amounts or any(None in one for one in amounts) or len({run.provider for run in runs}) > 1:
        return None
    known = [(used or 0, mark or 0, delta or 0) for used, mark, delta in amounts]
    before = known[0][0] - known[0][2]
    most = max(used for used, _, _ in known)
    if known[-1][1] > known[0][1]:  # the mark rose in this inference, so that it is this inference's
        most = max(most, known[-1][1])
    return max(0, most - before)


def _shapes(described: object) -> list[list[int]]:
    """From [{"float": [1, 3]}, ...]; anything else is left out."""
    if not isinstance(described, list):
        return []
    return [
        [size for size in shape if isinstance(size, int) and size >= 0]
        for one in described
        if isinstance(one, dict)
        for shape in one.values()
        if isinstance(shape, list)
    ]


def _number(text: object) -> int | None:
    try:
        return int(str(text))
    except ValueError:
        return None
