// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "gpu/stream_runner.hpp"

namespace pyperf::gpu {

// What the loop measures of no work at all, on this stream and with this way of waiting.
struct EventOverhead {
  std::int64_t latency_ns;   // host: from submit until the empty stream is seen done
  std::int64_t span_ns;      // device: between the two events
  std::int64_t step_ns;      // the smallest difference between two such spans; 0 where all were alike
};

// Takes some milliseconds. Medians of 1,000 samples.
EventOverhead measure_event_overhead(const StreamView& stream, Wait wait);

}  // namespace pyperf::gpu
