// SPDX-License-Identifier: Apache-2.0
#include "gpu/memory.hpp"

#include <utility>

namespace pyperf::gpu {

DeviceBuffer::DeviceBuffer(std::shared_ptr<Context> context, std::size_t bytes)
    : context_(std::move(context)), bytes_(bytes) {
  if (bytes_ == 0) return;
  const Context::Current current(*context_);
  const CUresult result = context_->driver().cuMemAlloc(&address_, bytes_);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    throw OutOfMemoryError("the GPU is out of memory: cuMemAlloc failed: " + context_->driver().describe(result) +
                           ". " + std::to_string(bytes_) + " bytes were asked for, and " +
                           std::to_string(context_->free_memory_bytes()) + " are free on " + context_->facts().name);
  }
  context_->check(result, "cuMemAlloc");
}

DeviceBuffer::~DeviceBuffer() {
  if (address_ == 0) return;
  context_->release([this](const Driver& driver) { driver.cuMemFree(address_); });
}

void copy_to_host(const Context& context, void* to, CUdeviceptr from, std::size_t bytes) {
  if (bytes == 0) return;
  const Context::Current current(context);
  PYPERF_CUDA(context, cuMemcpyDtoH(to, from, bytes));
}

PinnedBuffer::PinnedBuffer(std::shared_ptr<Context> context, std::size_t bytes)
    : context_(std::move(context)), bytes_(bytes) {
  if (bytes_ == 0) return;
  const Context::Current current(*context_);
  const unsigned flags = CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP;
  const CUresult result = context_->driver().cuMemHostAlloc(&data_, bytes_, flags);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {  // the host's, not the GPU's
    throw OutOfMemoryError(
        "no room for " + std::to_string(bytes_) +
        " bytes of page-locked memory: cuMemHostAlloc failed: " + context_->driver().describe(result));
  }
  context_->check(result, "cuMemHostAlloc");
}

PinnedBuffer::~PinnedBuffer() {
  if (data_ == nullptr) return;
  context_->release([this](const Driver& driver) { driver.cuMemFreeHost(data_); });
}

CUdeviceptr PinnedBuffer::device_address() const {
  const Context::Current current(*context_);
  CUdeviceptr address = 0;
  PYPERF_CUDA(*context_, cuMemHostGetDevicePointer(&address, data_, 0));
  return address;
}

}  // namespace pyperf::gpu
