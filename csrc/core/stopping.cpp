// SPDX-License-Identifier: Apache-2.0
#include "core/stopping.hpp"

#include <algorithm>
#include <limits>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace pyperf {
namespace {

constexpr double kGrowthBetweenLooks = 1.3;
constexpr double kMostShare = 0.01;    // of the measured time, in looks
constexpr double kNsPerSample = 10.0;  // of the first look, as long as nothing is known
constexpr std::int64_t kMostLookedAt = 500'000;
constexpr std::int64_t kRun = 1'000;  // longer than the blocks in which dependence is looked for

std::int64_t grown(std::int64_t count) {
  return std::max(count + 1, static_cast<std::int64_t>(static_cast<double>(count) * kGrowthBetweenLooks));
}

// Runs of neighbours from beginning to end in place of millions of samples. They say less, so that the interval is
// wider than that of all: a look costs what it costs for half a million, and stops no sooner.
std::vector<std::int64_t> spread_runs(std::span<const std::int64_t> samples) {
  constexpr std::int64_t runs = kMostLookedAt / kRun;
  const auto last = static_cast<std::int64_t>(samples.size()) - kRun;
  std::vector<std::int64_t> chosen;
  chosen.reserve(kMostLookedAt);
  for (std::int64_t run = 0; run < runs; ++run) {
    const auto from = samples.subspan(static_cast<std::size_t>(last * run / (runs - 1)), kRun);
    chosen.insert(chosen.end(), from.begin(), from.end());
  }
  return chosen;
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
  if (!(plan.quantile > 0.0 && plan.quantile < 1.0)) throw UsageError("a quantile lies between 0 and 1, both excluded");
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

StopRule::StopRule(const StopPlan& plan, bool paced)
    : plan_(plan), paced_(paced), ns_per_sample_(kNsPerSample), next_look_(plan.min_samples) {
  check(plan_);
}

std::optional<StopReason> StopRule::observe(std::span<const std::int64_t> samples, std::int64_t elapsed_ns) {
  const auto count = static_cast<std::int64_t>(samples.size());
  const bool out_of_time = elapsed_ns >= plan_.max_duration_ns;
  const bool out_of_room = count >= plan_.max_samples;
  const bool minimums_met = count >= plan_.min_samples && elapsed_ns >= plan_.min_duration_ns;
  const bool time_to_look = minimums_met && count >= next_look_ && paid_for(count, elapsed_ns);
  if (time_to_look || ((out_of_time || out_of_room) && count >= plan_.min_samples)) {
    ++looks_;
    next_look_ = grown(count);
    const std::int64_t begin_ns = SteadyClock::now_ns();
    const bool narrow = narrow_enough(samples);
    const std::int64_t look_ns = SteadyClock::now_ns() - begin_ns;
    looks_ns_ += look_ns;
    ns_per_sample_ = static_cast<double>(look_ns) / static_cast<double>(std::min(count, kMostLookedAt));
    if (narrow) return StopReason::kConverged;
  }
  if (out_of_time) return StopReason::kMaxDuration;
  if (out_of_room) return StopReason::kMaxSamples;
  return std::nullopt;
}

bool StopRule::paid_for(std::int64_t count, std::int64_t elapsed_ns) const {
  if (!paced_) return true;
  const double next_ns = ns_per_sample_ * static_cast<double>(std::min(count, kMostLookedAt));
  return static_cast<double>(looks_ns_) + next_ns <= kMostShare * static_cast<double>(elapsed_ns);
}

bool StopRule::narrow_enough(std::span<const std::int64_t> samples) {
  const auto estimate = estimate_as_judged(samples, plan_, scratch_);
  half_width_ = estimate ? std::optional(relative_half_width(*estimate)) : std::nullopt;
  return half_width_ && *half_width_ <= plan_.relative_half_width;
}

Replay replay(std::span<const std::int64_t> samples, const StopPlan& plan) {
  StopRule rule(plan, false);
  Replay outcome;
  std::int64_t elapsed_ns = 0;
  for (const std::int64_t sample : samples) {
    elapsed_ns += sample;
    const auto stop = rule.observe(samples.first(static_cast<std::size_t>(++outcome.count)), elapsed_ns);
    outcome.looks = rule.looks();
    if (stop) {
      outcome.reason = *stop;
      return outcome;
    }
  }
  return outcome;
}

std::optional<QuantileEstimate> estimate_as_judged(std::span<const std::int64_t> samples, const StopPlan& plan,
                                                   std::vector<std::int64_t>& scratch) {
  const auto n = static_cast<std::int64_t>(samples.size());
  if (n < 1) return std::nullopt;
  std::vector<std::int64_t> runs;
  if (n > kMostLookedAt) {
    runs = spread_runs(samples);
    samples = runs;
  }
  scratch.assign(samples.begin(), samples.end());
  const auto rank = quantile_rank(static_cast<std::int64_t>(scratch.size()), plan.quantile);
  const auto place = scratch.begin() + (rank - 1);
  std::nth_element(scratch.begin(), place, scratch.end());
  auto estimate = estimate_quantile(scratch, plan.quantile, plan.confidence, dependence_at(samples, *place));
  if (!estimate) return std::nullopt;
  const double half_step = static_cast<double>(plan.clock_step_ns) / 2.0;
  estimate->lower = std::min(estimate->lower, estimate->value - half_step);
  estimate->upper = std::max(estimate->upper, estimate->value + half_step);
  return estimate;
}

double relative_half_width(const QuantileEstimate& estimate) {
  if (estimate.value <= 0.0) return std::numeric_limits<double>::infinity();
  return (estimate.upper - estimate.lower) / 2.0 / estimate.value;
}

}  // namespace pyperf
