# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime through its C interface, from the library in the installed wheel. Public as timers.OnnxSession."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path  # costs 4 ms, which a script that never makes a session need not wait for

    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

CPU_PROVIDER = "CPUExecutionProvider"


class TensorInfo(NamedTuple):
    """An input or output of a session: `shape` has an int where it is fixed, a name or None where it is open."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class AssignedNode(NamedTuple):
    """A node of the graph and the execution provider that runs it."""

    provider: str
    op_type: str
    name: str


def find_library() -> Path:
    """The library of the installed onnxruntime (or onnxruntime-gpu) wheel, without importing it.

    Raises:
        BackendError: there is no such wheel, or it has no such library.
    """
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise BackendError("ONNX Runtime is not installed; pip install onnxruntime-gpu (or onnxruntime)")
    capi = Path(next(iter(spec.submodule_search_locations))) / "capi"
    pattern = "libonnxruntime*.dylib" if sys.platform == "darwin" else "libonnxruntime.so*"
    found = sorted(capi.glob(pattern))
    if not found:
        raise BackendError(f"{capi} holds no {pattern}; reinstall the onnxruntime wheel")
    return found[-1]


class OnnxSession:
    """A model loaded by ONNX Runtime, with its inputs and outputs bound to memory that stays.

    External data outside of the model's folder is ONNX Runtime's to refuse here; 1.20 and 1.23 were seen to read it.
    `pyperf-infer run` refuses it with any.

    A target for `timers.measure` and `timers.compare`, which run it without Python. Inputs are copied in when they are
    bound; outputs are written to the same memory in every run.

    Args:
        path: the .onnx file; external data stays beside it.
        threads: intra-op threads; 0 leaves the number to ONNX Runtime.
        inter_op_threads: threads between nodes, for ``execution_mode="parallel"``.
        opt_level: "disabled", "basic", "extended", "layout" (from ONNX Runtime 1.22) or "all".
        execution_mode: "sequential" or "parallel".
        provider: an execution provider of this build, by its full name.
        provider_options, session_options: passed through as they are.
        library: another ONNX Runtime library (1.20 or later) than that of the installed wheel.

    Raises:
        InputError: no such file, a file that ONNX Runtime cannot load, a node it has no kernel for.
        BackendError: no ONNX Runtime, a provider that is not there or does not load.
        UsageError: an unknown level, mode or an option that contradicts another.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 0,
        inter_op_threads: int = 0,
        opt_level: str = "all",
        execution_mode: str = "sequential",
        provider: str = CPU_PROVIDER,
        provider_options: Mapping[str, str] | None = None,
        session_options: Mapping[str, str] | None = None,
        library: str | os.PathLike[str] | None = None,
        profile_prefix: str | None = None,
    ) -> None:
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):  # noqa: PTH113  pathlib is not imported for this
            raise InputError(f"{self.path}: no such file")
        if threads < 0 or inter_op_threads < 0:
            raise UsageError("a number of threads is 0 (left to ONNX Runtime) or more")
        self._environment = _core.load_ort(str(library or find_library()))
        entries = dict(session_options or {})
        if _core.ORT_RECORD_ASSIGNMENT in entries:
            raise UsageError(f"session option {_core.ORT_RECORD_ASSIGNMENT} is set by this tool, which reads the nodes")
        self._records_assignment = self._environment.api_version >= _core.ORT_ASSIGNMENT_API
        if self._records_assignment:
            entries[_core.ORT_RECORD_ASSIGNMENT] = "1"
        options = _core.OrtSessionOptions()
        options.intra_op_threads = threads
        options.inter_op_threads = inter_op_threads
        options.optimization_level = opt_level
        options.execution_mode = execution_mode
        options.provider = provider
        options.provider_options = list((provider_options or {}).items())
        options.config_entries = list(entries.items())
        options.profile_prefix = profile_prefix or ""
        self._environment.take_log()
        self._session = _core.OrtSession(self._environment.path, self.path, options)
        self._target = _core.OrtTarget(self._session)
        self._bound = False
        self.log = tuple(self._environment.take_log())

    @property
    def library(self) -> Path:
        """The ONNX Runtime library that runs it."""
        from pathlib import Path

        return Path(self._environment.path)

    @property
    def version(self) -> str:
        """Of ONNX Runtime."""
        return self._environment.version

    @property
    def create_ns(self) -> int:
        """What loading and optimising the model took, in nanoseconds."""
        return self._session.create_ns

    @property
    def first_run_ns(self) -> int:
        """What the very first run took, lazy work included, in nanoseconds; 0 before `bind`."""
        return self._target.first_run_ns

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(map(_describe, self._session.inputs))

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(map(_describe, self._session.outputs))

    @property
    def target(self) -> _core.OrtTarget:
        """What the native loop runs.

        Raises:
            UsageError: no inputs are bound yet.
        """
        if not self._bound:
            raise UsageError("bind the inputs first: session.bind({name: array, ...})")
        return self._target

    @property
    def unbound_outputs(self) -> tuple[str, ...]:
        """Outputs that are no plain tensors: ONNX Runtime makes them anew in every run."""
        return tuple(self._target.unbound_outputs)

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """Copies the inputs into memory of the session's own, runs twice, and keeps the outputs' memory.

        An array's dtype must be the input's; bfloat16 comes from ml_dtypes.

        Raises:
            InputError: a name, dtype or shape that does not fit, or an input that is missing.
        """
        self._copy_in(inputs)
        self._target.bind_outputs()
        self._bound = True

    def run(self, inputs: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Runs once and returns copies of the outputs, by name. Given inputs are bound first."""
        if inputs is None:
            self.target.run()
        else:
            self.bind(inputs)
        return {
            name: np.frombuffer(bytearray(data), dtype=_dtype_named(dtype)).reshape(shape)  # writable, unlike bytes
            for name, dtype, shape, data in self._target.outputs()
        }

    def assigned_nodes(self) -> tuple[AssignedNode, ...]:
        """Which provider each node was given to, before nodes were fused (ONNX Runtime 1.24 and later).

        Raises:
            BackendError: an older ONNX Runtime.
        """
        return tuple(AssignedNode(*node) for node in self._session.assigned_nodes())

    @property
    def tells_assignment(self) -> bool:
        """Whether `assigned_nodes` works with this version of ONNX Runtime."""
        return self._records_assignment

    def end_profiling(self) -> Path:
        """Writes the profile of all runs so far (only with `profile_prefix`) and returns its path."""
        from pathlib import Path

        return Path(self._session.end_profiling())

    def _copy_in(self, inputs: Mapping[str, Array]) -> None:
        wanted = {info.name: info for info in self.inputs}
        for name, array in inputs.items():
            info = wanted.get(name)
            if info is None:
                raise InputError(f"the model has no input '{name}'; it has {', '.join(wanted) or 'none'}")
            if info.dtype == "string":
                raise InputError(f"input '{name}' holds strings, and strings cannot be bound")
            if not isinstance(array, np.ndarray):
                raise InputError(f"input '{name}' takes a NumPy array, and {type(array).__name__} was given")
            if array.dtype.name != info.dtype:
                raise InputError(f"input '{name}' takes {info.dtype}, and the array is {array.dtype.name}")
            native = array.astype(array.dtype.newbyteorder("="), copy=False)  # a name says nothing of the byte order
            self._target.bind_input(name, np.ascontiguousarray(native).reshape(array.shape))
        missing = [name for name in wanted if name not in inputs]
        if missing:
            raise InputError(f"no array was given for input {', '.join(repr(name) for name in missing)}")


def _describe(info: _core.OrtTensorInfo) -> TensorInfo:
    shape = tuple(
        size if size >= 0 else (symbol or None) for size, symbol in zip(info.shape, info.symbols, strict=True)
    )
    return TensorInfo(info.name, info.element_type if info.is_tensor else "not a tensor", shape)


def _dtype_named(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)
