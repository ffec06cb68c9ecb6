# SPDX-License-Identifier: Apache-2.0
"""What a session of ONNX Runtime on a GPU takes beyond one on the CPU: a stream, its libraries, its options."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, PyperfInferError, UsageError
from pyperf_infer.ort_libraries import PROVIDER_FILES, explain, load_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from pyperf_infer.timing.cuda import Wait

ConvSearch: TypeAlias = Literal["exhaustive", "heuristic"]

CUDA_PROVIDER, TENSORRT_PROVIDER = "CUDAExecutionProvider", "TensorrtExecutionProvider"
GPU_PROVIDERS = tuple(PROVIDER_FILES)

_PYTHONS_OWN = "onnxruntime.capi.onnxruntime_pybind11_state"
_SHARED = "libonnxruntime_providers_shared.so"
# Addresses, of no use to a reader.
_POINTERS = ("user_compute_stream", "default_memory_arena_cfg", "gpu_external_alloc", "gpu_external_free",
             "gpu_external_empty_cache")  # fmt: skip
# At loading, where nodes are on the CPU or control flow is; in the first runs, also as CUDA's errors 900 and after.
_NO_CAPTURE = re.compile(r"graph capture|stream is capturing|CUDA failure 90\d\b", re.IGNORECASE)
_GATE_TIMEOUT_NS = 500_000_000


class _PythonsOwnRefused:
    """In sys.meta_path: what Python's onnxruntime is made of is not to be found any more."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Raises ImportError where that is asked for. Knows no other module."""
        if fullname == _PYTHONS_OWN:
            raise ImportError(
                "onnxruntime cannot be imported in this process: a native session has a GPU, and Python's copy of the "
                "core would share the provider with it, which ends in a crash. Import it in another process",
                name=fullname,
            )


_PYTHONS_OWN_REFUSED = _PythonsOwnRefused()
_first_library: list[str] = []  # that a GPU session of this process was opened with


class Asked(NamedTuple):
    """What only a session on a GPU has; `device` and `stream` None where the caller leaves them open."""

    device: int | None = None
    stream: object | None = None
    cuda_graph: bool = False
    use_tf32: bool = False
    conv_search: ConvSearch = "exhaustive"
    include_transfers: bool = False


def place(options: _core.OrtSessionOptions, library: Path, asked: Asked) -> _core.GpuStream:
    """Completes the options of a session of a GPU provider, whose libraries it loads. Returns the session's stream.

    Raises:
        BackendError: no driver or no such GPU, a library that the provider needs, or another copy of ONNX Runtime in
            this process.
        UsageError: provider options that contradict the rest, a device that is not the stream's.
    """
    _refuse_second_copy(options.provider, library)
    options.provider_options = _merged(options.provider, dict(options.provider_options), asked)
    stream = _stream(asked)
    options.set_stream(stream)
    load_for(options.provider, library)
    return stream


def opened(library: Path) -> None:
    """To be told of a GPU session that was made with that library. Python's onnxruntime cannot be imported after."""
    if _PYTHONS_OWN_REFUSED not in sys.meta_path:
        sys.meta_path.insert(0, _PYTHONS_OWN_REFUSED)
    if (library.parent / _SHARED).exists() and not _first_library:
        _first_library.append(os.path.realpath(library))


@contextmanager
def in_plain_words(provider: str, library: Path, *, cuda_graph: bool) -> Iterator[None]:
    """ONNX Runtime's refusals as a BackendError that says what is missing, or that the model cannot be captured."""
    try:
        yield
    except PyperfInferError as error:
        message = str(error).strip()
        if cuda_graph and _NO_CAPTURE.search(message):
            raise BackendError(f"ONNX Runtime cannot capture this model in a CUDA graph: {message}") from error
        missing = explain(message, provider, library)
        if missing is not None:
            raise BackendError(missing) from error
        raise


def plan_of(wait: Wait, *, include_transfers: bool, gate: bool, timeout: float) -> _core.StreamPlan:
    """How a session's work on its stream is timed; `timeout` in seconds."""
    timeout_ns = round(timeout * 1e9)
    return _core.StreamPlan(
        wait=wait,
        include_transfers=include_transfers,
        gate=gate,
        timeout_ns=timeout_ns,
        gate_timeout_ns=max(1, min(_GATE_TIMEOUT_NS, timeout_ns // 4)),
    )


def effective_options(text: str) -> dict[str, str]:
    """ONNX Runtime's "key=value;key=value" without what are addresses."""
    pairs = (pair.partition("=") for pair in text.split(";") if pair)
    return {key: value for key, _, value in pairs if key not in _POINTERS}


def _refuse_second_copy(provider: str, library: Path) -> None:
    """Providers are shared libraries that keep one pointer to the core they belong to. A second core in the process
    would write its own there, and either would call the other's functions."""
    if _PYTHONS_OWN in sys.modules:
        raise BackendError(
            f"Python's onnxruntime is imported in this process, and {provider} would be shared between its copy of the "
            "core and this one, which ends in a crash. Open the session in a process that does not import onnxruntime"
        )
    shares = (library.parent / _SHARED).exists()
    if shares and _first_library and _first_library[0] != os.path.realpath(library):
        raise BackendError(
            f"{_first_library[0]} has a session on a GPU in this process, and the providers of {library} would be "
            "mixed up with its own. Use one library a process"
        )


def _merged(provider: str, given: Mapping[str, str], asked: Asked) -> list[tuple[str, str]]:
    if asked.conv_search not in ("exhaustive", "heuristic"):
        raise UsageError(f"conv_search is 'exhaustive' or 'heuristic', not {asked.conv_search!r}")
    graph = str(int(asked.cuda_graph))
    if provider == CUDA_PROVIDER:
        ours = {
            "use_tf32": str(int(asked.use_tf32)),
            "cudnn_conv_algo_search": asked.conv_search.upper(),
            "enable_cuda_graph": graph,
        }
    else:
        ours = {"trt_cuda_graph_enable": graph}
    for key, value in ours.items():
        same = (value.lower(), {"0": "false", "1": "true"}.get(value))
        if given.get(key, value).lower() not in same:
            raise UsageError(f"provider option {key}={given[key]} contradicts the other settings: it is {value} there")
    return list({**given, **ours}.items())


def _stream(asked: Asked) -> _core.GpuStream:
    from pyperf_infer.timing.cuda import as_stream, open_gpu

    if asked.stream is None:
        return _core.GpuStream(open_gpu(asked.device or 0))
    stream = as_stream(asked.stream, asked.device or 0)
    ordinal = stream.context.facts.ordinal
    if asked.device not in (None, ordinal):
        raise UsageError(f"the stream is on GPU {ordinal}, and device {asked.device} was given")
    return stream
