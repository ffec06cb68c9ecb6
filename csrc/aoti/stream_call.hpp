// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "aoti/bound_model.hpp"
#include "gpu/memory.hpp"
#include "gpu/stream_runner.hpp"
#include "gpu/transfers.hpp"
#include "gpu/waiting.hpp"

namespace pyperf::aoti {

// A compiled model on a stream of a GPU: work for gpu::StreamLoop.
//
// It goes through the entry point for one caller at a time: the other one makes a run wait until the one before has
// left the GPU, so that there would be no queue to speak of. Outputs are freed in settle(), which may come before the
// run has ended: torch's allocator gives that memory out again on the same stream only, behind the run.
class StreamCall {
 public:
  static constexpr bool kNeedsPython = false;
  using BatchScope = CallScope<StreamCall>;

  struct Plan {
    bool transfers = false;  // keep page-locked copies of inputs and outputs for h2d() and d2h()
    std::int64_t timeout_ns = gpu::StreamPlan{}.timeout_ns;  // of what is not timed: first runs, copies
    gpu::WhileWaiting while_waiting = nullptr;
  };

  StreamCall(std::shared_ptr<Model> model, std::shared_ptr<const gpu::StreamView> stream, const Plan& plan);
  ~StreamCall();
  StreamCall(const StreamCall&) = delete;
  StreamCall& operator=(const StreamCall&) = delete;

  const Plan& plan() const { return plan_; }
  const Libtorch& torch() const { return bound_.torch(); }

  // As BoundModel::bind, when the stream is done. With transfers it copies what the inputs on the GPU hold now, and
  // waits for what the default stream still writes there; the caller sees to it where there are none.
  void bind(const std::vector<Blob>& inputs);

  // Returns when the run is done. Throws what its work failed with, MeasurementError at the timeout.
  void run_once();

  // Runs once and copies what it gave.
  std::vector<OutputCopy> outputs();

  const gpu::StreamView& stream() const { return *stream_; }
  void h2d() { to_device_.queue_inputs(*stream_); }
  void submit() {
    try {
      bound_.run();
    } catch (const Error&) {
      look_at_device();
      throw;
    }
  }
  // Every run gives its outputs anew, so that each copy asks where they are.
  void d2h();
  void settle() { bound_.settle(); }

 private:
  struct ToHost {
    std::size_t output;
    std::int64_t elements;
    std::size_t bytes;
    std::unique_ptr<gpu::PinnedBuffer> pinned;
  };

  void finish();
  void make_room_for_outputs();
  void look_at_device() const;

  std::shared_ptr<const gpu::StreamView> stream_;  // keeps its owner
  Plan plan_;
  BoundModel bound_;
  gpu::Event done_;
  std::vector<std::unique_ptr<gpu::PinnedBuffer>> pinned_inputs_;
  gpu::Transfers to_device_;
  bool has_room_ = false;  // of the outputs that these inputs give
  std::vector<ToHost> to_host_;
};

}  // namespace pyperf::aoti
