// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/checkpoint.hpp"
#include "core/measure.hpp"

namespace pyperf {

struct SchedulePlan {
  std::int64_t min_block_calls = 10;
  std::int64_t min_block_ns = 100'000'000;
  std::int64_t max_jitter_ns = 10'000'000;  // the longest timer tick in use, so that blocks start anywhere in one
  std::int64_t min_rounds = 11;             // fewer have no interval that guards the stop, at 95%
  std::int64_t max_duration_ns = 10'000'000'000;
  double relative_half_width = 0.01;  // of each ratio's interval
  double confidence = 0.95;
  std::uint64_t seed = 42;
};

void check(const SchedulePlan& plan);

// Calls of one target in a row, between two switches.
struct Block {
  std::int64_t round;
  std::int64_t target;
  std::int64_t begin;      // of its samples in those of its target
  std::int64_t count;      // at least min_block_calls
  std::int64_t discarded;  // calls after the switch that were thrown away
  std::int64_t median_ns;
};

struct ScheduleOutcome {
  StopReason reason = StopReason::kInterrupted;
  std::int64_t rounds = 0;  // complete ones; only those count
  std::int64_t looks = 0;
  std::int64_t duration_ns = 0;
  std::optional<double> half_width;  // of the log-ratio known least well, at the last look
  std::vector<Block> blocks;         // in the order they ran, of complete rounds
};

// Measures several targets in blocks, in an order that is drawn anew in every round, with jitter before each block, and
// stops when the interval of every ratio (target 0 over target k, medians of a round's blocks) is narrow enough,
// whatever the ratio. Interleaving call by call would let one target's spinning
// threads disturb the next; a fixed order would lock to the timer tick. One Samples for each target. When the budget is
// spent within a round, that round does not count.
ScheduleOutcome interleave(std::span<Runner* const> runners, const SchedulePlan& plan,
                           std::span<Samples* const> samples, Checkpoint& checkpoint);

}  // namespace pyperf
