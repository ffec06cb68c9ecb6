// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/thread.hpp"
#include "gpu/event.hpp"

namespace pyperf::gpu {

// How the host waits: asking again and again (the shortest latency, a processor kept busy), or asleep in the driver.
enum class Wait { kSpin, kBlock };

// What to do where work does not end: nothing more can be had from that device.
[[noreturn]] inline void give_up(const Context& context, std::int64_t timeout_ns) {
  context.lose();
  throw MeasurementError(
      "the GPU (" + context.facts().name + ") has not finished its work after " +
      std::to_string(timeout_ns / 1'000'000) +
      " ms: it hangs, or a call takes longer than that. Nothing more is tried on it in this process");
}

// Sleeps in cuEventSynchronize on a thread of its own, since that call takes no timeout. The thread reads the clock
// when it wakes, so that the moment is the one a caller that blocks would have seen; only the caller hears of it later.
template <class Clock>
class BlockingWaiter {
 public:
  explicit BlockingWaiter(std::shared_ptr<Context> context)
      : context_(std::move(context)), state_(std::make_shared<State>()) {
    thread_ = start_thread([context = context_, state = state_] { serve(*context, *state); });
  }

  ~BlockingWaiter() {
    {
      const std::lock_guard lock(state_->mutex);
      state_->stop = true;
    }
    state_->changed.notify_all();
    // One that sleeps on work that never ends keeps what it needs alive, and is left alone.
    timed_out_ ? thread_.detach() : thread_.join();
  }
  BlockingWaiter(const BlockingWaiter&) = delete;
  BlockingWaiter& operator=(const BlockingWaiter&) = delete;

  // When the event was seen done; throws what the work failed with, MeasurementError at the timeout.
  std::int64_t wait(const Event& event, std::int64_t timeout_ns) {
    std::unique_lock lock(state_->mutex);
    state_->event = event.handle();
    state_->answer.reset();
    state_->changed.notify_all();
    const auto answered = [this] { return state_->answer.has_value(); };
    if (!state_->changed.wait_for(lock, std::chrono::nanoseconds(timeout_ns), answered)) {
      timed_out_ = true;
      give_up(*context_, timeout_ns);
    }
    context_->check(state_->answer->result, state_->answer->call);
    return state_->answer->seen_ns;
  }

 private:
  struct Answer {
    CUresult result;
    const char* call;
    std::int64_t seen_ns;
  };

  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    CUevent event = nullptr;  // to wait for; nullptr when there is none
    std::optional<Answer> answer;
    bool stop = false;
  };

  static void serve(const Context& context, State& state) {
    const Driver& driver = context.driver();
    const CUresult entered = driver.cuCtxPushCurrent(context.handle());  // where that fails, so does every wait
    std::unique_lock lock(state.mutex);
    for (;;) {
      state.changed.wait(lock, [&] { return state.stop || state.event != nullptr; });
      if (state.stop) return;
      const CUevent event = state.event;
      lock.unlock();
      const bool inside = entered == CUDA_SUCCESS;
      const CUresult result = inside ? driver.cuEventSynchronize(event) : entered;
      const std::int64_t seen_ns = Clock::now_ns();
      lock.lock();
      state.event = nullptr;
      state.answer = Answer{result, inside ? "cuEventSynchronize" : "cuCtxPushCurrent", seen_ns};
      state.changed.notify_all();
    }
  }

  std::shared_ptr<Context> context_;
  std::shared_ptr<State> state_;
  std::thread thread_;
  bool timed_out_ = false;
};

// When the event was seen done, by asking. Throws as BlockingWaiter::wait.
template <class Clock>
std::int64_t spin_until_done(const Event& event, std::int64_t timeout_ns) {
  const std::int64_t begin_ns = Clock::now_ns();
  for (;;) {
    const bool done = event.is_done();
    const std::int64_t now_ns = Clock::now_ns();
    if (done) return now_ns;
    if (now_ns - begin_ns > timeout_ns) [[unlikely]]
      give_up(event.context(), timeout_ns);
  }
}

}  // namespace pyperf::gpu
