# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime through its C interface, from the library in the installed wheel. Public as timers.OnnxSession."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from pyperf_infer import _core, ort_device
from pyperf_infer.errors import BackendError, InputError, UsageError
from pyperf_infer.ort_device import GPU_PROVIDERS, ConvSearch

if TYPE_CHECKING:
    from pathlib import Path  # costs 4 ms, which a script that never makes a session need not wait for

    from numpy.typing import NDArray

    from pyperf_infer.timing.cuda import Wait

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

    With ``provider="CUDAExecutionProvider"`` (or TensorRT's) it runs on a stream of a GPU, with inputs and outputs in
    that GPU's memory, and its samples have the quantities latency, submit and gpu. Nothing is copied in a call unless
    `include_transfers` is set. Python's own onnxruntime package cannot share that process: a session is refused where
    it is imported, and importing it later raises ImportError, since the two copies of its core would share the
    provider, which crashes.

    Args:
        path: the .onnx file; external data stays beside it.
        threads: intra-op threads; 0 leaves the number to ONNX Runtime.
        inter_op_threads: threads between nodes, for ``execution_mode="parallel"``.
        opt_level: "disabled", "basic", "extended", "layout" (from ONNX Runtime 1.22) or "all".
        execution_mode: "sequential" or "parallel".
        provider: an execution provider of this build, by its full name.
        provider_options, session_options: passed through as they are.
        library: another ONNX Runtime library (1.20 or later) than that of the installed wheel.
        profile_prefix: where ONNX Runtime's own profile of all runs goes; `end_profiling` tells its name.
        optimized_path: where the graph is saved as it is after optimisation, if anywhere.
        device: the GPU by its number; that of the stream, else 0.
        stream: anything with ``__cuda_stream__`` (torch.cuda.Stream, `timers.CudaStream`); by default a new one.
        cuda_graph: capture the model in a CUDA graph in the first runs, and replay that. Shapes then stay as they are.
        use_tf32: whether CUDA may round float32 products to TF32. TensorRT decides that for itself.
        conv_search: how cuDNN's convolution algorithms are chosen, "exhaustive" or "heuristic".
        include_transfers: copy inputs in and outputs out with every call, through pinned memory; adds the quantities
            h2d and d2h.
        wait: "spin" or "block", as in `timers.on_stream`.
        gate: hold the stream back until a call of mode cold is queued.
        timeout: seconds after which a call that has not ended is given up.

    Raises:
        InputError: no such file, a file that ONNX Runtime cannot load, a node it has no kernel for.
        BackendError: no ONNX Runtime, a provider, GPU or driver that is not there or does not load.
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
        optimized_path: str | None = None,
        device: int | None = None,
        stream: object | None = None,
        cuda_graph: bool = False,
        use_tf32: bool = False,
        conv_search: ConvSearch = "exhaustive",
        include_transfers: bool = False,
        wait: Wait = "spin",
        gate: bool = True,
        timeout: float = 120.0,
    ) -> None:
        self.path = os.fspath(path)
        if not os.path.isfile(self.path):  # noqa: PTH113  pathlib is not imported for this
            raise InputError(f"{self.path}: no such file")
        if threads < 0 or inter_op_threads < 0:
            raise UsageError("a number of threads is 0 (left to ONNX Runtime) or more")
        asked = ort_device.Asked(device, stream, cuda_graph, use_tf32, conv_search, include_transfers)
        if provider not in GPU_PROVIDERS and asked != ort_device.Asked():
            raise UsageError(f"{provider} takes no stream, GPU or setting of one; provider={GPU_PROVIDERS[0]!r} does")
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
        options.optimized_model_path = optimized_path or ""
        self._environment.take_log()
        self.stream: _core.GpuStream | None = None  # that it runs on; None on the CPU
        self._provider, self._cuda_graph = provider, cuda_graph
        self._plan = _core.StreamPlan()
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._binding: _core.OrtTarget | _core.OrtDeviceBinding
        if provider in GPU_PROVIDERS:
            self._plan = ort_device.plan_of(wait, include_transfers=include_transfers, gate=gate, timeout=timeout)
            self.stream = ort_device.place(options, self.library, asked)
        with self._in_plain_words():
            self._session = _core.OrtSession(self._environment.path, self.path, options)
        if provider in GPU_PROVIDERS:
            ort_device.opened(self.library)
            self._binding = _core.OrtDeviceBinding(
                self._session, transfers=include_transfers, captures=cuda_graph, timeout_ns=self._plan.timeout_ns
            )
        else:
            self._binding = _core.OrtTarget(self._session)
        self._target: _core.Target | None = None  # made when inputs are bound
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
        return self._binding.first_run_ns

    @property
    def provider_options(self) -> dict[str, str]:
        """What CUDA or TensorRT make of the options, their defaults included; empty for other providers."""
        return ort_device.effective_options(self._session.effective_provider_options)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        return tuple(map(_describe, self._session.inputs))

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(map(_describe, self._session.outputs))

    @property
    def target(self) -> _core.Target:
        """What the native loop runs: a `_core.OrtStreamTarget` on a GPU.

        Raises:
            UsageError: no inputs are bound yet.
        """
        if self._target is None:
            raise UsageError("bind the inputs first: session.bind({name: array, ...})")
        return self._target

    @property
    def unbound_outputs(self) -> tuple[str, ...]:
        """Outputs that are no plain tensors: ONNX Runtime makes them anew in every run."""
        return tuple(self._binding.unbound_outputs)

    @property
    def host_outputs(self) -> tuple[str, ...]:
        """Outputs that a session on a GPU makes in the host's memory; they take part in no transfer."""
        return tuple(self._on_device().host_outputs) if self.stream is not None else ()

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """Copies the inputs into memory of the session's own, runs twice, and keeps the outputs' memory.

        An array's dtype must be the input's; bfloat16 comes from ml_dtypes. On a GPU, inputs of the same shapes go to
        the same memory; a session that has captured a CUDA graph replays it once.

        Raises:
            InputError: a name, dtype or shape that does not fit, or an input that is missing.
            UsageError: another shape than that a CUDA graph was captured with.
        """
        self._copy_in(inputs)
        with self._in_plain_words():
            self._binding.bind_outputs()
        self._shapes = {name: array.shape for name, array in inputs.items()}
        if isinstance(self._binding, _core.OrtTarget):
            self._target = self._binding
        elif self._target is None:
            self._target = _core.OrtStreamTarget([self._binding], self._plan)

    def write(self, inputs: Mapping[str, Array]) -> None:
        """Puts other values in the place of inputs that are bound, in the same shapes, and runs nothing. On a GPU only.

        Raises:
            UsageError: the session is not on a GPU, or nothing is bound yet.
            InputError: as `bind`.
        """
        self._on_device()
        if self._target is None or {name: np.shape(array) for name, array in inputs.items()} != self._shapes:
            raise UsageError("write() takes an array for every input, of the shape that is bound; bind() takes others")
        self._copy_in(inputs)

    @property
    def addresses(self) -> dict[str, int]:
        """Of each bound input and output in the GPU's memory, by name. Raises UsageError on the CPU."""
        return self._on_device().addresses

    def poison_outputs(self) -> None:
        """Fills the outputs' memory with 0xFF, so that a run that does not write them shows. On a GPU only."""
        self._on_device().poison_outputs()

    def run(self, inputs: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Runs once and returns copies of the outputs, by name. Given inputs are bound first."""
        if inputs is not None:
            self.bind(inputs)
        elif self._target is None:
            raise UsageError("bind the inputs first: session.bind({name: array, ...})")
        else:
            self._binding.run()
        return {
            name: np.frombuffer(bytearray(data), dtype=_dtype_named(dtype)).reshape(shape)  # writable, unlike bytes
            for name, dtype, shape, data in self._binding.outputs()
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
            self._binding.bind_input(name, np.ascontiguousarray(native).reshape(array.shape))
        missing = [name for name in wanted if name not in inputs]
        if missing:
            raise InputError(f"no array was given for input {', '.join(repr(name) for name in missing)}")

    def _in_plain_words(self) -> AbstractContextManager[None]:
        if self._provider not in GPU_PROVIDERS:
            return nullcontext()
        return ort_device.in_plain_words(self._provider, self.library, cuda_graph=self._cuda_graph)

    def _on_device(self) -> _core.OrtDeviceBinding:
        if isinstance(self._binding, _core.OrtTarget):
            raise UsageError("this session runs on the CPU, whose memory has none of this")
        return self._binding


def several_streams(sessions: Sequence[OnnxSession]) -> _core.OrtStreamTarget:
    """One target over sessions on a GPU with inputs bound, each on a stream of its own, for mode throughput.

    It is timed as the first session wants it.

    Raises:
        UsageError: a session on the CPU, without inputs, or on another GPU than the rest.
    """
    if not sessions or any(session._target is None for session in sessions):
        raise UsageError("bind the inputs of every session first")
    return _core.OrtStreamTarget([session._on_device() for session in sessions], sessions[0]._plan)


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
