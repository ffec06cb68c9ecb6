# SPDX-License-Identifier: Apache-2.0
"""The graph as ONNX Runtime has it at each of its optimisation levels, and the way back from the last to the first."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.backends.session import open_session
from pyperf_infer.errors import PyperfInferError
from pyperf_infer.profile.graph_matching import names_of
from pyperf_infer.profile.graph_sources import Sources, find_sources
from pyperf_infer.profile.onnxruntime_graph import Graph, read_graph

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions

LEVELS = ("disabled", "basic", "extended", "layout", "all")
# Weights go to a file of their own, so that the graph is small to read.
_SAVING = {
    "session.optimized_model_external_initializers_file_name": "weights.bin",
    "session.optimized_model_external_initializers_min_size_in_bytes": "64",
}
_NOTHING_RUNS = {"session.disable_prepacking": "1"}


class Levels:
    """The given graph and those of the levels below the one in use.

    A level that cannot be saved is left out, and the next one traced to the one before it: an older ONNX Runtime has no
    "layout", and some graphs do not load without optimisation.

    The graph in use comes from the session that is profiled (`saving`): names that ONNX Runtime makes up are numbered
    anew in every session.
    """

    def __init__(self, model: Path, options: BackendOptions, provider: str) -> None:
        self.missing: str | None = None  # why there is no tracing at all
        self._graphs: list[Graph] = []
        try:
            self._graphs.append(read_graph(model))
        except Exception as error:  # onnx's own, of many kinds: the file was ONNX Runtime's to judge
            self.missing = f"the file cannot be read again: {first_line(error)}"
            return
        with tempfile.TemporaryDirectory(prefix="pyperf-infer-") as folder:
            for level in LEVELS[: LEVELS.index(options.opt_level)]:
                try:
                    lower = replace(saving(options), opt_level=level)
                    lower = replace(lower, session_options={**lower.session_options, **_NOTHING_RUNS})
                    path = Path(folder) / "graph.onnx"
                    open_session(model, lower, provider, optimized_path=str(path))
                    self._graphs.append(take_graph(path))
                except Exception:  # noqa: S112  the way back is one step shorter
                    continue

    def trace(self, final: Graph) -> Sources:
        """From the graph of a profiled session to the given one."""
        if self.missing is not None:
            return Sources()
        return chain([*self._graphs, final])


def saving(options: BackendOptions) -> BackendOptions:
    """The same for a session that saves its graph."""
    return replace(options, session_options={**options.session_options, **_SAVING})


def take_graph(path: Path) -> Graph:
    """Reads the graph that a session has saved, and removes it with its weights."""
    try:
        return read_graph(path)
    finally:
        for file in (path, path.with_name("weights.bin")):
            file.unlink(missing_ok=True)


def chain(graphs: Sequence[Graph]) -> Sources:
    """From the last of at least two graphs to the first."""
    names = names_of(graphs[0])
    steps = [find_sources(new, old, names) for old, new in itertools.pairwise(graphs)]
    whole = steps[0]
    for step in steps[1:]:
        whole = step.after(whole)
    return whole


def first_line(error: Exception) -> str:
    """What an error says, in a line; its class too, where it is none of ours."""
    text = str(error).strip()
    kind = "" if isinstance(error, PyperfInferError) else f"{type(error).__name__}: "
    return kind + (text.splitlines()[0] if text else "no reason given")
