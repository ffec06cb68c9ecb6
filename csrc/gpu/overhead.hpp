// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "gpu/stream_runner.hpp"

namespace pyperf::gpu {

EventOverhead measure_event_overhead(const StreamView& stream, Wait wait);

}  // namespace pyperf::gpu
