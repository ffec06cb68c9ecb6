// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
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
  double relative_half_width = 0.01;      // of the quantile's interval
  double confidence = 0.95;
  std::int64_t clock_step_ns = 1;  // no interval is narrower
  double quantile = 0.5;           // whose interval is to be narrow
};

void check(const StopPlan& plan);

enum class StopReason { kConverged, kMaxDuration, kMaxSamples, kInterrupted };

const char* name_of(StopReason reason);

// When a measurement has enough samples. It looks at the width of one quantile's interval and at nothing else (stopping
// when an effect "shows" would call noise an effect), and only at counts that grow geometrically, so that the looks are
// few; and never so soon that looking would take more than a hundredth of the time that was measured. Two looks in a
// row have to find the interval narrow, and one at a five hundredth of the error rate in proportion, so that the
// samples at which it stops are not those whose interval is narrow by chance; and as many samples as tell how much they
// depend on each other.
class StopRule {
 public:
  // What reads the clock of the measurement: looks wait until they are a hundredth of the time measured. Without one
  // they take no time.
  using Clock = std::function<std::int64_t()>;
  explicit StopRule(const StopPlan& plan, Clock now_ns = nullptr);

  // To be called between batches; looks only when it is time to. Samples are those so far, the earlier ones unchanged.
  std::optional<StopReason> observe(std::span<const std::int64_t> samples, std::int64_t elapsed_ns);

  std::int64_t looks() const { return looks_; }
  std::int64_t looks_ns() const { return looks_ns_; }

  // At the last look; nothing where there was none or the samples supported no interval.
  std::optional<double> half_width() const { return half_width_; }

 private:
  bool paid_for(std::int64_t count, std::int64_t elapsed_ns) const;
  bool narrow_enough(std::span<const std::int64_t> samples, bool chosen);

  StopPlan plan_;
  Clock now_ns_;
  bool narrow_before_ = false;    // at the last look
  double independent_ = 0.0;      // samples, at the last look
  double most_dependence_ = 1.0;  // that any look saw
  bool were_met_ = false;         // the minimums
  std::int64_t looks_ns_ = 0;
  double ns_per_sample_;  // of a look
  std::optional<double> half_width_;
  std::int64_t next_look_;
  std::int64_t looks_ = 0;
  std::vector<std::int64_t> scratch_;
};

// What a stop rule would have done with samples that were measured, or made, before; as if each had been a batch, and
// as if looking took no time.
struct Replay {
  std::int64_t count = 0;                        // of the samples it would have taken
  StopReason reason = StopReason::kInterrupted;  // kInterrupted where the samples ran out
  std::int64_t looks = 0;
};

Replay replay(std::span<const std::int64_t> samples, const StopPlan& plan);

}  // namespace pyperf
