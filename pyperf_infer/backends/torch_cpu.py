# SPDX-License-Identifier: Apache-2.0
"""What a precision means to PyTorch on the CPU: types of weights and inputs, and their layout in memory."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from pyperf_infer.backends.cpu_precision import check_instructions, isa_limit
from pyperf_infer.backends.torch_common import explained, tensor_of
from pyperf_infer.errors import UsageError

if TYPE_CHECKING:
    from pyperf_infer.backends.base import Array, BackendOptions
    from pyperf_infer.results.schema import Setting

_SHORT = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_onednn: Any = torch.backends.mkldnn  # torch does not describe the types of its switches


def check_cpu_precision(options: BackendOptions) -> None:
    """Whether this CPU can do what was asked for.

    Raises:
        UsageError: a precision that only GPUs have, or options that contradict each other.
        BackendError: the CPU has no instructions for it, which are named.
    """
    if options.precision == "tf32":
        raise UsageError("--precision tf32 is a mode of NVIDIA's matrix units; it takes --device cuda")
    if options.autocast and options.precision not in _SHORT:
        raise UsageError(f"--autocast needs --precision float16 or bfloat16, and it is {options.precision}")
    if options.precision in _SHORT:
        check_instructions(options.precision)


def cpu_module(module: torch.nn.Module, options: BackendOptions, name: str) -> torch.nn.Module:
    """The module in the precision and layout asked for: itself where it is so already, else a copy in eval mode.

    Complex and integer weights stay as they are.

    Raises:
        OutOfMemoryError, MeasurementError: it cannot be copied or converted.
    """
    dtype = _weights_dtype(options)
    if dtype is None and not options.channels_last:
        return module
    with explained(f"{name}, copying its module (copy.deepcopy)"):
        copied = copy.deepcopy(module).eval()
    with explained(f"{name}, converting its weights"):
        if dtype is not None:
            copied = copied.bfloat16() if dtype is torch.bfloat16 else copied.half()
        return copied.to(memory_format=torch.channels_last) if options.channels_last else copied


def cpu_tensor(array: Array, options: BackendOptions) -> torch.Tensor:
    """The input with floats in the precision's type and images in the layout asked for; in the array's own memory where
    it is so already.
    """
    tensor = tensor_of(array)
    dtype = _weights_dtype(options)
    if dtype is not None and tensor.is_floating_point():
        tensor = tensor.to(dtype)
    if options.channels_last and tensor.dim() == 4:
        tensor = tensor.contiguous(memory_format=torch.channels_last)
    return tensor


def cpu_autocast(options: BackendOptions) -> AbstractContextManager[object]:
    """The scope in which torch picks the type of each operation, where that was asked for.

    Its cache of cast weights is off: it lives as long as the scope, which here is a whole measurement and in a server
    one request, which casts them anew.
    """
    if not options.autocast:
        return nullcontext()
    return torch.autocast("cpu", dtype=_SHORT[options.precision], cache_enabled=False)


def cpu_settings(options: BackendOptions) -> dict[str, Setting]:
    """What torch itself says now; to be asked inside of `cpu_autocast`."""
    cast_to = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else None
    short = options.precision in _SHORT
    return {
        "torch_num_threads": torch.get_num_threads(),
        "inference_mode": torch.is_inference_mode_enabled(),
        "onednn": bool(_onednn.is_available() and _onednn.enabled),
        "onednn_max_cpu_isa": isa_limit(),
        "cpu_instructions": ", ".join(check_instructions(options.precision)) if short else None,
        "weights_dtype": options.precision if short and not options.autocast else "as loaded",
        "autocast": None if cast_to is None else str(cast_to).removeprefix("torch."),
        "autocast_weight_cache": None if cast_to is None else torch.is_autocast_cache_enabled(),
        "channels_last": options.channels_last,
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def _weights_dtype(options: BackendOptions) -> torch.dtype | None:
    """What floating-point weights and inputs are made; None where they stay as they are."""
    return None if options.autocast else _SHORT.get(options.precision)
