// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "core/checkpoint.hpp"
#include "core/loop.hpp"
#include "core/quantity.hpp"

namespace pyperf {

struct WarmupPlan {
  std::int64_t min_calls = 1;
  std::int64_t budget_ns = 5'000'000'000;
  Mode mode = Mode::kLatency;  // whose times are to be steady; throughput warms every stream
};

void check(const WarmupPlan& plan);

struct WarmupOutcome {
  std::int64_t calls = 0;
  std::int64_t duration_ns = 0;
  std::int64_t first_call_ns = 0;  // 0 where there was no call
  bool steady = false;
  bool interrupted = false;
  std::vector<std::int64_t> samples_ns;  // of the calls in order, the first million at most
};

// Runs the target until its times are steady, or the budget is spent. Steady: the medians of the last four windows
// differ by no more than their own uncertainty (the notches of their box plots overlap) or by 2%. A window is at least
// 3 calls and 20 ms. Source of the notch, median +- 1.57 IQR / sqrt(n): R. McGill, J. W. Tukey and W. A.
// Larsen, "Variations of box plots", The American Statistician 32 (1978).
WarmupOutcome warm_up(Runner& runner, const WarmupPlan& plan, Checkpoint& checkpoint);

}  // namespace pyperf
