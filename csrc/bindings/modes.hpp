// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "core/error.hpp"
#include "core/quantity.hpp"

namespace pyperf::bindings {

inline Mode mode_named(const std::string& name) {
  for (const Mode mode : {Mode::kLatency, Mode::kThroughput, Mode::kCold}) {
    if (name == name_of(mode)) return mode;
  }
  throw UsageError("mode '" + name + "' is unknown; it can be latency, throughput or cold");
}

}  // namespace pyperf::bindings
