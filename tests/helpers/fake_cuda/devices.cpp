// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>
#include <cstring>

#include "call.hpp"

namespace fake_cuda {
namespace {

bool is_device(const World& world, CUdevice device) { return device >= 0 && device < world.settings.device_count; }

// A driver function about one device, whose result goes to `out`.
template <class Body>
CUresult ask_device(const char* function, const void* out, CUdevice device, Body body) {
  return call(function, Needs::kInit, [&](World& world, Lock&) {
    if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
    return is_device(world, device) ? body(world) : CUDA_ERROR_INVALID_DEVICE;
  });
}

auto primary_context(World& world, CUdevice device) {
  return std::find_if(world.contexts.begin(), world.contexts.end(),
                      [&](const auto& entry) { return entry.second.device == device; });
}

}  // namespace

std::map<int, int> default_attributes(int device) {
  return {
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1'024},
      {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
      {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1'980'000},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 132},
      {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
      {CU_DEVICE_ATTRIBUTE_ECC_ENABLED, 1},
      {CU_DEVICE_ATTRIBUTE_PCI_BUS_ID, device + 1},
      {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 2'619'000},
      {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5'120},
      {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 50 << 20},
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2'048},
      {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 3},
      {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
      // Not so CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1: it is of the interface before CUDA 12.
      {CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 1},
      {CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR, 1},
  };
}

CUresult init(unsigned int flags) {
  return call("cuInit", Needs::kLoaded, [&](World& world, Lock&) {
    if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
    if (world.settings.device_count == 0) return CUDA_ERROR_NO_DEVICE;
    world.initialised = true;
    return CUDA_SUCCESS;
  });
}

CUresult driver_get_version(int* version) {
  return call("cuDriverGetVersion", Needs::kNothing, [&](World& world, Lock&) {
    if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *version = world.settings.driver_version;
    return CUDA_SUCCESS;
  });
}

CUresult device_get_count(int* count) {
  return call("cuDeviceGetCount", Needs::kInit, [&](World& world, Lock&) {
    if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *count = world.settings.device_count;
    return CUDA_SUCCESS;
  });
}

CUresult device_get(CUdevice* device, int ordinal) {
  return ask_device("cuDeviceGet", device, ordinal, [&](World&) {
    *device = ordinal;
    return CUDA_SUCCESS;
  });
}

CUresult device_get_name(char* name, int length, CUdevice device) {
  return ask_device("cuDeviceGetName", name, device, [&](World& world) {
    if (length <= 0) return CUDA_ERROR_INVALID_VALUE;
    std::snprintf(name, static_cast<std::size_t>(length), "%s", world.devices[device].name.c_str());
    return CUDA_SUCCESS;
  });
}

CUresult device_get_uuid(CUuuid* uuid, CUdevice device) {
  return ask_device("cuDeviceGetUuid", uuid, device, [&](World&) {
    std::memset(uuid->bytes, 0xf0 + device, sizeof uuid->bytes);
    return CUDA_SUCCESS;
  });
}

CUresult device_get_pci_bus_id(char* id, int length, CUdevice device) {
  return ask_device("cuDeviceGetPCIBusId", id, device, [&](World& world) {
    constexpr int kNeeded = sizeof "0000:01:00.0";
    if (length < kNeeded) return CUDA_ERROR_INVALID_VALUE;
    const int bus = world.devices[device].attributes[CU_DEVICE_ATTRIBUTE_PCI_BUS_ID];
    std::snprintf(id, static_cast<std::size_t>(length), "0000:%02X:00.0", static_cast<unsigned>(bus) & 0xffU);
    return CUDA_SUCCESS;
  });
}

CUresult device_get_attribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  return ask_device("cuDeviceGetAttribute", value, device, [&](World& world) {
    const int which = attribute;
    if (which <= 0 || which >= CU_DEVICE_ATTRIBUTE_MAX) return CUDA_ERROR_INVALID_VALUE;
    const auto& known = world.devices[device].attributes;
    const auto found = known.find(which);
    *value = found == known.end() ? 0 : found->second;
    return CUDA_SUCCESS;
  });
}

CUresult device_total_mem(std::size_t* bytes, CUdevice device) {
  return ask_device("cuDeviceTotalMem", bytes, device, [&](World& world) {
    *bytes = world.devices[device].bytes;
    return CUDA_SUCCESS;
  });
}

CUresult device_primary_ctx_retain(CUcontext* context, CUdevice device) {
  return ask_device("cuDevicePrimaryCtxRetain", context, device, [&](World& world) {
    auto primary = primary_context(world, device);
    if (primary == world.contexts.end()) {
      const Handle handle = world.new_handle();
      primary = world.contexts.emplace(handle, Context{device}).first;
      primary->second.default_stream = world.add_stream(handle);
    }
    ++primary->second.retains;
    *context = as<CUcontext>(primary->first);
    return CUDA_SUCCESS;
  });
}

CUresult device_primary_ctx_release(CUdevice device) {
  const auto body = [&](World& world, Lock&) {
    if (!is_device(world, device)) return CUDA_ERROR_INVALID_DEVICE;
    const auto primary = primary_context(world, device);
    if (primary == world.contexts.end()) return CUDA_ERROR_INVALID_CONTEXT;
    if (--primary->second.retains == 0) world.destroy_context(primary->first);
    return CUDA_SUCCESS;
  };
  return call("cuDevicePrimaryCtxRelease", Needs::kInit, body, OnFault::kReleaseAllTheSame);
}

CUresult ctx_push_current(CUcontext context) {
  return call("cuCtxPushCurrent", Needs::kInit, [&](World& world, Lock&) {
    if (!world.is_alive(handle_of(context))) return CUDA_ERROR_INVALID_CONTEXT;
    world.context_stack().push_back(handle_of(context));
    return CUDA_SUCCESS;
  });
}

CUresult ctx_pop_current(CUcontext* context) {
  const auto body = [&](World& world, Lock&) {
    auto& stack = world.context_stack();
    if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
    if (context != nullptr) *context = as<CUcontext>(stack.back());
    stack.pop_back();
    return CUDA_SUCCESS;
  };
  return call("cuCtxPopCurrent", Needs::kInit, body, OnFault::kReleaseAllTheSame);
}

CUresult ctx_get_current(CUcontext* context) {
  return call("cuCtxGetCurrent", Needs::kInit, [&](World& world, Lock&) {
    if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
    const auto& stack = world.context_stack();
    *context = stack.empty() ? nullptr : as<CUcontext>(stack.back());
    return CUDA_SUCCESS;
  });
}

CUresult ctx_synchronize() {
  return call("cuCtxSynchronize", Needs::kContext,
              [](World& world, Lock& lock) { return world.wait(lock, world.all_queued(current_context(world))); });
}

CUresult profiler_start() {
  return call("cuProfilerStart", Needs::kContext, [](World&, Lock&) { return CUDA_SUCCESS; });
}

CUresult profiler_stop() {
  return call("cuProfilerStop", Needs::kContext, [](World&, Lock&) { return CUDA_SUCCESS; });
}

}  // namespace fake_cuda
