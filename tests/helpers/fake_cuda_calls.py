# SPDX-License-Identifier: Apache-2.0
"""Calls of the fake driver from Python, for the tests of its own rules."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Callable, Iterator

from fake_cuda import FakeCuda

SUCCESS, INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED = 0, 1, 2, 3
DEINITIALIZED, DEVICE_UNAVAILABLE, NO_DEVICE, INVALID_DEVICE = 4, 46, 100, 101
INVALID_CONTEXT, INVALID_HANDLE, NOT_FOUND, NOT_READY = 201, 400, 500, 600
ILLEGAL_ADDRESS, CONTEXT_IS_DESTROYED, LAUNCH_FAILED, NOT_SUPPORTED = 700, 709, 719, 801

CALL, POLL, RECORD = 200, 1_000, 1_000  # ns, the defaults
A_WHILE_S = 0.02  # real time, in which a thread that is not blocked would have gone on

_I, _U, _P, _D, _N = ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_size_t
SIGNATURES: dict[str, tuple[type, ...]] = {
    "cuInit": (_U,), "cuDriverGetVersion": (_P,), "cuDeviceGetCount": (_P,), "cuDeviceGet": (_P, _I),
    "cuDeviceGetName": (_P, _I, _I), "cuDeviceGetUuid": (_P, _I), "cuDeviceGetPCIBusId": (_P, _I, _I),
    "cuDeviceGetAttribute": (_P, _I, _I), "cuDeviceTotalMem": (_P, _I), "cuDevicePrimaryCtxRetain": (_P, _I),
    "cuDevicePrimaryCtxRelease": (_I,), "cuCtxPushCurrent": (_P,), "cuCtxPopCurrent": (_P,), "cuCtxGetCurrent": (_P,),
    "cuCtxSynchronize": (), "cuStreamCreate": (_P, _U), "cuStreamDestroy": (_P,), "cuStreamSynchronize": (_P,),
    "cuStreamQuery": (_P,), "cuStreamGetCtx": (_P, _P), "cuStreamWaitValue32": (_P, _D, _U, _U),
    "cuEventCreate": (_P, _U), "cuEventDestroy": (_P,), "cuEventRecord": (_P, _P), "cuEventQuery": (_P,),
    "cuEventSynchronize": (_P,), "cuEventElapsedTime": (_P, _P, _P), "cuMemAlloc": (_P, _N), "cuMemFree": (_D,),
    "cuMemHostAlloc": (_P, _N, _U), "cuMemFreeHost": (_P,), "cuMemHostGetDevicePointer": (_P, _P, _U),
    "cuMemGetInfo": (_P, _P), "cuMemcpyHtoD": (_D, _P, _N), "cuMemcpyDtoH": (_P, _D, _N),
    "cuMemcpyHtoDAsync": (_D, _P, _N, _P), "cuMemcpyDtoHAsync": (_P, _D, _N, _P),
    "cuMemsetD32Async": (_D, _U, _N, _P), "cuGraphLaunch": (_P, _P), "cuGetErrorName": (_I, _P),
    "cuGetErrorString": (_I, _P), "cuProfilerStart": (), "cuProfilerStop": (),
}  # fmt: skip


class CudaError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Gpu:
    """The fake driver with cuInit done, and its calls as methods that raise."""

    def __init__(self, fake: FakeCuda) -> None:
        self.fake = fake
        self.functions = {name: fake.driver_function(name, *types) for name, types in SIGNATURES.items()}
        self("cuInit", 0)

    @classmethod
    @contextlib.contextmanager
    def entered(cls) -> Iterator[Gpu]:
        """A fresh fake driver with the context of device 0 current."""
        with FakeCuda.loaded() as fake:
            gpu = cls(fake)
            gpu.enter()
            yield gpu

    def __call__(self, name: str, *arguments: object) -> None:
        if (code := self.functions[name](*arguments)) != SUCCESS:
            raise CudaError(code)

    def code(self, name: str, *arguments: object) -> int:
        return self.functions[name](*arguments)

    def made(self, name: str, *arguments: object) -> int:
        """What a call returns through its first argument."""
        out = ctypes.c_uint64()
        self(name, ctypes.byref(out), *arguments)
        return out.value

    def enter(self, device: int = 0) -> int:
        context = self.made("cuDevicePrimaryCtxRetain", device)
        self("cuCtxPushCurrent", context)
        return context

    def stream(self) -> int:
        return self.made("cuStreamCreate", 1)

    def event(self, flags: int = 0) -> int:
        return self.made("cuEventCreate", flags)

    def elapsed_ns(self, start: int, end: int) -> float:
        ms = ctypes.c_float()
        self("cuEventElapsedTime", ctypes.byref(ms), start, end)
        return ms.value * 1e6

    def recorded(self, stream: int) -> int:
        event = self.event()
        self("cuEventRecord", event, stream)
        return event

    def flag(self) -> ctypes.c_uint32:
        return ctypes.c_uint32.from_address(self.made("cuMemHostAlloc", 4, 0))

    def gate(self, stream: int, flag: ctypes.c_uint32, value: int = 1) -> None:
        self("cuStreamWaitValue32", stream, ctypes.addressof(flag), value, 0)


class Background:
    """A driver call on a thread of its own, which has the context current."""

    def __init__(self, gpu: Gpu, call: Callable[[], int]) -> None:
        context = gpu.made("cuCtxGetCurrent")
        self.result: int | None = None

        def run() -> None:
            gpu("cuCtxPushCurrent", context)
            self.result = call()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def is_blocked(self) -> bool:
        self.thread.join(A_WHILE_S)
        return self.thread.is_alive()

    def ends_with(self) -> int | None:
        self.thread.join(10)
        assert not self.thread.is_alive(), "the call is blocked for ever"
        return self.result
