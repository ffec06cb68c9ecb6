// SPDX-License-Identifier: Apache-2.0
#include "ort/tensor.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace pyperf::ort {
namespace {

constexpr int kDeviceAllocator = 0;  // OrtAllocatorType
constexpr int kArenaAllocator = 1;
constexpr int kDefaultMemory = 0;        // OrtMemType
constexpr int kGpu = 1;                  // OrtMemoryInfoDeviceType
constexpr int kDefaultDeviceMemory = 0;  // OrtDeviceMemoryType; the other is page-locked memory of the host

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("?") : std::to_string(shape[i]));
  }
  return text + "]";
}

}  // namespace

std::size_t TensorFacts::bytes() const {
  std::size_t bytes = size_of(element_type);
  for (const auto dimension : shape) bytes *= static_cast<std::size_t>(dimension);
  return bytes;
}

const TensorInfo& find_input(const Session& session, const std::string& name) {
  const auto& inputs = session.inputs();
  const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const auto& input) { return input.name == name; });
  if (found != inputs.end()) return *found;
  std::string known;
  for (const auto& input : inputs) known += (known.empty() ? "" : ", ") + input.name;
  throw InputError("the model has no input '" + name + "'; it has " + (known.empty() ? "none" : known));
}

void check_fits(const TensorInfo& input, std::size_t bytes, const std::vector<std::int64_t>& shape) {
  if (!input.is_tensor) throw InputError("input '" + input.name + "' is no tensor, and only tensors can be bound");
  const std::size_t element_bytes = size_of(input.element_type);
  if (element_bytes == 0) {
    throw InputError("input '" + input.name + "' holds elements of type " + name_of(input.element_type) +
                     ", which cannot be bound");
  }
  bool fits = shape.size() == input.shape.size();
  std::size_t needed = element_bytes;
  for (std::size_t i = 0; fits && i < shape.size(); ++i) {
    fits = shape[i] >= 0 && (input.shape[i] < 0 || input.shape[i] == shape[i]);
    fits = fits && !__builtin_mul_overflow(needed, static_cast<std::size_t>(shape[i]), &needed);
  }
  if (!fits) {
    throw InputError("input '" + input.name + "' takes shape " + text_of(input.shape) + ", and " + text_of(shape) +
                     " was given");
  }
  if (bytes != needed) {
    throw InputError("input '" + input.name + "' of shape " + text_of(shape) + " and type " +
                     name_of(input.element_type) + " takes " + std::to_string(needed) + " bytes, and " +
                     std::to_string(bytes) + " were given");
  }
}

std::optional<TensorFacts> describe(const Api& api, const OrtValue* value) {
  int is_tensor = 0;
  api.call<const OrtValue*, int*>(Doing::kRunning, Slot::kIsTensor, value, &is_tensor);
  if (is_tensor == 0) return std::nullopt;
  Owned<OrtTensorTypeAndShapeInfo> info(api, Slot::kReleaseTensorTypeAndShapeInfo);
  api.call<const OrtValue*, OrtTensorTypeAndShapeInfo**>(Doing::kRunning, Slot::kGetTensorTypeAndShape, value,
                                                         info.out());
  TensorFacts facts;
  api.call<const OrtTensorTypeAndShapeInfo*, int*>(Doing::kRunning, Slot::kGetTensorElementType, info.get(),
                                                   &facts.element_type);
  if (size_of(facts.element_type) == 0) return std::nullopt;
  std::size_t rank = 0;
  api.call<const OrtTensorTypeAndShapeInfo*, std::size_t*>(Doing::kRunning, Slot::kGetDimensionsCount, info.get(),
                                                           &rank);
  facts.shape.resize(rank);
  api.call<const OrtTensorTypeAndShapeInfo*, std::int64_t*, std::size_t>(Doing::kRunning, Slot::kGetDimensions,
                                                                         info.get(), facts.shape.data(), rank);
  return facts;
}

void* data_of(const Api& api, OrtValue* value) {
  void* data = nullptr;
  api.call<OrtValue*, void**>(Doing::kRunning, Slot::kGetTensorMutableData, value, &data);
  return data;
}

bool is_device_memory(const Api& api, const OrtMemoryInfo* memory) {
  int device_type = 0;
  api.at<void(const OrtMemoryInfo*, int*)>(Slot::kMemoryInfoGetDeviceType)(memory, &device_type);
  if (device_type != kGpu || api.version() < kOutputMemoryApi) return device_type == kGpu;
  return api.at<int(const OrtMemoryInfo*)>(Slot::kMemoryInfoGetDeviceMemType)(memory) == kDefaultDeviceMemory;
}

bool is_on_device(const Api& api, const OrtValue* value) {
  const OrtMemoryInfo* memory = nullptr;  // the value's own
  api.call<const OrtValue*, const OrtMemoryInfo**>(Doing::kRunning, Slot::kGetTensorMemoryInfo, value, &memory);
  return is_device_memory(api, memory);
}

Owned<OrtMemoryInfo> host_memory(const Api& api) {
  Owned<OrtMemoryInfo> memory(api, Slot::kReleaseMemoryInfo);
  api.call<int, int, OrtMemoryInfo**>(Doing::kConfiguring, Slot::kCreateCpuMemoryInfo, kArenaAllocator, kDefaultMemory,
                                      memory.out());
  return memory;
}

Owned<OrtMemoryInfo> cuda_memory(const Api& api, int device) {
  Owned<OrtMemoryInfo> memory(api, Slot::kReleaseMemoryInfo);
  api.call<const char*, int, int, int, OrtMemoryInfo**>(Doing::kConfiguring, Slot::kCreateMemoryInfo, "Cuda",
                                                        kDeviceAllocator, device, kDefaultMemory, memory.out());
  return memory;
}

Owned<OrtValue> tensor_over(const Api& api, const OrtMemoryInfo* memory, void* data, std::size_t bytes,
                            const std::vector<std::int64_t>& shape, ElementType element_type) {
  Owned<OrtValue> value(api, Slot::kReleaseValue);
  api.call<const OrtMemoryInfo*, void*, std::size_t, const std::int64_t*, std::size_t, int, OrtValue**>(
      Doing::kConfiguring, Slot::kCreateTensorWithDataAsOrtValue, memory, data, bytes, shape.data(), shape.size(),
      element_type, value.out());
  return value;
}

}  // namespace pyperf::ort
