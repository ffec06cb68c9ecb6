// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

// The part of ONNX Runtime's C interface that this project calls. The library's OrtGetApiBase gives a table of function
// pointers that only ever grows at its end, so a function is known by its position, and one declaration serves every
// version that has it. Names, order and types are those of the public header onnxruntime_c_api.h.
namespace pyperf::ort {

struct OrtEnv;
struct OrtStatus;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtIoBinding;
struct OrtValue;
struct OrtMemoryInfo;
struct OrtTypeInfo;
struct OrtTensorTypeAndShapeInfo;
struct OrtAllocator;
struct OrtCudaProviderOptions;
struct OrtTensorRtProviderOptions;
struct OrtEpAssignedSubgraph;
struct OrtEpAssignedNode;

using LoggingFunction = void (*)(void* param, int severity, const char* category, const char* log_id,
                                 const char* code_location, const char* message);

// The oldest interface that is asked for, the one from which sessions tell in which memory their outputs come out, and
// the one from which they tell which node runs where.
constexpr std::uint32_t kOldestApi = 20;
constexpr std::uint32_t kOutputMemoryApi = 23;
constexpr std::uint32_t kAssignmentApi = 24;

enum class Slot : std::size_t {
  kGetErrorCode = 1,
  kGetErrorMessage = 2,
  kCreateEnvWithCustomLogger = 4,
  kCreateSession = 7,
  kCreateSessionOptions = 10,
  kSetOptimizedModelFilePath = 11,
  kSetSessionExecutionMode = 13,
  kEnableProfiling = 14,
  kSetSessionGraphOptimizationLevel = 23,
  kSetIntraOpNumThreads = 24,
  kSetInterOpNumThreads = 25,
  kSessionGetInputCount = 30,
  kSessionGetOutputCount = 31,
  kSessionGetInputTypeInfo = 33,
  kSessionGetOutputTypeInfo = 34,
  kSessionGetInputName = 36,
  kSessionGetOutputName = 37,
  kCreateRunOptions = 39,
  kCreateTensorWithDataAsOrtValue = 49,
  kIsTensor = 50,
  kGetTensorMutableData = 51,
  kCastTypeInfoToTensorInfo = 55,
  kGetTensorElementType = 60,
  kGetDimensionsCount = 61,
  kGetDimensions = 62,
  kGetSymbolicDimensions = 63,
  kGetTensorTypeAndShape = 65,
  kCreateMemoryInfo = 68,
  kCreateCpuMemoryInfo = 69,
  kAllocatorFree = 76,
  kGetAllocatorWithDefaultOptions = 78,
  kReleaseEnv = 92,
  kReleaseStatus = 93,
  kReleaseMemoryInfo = 94,
  kReleaseSession = 95,
  kReleaseValue = 96,
  kReleaseRunOptions = 97,
  kReleaseTypeInfo = 98,
  kReleaseTensorTypeAndShapeInfo = 99,
  kReleaseSessionOptions = 100,
  kSessionEndProfiling = 110,
  kGetAvailableProviders = 125,
  kReleaseAvailableProviders = 126,
  kAddSessionConfigEntry = 130,
  kRunWithBinding = 133,
  kCreateIoBinding = 134,
  kReleaseIoBinding = 135,
  kBindInput = 136,
  kBindOutput = 137,
  kBindOutputToDevice = 138,
  kGetBoundOutputValues = 140,
  kAddRunConfigEntry = 165,
  kAppendTensorRtV2 = 170,
  kCreateTensorRtProviderOptions = 171,
  kUpdateTensorRtProviderOptions = 172,
  kGetTensorRtProviderOptionsAsString = 173,
  kReleaseTensorRtProviderOptions = 174,
  kGetTensorMemoryInfo = 194,
  kAppendCudaV2 = 204,
  kCreateCudaProviderOptions = 205,
  kUpdateCudaProviderOptions = 206,
  kGetCudaProviderOptionsAsString = 207,
  kReleaseCudaProviderOptions = 208,
  kAppendExecutionProvider = 216,
  kMemoryInfoGetDeviceType = 225,
  kUpdateTensorRtProviderOptionsWithValue = 261,
  kUpdateCudaProviderOptionsWithValue = 263,
  kMemoryInfoGetDeviceMemType = 321,
  kSessionGetMemoryInfoForOutputs = 381,
  kSessionGetEpGraphAssignmentInfo = 407,
  kEpAssignedSubgraphGetEpName = 408,
  kEpAssignedSubgraphGetNodes = 409,
  kEpAssignedNodeGetName = 410,
  kEpAssignedNodeGetOperatorType = 412,
};

// What a failed call means depends on what was being done: the same code stands for a bad model while a session is made
// and for a failed run later.
enum class Doing { kLoading, kConfiguring, kRunning };

class Api {
 public:
  Api(const void* table, std::uint32_t version) : table_(static_cast<void* const*>(table)), version_(version) {}

  std::uint32_t version() const { return version_; }

  template <class Function>
  Function* at(Slot slot) const {
    return reinterpret_cast<Function*>(table_[static_cast<std::size_t>(slot)]);
  }

  // Calls a function that returns a status. The types are the caller's to state, as in call<OrtEnv*, int>(...): they
  // are the types of the C function's parameters.
  template <class... Parameters>
  void call(Doing doing, Slot slot, Parameters... parameters) const {
    check(doing, at<OrtStatus*(Parameters...)>(slot)(parameters...));
  }

  void check(Doing doing, OrtStatus* status) const {
    if (status != nullptr) [[unlikely]]
      fail(doing, status);
  }

  template <class Handle>
  void release(Slot slot, Handle* handle) const {
    at<void(Handle*)>(slot)(handle);
  }

 private:
  [[noreturn]] void fail(Doing doing, OrtStatus* status) const;

  void* const* table_;
  std::uint32_t version_;
};

}  // namespace pyperf::ort
