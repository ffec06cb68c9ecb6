// SPDX-License-Identifier: Apache-2.0
#include "world.hpp"

// libtorch's part, with the C types of its shim.h.
namespace fake_aoti {
namespace {

constexpr std::int32_t kSuccess = 0, kFailure = 1;

thread_local bool gradients = true;

}  // namespace

bool grad_mode() { return gradients; }

}  // namespace fake_aoti

using namespace fake_aoti;

FAKE_AOTI_API bool aoti_torch_grad_mode_is_enabled() { return gradients; }
FAKE_AOTI_API void aoti_torch_grad_mode_set_enabled(bool enabled) { gradients = enabled; }
FAKE_AOTI_API std::int32_t aoti_torch_device_type_cpu() { return kCpu; }
FAKE_AOTI_API std::int32_t aoti_torch_device_type_cuda() { return kCuda; }
FAKE_AOTI_API std::int32_t aoti_torch_layout_strided() { return kStrided; }

#define FAKE_DTYPE(name, index) \
  FAKE_AOTI_API std::int32_t aoti_torch_dtype_##name() { return kFirstDtype + index; }
FAKE_DTYPE(bool, 0)
FAKE_DTYPE(uint8, 1)
FAKE_DTYPE(int8, 2)
FAKE_DTYPE(uint16, 3)
FAKE_DTYPE(int16, 4)
FAKE_DTYPE(uint32, 5)
FAKE_DTYPE(int32, 6)
FAKE_DTYPE(uint64, 7)
FAKE_DTYPE(int64, 8)
FAKE_DTYPE(float16, 9)
FAKE_DTYPE(bfloat16, 10)
FAKE_DTYPE(float32, 11)
FAKE_DTYPE(float64, 12)
FAKE_DTYPE(complex64, 13)
FAKE_DTYPE(complex128, 14)

FAKE_AOTI_API std::int32_t aoti_torch_create_tensor_from_blob_v2(void* data, std::int64_t rank,
                                                                 const std::int64_t* sizes, const std::int64_t* strides,
                                                                 std::int64_t offset, std::int32_t dtype,
                                                                 std::int32_t device_type, std::int32_t, Handle** out,
                                                                 std::int32_t layout, const std::uint8_t*,
                                                                 std::int64_t) {
  if (!called("aoti_torch_create_tensor_from_blob_v2")) return kFailure;
  if (layout != kStrided || offset != 0) return kFailure;
  auto tensor = std::make_shared<Tensor>();
  tensor->data = static_cast<char*>(data);
  tensor->sizes.assign(sizes, sizes + rank);
  tensor->strides.assign(strides, strides + rank);
  tensor->dtype = dtype;
  tensor->device_type = device_type;
  *out = new_handle(std::move(tensor));
  return kSuccess;
}

FAKE_AOTI_API std::int32_t aoti_torch_new_tensor_handle(Handle* handle, Handle** out) {
  if (!called("aoti_torch_new_tensor_handle") || !knows(handle)) return kFailure;
  *out = new_handle(handle->tensor);
  return kSuccess;
}

FAKE_AOTI_API std::int32_t aoti_torch_delete_tensor_object(Handle* handle) {
  if (!called("aoti_torch_delete_tensor_object") || !knows(handle)) return kFailure;
  delete_handle(handle);
  return kSuccess;
}

#define FAKE_GETTER(name, Type, expression)                                     \
  FAKE_AOTI_API std::int32_t aoti_torch_get_##name(Handle* handle, Type* out) { \
    if (!knows(handle)) return kFailure;                                        \
    Tensor& tensor = *handle->tensor;                                           \
    *out = expression;                                                          \
    return kSuccess;                                                            \
  }
FAKE_GETTER(dim, std::int64_t, static_cast<std::int64_t>(tensor.sizes.size()))
FAKE_GETTER(sizes, std::int64_t*, tensor.sizes.data())
FAKE_GETTER(strides, std::int64_t*, tensor.strides.data())
FAKE_GETTER(dtype, std::int32_t, tensor.dtype)
FAKE_GETTER(device_type, std::int32_t, tensor.device_type)

FAKE_AOTI_API std::int32_t aoti_torch_get_numel(Handle* handle, std::int64_t* out) {
  if (!knows(handle)) return kFailure;
  *out = 1;
  for (const auto size : handle->tensor->sizes) *out *= size;
  return kSuccess;
}

FAKE_AOTI_API std::int32_t aoti_torch_get_data_ptr(Handle* handle, void** out) {
  if (!called("aoti_torch_get_data_ptr") || !knows(handle)) return kFailure;
  *out = handle->tensor->data;
  return kSuccess;
}
