// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace pyperf {

enum class Phase { kWarmup, kMeasure, kSchedule };

struct Progress {
  Phase phase;
  std::int64_t calls;
  std::int64_t elapsed_ns;
  std::int64_t budget_ns;
  std::int64_t last_ns;  // the latest sample
};

// What happens between batches, outside every measured window: Ctrl-C and the progress bar get their turn.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  // False asks the loop to stop; what was measured so far stays.
  virtual bool pass(const Progress& progress) = 0;
};

}  // namespace pyperf
