# SPDX-License-Identifier: Apache-2.0
"""A model in ONNX Runtime, ready to be timed: one session, or on a GPU one on each stream."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyperf_infer.backends.assignment import Assignment, assignment_of, check_assignment
from pyperf_infer.backends.base import Array, BackendOptions, Facts
from pyperf_infer.backends.casts import casts_of
from pyperf_infer.backends.replay_check import check_replay, other_values
from pyperf_infer.backends.session import open_session
from pyperf_infer.errors import InputError
from pyperf_infer.ort_device import CUDA_PROVIDER
from pyperf_infer.ort_session import several_streams

if TYPE_CHECKING:
    from pyperf_infer import _core
    from pyperf_infer.ort_session import OnnxSession
    from pyperf_infer.results.schema import Setting

_FLOATS = ("float16", "bfloat16", "float32", "float64")


class OnnxFile:
    """What is loaded, and what is known of how it was made. `types`: numpy's names of the floating ones in it."""

    def __init__(
        self, path: Path, settings: Mapping[str, Setting], types: frozenset[str] = frozenset({"float32"})
    ) -> None:
        self.path = path
        self.settings = settings
        self.types = types


class PreparedSession:
    """Sessions with their bound inputs and outputs; more than one only in mode throughput."""

    def __init__(
        self,
        backend: str,
        file: OnnxFile,
        provider: str,
        options: BackendOptions,
        inputs: Mapping[str, Array],
        *,
        cuda_graph: bool = False,
    ) -> None:
        self._sessions: list[OnnxSession] = []
        plain = _outputs_without_graph(file, provider, options, inputs) if cuda_graph else None
        for _ in range(options.streams):
            self._sessions.append(open_session(file.path, options, provider, cuda_graph=cuda_graph))
            self._sessions[-1].bind(cast_inputs(inputs, self._sessions[-1]))
        session = self._sessions[0]
        assignment = assignment_of(session, file.path, options, provider, cast_inputs(inputs, session))
        shape_nodes = check_assignment(assignment, file.path, provider, allow=options.allow_cpu_fallback)
        settings: dict[str, Setting] = {
            "onnxruntime": session.version,
            "opt_level": options.opt_level,
            "execution_mode": options.execution_mode,
            "allow_cpu_fallback": options.allow_cpu_fallback,
            "shape_nodes_on_cpu": shape_nodes,
            "outputs_made_anew": ", ".join(session.unbound_outputs) or None,
            "channels_last": "not applicable: the layout is ONNX Runtime's own" if options.channels_last else False,
            **file.settings,
            **{f"session:{key}": value for key, value in options.session_options.items()},
            **{f"provider:{key}": value for key, value in options.provider_options.items()},
        }
        if "float16" in file.types and session.stream is None:
            casts = casts_of(session, file.path, options, provider, cast_inputs(inputs, session))
            settings["casts"] = None if casts is None else str(casts)
        if session.stream is not None:
            settings |= _gpu_settings(session, options, provider, assignment, cuda_graph=cuda_graph)
        if plain is not None:
            first = cast_inputs(inputs, session)
            for one in self._sessions:
                settings["replay_check"] = check_replay(one, plain, (first, other_values(first)))
        self.facts = Facts(
            backend=backend,
            provider=provider,
            loop="native",
            settings=settings,
            load_s=session.create_ns / 1e9,
            first_inference_ms=session.first_run_ns / 1e6,
            first_inference_warm=plain is not None,  # the session without a graph has loaded what is loaded once
            providers=assignment.summary(),
            log=session.log,
        )
        self._joint: _core.Target | None = None  # over all sessions, where there are several

    @property
    def target(self) -> _core.Target:
        if len(self._open) == 1:
            return self._open[0].target
        if self._joint is None:
            self._joint = several_streams(self._open)
        return self._joint

    def bind(self, inputs: Mapping[str, Array]) -> None:
        for session in self._open:
            session.bind(cast_inputs(inputs, session))

    def outputs(self) -> dict[str, Array]:
        return self._open[0].run()

    def measuring(self) -> AbstractContextManager[object]:
        return nullcontext()

    def close(self) -> None:
        self._joint = None
        self._sessions = []  # the last references: threads, arenas and the GPU's memory go with them

    @property
    def _open(self) -> list[OnnxSession]:
        if not self._sessions:
            raise InputError("this session is closed")
        return self._sessions


def _outputs_without_graph(
    file: OnnxFile, provider: str, options: BackendOptions, inputs: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """What a session that captures nothing computes from the inputs, and from others; it is gone afterwards."""
    session = open_session(file.path, options, provider)
    first = cast_inputs(inputs, session)
    return session.run(first), session.run(other_values(first))


def cast_inputs(inputs: Mapping[str, Array], session: OnnxSession) -> dict[str, Array]:
    """The inputs with floats in the types that the session takes: for every export they are drawn in float32."""
    wanted = {info.name: info.dtype for info in session.inputs}
    return {
        name: array.astype(_dtype_named(wanted[name]))
        if array.dtype.name in _FLOATS and wanted.get(name) in _FLOATS and wanted[name] != array.dtype.name
        else array
        for name, array in inputs.items()
    }


def _dtype_named(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes  # comes with onnx

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)


def _gpu_settings(
    session: OnnxSession, options: BackendOptions, provider: str, assignment: Assignment, *, cuda_graph: bool
) -> dict[str, Setting]:
    effective = session.provider_options
    return {
        "user_compute_stream": True,
        "cuda_graph": cuda_graph,
        "streams": options.streams,
        "use_tf32": options.precision == "tf32" if provider == CUDA_PROVIDER else None,  # TensorRT decides
        "cudnn_conv_algo_search": effective.get("cudnn_conv_algo_search"),
        "memcpy_nodes": assignment.memcpy_nodes,
        "host_outputs": ", ".join(session.host_outputs) or None,
        **{f"provider:{key}": value for key, value in effective.items()},
    }
