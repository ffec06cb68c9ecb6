# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime as a Python program uses it: `session.run` and `run_with_iobinding` of one session.

It needs neither torch nor a model's source, so that a process of its own can hold it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, InputError, MeasurementError, OutOfMemoryError, PyperfInferError
from pyperf_infer.models.inputs import make_inputs
from pyperf_infer.models.spec import InputSpec
from pyperf_infer.system.memory import is_out_of_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]
    Outs = Mapping[str, Array]

RUN, WITH_BINDING = "session.run", "run_with_iobinding"

_FLOATS = ("float16", "float32", "float64")
_LEVELS = {
    "disabled": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
_MODES = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
_NUMPY_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}
_QUIET = 3  # errors alone: the native session of the same file tells what there is to warn of


class Input(msgspec.Struct, frozen=True):
    """An input as it is drawn: by its name, its whole shape and its type."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    below: int | None = None  # as InputSpec has it


class SessionSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that a session needs, so that another process can make the same one."""

    model: str
    inputs: list[Input]
    seed: int  # of the first inputs; the second ones have the next
    threads: int
    inter_op_threads: int
    opt_level: str
    execution_mode: str
    provider: str
    provider_options: dict[str, str]
    session_options: dict[str, str]
    device: int | None  # the GPU's index; None on the CPU


class PythonSession:
    """Both paths of one session, with the first inputs in place.

    Raises:
        BackendError: no onnxruntime, or no such provider in it. InputError: a model, input or output that it does not
            take. MeasurementError: it fails otherwise.
    """

    paths = (RUN, WITH_BINDING)

    def __init__(self, spec: SessionSpec) -> None:
        self._spec = spec
        ort = _onnxruntime(on_gpu=spec.device is not None)
        self._ort = ort
        with _explained(spec.model):
            self._session = ort.InferenceSession(
                spec.model, _options(ort, spec), providers=[(spec.provider, dict(spec.provider_options))]
            )
        used = self._session.get_providers()
        if spec.provider not in used:
            raise BackendError(f"Python's onnxruntime did not load {spec.provider}; it runs on {', '.join(used)}")
        self._types = {one.name: one.type for one in self._session.get_inputs()}
        self._names = [one.name for one in self._session.get_outputs()]
        self._place = "cpu" if spec.device is None else "cuda"
        self._first = self._drawn(spec.seed)
        with _explained(spec.model):
            self._binding = self._bound(self._first)

    @property
    def settings(self) -> dict[str, str | int | float | bool | None]:
        """What is known of the session."""
        spec = self._spec
        return {
            "onnxruntime": self._ort.__version__,
            "provider": spec.provider,
            "opt_level": spec.opt_level,
            "execution_mode": spec.execution_mode,
            **{f"session:{key}": value for key, value in spec.session_options.items()},
            **{f"provider:{key}": value for key, value in spec.provider_options.items()},
        }

    def target(self, path: str) -> _core.Target:
        """What is timed: from C, so that the only Python is onnxruntime's own."""
        return _core.CallableTarget(self._call(path))

    def outputs(self, path: str) -> tuple[Outs, Outs]:
        """On the first inputs and on the second; the first are in place afterwards."""
        second = self._drawn(self._spec.seed + 1)
        with _explained(self._spec.model):
            if path == RUN:
                return self._named(self._call(path)()), self._named(self._session.run(None, second))
            found = []
            for inputs in (second, self._first):
                self._binding = self._bound(inputs)
                self._call(path)()
                found.append(self._named(self._binding.copy_outputs_to_cpu()))
            return found[1], found[0]

    def close(self) -> None:
        """Frees the session with the last reference to it."""
        self._binding = self._session = None
        self._first = {}

    def _call(self, path: str) -> Callable[[], Any]:
        if path == RUN:
            return functools.partial(self._session.run, None, self._first)
        return functools.partial(self._session.run_with_iobinding, self._binding)

    def _bound(self, inputs: Mapping[str, Array]) -> Any:
        """A binding with the inputs in memory of the device, and outputs that stay where a first run put them."""
        device = (self._place, self._spec.device or 0)
        binding = self._session.io_binding()
        for name, array in inputs.items():
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(array, *device))
        for name in self._names:
            binding.bind_output(name, *device)
        self._session.run_with_iobinding(binding)
        for name, value in zip(self._names, binding.get_outputs(), strict=True):
            if value.is_tensor():
                binding.bind_ortvalue_output(name, value)
        return binding

    def _drawn(self, seed: int) -> dict[str, Array]:
        """The inputs that every other path gets, in the types that the session takes."""
        inputs = self._spec.inputs
        drawn = make_inputs(
            [InputSpec(one.name, one.shape, one.dtype, one.below) for one in inputs],
            {one.name: one.shape for one in inputs},
            seed,
        )
        return {name: self._cast(name, array) for name, array in drawn.items()}

    def _cast(self, name: str, array: Array) -> Array:
        wanted = self._types.get(name, "")
        if "bfloat16" in (wanted.removeprefix("tensor(").removesuffix(")"), array.dtype.name):
            raise InputError(f"input '{name}' is bfloat16, which NumPy and so Python's onnxruntime do not know")
        if array.dtype.name in _FLOATS and wanted in _NUMPY_TYPES:
            return np.ascontiguousarray(array.astype(_NUMPY_TYPES[wanted], copy=False))
        return np.ascontiguousarray(array)

    def _named(self, values: list[Any]) -> dict[str, Array]:
        for name, value in zip(self._names, values, strict=True):
            if not isinstance(value, np.ndarray):
                raise InputError(f"output '{name}' is {type(value).__name__} and no tensor")
        return dict(zip(self._names, values, strict=True))


def open_session(arguments: str) -> PythonSession:
    """What the process of its own is told to make: `arguments` is a SessionSpec in JSON."""
    return PythonSession(msgspec.json.decode(arguments, type=SessionSpec))


def _onnxruntime(*, on_gpu: bool) -> Any:
    try:
        ort = import_module("onnxruntime")
    except ImportError as error:
        raise BackendError(f"Python's onnxruntime cannot be imported: {error}; pip install onnxruntime") from error
    if on_gpu:
        ort.preload_dlls()  # CUDA's and cuDNN's libraries of the installed wheels
    return ort


def _options(ort: Any, spec: SessionSpec) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = spec.threads
    options.inter_op_num_threads = spec.inter_op_threads
    options.log_severity_level = _QUIET
    level = getattr(ort.GraphOptimizationLevel, _LEVELS[spec.opt_level], None)
    if level is None:
        raise BackendError(f"this version of onnxruntime has no optimisation level '{spec.opt_level}'")
    options.graph_optimization_level = level
    options.execution_mode = getattr(ort.ExecutionMode, _MODES[spec.execution_mode])
    for key, value in spec.session_options.items():
        options.add_session_config_entry(key, value)
    return options


@contextmanager
def _explained(model: str) -> Iterator[None]:
    """Turns what onnxruntime raises into an error of this package that names the model."""
    try:
        yield
    except PyperfInferError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())
        if is_out_of_memory(error):
            raise OutOfMemoryError(f"Python's onnxruntime ran out of memory on {model}: {said}") from error
        raise MeasurementError(f"Python's onnxruntime failed on {model}: {said}") from error
