# SPDX-License-Identifier: Apache-2.0
"""torch's side of a compiled model: its library, the tensors that go in, and the arrays that come out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from pyperf_infer import _core
from pyperf_infer.errors import BackendError, InputError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"

_OLDEST = (2, 9)


class Layout(NamedTuple):
    """What compiled code is specialised to, of one input; `shape` and `strides` in elements."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)} with strides {list(self.strides)}"


def torch_library() -> str:
    """The path of libtorch_cpu, which is loaded when this returns.

    Raises:
        BackendError: torch is not installed, does not load or is older than 2.9.
    """
    try:
        import torch
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "torch":
            raise BackendError("PyTorch is not installed, and compiled models call it; pip install torch") from error
        raise BackendError(f"PyTorch does not load: {error}") from error
    found = re.match(r"(\d+)\.(\d+)", torch.__version__)
    if found is None or (int(found[1]), int(found[2])) < _OLDEST:
        raise BackendError(f"torch is {torch.__version__}, and compiled models need 2.9 or newer; pip install -U torch")
    return str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")


def prepare_gpu(device: str) -> None:
    """Has torch open the GPU, as the compiled code expects it.

    Raises:
        BackendError: this torch has no CUDA, or sees no such GPU.
    """
    import torch

    if torch.device(device).index >= torch.cuda.device_count():
        why = "is built without CUDA" if torch.version.cuda is None else f"sees {torch.cuda.device_count()} GPUs"
        raise BackendError(f"torch {torch.__version__} {why}, and {device} was asked for")
    torch.cuda.init()  # type: ignore[no-untyped-call]


def wait_for_torch(device: str) -> None:
    """Returns when what torch's current stream writes to the inputs is there."""
    import torch

    torch.cuda.current_stream(device).synchronize()


def take(what: str, given: object, device: str) -> torch.Tensor:
    """A tensor of torch's as it is; an array of NumPy's as a copy on `device`. `what` names the input in messages.

    Raises:
        InputError: it is neither, is on another device, or its memory is not simply its elements.
    """
    import torch

    if isinstance(given, np.ndarray):
        return _copied(what, given, device)
    if not isinstance(given, torch.Tensor):
        raise InputError(f"{what} takes a tensor of torch or an array of NumPy, and {type(given).__name__} was given")
    kind = _unusual(given)
    if kind is not None:
        raise InputError(f"{what} takes a dense tensor, and {kind} was given")
    if given.requires_grad:
        raise InputError(f"{what} wants a gradient, which compiled models do not give; pass tensor.detach()")
    if given.device != torch.device(device):
        raise InputError(f"{what} is on {given.device}, and the model is on {device}; pass tensor.to({device!r})")
    return given


def layout_of(tensor: torch.Tensor) -> Layout:
    return Layout(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), tuple(tensor.stride()))


def describe(what: str, tensor: torch.Tensor) -> _core.AotiTensor:
    """What the native core needs to know of the tensor, which it keeps alive.

    Raises:
        InputError: a type that compiled models are not given, such as those of 8 bits and less.
    """
    layout = layout_of(tensor)
    try:
        return _core.AotiTensor(
            data=tensor.data_ptr(),
            shape=list(layout.shape),
            strides=list(layout.strides),
            dtype=layout.dtype,
            device_index=tensor.device.index if tensor.is_cuda else None,
            keep=tensor,
        )
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def as_array(dtype: str, shape: list[int], strides: list[int], data: bytes) -> Array:
    """An output in memory of its own, which lies there as it does in the model's; `strides` in elements."""
    kind = _dtype_named(dtype)
    if 0 in shape:
        return np.empty(shape, kind)
    steps = [stride * kind.itemsize for stride in strides]
    return np.ndarray(shape, kind, data, strides=steps).copy(order="K")


def _copied(what: str, array: Array, device: str) -> torch.Tensor:
    import torch

    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    if any(stride < 0 for stride in native.strides):
        native = np.ascontiguousarray(native)
    if not native.flags.writeable:
        native = native.copy(order="K")  # torch warns of others, although nothing is written here
    bfloat16 = native.dtype.name == "bfloat16"  # of ml_dtypes, which torch does not know
    try:
        tensor = torch.from_numpy(native.view(np.uint16) if bfloat16 else native)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} takes what torch has a type for, and the array is of {array.dtype}") from error
    return (tensor.view(torch.bfloat16) if bfloat16 else tensor).to(device, copy=True)


def _unusual(tensor: torch.Tensor) -> str | None:
    """What a tensor is whose elements do not stand in its memory as they are; None for one with no such thing."""
    import torch

    if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return f"a {type(tensor).__name__}"
    if tensor.layout != torch.strided:
        return f"one of layout {str(tensor.layout).removeprefix('torch.')}"
    if tensor.is_nested:
        return "a nested one"
    if getattr(tensor, "is_quantized", False):  # which torch is about to drop
        return "a quantized one"
    if tensor.is_conj() or tensor.is_neg():
        return "a view that negates or conjugates (tensor.resolve_conj().resolve_neg() is none)"
    return None


def _dtype_named(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(name)
