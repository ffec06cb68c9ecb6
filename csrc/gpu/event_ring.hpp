// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "gpu/event.hpp"

namespace pyperf::gpu {

// Events of one stream that are used again and again: so many can be outstanding, and each tells how long after the one
// before it it was done. Times are summed from neighbours, since the driver's float loses nanoseconds over long spans.
class EventRing {
 public:
  EventRing(const std::shared_ptr<Context>& context, std::int64_t size, unsigned flags) {
    for (std::int64_t i = 0; i < size; ++i) events_.emplace_back(context, flags);
  }

  // Forgets what was; times count from `origin`, an event that is done by the time the first is retired.
  void restart(const Event& origin) {
    before_ = &origin;
    before_ns_ = 0;
    oldest_ = next_ = 0;
  }

  // The event before the oldest stays as it is until that one is retired.
  bool is_full() const { return next_ - oldest_ + 1 == events_.size(); }
  bool is_empty() const { return next_ == oldest_; }

  // What retire() gave last; 0 after restart().
  std::int64_t last_ns() const { return before_ns_; }

  void record(CUstream stream) { events_[next_++ % events_.size()].record(stream); }

  const Event& oldest() const { return events_[oldest_ % events_.size()]; }

  // Nanoseconds from the origin to the oldest event, which is done; it is the oldest no more.
  std::int64_t retire() {
    const Event& event = oldest();
    before_ns_ += elapsed_ns(*before_, event);
    before_ = &event;
    ++oldest_;
    return before_ns_;
  }

 private:
  std::deque<Event> events_;
  const Event* before_ = nullptr;
  std::int64_t before_ns_ = 0;
  std::size_t oldest_ = 0;
  std::size_t next_ = 0;
};

}  // namespace pyperf::gpu
