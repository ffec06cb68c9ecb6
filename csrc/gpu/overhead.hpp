// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gpu/stream_runner.hpp"

namespace pyperf::gpu {

// With the plan's way of waiting and its timeout.
EventOverhead measure_event_overhead(const StreamView& stream, const StreamPlan& plan);

}  // namespace pyperf::gpu
