# SPDX-License-Identifier: Apache-2.0
"""The GPU as PyTorch and the native loop share it: one primary context, and streams that both know."""

from __future__ import annotations

import contextlib
import functools
import gc
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pyperf_infer import _core
from pyperf_infer.backends.torch_common import first_line
from pyperf_infer.backends.torch_precision import check_precision
from pyperf_infer.errors import BackendError
from pyperf_infer.timing.cuda import open_gpu, with_protocol

if TYPE_CHECKING:
    from pyperf_infer.backends.base import BackendOptions

# Where PyTorch's builds for a driver of this major version of CUDA are; each runs on later drivers too.
_WHEELS = {12: "https://download.pytorch.org/whl/cu126", 13: "https://download.pytorch.org/whl/cu130"}

WAIT_TIMEOUT_NS = 120_000_000_000  # after which work that does not end is given up, as in the native loop


@dataclass(frozen=True)
class TorchGpu:
    """A GPU that the driver has and PyTorch can use."""

    context: _core.GpuContext
    index: int
    device: torch.device


def open_torch_gpu(index: int, options: BackendOptions) -> TorchGpu:
    """The GPU with this index.

    Raises:
        BackendError: the driver, this build of PyTorch or the GPU itself is not there or not able; which one.
        UsageError: options that contradict each other.
    """
    context = open_gpu(index)
    if torch.version.cuda is None:
        kind = "ROCm" if torch.version.hip else "CPU"
        major = context.driver_version // 1000
        where = _WHEELS[max((known for known in _WHEELS if known <= major), default=min(_WHEELS))]
        raise BackendError(
            f"this PyTorch ({torch.__version__}) is a {kind} build (torch.version.cuda is None) and cannot use "
            f"cuda:{index}; install one for CUDA, such as pip install torch --index-url {where}"
        )
    if not torch.cuda.is_available():
        raise BackendError(f"the driver is there, and PyTorch cannot use it: {_why_not()}")
    count = torch.cuda.device_count()
    if index >= count:
        raise BackendError(f"PyTorch sees {count} GPU{'' if count == 1 else 's'}, and cuda:{index} is none of them")
    check_precision(options, torch.cuda.get_device_capability(index))
    return TorchGpu(context, index, torch.device("cuda", index))


def _why_not() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except Exception as error:
        return first_line(error)
    return "torch.cuda.is_available() is false"


@functools.cache
def lane_stream(index: int, lane: int) -> torch.cuda.Stream:  # noqa: ARG001  one stream for each
    """The stream of lane `lane` on a GPU, the same for every model.

    Backends that are timed in turn have their scopes open at once, and the stream of the last is the current one: it
    has to be right for all of them.
    """
    return torch.cuda.Stream(torch.device("cuda", index))  # type: ignore[no-untyped-call]


def native_stream(gpu: TorchGpu, stream: torch.cuda.Stream) -> _core.GpuStream:
    """The native form of a torch stream, which it keeps alive."""
    return _core.GpuStream.view(gpu.context, with_protocol(stream))


def wait_for(gpu: TorchGpu, stream: torch.cuda.Stream) -> None:
    """Returns when all that is queued on the stream is done.

    torch's own wait has no end on a GPU that hangs, and does not answer Ctrl-C.

    Raises:
        MeasurementError: the work failed, or did not end within WAIT_TIMEOUT_NS; the context is then lost.
    """
    native_stream(gpu, stream).synchronize(timeout_ns=WAIT_TIMEOUT_NS)


def release_memory(error: BaseException | None = None, *, gpu: TorchGpu | None = None) -> None:
    """Gives back what PyTorch holds of the GPU's memory and does not use.

    `error` is of a call that failed: the tensors that were local to it go with the frames of its traceback. On a `gpu`
    that is lost memory stays where it is, as freeing it would wait for work that never ends.
    """
    link = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__
    gc.collect()
    if gpu is not None and gpu.context.is_lost:
        return
    # A GPU that has failed for good raises here too; that was said when it did.
    with contextlib.suppress(RuntimeError):
        torch.cuda.empty_cache()
