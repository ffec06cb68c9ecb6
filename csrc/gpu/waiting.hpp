// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "core/clock.hpp"
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

// Called about ten times a second while the host waits, so that Ctrl-C gets its turn; what it throws ends the wait.
using WhileWaiting = void (*)();

constexpr std::int64_t kTurnNs = 100'000'000;  // between two such calls

// Sleeps in cuEventSynchronize on a thread of its own, since that call takes no timeout. The thread reads the clock
// when it wakes, so that the moment is the one a caller that blocks would have seen; only the caller hears of it later.
template <class Clock>
class BlockingWaiter {
 public:
  explicit BlockingWaiter(std::shared_ptr<Context> context)
      : context_(std::move(context)), state_(std::make_shared<State>()) {
    thread_ = start_thread([context = context_, state = state_] { serve(*context, *state); });
  }

  // One that sleeps on work that never ends keeps what it needs alive, and is left alone.
  ~BlockingWaiter() {
    std::unique_lock lock(state_->mutex);
    state_->stop = true;
    state_->changed.notify_all();
    const auto is_idle = [this] { return state_->asked == state_->served; };
    const bool idle = context_->is_lost() ? is_idle() : state_->changed.wait_for(lock, kLongestGoodbye, is_idle);
    if (!idle) context_->lose();
    lock.unlock();
    idle ? thread_.join() : thread_.detach();
  }
  BlockingWaiter(const BlockingWaiter&) = delete;
  BlockingWaiter& operator=(const BlockingWaiter&) = delete;

  // When the event was seen done; throws what the work failed with, MeasurementError at the timeout.
  std::int64_t wait(const Event& event, std::int64_t timeout_ns, WhileWaiting while_waiting = nullptr) {
    std::unique_lock lock(state_->mutex);
    state_->event = event.handle();
    const std::uint64_t mine = ++state_->asked;
    state_->changed.notify_all();
    const auto answered = [this, mine] { return state_->served == mine; };
    for (std::int64_t waited_ns = 0; !answered();) {
      const std::int64_t turn_ns = std::min(kTurnNs, timeout_ns - waited_ns);
      if (state_->changed.wait_for(lock, std::chrono::nanoseconds(turn_ns), answered)) break;
      waited_ns += turn_ns;
      if (waited_ns >= timeout_ns) give_up(*context_, timeout_ns);
      if (while_waiting == nullptr) continue;
      lock.unlock();
      while_waiting();
      lock.lock();
    }
    context_->check(state_->answer.result, state_->answer.call);
    return state_->answer.seen_ns;
  }

 private:
  static constexpr std::chrono::seconds kLongestGoodbye{120};

  struct Answer {
    CUresult result;
    const char* call;
    std::int64_t seen_ns;
  };

  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    CUevent event = nullptr;   // of the latest request
    std::uint64_t asked = 0;   // requests so far
    std::uint64_t served = 0;  // the latest that has its answer
    Answer answer{};
    bool stop = false;
  };

  static void serve(const Context& context, State& state) {
    const Driver& driver = context.driver();
    const CUresult entered = driver.cuCtxPushCurrent(context.handle());  // where that fails, so does every wait
    std::unique_lock lock(state.mutex);
    for (;;) {
      state.changed.wait(lock, [&] { return state.stop || state.asked != state.served; });
      if (state.asked == state.served) return;
      const CUevent event = state.event;
      const std::uint64_t request = state.asked;
      lock.unlock();
      const bool inside = entered == CUDA_SUCCESS;
      const CUresult result = inside ? driver.cuEventSynchronize(event) : entered;
      const std::int64_t seen_ns = Clock::now_ns();
      lock.lock();
      state.served = request;
      state.answer = Answer{result, inside ? "cuEventSynchronize" : "cuCtxPushCurrent", seen_ns};
      state.changed.notify_all();
    }
  }

  std::shared_ptr<Context> context_;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

struct NoWaitScope {};

// When the event was seen done, by asking. Throws as BlockingWaiter::wait. A wait that is not short is no hurry to
// others: `Scope` is made then (to let go of a lock, say), and goes after the clock was read.
template <class Clock, class Scope = NoWaitScope>
std::int64_t spin_until_done(const Event& event, std::int64_t timeout_ns, WhileWaiting while_waiting = nullptr) {
  constexpr std::int64_t kShortWaitNs = 100'000;
  std::optional<Scope> scope;
  const std::int64_t begin_ns = Clock::now_ns();
  std::int64_t turn_ns = begin_ns + kTurnNs;
  for (;;) {
    const bool done = event.is_done();
    const std::int64_t now_ns = Clock::now_ns();
    if (done) return now_ns;
    if (!scope && now_ns - begin_ns > kShortWaitNs) scope.emplace();
    if (now_ns - begin_ns > timeout_ns) [[unlikely]]
      give_up(event.context(), timeout_ns);
    if (now_ns > turn_ns) [[unlikely]] {
      turn_ns = now_ns + kTurnNs;
      if (while_waiting != nullptr) while_waiting();
    }
  }
}

// Returns when all that is queued on the stream is done. Throws what that failed with, MeasurementError at the timeout.
inline void finish(const StreamView& stream, std::int64_t timeout_ns, WhileWaiting while_waiting = nullptr) {
  const Context::Current current(stream.context());
  const Event end(stream.shared_context());
  end.record(stream.handle());
  spin_until_done<SteadyClock>(end, timeout_ns, while_waiting);
}

}  // namespace pyperf::gpu
