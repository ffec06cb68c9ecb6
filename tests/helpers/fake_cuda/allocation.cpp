// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "call.hpp"

namespace fake_cuda {
namespace {

std::size_t free_bytes(const World& world, int device) {
  const std::size_t limit = world.settings.memory_limit;
  const std::size_t all = world.devices[device].bytes;
  const std::size_t usable = limit == 0 ? all : std::min(all, limit);
  const std::size_t used = world.memory.device_bytes(device);
  return usable > used ? usable - used : 0;
}

int current_device(World& world) { return world.contexts.at(current_context(world)).device; }

// A free waits for what may still use the memory. What it returns is the error that this work ended with.
CUresult wait_before_free(World& world, Lock& lock, Handle context) {
  return world.settings.free_waits ? world.wait(lock, world.all_queued(context)) : CUDA_SUCCESS;
}

}  // namespace

CUresult mem_alloc(CUdeviceptr* address, std::size_t bytes) {
  return call("cuMemAlloc", Needs::kContext, [&](World& world, Lock&) {
    if (address == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
    const int device = current_device(world);
    if (bytes > free_bytes(world, device)) return CUDA_ERROR_OUT_OF_MEMORY;
    *address = world.memory.add(std::make_shared<DeviceBlock>(bytes, device, current_context(world)));
    return CUDA_SUCCESS;
  });
}

CUresult mem_free(CUdeviceptr address) {
  const auto body = [&](World& world, Lock& lock) {
    if (address == 0) return CUDA_SUCCESS;
    const auto block = world.memory.device(address, 0);
    if (!block || block.offset != 0) return CUDA_ERROR_INVALID_VALUE;
    if (!world.is_alive(block.block->context)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    const CUresult result = wait_before_free(world, lock, block.block->context);
    world.memory.remove_device(address);
    return result;
  };
  return call("cuMemFree", Needs::kContext, body, OnFault::kReleaseAllTheSame);
}

CUresult mem_host_alloc(void** memory, std::size_t bytes, unsigned int flags) {
  return call("cuMemHostAlloc", Needs::kContext, [&](World& world, Lock&) {
    constexpr unsigned int kKnown =
        CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP | CU_MEMHOSTALLOC_WRITECOMBINED;
    if (memory == nullptr || bytes == 0 || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
    *memory = world.memory.add(std::make_shared<HostBlock>(bytes, current_context(world)));
    return CUDA_SUCCESS;
  });
}

CUresult mem_free_host(void* memory) {
  const auto body = [&](World& world, Lock& lock) {
    if (memory == nullptr) return CUDA_SUCCESS;
    const auto block = world.memory.host(reinterpret_cast<std::uint64_t>(memory), 0);
    if (!block || block.offset != 0) return CUDA_ERROR_INVALID_VALUE;
    if (!world.is_alive(block.block->context)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    const CUresult result = wait_before_free(world, lock, 0);  // any device may use it
    world.memory.remove_host(memory);
    return result;
  };
  return call("cuMemFreeHost", Needs::kContext, body, OnFault::kReleaseAllTheSame);
}

CUresult mem_host_get_device_pointer(CUdeviceptr* address, void* memory, unsigned int flags) {
  return call("cuMemHostGetDevicePointer", Needs::kContext, [&](World& world, Lock&) {
    const auto host = reinterpret_cast<std::uint64_t>(memory);
    if (address == nullptr || flags != 0 || !world.memory.host(host, 1)) return CUDA_ERROR_INVALID_VALUE;
    *address = host;  // unified addressing
    return CUDA_SUCCESS;
  });
}

CUresult mem_get_info(std::size_t* free, std::size_t* total) {
  return call("cuMemGetInfo", Needs::kContext, [&](World& world, Lock&) {
    if (free == nullptr || total == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const int device = current_device(world);
    *free = free_bytes(world, device);
    *total = world.devices[device].bytes;
    return CUDA_SUCCESS;
  });
}

}  // namespace fake_cuda
