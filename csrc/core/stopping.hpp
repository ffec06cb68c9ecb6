// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/order_statistics.hpp"

namespace pyperf {

struct StopPlan {
  std::int64_t min_samples = 30;
  std::int64_t min_duration_ns = 1'000'000'000;
  std::int64_t max_duration_ns = 20'000'000'000;
  std::int64_t max_samples = 10'000'000;  // what memory is made for: 80 MB
  double relative_half_width = 0.01;      // of the median's interval
  double confidence = 0.95;
  std::int64_t clock_step_ns = 1;  // no interval is narrower
};

void check(const StopPlan& plan);

enum class StopReason { kConverged, kMaxDuration, kMaxSamples, kInterrupted };

const char* name_of(StopReason reason);

// When a measurement has enough samples. It looks at the width of the median's interval and at nothing else (stopping
// when an effect "shows" would call noise an effect), and only at counts that grow geometrically, so that the looks
// cost little and are few.
class StopRule {
 public:
  explicit StopRule(const StopPlan& plan);

  // To be called between batches; looks only when it is time to.
  std::optional<StopReason> observe(std::span<const std::int64_t> samples, std::int64_t elapsed_ns);

  std::int64_t looks() const { return looks_; }

 private:
  bool narrow_enough(std::span<const std::int64_t> samples);

  StopPlan plan_;
  std::int64_t next_look_;
  std::int64_t looks_ = 0;
  std::vector<std::int64_t> scratch_;
};

// The median and its interval as the stop rule judges it: order statistics, widened for dependence, and never narrower
// than a step of the clock.
std::optional<QuantileEstimate> estimate_median(std::span<const std::int64_t> samples, double confidence,
                                                std::int64_t clock_step_ns, std::vector<std::int64_t>& scratch);

// Half the width of the interval, relative to the value it is of.
double relative_half_width(const QuantileEstimate& estimate);

}  // namespace pyperf
