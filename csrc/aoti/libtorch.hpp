// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "aoti/dtype.hpp"

// libtorch's C shim, which compiled models themselves call: the part that this project needs, found by name in the
// library that `import torch` has loaded. Nothing of torch is there at build time. Names, order and types are those of
// torch/csrc/inductor/aoti_torch/c/shim.h, whose functions keep their meaning from one release to the next.
namespace pyperf::aoti {

struct TensorObject;
using TensorHandle = TensorObject*;
using Code = std::int32_t;  // 0: success

// The name without aoti_torch_, the result, the parameters.
#define PYPERF_SHIM_FUNCTIONS(X)                                                                                   \
  X(grad_mode_is_enabled, bool)                                                                                    \
  X(grad_mode_set_enabled, void, bool)                                                                             \
  X(device_type_cpu, std::int32_t)                                                                                 \
  X(device_type_cuda, std::int32_t)                                                                                \
  X(layout_strided, std::int32_t)                                                                                  \
  X(create_tensor_from_blob_v2, Code, void*, std::int64_t, const std::int64_t*, const std::int64_t*, std::int64_t, \
    std::int32_t, std::int32_t, std::int32_t, TensorHandle*, std::int32_t, const std::uint8_t*, std::int64_t)      \
  X(new_tensor_handle, Code, TensorHandle, TensorHandle*)                                                          \
  X(delete_tensor_object, Code, TensorHandle)                                                                      \
  X(get_data_ptr, Code, TensorHandle, void**)                                                                      \
  X(get_numel, Code, TensorHandle, std::int64_t*)                                                                  \
  X(get_dim, Code, TensorHandle, std::int64_t*)                                                                    \
  X(get_sizes, Code, TensorHandle, std::int64_t**)                                                                 \
  X(get_strides, Code, TensorHandle, std::int64_t**)                                                               \
  X(get_dtype, Code, TensorHandle, std::int32_t*)                                                                  \
  X(get_device_type, Code, TensorHandle, std::int32_t*)

class Libtorch {
 public:
  // One object a path, never unloaded. Throws BackendError where the process has not loaded that library, or where it
  // lacks a function, which is named.
  static const Libtorch& loaded(const std::string& path);

  Libtorch(const Libtorch&) = delete;
  Libtorch& operator=(const Libtorch&) = delete;

#define PYPERF_DECLARE(name, Result, ...) Result (*name)(__VA_ARGS__) = nullptr;
  PYPERF_SHIM_FUNCTIONS(PYPERF_DECLARE)
#undef PYPERF_DECLARE

  // Every code goes through here; see PYPERF_SHIM. `call` is the call as a literal.
  void check(Code code, const char* call) const {
    if (code != 0) [[unlikely]]
      fail(call);
  }

  // libtorch's number of a dtype; throws InputError for a name that dtypes() has not.
  std::int32_t number_of(const std::string& dtype) const;

  // The dtype of a number, or null for one that dtypes() has not.
  const Dtype* dtype_of(std::int32_t number) const;

 private:
  explicit Libtorch(const std::string& path);
  [[noreturn]] void fail(const char* call) const;

  std::vector<std::int32_t> numbers_;  // of dtypes(), in its order
};

// Calls a function of the shim and checks its code, with the call's own text for the message:
// PYPERF_SHIM(torch, get_dim(handle, &rank)).
#define PYPERF_SHIM(torch, ...) (torch).check((torch).__VA_ARGS__, "aoti_torch_" #__VA_ARGS__)

// libtorch's gradient mode of this thread is off for as long as this lives, as under torch.no_grad(). Inference mode,
// which saves more, has no C function: a thread that is in it, by torch.inference_mode(), stays so.
class GradModeOff {
 public:
  explicit GradModeOff(const Libtorch& torch) : torch_(torch), was_on_(torch.grad_mode_is_enabled()) {
    torch_.grad_mode_set_enabled(false);
  }
  ~GradModeOff() { torch_.grad_mode_set_enabled(was_on_); }
  GradModeOff(const GradModeOff&) = delete;
  GradModeOff& operator=(const GradModeOff&) = delete;

 private:
  const Libtorch& torch_;
  bool was_on_;
};

}  // namespace pyperf::aoti
