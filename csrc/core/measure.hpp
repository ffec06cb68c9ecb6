// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "core/checkpoint.hpp"
#include "core/loop.hpp"
#include "core/samples.hpp"
#include "core/stopping.hpp"

namespace pyperf {

// One batch, and what it took by the wall, room for its samples not counted. `samples` can gain fewer than `calls`, see
// Runner::cold; when the target throws, it holds the calls that were finished before.
std::int64_t run_batch(Runner& runner, Mode mode, std::int64_t calls, Samples& samples);

struct MeasureOutcome {
  StopReason reason = StopReason::kInterrupted;
  std::int64_t looks = 0;
  std::int64_t looks_ns = 0;
  std::optional<double> relative_half_width;  // at the last look
  std::int64_t duration_ns = 0;               // wall time of the batches alone: neither looks nor progress
};

// Measures one target alone until the stop rule is content. When the target throws, `samples` holds what was measured
// before.
MeasureOutcome measure(Runner& runner, Mode mode, const StopPlan& plan, Samples& samples, Checkpoint& checkpoint);

}  // namespace pyperf
