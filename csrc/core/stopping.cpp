// SPDX-License-Identifier: Apache-2.0
#include "core/stopping.hpp"

#include <algorithm>
#include <limits>

#include "core/error.hpp"

namespace pyperf {
namespace {

constexpr double kGrowthBetweenLooks = 1.3;

std::int64_t grown(std::int64_t count) {
  return std::max(count + 1, static_cast<std::int64_t>(static_cast<double>(count) * kGrowthBetweenLooks));
}

}  // namespace

void check(const StopPlan& plan) {
  if (plan.min_samples < 1) throw UsageError("the least number of samples is at least 1");
  if (plan.max_samples < plan.min_samples) throw UsageError("the most samples are fewer than the least");
  if (plan.min_duration_ns < 0) throw UsageError("the least duration is negative");
  if (plan.max_duration_ns < plan.min_duration_ns) {
    throw UsageError("the budget (max_duration) is shorter than the least duration; raise the one or lower the other");
  }
  if (plan.clock_step_ns < 0) throw UsageError("the clock's step is negative");
  if (!(plan.relative_half_width > 0.0)) throw UsageError("the asked half-width is not a positive number");
  if (!(plan.confidence > 0.0 && plan.confidence < 1.0)) throw UsageError("the confidence lies between 0 and 1");
}

const char* name_of(StopReason reason) {
  switch (reason) {
    case StopReason::kConverged:
      return "converged";
    case StopReason::kMaxDuration:
      return "max_duration";
    case StopReason::kMaxSamples:
      return "max_samples";
    case StopReason::kInterrupted:
      return "interrupted";
  }
  return "unknown";
}

StopRule::StopRule(const StopPlan& plan) : plan_(plan), next_look_(plan.min_samples) { check(plan_); }

std::optional<StopReason> StopRule::observe(std::span<const std::int64_t> samples, std::int64_t elapsed_ns) {
  const auto count = static_cast<std::int64_t>(samples.size());
  const bool out_of_time = elapsed_ns >= plan_.max_duration_ns;
  const bool out_of_room = count >= plan_.max_samples;
  const bool minimums_met = count >= plan_.min_samples && elapsed_ns >= plan_.min_duration_ns;
  const bool time_to_look = minimums_met && count >= next_look_;
  if (time_to_look || ((out_of_time || out_of_room) && count >= plan_.min_samples)) {
    ++looks_;
    next_look_ = grown(count);
    if (narrow_enough(samples)) return StopReason::kConverged;
  }
  if (out_of_time) return StopReason::kMaxDuration;
  if (out_of_room) return StopReason::kMaxSamples;
  return std::nullopt;
}

bool StopRule::narrow_enough(std::span<const std::int64_t> samples) {
  const auto median = estimate_median(samples, plan_.confidence, plan_.clock_step_ns, scratch_);
  return median && relative_half_width(*median) <= plan_.relative_half_width;
}

std::optional<QuantileEstimate> estimate_median(std::span<const std::int64_t> samples, double confidence,
                                                std::int64_t clock_step_ns, std::vector<std::int64_t>& scratch) {
  const auto n = static_cast<std::int64_t>(samples.size());
  if (n < 1) return std::nullopt;
  scratch.assign(samples.begin(), samples.end());
  const auto middle = scratch.begin() + (quantile_rank(n, 0.5) - 1);
  std::nth_element(scratch.begin(), middle, scratch.end());
  auto estimate = estimate_quantile(scratch, 0.5, confidence, dependence_at(samples, *middle));
  if (!estimate) return std::nullopt;
  const double half_step = static_cast<double>(clock_step_ns) / 2.0;
  estimate->lower = std::min(estimate->lower, estimate->value - half_step);
  estimate->upper = std::max(estimate->upper, estimate->value + half_step);
  return estimate;
}

double relative_half_width(const QuantileEstimate& estimate) {
  if (estimate.value <= 0.0) return std::numeric_limits<double>::infinity();
  return (estimate.upper - estimate.lower) / 2.0 / estimate.value;
}

}  // namespace pyperf
