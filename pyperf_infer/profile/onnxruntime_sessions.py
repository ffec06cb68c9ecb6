# SPDX-License-Identifier: Apache-2.0
"""Sessions that ONNX Runtime profiles, each with the graph that it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyperf_infer.backends.prepared_session import cast_inputs
from pyperf_infer.backends.session import open_session
from pyperf_infer.profile.onnxruntime_levels import first_line, saving, take_graph

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.ort_session import OnnxSession
    from pyperf_infer.profile.onnxruntime_graph import Graph


class Session:
    """A session whose runs are profiled. `graph` is what it runs, None where that is not known."""

    def __init__(self, session: OnnxSession, inputs: Mapping[str, Array], graph: Graph | None) -> None:
        self._session, self._inputs = session, inputs
        self.graph = graph

    @property
    def target(self) -> _core.Target:
        return self._session.target

    def bind(self) -> None:
        """Puts the inputs in place, which runs the model."""
        self._session.bind(cast_inputs(self._inputs, self._session))

    def end_profiling(self) -> Path:
        """Writes the profile and tells where."""
        return self._session.end_profiling()


class Sessions:
    """Opens sessions of one model with the same inputs; their profiles go to `folder`."""

    def __init__(
        self, model: Path, options: BackendOptions, provider: str, inputs: Mapping[str, Array], folder: Path
    ) -> None:
        self.model = model
        self._options, self._provider, self._inputs, self._folder = options, provider, inputs, folder
        self.no_graph: str | None = None  # why the sessions' graphs are not known

    def load(self) -> Session:
        """One without its graph, whose inputs are still to be bound."""
        session = open_session(self.model, self._options, self._provider, profile_prefix=self._prefix)
        return Session(session, self._inputs, None)

    def open(self) -> Session:
        """One with its graph, and its inputs bound."""
        session = self.load() if self.no_graph else self._load_and_save()
        session.bind()
        return session

    def _load_and_save(self) -> Session:
        """What a provider has compiled (TensorRT's engines) cannot be saved, and is profiled without its graph."""
        path = self._folder / "graph.onnx"
        try:
            session = open_session(
                self.model,
                saving(self._options),
                self._provider,
                profile_prefix=self._prefix,
                optimized_path=str(path),
            )
            return Session(session, self._inputs, take_graph(path))
        except Exception as error:
            self.no_graph = f"ONNX Runtime does not save the graph that it runs: {first_line(error)}"
            return self.load()

    @property
    def _prefix(self) -> str:
        return str(self._folder / "profile")
