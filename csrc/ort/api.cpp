// SPDX-License-Identifier: Apache-2.0
#include "ort/api.hpp"

#include <initializer_list>

#include "core/error.hpp"

namespace pyperf::ort {
namespace {

// OrtErrorCode of the public header.
enum ErrorCode {
  kInvalidArgument = 2,
  kNoSuchFile = 3,
  kNotImplemented = 9,
  kProviderFailed = 11,
};

// Allocation failures have no code of their own.
bool is_out_of_memory(const std::string& message) {
  for (const char* sign : {"Failed to allocate memory", "bad_alloc", "bad allocation", "out of memory",
                           "is smaller than requested bytes", "_ALLOC_FAILED"}) {
    if (message.find(sign) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

void Api::fail(Doing doing, OrtStatus* status) const {
  const int code = at<int(const OrtStatus*)>(Slot::kGetErrorCode)(status);
  const std::string message = at<const char*(const OrtStatus*)>(Slot::kGetErrorMessage)(status);
  release(Slot::kReleaseStatus, status);
  if (is_out_of_memory(message)) throw OutOfMemoryError("ONNX Runtime ran out of memory: " + message);
  if (code == kProviderFailed) throw BackendError("an execution provider failed: " + message);
  switch (doing) {
    case Doing::kConfiguring:
      throw BackendError("ONNX Runtime refused an option or a provider: " + message);
    case Doing::kLoading:
      if (code == kNoSuchFile) throw InputError("ONNX Runtime found no such file: " + message);
      if (code == kNotImplemented) throw InputError("ONNX Runtime has no kernel for a node of this model: " + message);
      throw InputError("ONNX Runtime cannot load this model: " + message);
    case Doing::kRunning:
      if (code == kInvalidArgument) throw InputError("ONNX Runtime refused the inputs: " + message);
      throw MeasurementError("ONNX Runtime failed while running the model: " + message);
  }
  throw MeasurementError(message);
}

}  // namespace pyperf::ort
