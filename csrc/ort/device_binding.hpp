// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gpu/event.hpp"
#include "gpu/memory.hpp"
#include "gpu/stream_runner.hpp"
#include "gpu/transfers.hpp"
#include "ort/bound_session.hpp"

namespace pyperf::ort {

// A session on a stream of a GPU, with its inputs and outputs in that GPU's memory: work for gpu::StreamLoop.
//
// Addresses stay. An input that is bound again in the same shape is written to the same memory, and outputs are bound
// to what a first run gave, so that nothing is bound or copied between the runs that are timed. Runs do not wait for
// the device (where the library's version obeys).
class DeviceBinding {
 public:
  static constexpr bool kNeedsPython = false;

  struct Plan {
    bool transfers = false;  // keep page-locked copies of inputs and outputs for h2d() and d2h()
    bool captures = false;   // the session captures a CUDA graph in its first runs, and replays those addresses
    std::int64_t timeout_ns = gpu::StreamPlan{}.timeout_ns;  // of what is not timed: first runs, copies
    gpu::WhileWaiting while_waiting = nullptr;
  };

  // Throws UsageError where the session is on no stream.
  DeviceBinding(std::shared_ptr<Session> session, const Plan& plan);
  DeviceBinding(const DeviceBinding&) = delete;
  DeviceBinding& operator=(const DeviceBinding&) = delete;
  ~DeviceBinding();

  // As IoBinding::bind_input; waits for what is queued on the stream, which may read the old values. Throws UsageError
  // for another shape than that a graph was captured with.
  void bind_input(const std::string& name, const void* data, std::size_t bytes, const std::vector<std::int64_t>& shape);

  // Runs twice; all inputs must be bound. Where their shapes are those of the time before, runs once and all stays
  // where it is, unless the outputs' shapes have changed all the same.
  void bind_outputs();

  // As in BoundSession.
  std::int64_t first_run_ns() const { return bound_.first_run_ns(); }
  const std::vector<std::string>& unbound_outputs() const { return bound_.unbound_outputs(); }

  // Outputs that the session makes in the host's memory: they are bound there, and part of no transfer.
  std::vector<std::string> host_outputs() const;

  // Waits for the stream and copies what the latest run wrote; views are good until the next call of any kind.
  std::vector<OutputView> outputs();

  // Fills the outputs' memory with 0xFF, so that a run that does not write them shows.
  void poison_outputs();

  // Of each input and each output on the device, by name.
  std::map<std::string, std::uintptr_t> addresses() const;

  const Plan& plan() const { return plan_; }

  // Returns when the stream is done; throws what its work failed with, MeasurementError at the timeout.
  void finish();

  const gpu::StreamView& stream() const { return *stream_; }
  void h2d() { transfers_.queue_inputs(*stream_); }
  void submit() {
    try {
      bound_.run();
    } catch (const Error&) {
      look_at_device();
      throw;
    }
  }
  void d2h() { transfers_.queue_outputs(*stream_); }
  void settle() {}

 private:
  struct Input {
    std::vector<std::int64_t> shape;
    std::size_t bytes;
    std::unique_ptr<gpu::DeviceBuffer> memory;
    std::unique_ptr<gpu::PinnedBuffer> pinned;  // only with transfers
    Owned<OrtValue> value;
  };

  Input make_input(const TensorInfo& info, std::size_t bytes, const std::vector<std::int64_t>& shape) const;
  void write(std::uintptr_t to, const void* from, std::size_t bytes) const;
  std::vector<const OrtMemoryInfo*> output_memory() const;
  bool runs_in_place();
  void make_transfers();
  void look_at_device() const;

  std::shared_ptr<const gpu::StreamView> stream_;  // keeps its owner
  BoundSession bound_;
  Owned<OrtMemoryInfo> device_memory_;
  Owned<OrtMemoryInfo> host_memory_;
  Plan plan_;
  bool in_place_ = false;  // outputs are bound, for inputs of these shapes
  bool captured_ = false;
  gpu::Event done_;
  std::map<std::string, Input> inputs_;
  std::vector<std::unique_ptr<gpu::PinnedBuffer>> pinned_outputs_;
  gpu::Transfers transfers_;
  std::vector<std::vector<std::byte>> copies_;  // what outputs() shows
};

}  // namespace pyperf::ort
