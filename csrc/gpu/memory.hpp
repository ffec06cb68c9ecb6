// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "gpu/context.hpp"

namespace pyperf::gpu {

// Memory of a GPU. Frees itself unless the device is lost.
class DeviceBuffer {
 public:
  // Throws OutOfMemoryError, with what was asked for and what is free. Of 0 bytes is a buffer without memory.
  DeviceBuffer(std::shared_ptr<Context> context, std::size_t bytes);
  ~DeviceBuffer();
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  CUdeviceptr address() const { return address_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::shared_ptr<Context> context_;
  std::size_t bytes_;
  CUdeviceptr address_ = 0;
};

// Copies from a GPU's memory and returns when that is done; what a stream still writes there is not waited for.
void copy_to_host(const Context& context, void* to, CUdeviceptr from, std::size_t bytes);

// Page-locked memory of the host, which the GPU can reach itself and which transfers run at full speed with.
class PinnedBuffer {
 public:
  PinnedBuffer(std::shared_ptr<Context> context, std::size_t bytes);
  ~PinnedBuffer();
  PinnedBuffer(const PinnedBuffer&) = delete;
  PinnedBuffer& operator=(const PinnedBuffer&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  CUdeviceptr device_address() const;

 private:
  std::shared_ptr<Context> context_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

}  // namespace pyperf::gpu
