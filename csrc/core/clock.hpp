// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace pyperf {

struct SteadyClock {
  static constexpr const char* kName = "steady_clock";

  static std::int64_t now_ns() noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

struct ClockProperties {
  std::int64_t step_ns;      // the smallest difference that two readings of the clock can have, as observed
  double read_cost_ns;       // what one reading takes, averaged over many
  std::int64_t overhead_ns;  // what a sample of nothing reads: the median difference of two readings in a row
};

// Takes about 2 ms. Measured anew on each call: the clock source of a machine can change while it runs.
ClockProperties measure_steady_clock();

// The step that the differences of successive readings betray; takes at least one difference.
std::int64_t smallest_step_ns(std::vector<std::int64_t> differences);

}  // namespace pyperf
