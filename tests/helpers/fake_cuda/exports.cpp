// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <string>

#include "call.hpp"
#include "fake_cuda.h"

// cuda.h makes it cuGetProcAddress_v2, the one driver function that is found by name in the library.
extern "C" __attribute__((visibility("default"))) CUresult cuGetProcAddress(const char* symbol, void** function,
                                                                            int cuda_version, cuuint64_t flags,
                                                                            CUdriverProcAddressQueryResult* status);

// cudaProfiler.h is not among the headers that cuda.h comes with.
extern "C" {
CUresult cuProfilerStart();
CUresult cuProfilerStop();
}

namespace fake_cuda {
namespace {

template <class Function>
void* address_of(Function function) {
  return reinterpret_cast<void*>(function);
}

// The type is checked against cuda.h's, and the name is the one that is asked for, without cuda.h's suffixes.
#define FAKE_FUNCTION(name, function) {#name, address_of<decltype(&::name)>(function)}
const std::map<std::string, void*>& functions() {
  static const std::map<std::string, void*> all{
      FAKE_FUNCTION(cuInit, init),
      FAKE_FUNCTION(cuDriverGetVersion, driver_get_version),
      FAKE_FUNCTION(cuDeviceGetCount, device_get_count),
      FAKE_FUNCTION(cuDeviceGet, device_get),
      FAKE_FUNCTION(cuDeviceGetName, device_get_name),
      FAKE_FUNCTION(cuDeviceGetUuid, device_get_uuid),
      FAKE_FUNCTION(cuDeviceGetPCIBusId, device_get_pci_bus_id),
      FAKE_FUNCTION(cuDeviceGetAttribute, device_get_attribute),
      FAKE_FUNCTION(cuDeviceTotalMem, device_total_mem),
      FAKE_FUNCTION(cuDevicePrimaryCtxRetain, device_primary_ctx_retain),
      FAKE_FUNCTION(cuDevicePrimaryCtxRelease, device_primary_ctx_release),
      FAKE_FUNCTION(cuCtxPushCurrent, ctx_push_current),
      FAKE_FUNCTION(cuCtxPopCurrent, ctx_pop_current),
      FAKE_FUNCTION(cuCtxGetCurrent, ctx_get_current),
      FAKE_FUNCTION(cuCtxSynchronize, ctx_synchronize),
      FAKE_FUNCTION(cuStreamCreate, stream_create),
      FAKE_FUNCTION(cuStreamDestroy, stream_destroy),
      FAKE_FUNCTION(cuStreamSynchronize, stream_synchronize),
      FAKE_FUNCTION(cuStreamQuery, stream_query),
      FAKE_FUNCTION(cuStreamGetCtx, stream_get_ctx),
      FAKE_FUNCTION(cuStreamWaitValue32, stream_wait_value32),
      FAKE_FUNCTION(cuGraphLaunch, graph_launch),
      FAKE_FUNCTION(cuEventCreate, event_create),
      FAKE_FUNCTION(cuEventDestroy, event_destroy),
      FAKE_FUNCTION(cuEventRecord, event_record),
      FAKE_FUNCTION(cuEventQuery, event_query),
      FAKE_FUNCTION(cuEventSynchronize, event_synchronize),
      FAKE_FUNCTION(cuEventElapsedTime, event_elapsed_time),
      FAKE_FUNCTION(cuMemAlloc, mem_alloc),
      FAKE_FUNCTION(cuMemFree, mem_free),
      FAKE_FUNCTION(cuMemHostAlloc, mem_host_alloc),
      FAKE_FUNCTION(cuMemFreeHost, mem_free_host),
      FAKE_FUNCTION(cuMemHostGetDevicePointer, mem_host_get_device_pointer),
      FAKE_FUNCTION(cuMemGetInfo, mem_get_info),
      FAKE_FUNCTION(cuMemcpyHtoD, memcpy_htod),
      FAKE_FUNCTION(cuMemcpyDtoH, memcpy_dtoh),
      FAKE_FUNCTION(cuMemcpyHtoDAsync, memcpy_htod_async),
      FAKE_FUNCTION(cuMemcpyDtoHAsync, memcpy_dtoh_async),
      FAKE_FUNCTION(cuMemsetD32Async, memset_d32_async),
      FAKE_FUNCTION(cuGetErrorName, get_error_name),
      FAKE_FUNCTION(cuGetErrorString, get_error_string),
      FAKE_FUNCTION(cuProfilerStart, profiler_start),
      FAKE_FUNCTION(cuProfilerStop, profiler_stop),
  };
  return all;
}
#undef FAKE_FUNCTION

}  // namespace
}  // namespace fake_cuda

CUresult cuGetProcAddress(const char* symbol, void** function, int cuda_version, cuuint64_t,
                          CUdriverProcAddressQueryResult* status) {
  using namespace fake_cuda;
  return call("cuGetProcAddress", Needs::kNothing, [&](World& world, Lock&) {
    if (symbol == nullptr || function == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (cuda_version > world.settings.driver_version) return CUDA_ERROR_INVALID_VALUE;
    const auto found = functions().find(symbol);
    const bool known = found != functions().end() && !world.settings.hidden.contains(symbol);
    *function = known ? found->second : nullptr;
    if (status != nullptr) *status = known ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return known ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
  });
}
