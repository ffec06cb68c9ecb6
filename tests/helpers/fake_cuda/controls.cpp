// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "call.hpp"
#include "fake_cuda.h"

namespace {

using namespace fake_cuda;

// `body(world)` behind the mutex.
template <class Body>
auto with_world(Body body) {
  World& all = world();
  const std::lock_guard lock(all.mutex);
  return body(all);
}

template <class T>
void set(T Settings::* setting, T value) {
  with_world([&](World& world) { world.settings.*setting = value; });
}

template <class Body>
int with_graph(CUgraphExec graph, Body body) {
  return with_world([&](World& world) {
    const auto found = world.graphs.find(handle_of(graph));
    return found != world.graphs.end() && body(world, found->second) ? 0 : -1;
  });
}

template <class Body>
int with_device(int device, Body body) {
  if (device < 0 || device >= kMostDevices) return -1;
  with_world([&](World& world) { body(world.devices[static_cast<std::size_t>(device)]); });
  return 0;
}

void add_fault(const char* function, int nth_call, CUresult result, bool lasting) {
  with_world([&](World& world) { world.faults.push_back({function, nth_call, result, lasting}); });
}

}  // namespace

void fake_reset() {
  with_world([](World& world) { world.reset(); });
}
void fake_forget_init() {
  with_world([](World& world) { world.initialised = false; });
}

long long fake_now_ns() { return world().now_ns(); }
void fake_advance(long long ns) {
  with_world([&](World& world) { world.advance(ns); });
}
void fake_call_cost(const char* function, long long ns) {
  with_world([&](World& world) {
    if (function == nullptr) {
      world.settings.call_cost_ns = ns;
    } else {
      world.settings.cost_of_ns[function] = ns;
    }
  });
}
void fake_poll_step(long long ns) { set<std::int64_t>(&Settings::poll_step_ns, ns); }
void fake_record_cost(long long ns) { set<std::int64_t>(&Settings::record_cost_ns, ns); }
void fake_event_tick(long long ns) { set<std::int64_t>(&Settings::event_tick_ns, std::max(1LL, ns)); }
void fake_memory_bandwidth(double bytes_per_s) { set(&Settings::memory_bandwidth, std::max(1.0, bytes_per_s)); }
void fake_transfer_bandwidth(double bytes_per_s) { set(&Settings::transfer_bandwidth, std::max(1.0, bytes_per_s)); }
void fake_clock_drop(double factor) { set(&Settings::clock_factor, factor); }
void fake_slow_first_launch(long long ns) { set<std::int64_t>(&Settings::first_launch_ns, ns); }
void fake_free_waits(bool on) { set(&Settings::free_waits, on); }
void fake_sync_inside_launch(bool on) { set(&Settings::sync_inside_launch, on); }
void fake_block_submit_behind_gate(bool on) { set(&Settings::block_behind_gate, on); }
void fake_queue_limit(int operations) {
  set(&Settings::queue_limit, static_cast<std::size_t>(std::max(0, operations)));
}

CUgraphExec fake_graph_create(long long duration_ns) {
  return with_world([&](World& world) {
    const Handle handle = world.new_handle();
    world.graphs.emplace(handle, Graph{.durations_ns = {duration_ns}});
    return as<CUgraphExec>(handle);
  });
}
int fake_graph_destroy(CUgraphExec graph) {
  return with_world([&](World& world) { return world.graphs.erase(handle_of(graph)) == 1 ? 0 : -1; });
}
int fake_graph_durations(CUgraphExec graph, const long long* durations_ns, int count) {
  if (durations_ns == nullptr || count < 1) return -1;
  return with_graph(graph, [&](World&, Graph& found) {
    found.durations_ns.assign(durations_ns, durations_ns + count);
    return true;
  });
}
int fake_graph_copy(CUgraphExec graph, CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return with_graph(graph, [&](World& world, Graph& found) {
    if (!world.memory.device(to, bytes) || !world.memory.device(from, bytes)) return false;
    found.copies.push_back({to, from, bytes});
    return true;
  });
}
int fake_graph_fault(CUgraphExec graph, int nth_launch, CUresult result) {
  if (nth_launch < 1) return -1;
  return with_graph(graph, [&](World&, Graph& found) {
    found.faults[found.launches + nth_launch] = result;
    return true;
  });
}
int fake_pending(CUstream stream) {
  return with_world([&](World& world) {
    const auto found = world.streams.find(handle_of(stream));
    return found == world.streams.end() ? -1 : static_cast<int>(found->second->operations.size());
  });
}

void fake_fail(const char* function, int nth_call, CUresult result) { add_fault(function, nth_call, result, false); }
void fake_fail_from(const char* function, int nth_call, CUresult result) {
  add_fault(function, nth_call, result, true);
}
void fake_device_lost() {
  with_world([](World& world) { world.lost = true; });
}
int fake_hang(CUstream stream) {
  return with_world([&](World& world) {
    if (stream == nullptr) {
      world.settings.hang_all = true;
      return 0;
    }
    const auto found = world.streams.find(handle_of(stream));
    if (found == world.streams.end()) return -1;
    found->second->hangs = true;
    return 0;
  });
}
void fake_unhang() {
  with_world([](World& world) { world.unhang(); });
}
void fake_hide(const char* function) {
  with_world([&](World& world) { world.settings.hidden.insert(function); });
}

void fake_driver_version(int version) { set(&Settings::driver_version, version); }
void fake_device_count(int count) { set(&Settings::device_count, std::clamp(count, 0, kMostDevices)); }
int fake_device_name(int device, const char* name) {
  return with_device(device, [&](Device& found) { found.name = name; });
}
int fake_device_attribute(int device, CUdevice_attribute attribute, int value) {
  return with_device(device, [&](Device& found) { found.attributes[attribute] = value; });
}
int fake_device_memory(int device, size_t bytes) {
  return with_device(device, [&](Device& found) { found.bytes = bytes; });
}
void fake_memory_limit(size_t bytes) { set(&Settings::memory_limit, bytes); }

long long fake_live(const char* what) {
  return with_world([&](World& world) -> long long {
    const std::string_view name(what);
    if (name == "streams") return static_cast<long long>(world.streams.size());
    if (name == "events") return static_cast<long long>(world.events.size());
    if (name == "device_bytes") return static_cast<long long>(world.memory.device_bytes());
    if (name == "host_bytes") return static_cast<long long>(world.memory.host_bytes());
    if (name != "contexts") return -1;
    long long retains = 0;
    for (const auto& [_, context] : world.contexts) retains += context.retains;
    return retains;
  });
}
long long fake_calls(const char* function) {
  return with_world([&](World& world) -> long long {
    const auto found = world.calls.find(function);
    return found == world.calls.end() ? 0 : found->second;
  });
}
void fake_log(bool on) {
  with_world([&](World& world) {
    world.logs = on;
    if (on) world.log.clear();
  });
}
size_t fake_log_text(char* text, size_t size) {
  return with_world([&](World& world) {
    if (size > 0) {
      const std::size_t copied = std::min(world.log.size(), size - 1);
      std::memcpy(text, world.log.data(), copied);
      text[copied] = '\0';
    }
    return world.log.size();
  });
}
