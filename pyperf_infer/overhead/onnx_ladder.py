# SPDX-License-Identifier: Apache-2.0
"""The ways of making a request to ONNX Runtime: two of Python's, and the native loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pyperf_infer.backends.onnxruntime import OnnxRuntime
from pyperf_infer.ort_device import CUDA_PROVIDER
from pyperf_infer.overhead.blocks import Lane, LocalLane
from pyperf_infer.overhead.paths import (
    NATIVE_LOOP,
    BackendPath,
    Kind,
    MeasuredAsItIs,
    OnceARequest,
    Request,
    Rung,
)
from pyperf_infer.overhead.python_session import RUN, WITH_BINDING, Input, PythonSession, SessionSpec
from pyperf_infer.overhead.remote import ChildProcess, RemoteLane

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.overhead.paths import CallPath, Outs
    from pyperf_infer.overhead.plan import OverheadPlan
    from pyperf_infer.results.schema import Setting

_FACTORY = "pyperf_infer.overhead.python_session:open_session"
_WHAT = "Python's onnxruntime"


class OnnxLadder:
    """ONNX Runtime's rungs. One object a run: it keeps the export for all batch sizes.

    Raises:
        BackendError: a GPU, a provider or a library that is not there. UsageError: options that contradict each other.
    """

    def __init__(self, plan: OverheadPlan) -> None:
        self._options, self._isolates = plan.options, plan.isolates
        self._backend = OnnxRuntime(plan.options)
        self._converted = OnceARequest(lambda request: self._backend.convert(request.model, request.shapes))
        self._session = OnceARequest(self._open)

    def rungs(self) -> list[Rung]:
        """Python's first."""
        on_gpu = self._options.gpu_index is not None
        return [
            Rung(
                kind=Kind(
                    runtime="onnxruntime",
                    name=RUN,
                    does="Python, a dict of NumPy arrays in, new ones out"
                    + (", copied to the GPU and back" if on_gpu else ""),
                    process=self._process,
                    same_code=not on_gpu,
                ),
                make=lambda request: _PythonPath(self._session(request), RUN),
            ),
            Rung(
                kind=Kind(
                    runtime="onnxruntime",
                    name=WITH_BINDING,
                    does="Python, inputs and outputs bound",
                    process=self._process,
                ),
                make=lambda request: _PythonPath(self._session(request), WITH_BINDING),
            ),
            Rung(
                kind=Kind(
                    runtime="onnxruntime",
                    name="native loop",
                    does="C, inputs and outputs bound",
                    loop=NATIVE_LOOP,
                    is_baseline=True,
                ),
                make=self._native,
            ),
        ]

    @property
    def _process(self) -> Any:
        return "own" if self._isolates else "shared"

    def _native(self, request: Request) -> CallPath:
        self._converted(request)
        return BackendPath(self._backend, request)

    def _open(self, request: Request) -> PythonSession | ChildProcess:
        self._converted(request)
        path = self._backend.file_of(request.model).path
        spec = session_spec(request, self._options, str(path), self._backend.provider)
        if self._isolates:
            return ChildProcess(_WHAT, _FACTORY, msgspec.json.encode(spec).decode())
        return PythonSession(spec)


class _PythonPath(MeasuredAsItIs):
    """A path of a Python session, wherever that is. It is closed with the first of its paths."""

    def __init__(self, session: PythonSession | ChildProcess, name: str) -> None:
        self._session, self._name = session, name
        self._lane: Lane | None = None

    @property
    def lane(self) -> Lane:
        if self._lane is None:
            if isinstance(self._session, ChildProcess):
                self._lane = RemoteLane(self._session, self._name)
            else:
                self._lane = LocalLane(self._session.target(self._name))
        return self._lane

    def outputs(self) -> tuple[Outs, Outs]:
        return self._session.outputs(self._name)

    @property
    def settings(self) -> Mapping[str, Setting]:
        return self._session.settings

    def close(self) -> None:
        self._lane = None
        self._session.close()


def session_spec(request: Request, options: BackendOptions, path: str, provider: str) -> SessionSpec:
    """What Python's session is to be, so that it differs from the native one in nothing but who calls it."""
    inputs = [Input(one.name, request.shapes[one.name], one.dtype, one.below) for one in request.model.inputs]
    given = dict(options.provider_options)
    if options.gpu_index is not None:
        given = {**_gpu_options(options, provider), **given, "device_id": str(options.gpu_index)}
    return SessionSpec(
        model=path,
        inputs=inputs,
        seed=request.seed,
        threads=options.threads,
        inter_op_threads=options.inter_op_threads,
        opt_level=options.opt_level,
        execution_mode=options.execution_mode,
        provider=provider,
        provider_options=given,
        session_options=dict(options.session_options),
        device=options.gpu_index,
    )


def _gpu_options(options: BackendOptions, provider: str) -> dict[str, str]:
    """As the native session sets them; TensorRT decides for itself."""
    if provider != CUDA_PROVIDER:
        return {}
    return {
        "use_tf32": str(int(options.precision == "tf32")),
        "cudnn_conv_algo_search": options.conv_search.upper(),
    }
