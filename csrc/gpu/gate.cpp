// SPDX-License-Identifier: Apache-2.0
#include "gpu/gate.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/clock.hpp"
#include "core/thread.hpp"

namespace pyperf::gpu {
namespace {

constexpr std::int64_t kFewestLooks = 8;  // within a timeout, so that it is kept to an eighth

}  // namespace

Gate::Gate(std::shared_ptr<Context> context, std::int64_t timeout_ns)
    : context_(std::move(context)),
      timeout_ns_(timeout_ns),
      memory_(context_, sizeof(std::uint32_t)),
      word_on_device_(memory_.device_address()) {
  word().store(0, std::memory_order_relaxed);  // what was allocated holds anything
  watchdog_ = start_thread([this] { watch(); });
}

Gate::~Gate() {
  open();
  write(number_);
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  watchdog_.join();
}

bool Gate::works_on(CUstream stream) {
  const CUresult result =
      context_->driver().cuStreamWaitValue32(stream, word_on_device_, number_, CU_STREAM_WAIT_VALUE_GEQ);
  if (result == CUDA_ERROR_NOT_SUPPORTED) return false;
  context_->check(result, "cuStreamWaitValue32");
  return true;
}

void Gate::close(CUstream stream) {
  ++number_;
  closed_at_ns_.store(SteadyClock::now_ns(), std::memory_order_relaxed);
  state_.store(closed(number_), std::memory_order_release);
  try {
    PYPERF_CUDA(*context_, cuStreamWaitValue32(stream, word_on_device_, number_, CU_STREAM_WAIT_VALUE_GEQ));
  } catch (...) {
    open();
    throw;
  }
}

bool Gate::open() {
  std::uint64_t expected = closed(number_);
  if (!state_.compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) return false;
  write(number_);
  return true;
}

std::atomic_ref<std::uint32_t> Gate::word() const {
  return std::atomic_ref(*static_cast<std::uint32_t*>(memory_.data()));
}

// Forward only: a watchdog that was held up on its way here must not close what has been opened since.
void Gate::write(std::uint32_t number) {
  std::uint32_t there = word().load(std::memory_order_relaxed);
  while (static_cast<std::int32_t>(number - there) > 0 &&
         !word().compare_exchange_weak(there, number, std::memory_order_release, std::memory_order_relaxed)) {
  }
}

// Sleeps between looks rather than being woken for each sample: a wake-up would cost the measuring thread a system
// call.
void Gate::watch() {
  const std::chrono::nanoseconds between_looks(std::max<std::int64_t>(1, timeout_ns_ / kFewestLooks));
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, between_looks, [this] { return stop_; })) {
    std::uint64_t state = state_.load(std::memory_order_acquire);
    if ((state & kClosed) == 0) continue;
    if (SteadyClock::now_ns() - closed_at_ns_.load(std::memory_order_relaxed) < timeout_ns_) continue;
    if (state_.compare_exchange_strong(state, 0, std::memory_order_acq_rel)) {
      write(static_cast<std::uint32_t>(state >> 1));
    }
  }
}

}  // namespace pyperf::gpu
