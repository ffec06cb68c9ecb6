// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iterator>

#include "call.hpp"

namespace fake_cuda {
namespace {

struct ErrorText {
  CUresult code;
  const char* name;
  const char* text;
};

#define FAKE_ERROR(code, text) {code, #code, text}
constexpr ErrorText kErrors[] = {
    FAKE_ERROR(CUDA_SUCCESS, "no error"),
    FAKE_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
    FAKE_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
    FAKE_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
    FAKE_ERROR(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
    FAKE_ERROR(CUDA_ERROR_STUB_LIBRARY, "CUDA driver is a stub library"),
    FAKE_ERROR(CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA-capable device(s) is/are busy or unavailable"),
    FAKE_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
    FAKE_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
    FAKE_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
    FAKE_ERROR(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered"),
    FAKE_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
    FAKE_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
    FAKE_ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
    FAKE_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
    FAKE_ERROR(CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch"),
    FAKE_ERROR(CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated"),
    FAKE_ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
    FAKE_ERROR(CUDA_ERROR_ASSERT, "device-side assert triggered"),
    FAKE_ERROR(CUDA_ERROR_HARDWARE_STACK_ERROR, "hardware stack error"),
    FAKE_ERROR(CUDA_ERROR_ILLEGAL_INSTRUCTION, "an illegal instruction was encountered"),
    FAKE_ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
    FAKE_ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
    FAKE_ERROR(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
    FAKE_ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
    FAKE_ERROR(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, "system has unsupported display driver / cuda driver combination"),
    FAKE_ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
};
#undef FAKE_ERROR

CUresult tell(const char* function, CUresult error, const char** out, const char* ErrorText::* field) {
  return call(function, Needs::kNothing, [&](World&, Lock&) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const auto found =
        std::find_if(std::begin(kErrors), std::end(kErrors), [&](const auto& known) { return known.code == error; });
    *out = found == std::end(kErrors) ? nullptr : found->*field;
    return *out == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
  });
}

}  // namespace

CUresult get_error_name(CUresult error, const char** name) {
  return tell("cuGetErrorName", error, name, &ErrorText::name);
}

CUresult get_error_string(CUresult error, const char** text) {
  return tell("cuGetErrorString", error, text, &ErrorText::text);
}

}  // namespace fake_cuda
