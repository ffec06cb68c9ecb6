// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "core/clock.hpp"

namespace pyperf {

// What one thread did of a run.
struct Part {
  std::int64_t begin_ns;
  std::int64_t end_ns;
  double work;
};

// All the work over the time from when the first thread began until the last one ended: threads that did not run side
// by side all the time make the rate smaller, never larger.
inline double rate_per_s(std::span<const Part> parts) {
  std::int64_t begin_ns = parts.front().begin_ns;
  std::int64_t end_ns = parts.front().end_ns;
  double work = 0;
  for (const auto& part : parts) {
    begin_ns = std::min(begin_ns, part.begin_ns);
    end_ns = std::max(end_ns, part.end_ns);
    work += part.work;
  }
  return work * 1e9 / static_cast<double>(std::max<std::int64_t>(1, end_ns - begin_ns));
}

// Calls `call`, which returns the work that it did, until `window_ns` are over; at least once.
template <class Call>
Part fill_window(std::int64_t window_ns, Call call) {
  Part part{SteadyClock::now_ns(), 0, 0};
  do {
    part.work += call();
    part.end_ns = SteadyClock::now_ns();
  } while (part.end_ns - part.begin_ns < window_ns);
  return part;
}

// How often something has to be repeated in one call for the call to take about 50 us, beside which two readings of a
// clock are nothing. `call(repeats)` does it; it has run for at least `warm_ns` then.
template <class Call>
std::int64_t repeats_a_call(std::int64_t warm_ns, Call call) {
  constexpr std::int64_t kCallNs = 50'000;
  std::int64_t repeats = 1;
  const std::int64_t end_ns = SteadyClock::now_ns() + warm_ns;
  for (;;) {
    const std::int64_t begin_ns = SteadyClock::now_ns();
    call(repeats);
    const std::int64_t now_ns = SteadyClock::now_ns();
    const bool long_enough = now_ns - begin_ns >= kCallNs;
    if (long_enough && now_ns >= end_ns) return repeats;
    if (!long_enough) repeats *= 2;
  }
}

}  // namespace pyperf
