// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "aoti/libtorch.hpp"

namespace pyperf::aoti {

// Memory of somebody else's that holds a tensor. Shape and strides are in elements.
struct Blob {
  void* data = nullptr;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::string dtype;
  std::optional<int> device_index;  // of a GPU; none: the host's memory
  std::shared_ptr<void> keep;       // what owns the memory
};

// Throws InputError where the parts contradict one another.
void check(const Blob& blob);

// From the first element to the end of the last that the strides reach. Throws InputError for what memory cannot hold.
std::size_t span_bytes(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides,
                       std::size_t element_bytes);
std::size_t span_bytes(const Blob& blob);

// A tensor object of libtorch's that is deleted when this goes.
class Tensor {
 public:
  // Over the blob's memory, which is kept; no other handle to the tensor may be used when this is gone.
  Tensor(const Libtorch& torch, const Blob& blob);
  ~Tensor() {
    if (handle_ != nullptr) torch_->delete_tensor_object(handle_);
  }
  Tensor(Tensor&& other) noexcept
      : torch_(other.torch_), keep_(std::move(other.keep_)), handle_(std::exchange(other.handle_, nullptr)) {}
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  Tensor& operator=(Tensor&&) = delete;

  TensorHandle handle() const { return handle_; }

  // From now on nobody deletes it.
  void abandon() { handle_ = nullptr; }

 private:
  const Libtorch* torch_;
  std::shared_ptr<void> keep_;
  TensorHandle handle_ = nullptr;
};

// What a run gave. `data` is of the first element and good for as long as the handle.
struct OutputFacts {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  const void* data = nullptr;
  bool on_device = false;
  std::size_t bytes = 0;  // of the span
};

// Throws MeasurementError for an output that is null or whose elements have no name in dtypes().
OutputFacts describe(const Libtorch& torch, TensorHandle handle, const std::string& name);

// The same with the bytes of the span, in the host's memory.
struct OutputCopy {
  OutputFacts facts;
  std::vector<std::byte> bytes;
};

}  // namespace pyperf::aoti
