// SPDX-License-Identifier: Apache-2.0
#include "core/schedule.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <random>

#include "core/batching.hpp"
#include "core/error.hpp"
#include "core/guard.hpp"

namespace pyperf {
namespace {

constexpr double kBlockStretch = 0.25;        // a block is up to a quarter longer than asked, again against ticks
constexpr std::int64_t kChunkNs = 1'000'000;  // after a switch, times are judged in chunks of at least this and a call
constexpr std::size_t kSteadyChunks = 3;
constexpr std::int64_t kMostChunks = 10;
constexpr double kSteadyWithin = 0.05;
constexpr double kGrowthBetweenLooks = 1.3;
constexpr double kGuardPart = 50.0;
constexpr double kUnknown = std::numeric_limits<double>::infinity();

std::int64_t median_of(std::span<const std::int64_t> values, std::vector<std::int64_t>& scratch) {
  scratch.assign(values.begin(), values.end());
  const auto n = static_cast<std::int64_t>(scratch.size());
  const auto middle = scratch.begin() + (quantile_rank(n, 0.5) - 1);
  std::nth_element(scratch.begin(), middle, scratch.end());
  return *middle;
}

class Interleaving {
 public:
  Interleaving(std::span<Runner* const> runners, const SchedulePlan& plan, std::span<Samples* const> samples,
               Checkpoint& checkpoint)
      : runners_(runners),
        plan_(plan),
        samples_(samples),
        checkpoint_(checkpoint),
        random_(plan.seed),
        per_call_ns_(runners.size(), 0),
        begin_ns_(runners[0]->now_ns()) {}

  ScheduleOutcome run() {
    std::vector<std::size_t> order(runners_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::int64_t next_look = plan_.min_rounds;
    for (;;) {
      std::shuffle(order.begin(), order.end(), random_);
      for (const auto target : order) {
        if (!run_block(target)) return finish(stopped_);
      }
      ++outcome_.rounds;
      if (outcome_.rounds >= next_look) {
        ++outcome_.looks;
        next_look =
            std::max(next_look + 1, static_cast<std::int64_t>(static_cast<double>(next_look) * kGrowthBetweenLooks));
        if (ratios_known_well(true)) return finish(StopReason::kConverged);
      }
    }
  }

 private:
  std::int64_t elapsed_ns() const { return runners_[0]->now_ns() - begin_ns_; }

  ScheduleOutcome finish(StopReason reason) {
    std::erase_if(outcome_.blocks, [this](const Block& block) { return block.round >= outcome_.rounds; });
    outcome_.duration_ns = elapsed_ns();
    // The budget may end between two looks, with the ratios known well by then.
    if (reason == StopReason::kMaxDuration && outcome_.rounds >= plan_.min_rounds) {
      ++outcome_.looks;
      if (ratios_known_well(false)) reason = StopReason::kConverged;
    }
    outcome_.reason = reason;
    return std::move(outcome_);
  }

  std::int64_t draw(std::int64_t most) { return std::uniform_int_distribution<std::int64_t>(0, most)(random_); }

  // Spins rather than sleeps: a sleeping core clocks down.
  void jitter(const Runner& runner) {
    const std::int64_t until_ns = runner.now_ns() + draw(plan_.max_jitter_ns);
    while (runner.now_ns() < until_ns) {
    }
  }

  bool run_block(std::size_t target) {
    Runner& runner = *runners_[target];
    Samples& samples = *samples_[target];
    jitter(runner);
    Block block{outcome_.rounds, static_cast<std::int64_t>(target), 0, 0, 0, 0};
    const auto discarded = discard_until_steady(target);
    if (!discarded) return false;
    block.discarded = *discarded;
    block.begin = samples.count();
    const std::int64_t stretch_ns = static_cast<std::int64_t>(kBlockStretch * static_cast<double>(plan_.min_block_ns));
    const std::int64_t length_ns = plan_.min_block_ns + draw(stretch_ns);
    const std::int64_t block_begin_ns = runner.now_ns();
    std::int64_t left_ns = length_ns;
    while (block.count < plan_.min_block_calls || left_ns > 0) {
      const std::int64_t calls = calls_in(std::clamp<std::int64_t>(left_ns, 1, kBatchNs), per_call_ns_[target]);
      if (!run_batch(target, calls, samples)) return false;
      block.count = samples.count() - block.begin;
      left_ns = length_ns - (runner.now_ns() - block_begin_ns);
    }
    block.median_ns = median_of(samples.view(block.begin), scratch_);
    outcome_.blocks.push_back(block);
    return true;
  }

  // The calls after a switch find caches and thread pools as the other target left them. They are thrown away until the
  // medians of the last chunks agree, or ten chunks went by. Only thrown-away calls decide, so that those that are kept
  // are not chosen by their own speed.
  std::optional<std::int64_t> discard_until_steady(std::size_t target) {
    Samples discarded;
    std::array<std::int64_t, kSteadyChunks> chunks{};
    for (std::int64_t chunk = 0; chunk < kMostChunks; ++chunk) {
      const std::int64_t begin = discarded.count();
      const std::int64_t calls = per_call_ns_[target] == 0 ? 1 : calls_in(kChunkNs, per_call_ns_[target]);
      if (!run_batch(target, calls, discarded)) return std::nullopt;
      chunks[static_cast<std::size_t>(chunk) % kSteadyChunks] = median_of(discarded.view(begin), scratch_);
      const auto [least, most] = std::minmax_element(chunks.begin(), chunks.end());
      const double spread = static_cast<double>(*most - *least);
      if (chunk + 1 >= static_cast<std::int64_t>(kSteadyChunks) &&
          spread <= kSteadyWithin * static_cast<double>(*least)) {
        break;
      }
    }
    return discarded.count();
  }

  // False, with the reason in stopped_, when the budget is spent (a round of slow calls would overrun it by far) or the
  // checkpoint says so.
  bool run_batch(std::size_t target, std::int64_t calls, Samples& samples) {
    if (elapsed_ns() >= plan_.max_duration_ns) {
      stopped_ = StopReason::kMaxDuration;
      return false;
    }
    const std::int64_t batch_ns = pyperf::run_batch(*runners_[target], Mode::kLatency, calls, samples);
    per_call_ns_[target] = std::max<std::int64_t>(1, batch_ns / calls);
    const std::int64_t last_ns = samples.view().back();
    if (checkpoint_.pass({Phase::kSchedule, outcome_.rounds, elapsed_ns(), plan_.max_duration_ns, last_ns}))
      return true;
    stopped_ = StopReason::kInterrupted;
    return false;
  }

  // Of a look whose moment was chosen the interval is guarded, see Guard: what depends on a block's place in its round
  // makes ratios of two kinds, and the interval of their median is narrow where it holds one kind alone.
  bool ratios_known_well(bool chosen) {
    const auto targets = static_cast<std::int64_t>(runners_.size());
    // medians[round * targets + target], as the order differs from round to round
    std::vector<double> log_medians(outcome_.blocks.size());
    for (const auto& block : outcome_.blocks) {
      log_medians[static_cast<std::size_t>(block.round * targets + block.target)] =
          std::log(static_cast<double>(std::max<std::int64_t>(1, block.median_ns)));
    }
    const Guard guard = guard_of(plan_.confidence, kGuardPart);
    outcome_.half_width = std::nullopt;
    double widest = 0.0;
    double widest_guard = 0.0;
    std::vector<double> log_ratios(static_cast<std::size_t>(outcome_.rounds));
    for (std::int64_t target = 1; target < targets; ++target) {
      for (std::int64_t round = 0; round < outcome_.rounds; ++round) {
        const auto base = static_cast<std::size_t>(round * targets);
        log_ratios[static_cast<std::size_t>(round)] =
            log_medians[base] - log_medians[base + static_cast<std::size_t>(target)];
      }
      const auto half_width = half_width_of(log_ratios, plan_.confidence);
      if (!half_width) return false;
      widest = std::max(widest, *half_width);
      widest_guard = std::max(widest_guard, half_width_of(log_ratios, guard.confidence).value_or(kUnknown));
    }
    outcome_.half_width = widest;
    const bool guarded = widest_guard <= guard.width_ratio * plan_.relative_half_width;
    return widest <= plan_.relative_half_width && (guarded || !chosen);
  }

  static std::optional<double> half_width_of(std::vector<double>& values, double confidence) {
    const auto interval = estimate_quantile(values, 0.5, confidence);
    if (!interval) return std::nullopt;
    return (interval->upper - interval->lower) / 2.0;
  }

  std::span<Runner* const> runners_;
  SchedulePlan plan_;
  std::span<Samples* const> samples_;
  Checkpoint& checkpoint_;
  std::mt19937_64 random_;
  std::vector<std::int64_t> per_call_ns_;
  std::int64_t begin_ns_;
  std::vector<std::int64_t> scratch_;
  StopReason stopped_ = StopReason::kInterrupted;
  ScheduleOutcome outcome_;
};

}  // namespace

void check(const SchedulePlan& plan) {
  if (plan.min_block_calls < 1) throw UsageError("a block has at least one call");
  if (plan.min_block_ns < 0 || plan.max_jitter_ns < 0) throw UsageError("a block's length or jitter is negative");
  if (plan.min_rounds < 1) throw UsageError("there is at least one round");
  if (plan.max_duration_ns < 0) throw UsageError("the budget (max_duration) is negative");
  if (!(plan.relative_half_width > 0.0)) throw UsageError("the asked half-width is not a positive number");
  if (!(plan.confidence > 0.0 && plan.confidence < 1.0)) throw UsageError("the confidence lies between 0 and 1");
}

ScheduleOutcome interleave(std::span<Runner* const> runners, const SchedulePlan& plan,
                           std::span<Samples* const> samples, Checkpoint& checkpoint) {
  check(plan);
  if (runners.size() < 2) throw UsageError("interleaving takes at least two targets");
  if (samples.size() != runners.size()) throw UsageError("there is one Samples for each target");
  return Interleaving(runners, plan, samples, checkpoint).run();
}

}  // namespace pyperf
