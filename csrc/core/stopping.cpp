// SPDX-License-Identifier: Apache-2.0
#include "core/stopping.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.hpp"
#include "core/guard.hpp"

namespace pyperf {
namespace {

constexpr double kGrowthBetweenLooks = 1.5;
// Fewer samples cannot tell how much they depend on each other; and few that come within a moment may all be of one
// spell, so that until this much time has gone by there are more. Where a look saw spells, there always are.
constexpr double kFewestIndependent = 50.0;
constexpr double kFewestOfAMoment = 200.0;
constexpr std::int64_t kMomentNs = 5'000'000'000;
constexpr double kGuardPart = 500.0;
constexpr double kFewInTail = 200.0;        // samples, in which dependence cannot be seen; as in estimate.py
constexpr double kTellingDependence = 2.0;  // of the median; chance makes less of independent samples
constexpr double kSpells = 3.0;             // dependence, of as few samples as the first look has too
constexpr double kGuardSlack = 1.1;         // the guard's own noise
constexpr double kMostShare = 0.01;         // of the measured time, in looks
constexpr double kNsPerSample = 50.0;       // of the first look, as long as nothing is known
constexpr std::int64_t kMostLookedAt = 50'000;
constexpr std::int64_t kRun = 250;  // longer than the blocks in which dependence is looked for

std::int64_t grown(std::int64_t count) {
  return std::max(count + 1, static_cast<std::int64_t>(static_cast<double>(count) * kGrowthBetweenLooks));
}

// From which the next look is at `count`.
std::int64_t before_next(std::int64_t count) {
  return static_cast<std::int64_t>(std::ceil(static_cast<double>(count) / kGrowthBetweenLooks));
}

// A far percentile takes as many as have an interval of it at all.
std::int64_t most_looked_at(const StopPlan& plan) { return std::max(kMostLookedAt, 2 * plan.min_samples); }

// Runs of neighbours from beginning to end in place of millions of samples.
std::vector<std::int64_t> spread_runs(std::span<const std::int64_t> samples, std::int64_t most) {
  const std::int64_t runs = most / kRun;
  const auto last = static_cast<std::int64_t>(samples.size()) - kRun;
  std::vector<std::int64_t> chosen;
  chosen.reserve(static_cast<std::size_t>(most));
  for (std::int64_t run = 0; run < runs; ++run) {
    const auto from = samples.subspan(static_cast<std::size_t>(last * run / (runs - 1)), kRun);
    chosen.insert(chosen.end(), from.begin(), from.end());
  }
  return chosen;
}

// The interval of the plan's quantile: order statistics, widened for dependence, never narrower than a step of the
// clock. Of millions of samples a look takes what it takes for some, spread over all of them, and widths shrink with
// the square root of the count.
class Look {
 public:
  Look(std::span<const std::int64_t> samples, const StopPlan& plan, std::vector<std::int64_t>& scratch)
      : plan_(plan), scratch_(scratch) {
    if (const auto most = most_looked_at(plan); static_cast<std::int64_t>(samples.size()) > most) {
      scratch_ = spread_runs(samples, most);
      shrink_ = std::sqrt(static_cast<double>(scratch_.size()) / static_cast<double>(samples.size()));
    } else {
      scratch_.assign(samples.begin(), samples.end());
    }
    const std::vector<std::int64_t> in_order = scratch_;
    dependence_ = dependence_at(in_order, selected(plan.quantile));
    const double of_median = plan.quantile == 0.5 ? dependence_ : dependence_at(in_order, selected(0.5));
    const double in_tail = static_cast<double>(scratch_.size()) * std::min(plan.quantile, 1.0 - plan.quantile);
    const bool told_by_median = of_median >= kTellingDependence && in_tail < kFewInTail;
    refusing_ = told_by_median ? std::max(dependence_, of_median) : dependence_;
    // Dependence that reaches beyond a run is not seen in runs, and then nothing says that more samples know more.
    if (dependence_ >= static_cast<double>(kRun) / 10.0) shrink_ = 1.0;
  }

  double dependence() const { return dependence_; }

  double independent() const { return static_cast<double>(scratch_.size()) / dependence_; }

  // Nothing where the samples support no interval.
  std::optional<double> relative_half_width(double confidence) {
    // A tail holds few samples; how much they depend on each other, the median knows better. As estimate.py has it.
    const auto n = static_cast<std::int64_t>(scratch_.size());
    if (!quantile_ranks(n, plan_.quantile, confidence, refusing_)) return std::nullopt;
    const auto found = estimate_quantile(scratch_, plan_.quantile, confidence, dependence_);
    if (!found) return std::nullopt;
    if (found->value <= 0.0) return std::numeric_limits<double>::infinity();
    const double half_step = static_cast<double>(plan_.clock_step_ns) / 2.0;
    const double below = std::max(half_step, (found->value - found->lower) * shrink_);
    const double above = std::max(half_step, (found->upper - found->value) * shrink_);
    return (below + above) / 2.0 / found->value;
  }

 private:
  std::int64_t selected(double quantile) {
    const auto rank = quantile_rank(static_cast<std::int64_t>(scratch_.size()), quantile);
    const auto place = scratch_.begin() + (rank - 1);
    std::nth_element(scratch_.begin(), place, scratch_.end());
    return *place;
  }

  const StopPlan& plan_;
  std::vector<std::int64_t>& scratch_;
  double shrink_ = 1.0;
  double dependence_ = 1.0;
  double refusing_ = 1.0;  // with which there have to be samples enough for an interval
};

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

StopRule::StopRule(const StopPlan& plan, Clock now_ns)
    : plan_(plan),
      now_ns_(std::move(now_ns)),
      ns_per_sample_(kNsPerSample),
      next_look_(before_next(std::max(plan.min_samples, static_cast<std::int64_t>(kFewestIndependent)))) {
  check(plan_);
}

std::optional<StopReason> StopRule::observe(std::span<const std::int64_t> samples, std::int64_t elapsed_ns) {
  const auto count = static_cast<std::int64_t>(samples.size());
  const bool out_of_time = elapsed_ns >= plan_.max_duration_ns;
  const bool out_of_room = count >= plan_.max_samples;
  const bool minimums_met = count >= plan_.min_samples && elapsed_ns >= plan_.min_duration_ns;
  // Looks begin before the minimums are met, so that their end finds one to confirm and need not be waited beyond.
  const bool end_of_minimums = minimums_met && !were_met_;
  were_met_ = minimums_met;
  const bool due = count >= next_look_ || (end_of_minimums && narrow_before_);
  const bool time_to_look = due && paid_for(count, elapsed_ns);
  if (time_to_look || ((out_of_time || out_of_room) && count >= plan_.min_samples)) {
    ++looks_;
    next_look_ = grown(count);
    const std::int64_t begin_ns = now_ns_ ? now_ns_() : 0;
    // A look that was due in any case is no choice, and needs no second.
    const bool chosen = !out_of_time && !out_of_room;
    const bool narrow = narrow_enough(samples, chosen);
    const bool may_be_a_spell = elapsed_ns < kMomentNs || most_dependence_ >= kSpells;
    const double fewest = may_be_a_spell ? kFewestOfAMoment : kFewestIndependent;
    const bool stop = narrow && ((narrow_before_ && independent_ >= fewest) || !chosen);
    narrow_before_ = narrow;
    const std::int64_t look_ns = now_ns_ ? now_ns_() - begin_ns : 0;
    looks_ns_ += look_ns;
    ns_per_sample_ = static_cast<double>(look_ns) / static_cast<double>(std::min(count, most_looked_at(plan_)));
    if (stop && (minimums_met || !chosen)) return StopReason::kConverged;
  }
  if (out_of_time) return StopReason::kMaxDuration;
  if (out_of_room) return StopReason::kMaxSamples;
  return std::nullopt;
}

bool StopRule::paid_for(std::int64_t count, std::int64_t elapsed_ns) const {
  if (!now_ns_) return true;
  const double next_ns = ns_per_sample_ * static_cast<double>(std::min(count, most_looked_at(plan_)));
  // And the one that the end of the budget asks for.
  return static_cast<double>(looks_ns_) + 2.0 * next_ns <= kMostShare * static_cast<double>(elapsed_ns);
}

bool StopRule::narrow_enough(std::span<const std::int64_t> samples, bool chosen) {
  half_width_ = std::nullopt;
  Look look(samples, plan_, scratch_);
  most_dependence_ = std::max(most_dependence_, look.dependence());
  half_width_ = look.relative_half_width(plan_.confidence);
  if (!half_width_ || *half_width_ > plan_.relative_half_width) return false;
  independent_ = look.independent();
  if (chosen && independent_ < kFewestIndependent / kGrowthBetweenLooks) return false;
  const Guard guard = guard_of(plan_.confidence, kGuardPart);
  const auto wide = look.relative_half_width(guard.confidence);
  return wide && *wide <= kGuardSlack * guard.width_ratio * plan_.relative_half_width;
}

Replay replay(std::span<const std::int64_t> samples, const StopPlan& plan) {
  StopRule rule(plan);
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

}  // namespace pyperf
