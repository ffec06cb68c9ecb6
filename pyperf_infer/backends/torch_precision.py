# SPDX-License-Identifier: Apache-2.0
"""What a precision means to PyTorch on a GPU: types of weights and inputs, and the switches of its libraries.

"float32" is float32: torch lets cuDNN's convolutions and recurrent layers round to TF32 unless it is told not to.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from pyperf_infer.errors import BackendError, UsageError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions
    from pyperf_infer.results.schema import Setting

T = TypeVar("T")

_cuda: Any = torch.backends.cuda  # torch describes the types of few of these switches
_cudnn: Any = torch.backends.cudnn
_onednn: Any = torch.backends.mkldnn

_SHORT = {"float16": torch.float16, "bfloat16": torch.bfloat16}
_AMPERE = (8, 0)  # the first with TF32 and bfloat16 in its matrix units
_OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # 0: none of NVIDIA's libraries uses TF32, whatever a program asks for


def check_precision(options: BackendOptions, capability: tuple[int, int]) -> None:
    """Whether a GPU of this compute capability can do what was asked for.

    Raises:
        UsageError: options that contradict each other. BackendError: the GPU cannot.
    """
    if options.autocast and options.precision not in _SHORT:
        raise UsageError(f"--autocast needs --precision float16 or bfloat16, and it is {options.precision}")
    if options.precision in ("tf32", "bfloat16") and capability < _AMPERE:
        raise BackendError(
            f"{options.precision} needs a GPU of compute capability 8.0 or more, and this one has "
            f"{capability[0]}.{capability[1]}; use --precision float32 or float16"
        )
    if options.precision == "tf32" and os.environ.get(_OVERRIDE) == "0":
        raise UsageError(f"{_OVERRIDE}=0 keeps NVIDIA's libraries from using TF32; unset it for --precision tf32")


def weights_dtype(options: BackendOptions) -> torch.dtype | None:
    """What floating-point weights and inputs are made; None where they stay as they are."""
    return None if options.autocast else _SHORT.get(options.precision)


def autocast(options: BackendOptions) -> AbstractContextManager[object]:
    """The scope in which torch picks the type of each operation, where that was asked for.

    Its cache of cast weights is off: it lives as long as the scope, which here is a whole measurement and in a server
    one request, which casts them anew.
    """
    if not options.autocast:
        return nullcontext()
    return torch.autocast("cuda", dtype=_SHORT[options.precision], cache_enabled=False)


@contextlib.contextmanager
def switches(options: BackendOptions) -> Iterator[None]:
    """TF32 and cuDNN's search as the options say while the block runs, and then as they were before."""
    before = _read()
    try:
        _set_tf32(options.precision == "tf32")
        _cudnn.benchmark = options.conv_search == "exhaustive"
        yield
    finally:
        _restore(before)


def effective_settings() -> dict[str, Setting]:
    """What torch itself says now; to be asked inside of `switches` and `autocast`."""
    cudnn, matmul = _cudnn, _cuda.matmul
    cast_to = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else None
    return {
        "matmul_tf32": matmul.fp32_precision == "tf32",
        "cudnn_conv_tf32": cudnn.conv.fp32_precision == "tf32",
        "cudnn_rnn_tf32": cudnn.rnn.fp32_precision == "tf32",
        "nvidia_tf32_override": os.environ.get(_OVERRIDE),
        "fp16_reduced_precision_reduction": matmul.allow_fp16_reduced_precision_reduction,
        "bf16_reduced_precision_reduction": matmul.allow_bf16_reduced_precision_reduction,
        "fp16_accumulation": matmul.allow_fp16_accumulation,
        "autocast": None if cast_to is None else str(cast_to).removeprefix("torch."),
        "autocast_weight_cache": None if cast_to is None else torch.is_autocast_cache_enabled(),
        "cudnn": cudnn.version(),
        "cudnn_enabled": cudnn.enabled,
        "cudnn_benchmark": cudnn.benchmark,
        "cudnn_benchmark_limit": cudnn.benchmark_limit,
        "cudnn_deterministic": cudnn.deterministic,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cuda_runtime": torch.version.cuda,
        "allocator": torch.cuda.get_allocator_backend(),
        "allocator_settings": os.environ.get("PYTORCH_ALLOC_CONF", os.environ.get("PYTORCH_CUDA_ALLOC_CONF")),
    }


class _State(NamedTuple):
    """The switches as torch tells them; None for one of the older ones that torch refuses to tell."""

    matmul: str
    conv: str
    rnn: str
    matmul_precision: str | None
    matmul_allow_tf32: bool | None
    cudnn_allow_tf32: bool | None
    onednn_matmul: str
    benchmark: bool


def _read() -> _State:
    return _State(
        _cuda.matmul.fp32_precision,
        _cudnn.conv.fp32_precision,
        _cudnn.rnn.fp32_precision,
        _unless_refused(torch.get_float32_matmul_precision),
        _unless_refused(lambda: _cuda.matmul.allow_tf32),
        _unless_refused(lambda: _cudnn.allow_tf32),
        _onednn.matmul.fp32_precision,
        _cudnn.benchmark,
    )


def _unless_refused(read: Callable[[], T]) -> T | None:
    """Where the older and the newer switches contradict each other, torch refuses to read the older."""
    try:
        return read()
    except RuntimeError:
        return None


def _set_tf32(on: bool) -> None:
    # The newer switches are what the libraries go by. The older ones are brought into line first, since a model that
    # reads them, if only by torch.backends.cudnn.flags(), fails where the two disagree. They write the newer ones too,
    # and their "off" means there "as the general switch says".
    _set_older_tf32(matmul=on, cudnn=on)
    _set_newer_tf32(*["tf32" if on else "ieee"] * 3)


def _restore(state: _State) -> None:
    if state.matmul_precision == "medium":  # which no other switch sets; it changes oneDNN's too
        torch.set_float32_matmul_precision("medium")
        _onednn.matmul.fp32_precision = state.onednn_matmul
    elif state.matmul_precision is not None:
        _set_older_tf32(matmul=state.matmul_precision == "high")
    else:
        _set_older_tf32(matmul=state.matmul_allow_tf32)
    _set_older_tf32(cudnn=state.cudnn_allow_tf32)
    _set_newer_tf32(state.matmul, state.conv, state.rnn)
    _cudnn.benchmark = state.benchmark


def _set_newer_tf32(matmul: str, conv: str, rnn: str) -> None:
    _cuda.matmul.fp32_precision = matmul
    _cudnn.conv.fp32_precision = conv
    _cudnn.rnn.fp32_precision = rnn


def _set_older_tf32(*, matmul: bool | None = None, cudnn: bool | None = None) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*new API settings")
        if matmul is not None:
            _cuda.matmul.allow_tf32 = matmul
        if cudnn is not None:
            _cudnn.allow_tf32 = cudnn
