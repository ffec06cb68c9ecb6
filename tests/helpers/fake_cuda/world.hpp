// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "memory.hpp"

namespace fake_cuda {

using Handle = std::uint64_t;
using Lock = std::unique_lock<std::mutex>;

// What cuStreamWaitValue32 waits for. The memory is held: a gate outlives a flag that is freed, and then stays closed.
struct Gate {
  Span<HostBlock> flag;
  std::uint32_t value;
  unsigned int condition;

  bool is_open() const;
};

struct Operation {
  std::int64_t duration_ns = 0;
  std::unique_ptr<const Gate> gate;  // null for work
  std::function<void(std::int64_t end_ns)> at_end;

  // Set by World::submit.
  std::int64_t id = 0;           // rises over all streams
  std::int64_t earliest_ns = 0;  // when it was queued, or ceased to hang
  bool hangs = false;
};

struct Stream {
  Handle context;
  std::deque<Operation> operations = {};
  std::int64_t free_at_ns = 0;  // when the last operation that is done ended
  std::int64_t last_queued = 0;
  std::int64_t last_done = 0;
  bool hangs = false;
  bool destroyed = false;  // what it still has is worked off
};

struct Event {
  Handle context;
  bool timing;
  std::shared_ptr<Stream> stream = nullptr;
  std::int64_t record = 0;  // the last one's operation; 0: never recorded
  bool done = true;
  std::int64_t time_ns = 0;
};

struct Graph {
  std::vector<std::int64_t> durations_ns;
  struct Copy {
    CUdeviceptr to;
    CUdeviceptr from;
    std::size_t bytes;
  };
  std::vector<Copy> copies = {};
  std::map<std::int64_t, CUresult> faults = {};  // by number of launch, from 1
  std::int64_t launches = 0;
};

struct Context {
  int device;
  std::int64_t retains = 0;
  std::shared_ptr<Stream> default_stream = nullptr;
};

struct Device {
  std::string name;
  std::size_t bytes;
  std::map<int, int> attributes;
};

// devices.cpp
std::map<int, int> default_attributes(int device);

struct Settings {
  std::int64_t call_cost_ns = 200;
  std::map<std::string, std::int64_t> cost_of_ns = {};
  std::int64_t poll_step_ns = 1'000;
  std::int64_t record_cost_ns = 1'000;
  std::int64_t event_tick_ns = 32;
  double memory_bandwidth = 3.2e12;
  double transfer_bandwidth = 5e10;
  double clock_factor = 1.0;
  std::int64_t first_launch_ns = 0;
  bool free_waits = true;
  bool sync_inside_launch = false;
  bool block_behind_gate = false;
  std::size_t queue_limit = 0;
  bool hang_all = false;
  std::set<std::string> hidden = {};
  int driver_version = 13'000;
  int device_count = 2;
  std::size_t memory_limit = 0;
};

struct Fault {
  std::string function;
  int nth_call;
  CUresult result;
  bool lasting;
};

// An operation to wait for.
struct Target {
  std::shared_ptr<Stream> stream;
  std::int64_t operation;
};

constexpr int kMostDevices = 16;

// All there is, behind one mutex. Handles are numbers that are never given twice, so that a dead one is known as such.
class World {
 public:
  World() { reset(); }

  void reset();

  // ---- time (time.cpp)
  std::int64_t now_ns() const { return now_ns_.load(std::memory_order_relaxed); }
  // Moves the clock forward, ending on the way what ends by then, in the order of ending.
  void advance_to(std::int64_t time_ns);
  void advance(std::int64_t ns) { advance_to(now_ns() + ns); }
  // Returns when all targets are done, or with the error that ends the wait.
  CUresult wait(Lock& lock, std::vector<Target> targets);
  // Queues an operation; `is_work` says that it may block as a launch does.
  CUresult submit(Lock& lock, const std::shared_ptr<Stream>& stream, Operation operation, bool is_work = false);
  // For all that is queued in a context, or (0) in any.
  std::vector<Target> all_queued(Handle context) const;
  std::shared_ptr<Stream> add_stream(Handle context);
  void unhang();

  // The error that every call returns by now.
  CUresult fatal() const { return lost ? CUDA_ERROR_DEVICE_UNAVAILABLE : sticky; }

  Handle new_handle() { return next_handle_ += kHandleStep; }
  // Those of the calling thread, the current one last.
  std::vector<Handle>& context_stack();
  bool is_alive(Handle context) const { return contexts.contains(context); }
  void destroy_context(Handle context);

  std::mutex mutex;
  bool initialised = false;
  Settings settings;

  std::array<Device, kMostDevices> devices;
  std::map<Handle, Context> contexts;
  std::map<Handle, std::shared_ptr<Stream>> streams;
  std::map<Handle, std::shared_ptr<Event>> events;
  std::map<Handle, Graph> graphs;
  Memory memory;

  std::vector<Fault> faults;
  CUresult sticky = CUDA_SUCCESS;
  bool lost = false;

  std::map<std::string, std::int64_t> calls;
  bool logs = false;
  std::string log;

 private:
  static constexpr Handle kHandleStep = 16;

  std::optional<std::int64_t> end_of_first_ns(const Stream& stream) const;
  void end_first(Stream& stream, std::int64_t end_ns);

  std::atomic<std::int64_t> now_ns_{0};
  std::vector<std::shared_ptr<Stream>> queues_;  // of all streams, default and destroyed ones too
  std::int64_t last_operation_ = 0;
  std::uint64_t epoch_ = 0;  // of resets
  Handle next_handle_ = 0x5'0000'0000;
};

// The one of this process. It is never destroyed, as threads may outlive main.
World& world();

}  // namespace fake_cuda
