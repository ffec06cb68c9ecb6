// SPDX-License-Identifier: Apache-2.0
#include "call.hpp"
#include "fake_cuda.h"

namespace fake_cuda {
namespace {

// What is not ready yet is polled, and a poll takes time.
CUresult not_ready(World& world) {
  world.advance(world.settings.poll_step_ns);
  return CUDA_ERROR_NOT_READY;
}

CUresult synchronize(World& world, Lock& lock, const std::shared_ptr<Stream>& stream) {
  return world.wait(lock, {{stream, stream->last_queued}});
}

// The frame of a call that has to do with one stream: `body(world, lock, stream)`.
template <class Body>
CUresult call_on(const char* function, CUstream handle, Body body) {
  return call(function, Needs::kContext, [&](World& world, Lock& lock) {
    std::shared_ptr<Stream> stream;
    const CUresult error = find_stream(world, handle, stream);
    return error == CUDA_SUCCESS ? body(world, lock, stream) : error;
  });
}

CUresult submit_work(World& world, Lock& lock, const std::shared_ptr<Stream>& stream, Operation operation) {
  const CUresult error = world.submit(lock, stream, std::move(operation), true);
  if (error != CUDA_SUCCESS || !world.settings.sync_inside_launch) return error;
  return synchronize(world, lock, stream);
}

void copy_on_device(World& world, const Graph::Copy& copy) {
  const auto from = world.memory.device(copy.from, copy.bytes);
  const auto to = world.memory.device(copy.to, copy.bytes);
  if (!from || !to) {  // freed since
    world.sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
    return;
  }
  std::vector<std::byte> bytes(copy.bytes);
  from.block->read(from.offset, bytes.data(), copy.bytes);
  to.block->write(to.offset, bytes.data(), copy.bytes);
}

// The next launch of a graph as an operation. The clock takes the time of a first one.
Operation next_launch(World& world, Graph& graph) {
  if (graph.launches++ == 0) world.advance(world.settings.first_launch_ns);
  Operation launch;
  launch.duration_ns = graph.durations_ns[static_cast<std::size_t>(graph.launches - 1) % graph.durations_ns.size()];
  const auto fault = graph.faults.find(graph.launches);
  const CUresult result = fault == graph.faults.end() ? CUDA_SUCCESS : fault->second;
  launch.at_end = [&world, result, copies = graph.copies](std::int64_t) {
    if (result != CUDA_SUCCESS) {
      world.sticky = result;
      return;
    }
    for (const auto& copy : copies) copy_on_device(world, copy);
  };
  return launch;
}

}  // namespace

CUresult stream_create(CUstream* stream, unsigned int flags) {
  return call("cuStreamCreate", Needs::kContext, [&](World& world, Lock&) {
    if (stream == nullptr || flags > CU_STREAM_NON_BLOCKING) return CUDA_ERROR_INVALID_VALUE;
    const Handle handle = world.new_handle();
    world.streams.emplace(handle, world.add_stream(current_context(world)));
    *stream = as<CUstream>(handle);
    return CUDA_SUCCESS;
  });
}

CUresult stream_destroy(CUstream handle) {
  const auto body = [&](World& world, Lock&) {
    const auto found = world.streams.find(handle_of(handle));
    if (found == world.streams.end()) return CUDA_ERROR_INVALID_HANDLE;
    if (!world.is_alive(found->second->context)) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    found->second->destroyed = true;
    world.streams.erase(found);
    return CUDA_SUCCESS;
  };
  return call("cuStreamDestroy", Needs::kContext, body, OnFault::kReleaseAllTheSame);
}

CUresult stream_synchronize(CUstream handle) {
  return call_on("cuStreamSynchronize", handle,
                 [](World& world, Lock& lock, const auto& stream) { return synchronize(world, lock, stream); });
}

CUresult stream_query(CUstream handle) {
  return call_on("cuStreamQuery", handle, [](World& world, Lock&, const auto& stream) {
    return stream->operations.empty() ? CUDA_SUCCESS : not_ready(world);
  });
}

CUresult stream_get_ctx(CUstream handle, CUcontext* context) {
  return call_on("cuStreamGetCtx", handle, [&](World&, Lock&, const auto& stream) {
    if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
    *context = as<CUcontext>(stream->context);
    return CUDA_SUCCESS;
  });
}

CUresult stream_wait_value32(CUstream handle, CUdeviceptr address, cuuint32_t value, unsigned int flags) {
  return call_on("cuStreamWaitValue32", handle, [&](World& world, Lock& lock, const auto& stream) {
    const auto& device = world.devices[world.contexts.at(stream->context).device];
    if (device.attributes.at(CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS) == 0) return CUDA_ERROR_NOT_SUPPORTED;
    const unsigned int condition = flags & ~static_cast<unsigned int>(CU_STREAM_WAIT_VALUE_FLUSH);
    const auto flag = world.memory.host(address, sizeof value);
    if (!flag || address % sizeof value != 0 || condition > CU_STREAM_WAIT_VALUE_NOR) return CUDA_ERROR_INVALID_VALUE;
    Operation wait;
    wait.gate = std::make_unique<const Gate>(Gate{flag, value, condition});
    return world.submit(lock, stream, std::move(wait));
  });
}

CUresult graph_launch(CUgraphExec exec, CUstream handle) {
  return call_on("cuGraphLaunch", handle, [&](World& world, Lock& lock, const auto& stream) {
    const auto graph = world.graphs.find(handle_of(exec));
    if (graph == world.graphs.end()) return CUDA_ERROR_INVALID_HANDLE;
    return submit_work(world, lock, stream, next_launch(world, graph->second));
  });
}

CUresult event_create(CUevent* event, unsigned int flags) {
  return call("cuEventCreate", Needs::kContext, [&](World& world, Lock&) {
    constexpr unsigned int kKnown = CU_EVENT_BLOCKING_SYNC | CU_EVENT_DISABLE_TIMING;
    if (event == nullptr || (flags & ~kKnown) != 0) return CUDA_ERROR_INVALID_VALUE;
    const Handle handle = world.new_handle();
    const bool timing = (flags & CU_EVENT_DISABLE_TIMING) == 0;
    world.events.emplace(handle, std::make_shared<Event>(Event{current_context(world), timing}));
    *event = as<CUevent>(handle);
    return CUDA_SUCCESS;
  });
}

CUresult event_destroy(CUevent handle) {
  const auto body = [&](World& world, Lock&) {
    std::shared_ptr<Event> event;
    if (const CUresult error = find_event(world, handle, event); error != CUDA_SUCCESS) return error;
    world.events.erase(handle_of(handle));
    return CUDA_SUCCESS;
  };
  return call("cuEventDestroy", Needs::kContext, body, OnFault::kReleaseAllTheSame);
}

CUresult event_record(CUevent handle, CUstream stream_handle) {
  return call_on("cuEventRecord", stream_handle, [&](World& world, Lock& lock, const auto& stream) {
    std::shared_ptr<Event> event;
    if (const CUresult error = find_event(world, handle, event); error != CUDA_SUCCESS) return error;
    if (event->context != stream->context) return CUDA_ERROR_INVALID_HANDLE;
    Operation record;
    record.duration_ns = world.settings.record_cost_ns;
    record.at_end = [event, stream = stream.get()](std::int64_t end_ns) {
      if (event->stream.get() != stream || event->record != stream->last_done) return;  // recorded again since
      event->done = true;
      event->time_ns = end_ns;
    };
    if (const CUresult error = world.submit(lock, stream, std::move(record)); error != CUDA_SUCCESS) return error;
    event->stream = stream;
    event->record = stream->last_queued;
    event->done = false;
    return CUDA_SUCCESS;
  });
}

CUresult event_query(CUevent handle) {
  return call("cuEventQuery", Needs::kWorking, [&](World& world, Lock&) {
    std::shared_ptr<Event> event;
    if (const CUresult error = find_event(world, handle, event); error != CUDA_SUCCESS) return error;
    return event->done ? CUDA_SUCCESS : not_ready(world);
  });
}

CUresult event_synchronize(CUevent handle) {
  return call("cuEventSynchronize", Needs::kContext, [&](World& world, Lock& lock) {
    std::shared_ptr<Event> event;
    if (const CUresult error = find_event(world, handle, event); error != CUDA_SUCCESS) return error;
    if (event->done) return CUDA_SUCCESS;
    return world.wait(lock, {{event->stream, event->record}});
  });
}

CUresult event_elapsed_time(float* ms, CUevent start_handle, CUevent end_handle) {
  return call("cuEventElapsedTime", Needs::kContext, [&](World& world, Lock&) {
    std::shared_ptr<Event> start;
    std::shared_ptr<Event> end;
    if (ms == nullptr) return CUDA_ERROR_INVALID_VALUE;
    if (const CUresult error = find_event(world, start_handle, start); error != CUDA_SUCCESS) return error;
    if (const CUresult error = find_event(world, end_handle, end); error != CUDA_SUCCESS) return error;
    const bool comparable = start->timing && end->timing && start->context == end->context;
    if (!comparable || start->record == 0 || end->record == 0) return CUDA_ERROR_INVALID_HANDLE;
    if (!start->done || !end->done) return CUDA_ERROR_NOT_READY;
    const std::int64_t tick_ns = world.settings.event_tick_ns;
    const std::int64_t elapsed_ns = end->time_ns / tick_ns * tick_ns - start->time_ns / tick_ns * tick_ns;
    *ms = static_cast<float>(static_cast<double>(elapsed_ns) / 1e6);
    return CUDA_SUCCESS;
  });
}

}  // namespace fake_cuda

CUresult fake_enqueue(CUstream handle, long long duration_ns) {
  using namespace fake_cuda;
  return call_on("fake_enqueue", handle, [&](World& world, Lock& lock, const auto& stream) {
    Operation work;
    work.duration_ns = duration_ns;
    return submit_work(world, lock, stream, std::move(work));
  });
}
