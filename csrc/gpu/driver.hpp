// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <string>

#include "core/error.hpp"

// The CUDA driver, reached at run time: libcuda.so.1 is dlopened and every function is asked for by cuGetProcAddress,
// so that the same build runs with any driver of CUDA 12 or later, and without one. cuda.h gives the types and nothing
// else.
namespace pyperf::gpu {

// A name without its version suffix: cuda.h's macros turn &cuMemAlloc into that of cuMemAlloc_v2, and so does the
// driver.
#define PYPERF_CUDA_FUNCTIONS(X) \
  X(cuInit)                      \
  X(cuDriverGetVersion)          \
  X(cuGetErrorName)              \
  X(cuGetErrorString)            \
  X(cuDeviceGetCount)            \
  X(cuDeviceGet)                 \
  X(cuDeviceGetName)             \
  X(cuDeviceGetUuid)             \
  X(cuDeviceGetPCIBusId)         \
  X(cuDeviceGetAttribute)        \
  X(cuDeviceTotalMem)            \
  X(cuDevicePrimaryCtxRetain)    \
  X(cuDevicePrimaryCtxRelease)   \
  X(cuCtxPushCurrent)            \
  X(cuCtxPopCurrent)             \
  X(cuStreamCreate)              \
  X(cuStreamDestroy)             \
  X(cuStreamSynchronize)         \
  X(cuStreamGetCtx)              \
  X(cuStreamWaitValue32)         \
  X(cuEventCreate)               \
  X(cuEventDestroy)              \
  X(cuEventRecord)               \
  X(cuEventQuery)                \
  X(cuEventSynchronize)          \
  X(cuEventElapsedTime)          \
  X(cuMemAlloc)                  \
  X(cuMemFree)                   \
  X(cuMemHostAlloc)              \
  X(cuMemFreeHost)               \
  X(cuMemHostGetDevicePointer)   \
  X(cuMemcpyDtoH)                \
  X(cuMemcpyHtoDAsync)           \
  X(cuMemcpyDtoHAsync)           \
  X(cuMemsetD32Async)            \
  X(cuMemGetInfo)                \
  X(cuGraphLaunch)

class Driver {
 public:
  // One object a path, never unloaded. Throws BackendError where the library is not there or is no driver, the driver
  // is older than CUDA 12, or cuInit fails, with what is missing.
  static Driver& load(const std::string& path = "libcuda.so.1");

  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

#define PYPERF_DECLARE(name) decltype(&::name) name = nullptr;
  PYPERF_CUDA_FUNCTIONS(PYPERF_DECLARE)
#undef PYPERF_DECLARE

  int version() const { return version_; }  // 13000 for CUDA 13.0
  const std::string& path() const { return path_; }

  // Every call's result goes through here. `call` is the function's name as a literal.
  void check(CUresult result, const char* call) const {
    if (result != CUDA_SUCCESS) [[unlikely]]
      fail(result, call);
  }

  // Throws OutOfMemoryError, BackendError or MeasurementError, as the code means.
  [[noreturn]] void fail(CUresult result, const char* call) const;

  // "CUDA_ERROR_INVALID_VALUE (invalid argument)".
  std::string describe(CUresult result) const;

 private:
  explicit Driver(std::string path);
  void load_functions();

  std::string path_;
  int version_ = 0;
};

// Whether CUDA refuses every call of this process after this error, such as a bad address or a lost device.
bool is_fatal(CUresult result);

}  // namespace pyperf::gpu
