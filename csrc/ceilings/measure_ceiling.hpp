// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ceilings/compute_kernel.hpp"
#include "ceilings/stream_kernel.hpp"
#include "ceilings/stream_memory.hpp"
#include "ceilings/thread_team.hpp"
#include "core/checkpoint.hpp"

namespace pyperf {

// Runs of the same thing, each for `window_ns` after a warm-up of a few milliseconds.
struct Runs {
  std::int64_t window_ns;
  int count;
};

struct CeilingRun {
  double work_per_s;  // operations or bytes, of all threads together
  double clock_hz;    // under the same work right after the run, the mean over the threads; 0 of streams
};

// Between two runs the checkpoint gets its turn; what it throws ends the measurement, and where it asks to stop there
// are fewer runs. Throws UsageError without a run or a window, and what the kernels' memory throws.
std::vector<CeilingRun> measure_compute(ThreadTeam& team, const ComputeKernel& kernel, const Runs& runs,
                                        Checkpoint& checkpoint);

// `bytes` of each thread's memory are streamed through, as one array, two or three. Counted is what the program reads
// and writes. A run goes on where the one before ended, so that windows may be shorter than a pass.
std::vector<CeilingRun> measure_stream(ThreadTeam& team, StreamMemory& memory, const StreamKernels& kernels,
                                       Pattern pattern, bool around_caches, std::size_t bytes, const Runs& runs,
                                       Checkpoint& checkpoint);

}  // namespace pyperf
