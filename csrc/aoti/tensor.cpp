// SPDX-License-Identifier: Apache-2.0
#include "aoti/tensor.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace pyperf::aoti {
namespace {

const Dtype& dtype_named(const std::string& name) {
  const auto all = dtypes();
  const auto found = std::find_if(all.begin(), all.end(), [&](const Dtype& dtype) { return name == dtype.name; });
  if (found == all.end()) throw InputError("a tensor of type '" + name + "' cannot be bound");
  return *found;
}

}  // namespace

void check(const Blob& blob) {
  if (blob.shape.size() != blob.strides.size()) {
    throw InputError("a tensor of " + std::to_string(blob.shape.size()) + " dimensions has as many strides, and " +
                     std::to_string(blob.strides.size()) + " were given");
  }
  for (const auto& numbers : {blob.shape, blob.strides}) {
    if (std::any_of(numbers.begin(), numbers.end(), [](std::int64_t number) { return number < 0; })) {
      throw InputError("a shape or a stride is negative");
    }
  }
  if (blob.device_index && *blob.device_index < 0) throw InputError("the number of a GPU is negative");
  if (span_bytes(blob) > 0 && blob.data == nullptr) throw InputError("a tensor that is not empty lies at address 0");
}

std::size_t span_bytes(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                       std::size_t element_bytes) {
  std::size_t last = 0;
  bool overflows = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return 0;
    std::size_t reach = 0;
    overflows |=
        __builtin_mul_overflow(static_cast<std::size_t>(shape[i] - 1), static_cast<std::size_t>(strides[i]), &reach) ||
        __builtin_add_overflow(last, reach, &last);
  }
  std::size_t bytes = 0;
  if (overflows || __builtin_mul_overflow(last + 1, element_bytes, &bytes)) {
    throw InputError("a tensor reaches further than memory can");
  }
  return bytes;
}

std::size_t span_bytes(const Blob& blob) { return span_bytes(blob.shape, blob.strides, dtype_named(blob.dtype).bytes); }

Tensor::Tensor(const Libtorch& torch, const Blob& blob) : torch_(&torch), keep_(blob.keep) {
  const std::int32_t device_type = blob.device_index ? torch.device_type_cuda() : torch.device_type_cpu();
  PYPERF_SHIM(torch,
              create_tensor_from_blob_v2(blob.data, static_cast<std::int64_t>(blob.shape.size()), blob.shape.data(),
                                         blob.strides.data(), 0, torch.number_of(blob.dtype), device_type,
                                         blob.device_index.value_or(0), &handle_, torch.layout_strided(), nullptr, 0));
}

OutputFacts describe(const Libtorch& torch, TensorHandle handle, const std::string& name) {
  if (handle == nullptr) throw MeasurementError("output '" + name + "' of the compiled model is no tensor");
  OutputFacts facts;
  facts.name = name;
  std::int64_t rank = 0;
  std::int64_t* sizes = nullptr;  // borrowed, as the strides
  std::int64_t* strides = nullptr;
  std::int32_t dtype = 0;
  std::int32_t device_type = 0;
  void* data = nullptr;
  PYPERF_SHIM(torch, get_dim(handle, &rank));
  PYPERF_SHIM(torch, get_sizes(handle, &sizes));
  PYPERF_SHIM(torch, get_strides(handle, &strides));
  PYPERF_SHIM(torch, get_dtype(handle, &dtype));
  PYPERF_SHIM(torch, get_device_type(handle, &device_type));
  PYPERF_SHIM(torch, get_data_ptr(handle, &data));
  const Dtype* known = torch.dtype_of(dtype);
  if (known == nullptr) {
    throw MeasurementError("output '" + name + "' of the compiled model has elements of a type that cannot be read (" +
                           "number " + std::to_string(dtype) + " of libtorch's)");
  }
  facts.dtype = known->name;
  facts.shape.assign(sizes, sizes + rank);
  facts.strides.assign(strides, strides + rank);
  facts.data = data;
  facts.on_device = device_type != torch.device_type_cpu();
  facts.bytes = span_bytes(facts.shape, facts.strides, known->bytes);
  return facts;
}

}  // namespace pyperf::aoti
