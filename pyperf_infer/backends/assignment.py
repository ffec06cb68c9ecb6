# SPDX-License-Identifier: Apache-2.0
"""Which execution provider runs which node, and whether that is what was asked for."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pyperf_infer.backends.session import open_session
from pyperf_infer.backends.shape_nodes import shape_node_names
from pyperf_infer.errors import BackendError
from pyperf_infer.ort_device import CUDA_PROVIDER
from pyperf_infer.ort_session import CPU_PROVIDER, AssignedNode, OnnxSession
from pyperf_infer.results.schema import NodeAssignment, ProviderNodes

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions

_MEMCPY = ("MemcpyToHost", "MemcpyFromHost")
_MOST_NAMED = 8
# What ONNX Runtime warns of for its CUDA provider, once a graph, when it has put copies in.
_COPIES_LOGGED = re.compile(r"(\d+) Memcpy nodes are added to the graph .* for CUDAExecutionProvider")


@dataclass(frozen=True)
class Assignment:
    """Nodes and their providers. Before fusion: as the graph was divided. After: as the kernels ran.

    `memcpy_nodes` counts the copies between the host's memory and a GPU's that every run makes; None where ONNX Runtime
    does not tell.
    """

    stage: Literal["before fusion", "after fusion"]
    nodes: tuple[AssignedNode, ...]
    memcpy_nodes: int | None = 0

    def summary(self) -> NodeAssignment:
        """Nodes per provider, the one with the most first."""
        counts = Counter(node.provider for node in self.nodes)
        return NodeAssignment(
            stage=self.stage,
            nodes=[
                ProviderNodes(
                    provider=provider,
                    count=count,
                    op_types=sorted({node.op_type for node in self.nodes if node.provider == provider}),
                )
                for provider, count in counts.most_common()
            ],
        )


def assignment_of(
    session: OnnxSession, model: Path, options: BackendOptions, provider: str, inputs: Mapping[str, Array]
) -> Assignment:
    """What the session says itself (ONNX Runtime 1.24 and later), else what the profile of a second session shows.

    Copies are put in after the graph is divided, so that they are in no such list; the CUDA provider logs their number.
    """
    if session.tells_assignment:
        on_gpu = session.stream is not None
        copies = copies_logged(session.log) if provider == CUDA_PROVIDER or not on_gpu else None
        return Assignment("before fusion", session.assigned_nodes(), copies)
    with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
        prefix = str(Path(folder) / "profile")
        second = open_session(model, options, provider, library=session.library, profile_prefix=prefix)
        second.bind(inputs)
        nodes = nodes_of_profile(second.end_profiling().read_text())
        return Assignment("after fusion", nodes, sum(node.op_type in _MEMCPY for node in nodes))


def copies_logged(log: Sequence[str]) -> int:
    """Copies between the host's memory and a GPU's, from what ONNX Runtime logged while it loaded a model."""
    return sum(int(found[1]) for line in log if (found := _COPIES_LOGGED.search(line)))


def nodes_of_profile(text: str) -> tuple[AssignedNode, ...]:
    """The nodes that an ONNX Runtime profile (Chrome trace JSON) shows, each once, in the order they first ran."""
    nodes: dict[str, AssignedNode] = {}
    for event in json.loads(text):
        details = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            nodes.setdefault(name, AssignedNode(details.get("provider", ""), details.get("op_name", ""), name))
    return tuple(nodes.values())


def check_assignment(assignment: Assignment, model: Path, provider: str, *, allow: bool) -> int:
    """The number of nodes off the asked provider that only compute shapes, which is as it should be.

    Raises:
        BackendError: another node runs off the asked provider, or tensors are copied between devices, and `allow`
            (--allow-cpu-fallback) is not set.
    """
    if not assignment.nodes and provider != CPU_PROVIDER and not allow:
        raise BackendError(f"ONNX Runtime does not tell which nodes run on {provider}; --allow-cpu-fallback times it.")
    elsewhere = [node for node in assignment.nodes if node.provider != provider and node.op_type not in _MEMCPY]
    copies = [node for node in assignment.nodes if node.op_type in _MEMCPY]
    unnamed = (assignment.memcpy_nodes or 0) - len(copies)
    if not elsewhere and not copies and unnamed <= 0:
        return 0
    shapes = shape_node_names(model)
    fallen = [node for node in elsewhere if node.provider != CPU_PROVIDER or node.name not in shapes]
    if not allow:
        if fallen or copies:
            raise BackendError(_explain(assignment, provider, [*fallen, *copies]))
        if unnamed > 0:
            tensors = "1 tensor" if unnamed == 1 else f"{unnamed} tensors"
            raise BackendError(
                f"every run copies {tensors} between the host's memory and the GPU's (Memcpy nodes), inside of what is "
                "timed. --allow-cpu-fallback times it all the same."
            )
    return len(elsewhere) - len(fallen)


def _explain(assignment: Assignment, provider: str, offending: Sequence[AssignedNode]) -> str:
    named = ", ".join(f"{node.op_type} '{node.name}' ({node.provider})" for node in offending[:_MOST_NAMED])
    more = f" and {len(offending) - _MOST_NAMED} more" if len(offending) > _MOST_NAMED else ""
    counts = ", ".join(f"{row.count} on {row.provider}" for row in assignment.summary().nodes)
    what = "1 node does not run" if len(offending) == 1 else f"{len(offending)} nodes do not run"
    return (
        f"{what} on {provider}: {named}{more}. Nodes {assignment.stage}: {counts}. "
        "--allow-cpu-fallback times it all the same."
    )
