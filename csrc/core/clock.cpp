// SPDX-License-Identifier: Apache-2.0
#include "core/clock.hpp"

#include <algorithm>
#include <utility>

namespace pyperf {

// A clock whose step is longer than a reading repeats values, and its step is the smallest jump. A finer one never
// repeats, every jump holds the cost of a reading, and the step shows in how the jumps differ from one another.
std::int64_t smallest_step_ns(std::vector<std::int64_t> differences) {
  std::sort(differences.begin(), differences.end());
  differences.erase(std::unique(differences.begin(), differences.end()), differences.end());
  const bool repeats = differences.front() == 0;
  if (repeats) return differences.size() > 1 ? differences[1] : 1;
  std::int64_t step = differences.front();
  for (std::size_t i = 1; i < differences.size(); ++i) step = std::min(step, differences[i] - differences[i - 1]);
  return step;
}

ClockProperties measure_steady_clock() {
  constexpr int kReadings = 20'000;
  std::vector<std::int64_t> differences(kReadings);
  std::int64_t cheapest_total_ns = INT64_MAX;
  for (int attempt = 0; attempt < 3; ++attempt) {  // the cheapest of three: an interruption only ever adds
    const std::int64_t begin_ns = SteadyClock::now_ns();
    std::int64_t previous_ns = begin_ns;
    for (auto& difference : differences) {
      const std::int64_t reading_ns = SteadyClock::now_ns();
      difference = reading_ns - previous_ns;
      previous_ns = reading_ns;
    }
    cheapest_total_ns = std::min(cheapest_total_ns, previous_ns - begin_ns);
  }
  ClockProperties clock{};
  clock.read_cost_ns = static_cast<double>(cheapest_total_ns) / kReadings;
  const auto middle = differences.begin() + kReadings / 2;
  std::nth_element(differences.begin(), middle, differences.end());
  clock.overhead_ns = *middle;
  clock.step_ns = smallest_step_ns(std::move(differences));
  return clock;
}

}  // namespace pyperf
