// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "world.hpp"

namespace fake_cuda {

enum class Needs {
  kNothing,  // works in any state of driver and device
  kLoaded,   // before cuInit, but not with a lost device
  kInit,     // after cuInit
  kWorking,  // and the context that it reaches by a handle has no sticky error
  kContext,  // and a context is current
};

enum class OnFault { kDoNothing, kReleaseAllTheSame };

// Begins a call: it takes its time, is counted and logged. Returns what it fails with by injection or by state.
CUresult begin_call(World& world, const char* function, Needs needs);
CUresult missing(World& world, Needs needs);

// The frame of every driver function: `body(world, lock)` does what is its own.
template <class Body>
CUresult call(const char* function, Needs needs, Body body, OnFault on_fault = OnFault::kDoNothing) {
  World& all = world();
  Lock lock(all.mutex);
  const CUresult fault = begin_call(all, function, needs);
  if (fault != CUDA_SUCCESS && on_fault == OnFault::kDoNothing) return fault;
  CUresult result = missing(all, needs);
  if (result == CUDA_SUCCESS) result = body(all, lock);
  return fault != CUDA_SUCCESS ? fault : result;
}

// For a call's body that queues on a stream: its handle's, the current context's default one for 0, 1 and 2.
CUresult find_stream(World& world, CUstream handle, std::shared_ptr<Stream>& found);
CUresult find_event(World& world, CUevent handle, std::shared_ptr<Event>& found);

template <class T>
Handle handle_of(T* object) {
  return reinterpret_cast<Handle>(object);
}

template <class T>
T as(Handle handle) {
  return reinterpret_cast<T>(handle);
}

inline Handle current_context(World& world) { return world.context_stack().back(); }

// How long that many bytes take.
std::int64_t duration_ns(std::size_t bytes, double bytes_per_s);

// The functions, each the implementation of the driver's of that name.
CUresult init(unsigned int flags);
CUresult driver_get_version(int* version);
CUresult device_get_count(int* count);
CUresult device_get(CUdevice* device, int ordinal);
CUresult device_get_name(char* name, int length, CUdevice device);
CUresult device_get_uuid(CUuuid* uuid, CUdevice device);
CUresult device_get_pci_bus_id(char* id, int length, CUdevice device);
CUresult device_get_attribute(int* value, CUdevice_attribute attribute, CUdevice device);
CUresult device_total_mem(std::size_t* bytes, CUdevice device);
CUresult device_primary_ctx_retain(CUcontext* context, CUdevice device);
CUresult device_primary_ctx_release(CUdevice device);
CUresult ctx_push_current(CUcontext context);
CUresult ctx_pop_current(CUcontext* context);
CUresult ctx_get_current(CUcontext* context);
CUresult ctx_synchronize();
CUresult stream_create(CUstream* stream, unsigned int flags);
CUresult stream_destroy(CUstream stream);
CUresult stream_synchronize(CUstream stream);
CUresult stream_query(CUstream stream);
CUresult stream_get_ctx(CUstream stream, CUcontext* context);
CUresult stream_wait_value32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned int flags);
CUresult graph_launch(CUgraphExec graph, CUstream stream);
CUresult event_create(CUevent* event, unsigned int flags);
CUresult event_destroy(CUevent event);
CUresult event_record(CUevent event, CUstream stream);
CUresult event_query(CUevent event);
CUresult event_synchronize(CUevent event);
CUresult event_elapsed_time(float* ms, CUevent start, CUevent end);
CUresult mem_alloc(CUdeviceptr* address, std::size_t bytes);
CUresult mem_free(CUdeviceptr address);
CUresult mem_host_alloc(void** memory, std::size_t bytes, unsigned int flags);
CUresult mem_free_host(void* memory);
CUresult mem_host_get_device_pointer(CUdeviceptr* address, void* memory, unsigned int flags);
CUresult mem_get_info(std::size_t* free, std::size_t* total);
CUresult memcpy_htod(CUdeviceptr to, const void* from, std::size_t bytes);
CUresult memcpy_dtoh(void* to, CUdeviceptr from, std::size_t bytes);
CUresult memcpy_htod_async(CUdeviceptr to, const void* from, std::size_t bytes, CUstream stream);
CUresult memcpy_dtoh_async(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream);
CUresult memset_d32_async(CUdeviceptr to, unsigned int word, std::size_t words, CUstream stream);
CUresult get_error_name(CUresult error, const char** name);
CUresult get_error_string(CUresult error, const char** text);
CUresult profiler_start();
CUresult profiler_stop();

}  // namespace fake_cuda
