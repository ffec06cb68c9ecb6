// SPDX-License-Identifier: Apache-2.0
#include "call.hpp"

#include <cmath>

namespace fake_cuda {
namespace {

// The faults that wait for this function come one call nearer; the first that is reached is the call's.
CUresult injected(World& world, const char* function) {
  CUresult result = CUDA_SUCCESS;
  for (auto& fault : world.faults) {
    if (fault.function != function || --fault.nth_call > 0 || result != CUDA_SUCCESS) continue;
    result = fault.result;
    if (fault.lasting) world.sticky = fault.result;
  }
  std::erase_if(world.faults, [](const Fault& fault) { return fault.nth_call <= 0; });
  return result;
}

}  // namespace

CUresult begin_call(World& world, const char* function, Needs needs) {
  ++world.calls[function];
  if (world.logs) world.log.append(function).append("\n");
  const auto own_cost = world.settings.cost_of_ns.find(function);
  world.advance(own_cost == world.settings.cost_of_ns.end() ? world.settings.call_cost_ns : own_cost->second);
  if (needs == Needs::kNothing) return injected(world, function);
  if (world.lost) return CUDA_ERROR_DEVICE_UNAVAILABLE;
  if (world.sticky != CUDA_SUCCESS && needs >= Needs::kWorking) return world.sticky;
  return injected(world, function);
}

CUresult missing(World& world, Needs needs) {
  if (needs < Needs::kInit) return CUDA_SUCCESS;
  if (!world.initialised) return CUDA_ERROR_NOT_INITIALIZED;
  if (needs < Needs::kContext) return CUDA_SUCCESS;
  const auto& stack = world.context_stack();
  if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  return world.is_alive(stack.back()) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult find_stream(World& world, CUstream handle, std::shared_ptr<Stream>& found) {
  if (handle == nullptr || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) {
    found = world.contexts.at(current_context(world)).default_stream;
    return CUDA_SUCCESS;
  }
  const auto stream = world.streams.find(handle_of(handle));
  if (stream == world.streams.end()) return CUDA_ERROR_INVALID_HANDLE;
  found = stream->second;
  return world.is_alive(found->context) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

CUresult find_event(World& world, CUevent handle, std::shared_ptr<Event>& found) {
  const auto event = world.events.find(handle_of(handle));
  if (event == world.events.end()) return CUDA_ERROR_INVALID_HANDLE;
  found = event->second;
  return world.is_alive(found->context) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

std::int64_t duration_ns(std::size_t bytes, double bytes_per_s) {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(bytes) / bytes_per_s * 1e9));
}

}  // namespace fake_cuda
